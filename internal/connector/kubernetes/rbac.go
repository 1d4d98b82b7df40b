package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// subject is one of a binding.
type subject struct {
	Kind      string `json:"kind"`
	APIGroup  string `json:"apiGroup,omitempty"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

func (s subject) String() string {
	if s.Kind == "ServiceAccount" {
		return s.Kind + "/" + s.Namespace + "/" + s.Name
	}
	return s.Kind + "/" + s.Name
}

const rbacGroup = "rbac.authorization.k8s.io"

func parseSubject(text string) (subject, error) {
	kind, rest, _ := strings.Cut(text, "/")
	switch kind {
	case "ServiceAccount":
		if p, ok := split(text, 3); ok {
			return subject{Kind: kind, Namespace: p[1], Name: p[2]}, nil
		}
	case "User", "Group":
		if rest != "" {
			return subject{Kind: kind, APIGroup: rbacGroup, Name: rest}, nil
		}
	}
	return subject{}, fmt.Errorf("%q is no subject: want ServiceAccount/namespace/name, User/name or Group/name", text)
}

func subjectOf(r connector.Request) (subject, error) {
	s, err := parseSubject(named(r, "subject"))
	if err != nil {
		return s, connector.Errorf(connector.KindConfig, "subject: %v", err)
	}
	return s, nil
}

// binding is what is read of a role binding.
type binding struct {
	Metadata struct {
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	RoleRef struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"roleRef"`
	Subjects []subject `json:"subjects"`
}

// removal is the data of a plan, and the undo handle.
type removal struct {
	Path   string    `json:"path"`
	Name   string    `json:"name"`
	UID    string    `json:"uid"`
	Before []subject `json:"before"`
	// Index of the subject that goes, -1 if it is not there.
	Index int `json:"index"`
}

func (x removal) after() []subject {
	if x.Index < 0 {
		return x.Before
	}
	return slices.Delete(slices.Clone(x.Before), x.Index, x.Index+1)
}

// bindingPath reads the parameter binding.
func bindingPath(text string) (string, error) {
	base := "/apis/" + rbacGroup + "/v1/"
	if p, ok := split(text, 2); ok && p[0] == "ClusterRoleBinding" {
		return base + "clusterrolebindings/" + p[1], nil
	}
	if p, ok := split(text, 3); ok && p[0] == "RoleBinding" {
		return base + "namespaces/" + p[1] + "/rolebindings/" + p[2], nil
	}
	return "", connector.Errorf(connector.KindConfig, "parameter \"binding\" is %q: want ClusterRoleBinding/name or RoleBinding/namespace/name", text)
}

func (c *Connector) readBinding(ctx context.Context, name, path string) (binding, error) {
	var b binding
	_, err := c.get(ctx, "reading "+name, path, &b)
	if err == nil && (b.Metadata.UID == "" || b.Metadata.ResourceVersion == "") {
		err = connector.Errorf(connector.KindRetry, "reading %s: the answer is no binding", name)
	}
	return b, err
}

func (c *Connector) planRemove(ctx context.Context, r connector.Request) (remedy.Plan, error) {
	s, err := subjectOf(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	name := r.Params["binding"]
	path, err := bindingPath(name)
	if err != nil {
		return remedy.Plan{}, err
	}
	b, err := c.readBinding(ctx, name, path)
	if err != nil {
		return remedy.Plan{}, err
	}
	x := removal{Path: path, Name: name, UID: b.Metadata.UID, Before: b.Subjects, Index: slices.Index(b.Subjects, s)}
	if x.Index >= 0 {
		if err := c.patchSubjects(ctx, x, b, true, true); err != nil {
			return remedy.Plan{}, connector.ReadOnly(err)
		}
	}
	data, err := json.Marshal(x)
	if err != nil {
		return remedy.Plan{}, err
	}
	role := b.RoleRef.Kind + " " + b.RoleRef.Name
	p := remedy.Plan{Data: string(data), BeforeDigest: connector.Digest(x.UID, role, fmt.Sprint(x.Before)),
		Text:  fmt.Sprintf("Take %s out of %s (%s); the server tried it (dry run) and takes it\n- stay: %s", s, name, role, list(x.after())),
		Blast: fmt.Sprintf("%s loses what only %s gives it; other bindings stay", s, role),
		Undo:  "puts " + s.String() + " back into " + name}
	if x.Index < 0 {
		p.Text, p.Blast = fmt.Sprintf("Nothing to take: %s is not in %s", s, name), "none: nothing would change"
	}
	return p, nil
}

func list(xs []subject) string {
	if len(xs) == 0 {
		return "nobody"
	}
	var out []string
	for _, x := range xs {
		out = append(out, x.String())
	}
	return strings.Join(out, ", ")
}

// patchSubjects takes the subject out, or puts it back, in exactly the binding
// that was read.
func (c *Connector) patchSubjects(ctx context.Context, x removal, b binding, out, dry bool) error {
	at, s := "/subjects/"+strconv.Itoa(x.Index), x.Before[x.Index]
	ops := []op{{"test", "/metadata/uid", x.UID}, {"test", "/metadata/resourceVersion", b.Metadata.ResourceVersion}}
	switch {
	case out:
		ops = append(ops, op{"test", at, s}, op{Op: "remove", Path: at})
	case len(b.Subjects) == 0:
		ops = append(ops, op{"add", "/subjects", []subject{s}})
	default:
		ops = append(ops, op{"add", at, s})
	}
	what := "changing " + x.Name
	if dry {
		what += " (dry run)"
	}
	return c.write(ctx, what, http.MethodPatch, x.Path, ops, dry)
}

func parseData[T any](text, what string) (T, error) {
	var x T
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		return x, connector.Errorf(connector.KindRefused, "the %s is not one of this connector", what)
	}
	return x, nil
}

// move changes the subjects from one list to another.
func (c *Connector) move(ctx context.Context, x removal, from, to []subject, out bool) (connector.Outcome, error) {
	b, err := c.readBinding(ctx, x.Name, x.Path)
	if err != nil {
		return connector.Outcome{}, err
	}
	same := b.Metadata.UID == x.UID
	switch {
	case same && slices.Equal(b.Subjects, to):
		return connector.Outcome{Nothing: true, Detail: x.Name + " holds " + list(to) + " already"}, nil
	case !same || !slices.Equal(b.Subjects, from):
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "%s was changed by somebody else meanwhile", x.Name)
	}
	if err := c.patchSubjects(ctx, x, b, out, false); err != nil {
		return connector.Outcome{}, err
	}
	return connector.Outcome{Detail: x.Name + " now holds " + list(to)}, nil
}

func (c *Connector) actRemove(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	x, err := parseData[removal](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	o, err := c.move(ctx, x, x.Before, x.after(), true)
	o.UndoHandle = r.Plan.Data
	return o, err
}

func (c *Connector) undoRemove(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	x, err := parseData[removal](r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	return c.move(ctx, x, x.after(), x.Before, false)
}

// lookRemove: it happened when the binding holds the planned subjects.
func (c *Connector) lookRemove(ctx context.Context, r connector.Request) (connector.Outcome, bool, error) {
	x, err := parseData[removal](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	b, err := c.readBinding(ctx, x.Name, x.Path)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	found := b.Metadata.UID == x.UID && slices.Equal(b.Subjects, x.after())
	return connector.Outcome{UndoHandle: r.Plan.Data, Detail: x.Name + " holds " + list(b.Subjects)}, found, nil
}
