package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// The label of a quarantined workload and the annotation of its policy.
const (
	labelQuarantine = "casement.dev/quarantine"
	annotationCase  = "casement.dev/case"
)

// workload is what is read of a pod or of what makes pods.
type workload struct {
	Metadata struct {
		UID             string            `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Selector selector `json:"selector"`
		Template struct {
			Metadata struct {
				Labels map[string]string `json:"labels"`
			} `json:"metadata"`
		} `json:"template"`
	} `json:"spec"`
}

// netpol is a network policy as far as it matters here.
type netpol struct {
	Metadata struct {
		Name            string            `json:"name"`
		UID             string            `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		PodSelector selector          `json:"podSelector"`
		PolicyTypes []string          `json:"policyTypes"`
		Ingress     []json.RawMessage `json:"ingress"`
		Egress      []json.RawMessage `json:"egress"`
	} `json:"spec"`
}

// closed: it allows nothing, in both directions.
func (p netpol) closed() bool {
	return len(p.Spec.Ingress)+len(p.Spec.Egress) == 0 && slices.Contains(p.Spec.PolicyTypes, "Ingress") && slices.Contains(p.Spec.PolicyTypes, "Egress")
}

// quarantine is the data of a plan, and the undo handle.
type quarantine struct {
	Workload string   `json:"workload"`
	Path     string   `json:"path"`
	UID      string   `json:"uid"`
	Policies string   `json:"policies"`
	Policy   string   `json:"policy"`
	Mark     string   `json:"mark"`
	Selector selector `json:"selector"`
	// Labels is the digest of labels and selector without ours.
	Labels string `json:"labels"`
	// Bare: the workload had no labels at all.
	Bare bool `json:"bare,omitempty"`
}

// place reads the parameter workload.
func place(r connector.Request) (quarantine, error) {
	text := named(r, "workload")
	p, ok := split(text, 3)
	q := quarantine{Workload: text}
	if ok {
		switch p[0] {
		case "Pod":
			q.Path = "/api/v1/namespaces/" + p[1] + "/pods/" + p[2]
		case "Deployment", "StatefulSet", "DaemonSet":
			q.Path = "/apis/apps/v1/namespaces/" + p[1] + "/" + strings.ToLower(p[0]) + "s/" + p[2]
		}
	}
	if q.Path == "" {
		return q, connector.Errorf(connector.KindConfig, "workload is %q: want Pod, Deployment, StatefulSet or DaemonSet as kind/namespace/name", text)
	}
	q.Policies = "/apis/networking.k8s.io/v1/namespaces/" + p[1] + "/networkpolicies"
	return q, nil
}

func (q quarantine) pod() bool { return strings.HasPrefix(q.Workload, "Pod/") }

// digest is the state that a quarantine starts from: identity, selector, and
// labels without ours.
func (q quarantine) digest(w workload) string {
	labels := map[string]string{}
	for k, v := range w.Metadata.Labels {
		if k != labelQuarantine {
			labels[k] = v
		}
	}
	b, err := json.Marshal([]any{w.Metadata.UID, labels, w.Spec.Selector, w.Spec.Template.Metadata.Labels})
	if err != nil { // strings: cannot fail
		return err.Error()
	}
	return connector.Digest(string(b))
}

func (c *Connector) readWorkload(ctx context.Context, q quarantine) (workload, int, error) {
	var w workload
	status, err := c.get(ctx, "reading "+q.Workload, q.Path, &w)
	if err == nil && w.Metadata.UID == "" {
		err = connector.Errorf(connector.KindRetry, "reading %s: the answer is no workload", q.Workload)
	}
	return w, status, err
}

// ours is our policy, nil if it is not there.
func (c *Connector) ours(ctx context.Context, q quarantine) (*netpol, error) {
	var p netpol
	status, err := c.get(ctx, "reading network policy "+q.Policy, q.Policies+"/"+q.Policy, &p)
	if status == http.StatusNotFound {
		// A 404 of the collection is another matter than that of the object.
		if _, err := c.policies(ctx, q); err != nil {
			return nil, err
		}
		return nil, nil
	}
	if err == nil && p.Metadata.UID == "" {
		err = connector.Errorf(connector.KindRetry, "reading network policy %s: the answer is none", q.Policy)
	}
	return &p, err
}

func (c *Connector) policies(ctx context.Context, q quarantine) ([]netpol, error) {
	var out struct {
		Kind  string   `json:"kind"`
		Items []netpol `json:"items"`
	}
	_, err := c.get(ctx, "listing network policies", q.Policies, &out)
	if err == nil && out.Kind != "NetworkPolicyList" {
		err = connector.Errorf(connector.KindRetry, "listing network policies: the answer is no list")
	}
	return out.Items, connector.ReadOnly(err)
}

// body is our policy as it is sent.
func (q quarantine) body(caseID string) any {
	return map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": q.Policy, "annotations": map[string]string{annotationCase: caseID}, "labels": map[string]string{labelQuarantine: q.Mark}},
		"spec":     map[string]any{"podSelector": q.Selector, "policyTypes": []string{"Ingress", "Egress"}}}
}

// label sets our label, or takes it away again.
func (c *Connector) label(ctx context.Context, q quarantine, w workload, set, dry bool) error {
	at := "/metadata/labels/" + strings.ReplaceAll(labelQuarantine, "/", "~1")
	ops := []op{{"test", "/metadata/uid", q.UID}, {"test", "/metadata/resourceVersion", w.Metadata.ResourceVersion}}
	switch {
	case set && len(w.Metadata.Labels) == 0:
		ops = append(ops, op{"add", "/metadata/labels", map[string]string{labelQuarantine: q.Mark}})
	case set:
		ops = append(ops, op{"add", at, q.Mark})
	case q.Bare && len(w.Metadata.Labels) == 1:
		ops = append(ops, op{"test", at, q.Mark}, op{Op: "remove", Path: "/metadata/labels"})
	default:
		ops = append(ops, op{"test", at, q.Mark}, op{Op: "remove", Path: at})
	}
	return c.write(ctx, "labelling "+q.Workload, http.MethodPatch, q.Path, ops, dry)
}

func (c *Connector) planQuarantine(ctx context.Context, r connector.Request) (remedy.Plan, error) {
	q, err := place(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	w, _, err := c.readWorkload(ctx, q)
	if err != nil {
		return remedy.Plan{}, err
	}
	q.UID, q.Labels, q.Bare = w.Metadata.UID, q.digest(w), len(w.Metadata.Labels) == 0
	q.Mark = connector.Digest(q.UID)[:12]
	q.Policy, q.Selector = "casement-quarantine-"+q.Mark, w.Spec.Selector
	if q.pod() { // a pod has no selector: it is picked by our label
		q.Selector = selector{MatchLabels: map[string]string{labelQuarantine: q.Mark}}
	}
	all, err := c.policies(ctx, q)
	if err != nil {
		return remedy.Plan{}, err
	}
	open := allowing(all, q.pods(w))
	if !slices.ContainsFunc(all, func(p netpol) bool { return p.Metadata.Name == q.Policy }) {
		if err := c.write(ctx, "making network policy "+q.Policy, http.MethodPost, q.Policies, q.body(r.CaseID), true); err != nil {
			return remedy.Plan{}, connector.ReadOnly(err)
		}
	}
	if err := c.label(ctx, q, w, true, true); err != nil {
		return remedy.Plan{}, connector.ReadOnly(err)
	}
	data, err := json.Marshal(q)
	if err != nil {
		return remedy.Plan{}, err
	}
	p := remedy.Plan{Data: string(data), BeforeDigest: connector.Digest(q.Labels, strings.Join(open, ",")),
		Text:  fmt.Sprintf("Quarantine %s; the server tried it (dry run) and takes it:\n- network policy %s, selects %s, allows nothing in or out\n- label %s=%s\nThe probe will read desired state only (P1): no packet is sent", q.Workload, q.Policy, q.Selector, labelQuarantine, q.Mark),
		Blast: q.Workload + " can't be reached and reaches nothing, where the network plugin enforces policies; connections that are open may live on",
		Undo:  "deletes the policy and takes the label away"}
	if len(open) > 0 {
		p.Text += "\n- policies add up: it stays open by " + strings.Join(open, ", ")
	}
	return p, nil
}

// pods are the labels of the workload's pods, with ours.
func (q quarantine) pods(w workload) map[string]string {
	labels := w.Spec.Template.Metadata.Labels
	if q.pod() {
		labels = w.Metadata.Labels
	}
	return labels
}

// allowing names the policies that select the labels and allow something.
func allowing(all []netpol, labels map[string]string) []string {
	var out []string
	for _, p := range all {
		if p.Spec.PodSelector.matches(labels) && len(p.Spec.Ingress)+len(p.Spec.Egress) > 0 {
			out = append(out, p.Metadata.Name)
		}
	}
	slices.Sort(out)
	return out
}

// foreign: the policy under our name is not as we made it.
func (q quarantine) foreign(p *netpol) bool {
	return p != nil && (!p.closed() || p.Spec.PodSelector.String() != q.Selector.String())
}

// state reads both objects and refuses what somebody else changed.
func (c *Connector) state(ctx context.Context, q quarantine) (w workload, p *netpol, err error) {
	if w, _, err = c.readWorkload(ctx, q); err != nil {
		return w, nil, err
	}
	if p, err = c.ours(ctx, q); err != nil {
		return w, nil, err
	}
	mark, marked := w.Metadata.Labels[labelQuarantine]
	if q.digest(w) != q.Labels || q.foreign(p) || marked && mark != q.Mark {
		return w, p, connector.Errorf(connector.KindRefused, "%s or its network policy was changed by somebody else meanwhile", q.Workload)
	}
	return w, p, nil
}

func (c *Connector) actQuarantine(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	q, err := parseData[quarantine](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	w, p, err := c.state(ctx, q)
	if err != nil {
		return connector.Outcome{}, err
	}
	o := connector.Outcome{UndoHandle: r.Plan.Data, Nothing: true, Detail: q.Workload + " is quarantined by " + q.Policy}
	if p == nil {
		o.Nothing = false
		if err := c.write(ctx, "making network policy "+q.Policy, http.MethodPost, q.Policies, q.body(r.CaseID), false); err != nil {
			return o, err
		}
	}
	if w.Metadata.Labels[labelQuarantine] == "" {
		if err := c.label(ctx, q, w, true, false); err != nil {
			return o, half(err, o.Nothing)
		}
		o.Nothing = false
	}
	return o, nil
}

// half: the first of two changes was made, so a failure of the second is no
// word about the whole.
func half(err error, first bool) error {
	if first {
		return err
	}
	return &connector.Error{Kind: connector.KindUnsure, Msg: "one of two changes was made: " + err.Error(), Err: err}
}

func (c *Connector) undoQuarantine(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	q, err := parseData[quarantine](r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	w, p, err := c.state(ctx, q)
	if err != nil {
		return connector.Outcome{}, err
	}
	o := connector.Outcome{Nothing: true, Detail: q.Workload + " has no quarantine"}
	if w.Metadata.Labels[labelQuarantine] != "" {
		if err := c.label(ctx, q, w, false, false); err != nil {
			return o, err
		}
		o.Nothing = false
	}
	if p != nil {
		pre := map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": map[string]string{"uid": p.Metadata.UID, "resourceVersion": p.Metadata.ResourceVersion}}
		if err := c.write(ctx, "deleting network policy "+q.Policy, http.MethodDelete, q.Policies+"/"+q.Policy, pre, false); err != nil {
			return o, half(err, o.Nothing)
		}
		o.Nothing = false
	}
	return o, nil
}

func (c *Connector) lookQuarantine(ctx context.Context, r connector.Request) (connector.Outcome, bool, error) {
	q, err := parseData[quarantine](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	w, _, err := c.readWorkload(ctx, q)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	p, err := c.ours(ctx, q)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	return connector.Outcome{UndoHandle: r.Plan.Data}, p != nil && w.Metadata.Labels[labelQuarantine] == q.Mark, nil
}

// isolated reads desired state. Policies add up, so one that allows something
// undoes one that allows nothing.
func (c *Connector) isolated(ctx context.Context, r connector.Request) (remedy.Result, string, error) {
	q, err := place(r)
	if err != nil {
		return "", "", err
	}
	w, status, err := c.readWorkload(ctx, q)
	if err != nil && status != http.StatusNotFound {
		return remedy.Inconclusive, connector.ReadOnly(err).Error(), nil
	}
	gone := status == http.StatusNotFound
	all, err := c.policies(ctx, q)
	switch {
	case err != nil:
		return remedy.Inconclusive, err.Error(), nil
	case gone:
		return remedy.Gone, q.Workload + " does not exist any more", nil
	}
	labels := q.pods(w)
	if open := allowing(all, labels); len(open) > 0 {
		return remedy.Exposed, q.Workload + " is allowed traffic by " + strings.Join(open, ", "), nil
	}
	for _, p := range all {
		if p.closed() && p.Spec.PodSelector.matches(labels) {
			return remedy.NotExposed, fmt.Sprintf("network policy %s selects %s and allows nothing (desired state; no packet was sent)", p.Metadata.Name, q.Workload), nil
		}
	}
	return remedy.Exposed, "no network policy cuts " + q.Workload + " off", nil
}
