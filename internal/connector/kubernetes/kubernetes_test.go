package kubernetes_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/connector/kubernetes"
	"github.com/casement/casement/internal/remedy"
)

func TestKubernetes(t *testing.T) {
	k := targets.StartKubernetes(t)
	connectortest.Run(t, func(t testing.TB) connectortest.Bench { return k.Bench(t) })
	t.Run("without its token the grade is lower", func(t *testing.T) { testNoToken(t, k) })
	t.Run("policies add up", func(t *testing.T) { testPoliciesAddUp(t, k) })
	t.Run("what the identity needs is watched", func(t *testing.T) { testNeeds(t, k) })
}

func door(b *targets.KubernetesBench, verb string) (*connector.Door, connector.Request) {
	r := b.Request(verb)
	r.CaseID, r.Key, r.Now = connectortest.CaseID, "k", connectortest.Now()
	return connector.Stack(b.Connector(), connector.Options{Attempts: 1}), r
}

// A subject whose token nobody configured: the authorizer alone answers.
func testNoToken(t *testing.T, k *targets.Kubernetes) {
	d, r := door(k.Bench(t), kubernetes.VerbAccess)
	for subject, want := range map[string]remedy.Result{"User/olga": remedy.Exposed, "User/nobody-knows": remedy.NotExposed, "Group/auditors": remedy.Exposed} {
		r.Params["subject"] = subject
		o, err := d.Probe(t.Context(), kubernetes.VerbAccess, r)
		if err != nil || o.Result != want || o.Grade != remedy.P2 {
			t.Errorf("%s: %+v %v", subject, o, err)
		}
	}
}

// A policy that allows traffic undoes one that allows none.
func testPoliciesAddUp(t *testing.T, k *targets.Kubernetes) {
	b := k.Bench(t)
	d, r := door(b, kubernetes.VerbQuarantine)
	path := "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
	k.Do(t, http.MethodPost, path, map[string]any{"metadata": map[string]any{"name": "web-open"}, "spec": map[string]any{
		"podSelector": map[string]any{"matchExpressions": []any{map[string]any{"key": "app", "operator": "In", "values": []string{"web"}}}}, "ingress": []any{map[string]any{}}}})
	p, err := d.Plan(t.Context(), kubernetes.VerbQuarantine, r)
	if err != nil || !strings.Contains(p.Text, "web-open") {
		t.Fatalf("the plan does not name the policy that keeps it open: %q %v", p.Text, err)
	}
	r.Plan = connector.Seal(p, "kubernetes", kubernetes.VerbQuarantine, r, r.Now)
	if _, err := d.Act(t.Context(), kubernetes.VerbQuarantine, r); err != nil {
		t.Fatal(err)
	}
	look := func(want remedy.Result) {
		t.Helper()
		if o, err := d.Probe(t.Context(), kubernetes.VerbIsolated, r); err != nil || o.Result != want || o.Grade != remedy.P1 {
			t.Errorf("probe: %+v %v, want %s", o, err, want)
		}
	}
	look(remedy.Exposed)
	k.Do(t, http.MethodDelete, path+"/web-open", nil)
	look(remedy.NotExposed)
}

func testNeeds(t *testing.T, k *targets.Kubernetes) {
	d, r := door(k.Bench(t), kubernetes.VerbNeeds)
	for needs, want := range map[string]remedy.Result{"list configmaps build": remedy.NotExposed, "list configmaps build, create deployments.apps build": remedy.Exposed} {
		r.Params["needs"] = needs
		if o, err := d.Probe(t.Context(), kubernetes.VerbNeeds, r); err != nil || o.Result != want {
			t.Errorf("%s: %+v %v", needs, o, err)
		}
	}
	r.Params["needs"] = "everything"
	if _, err := d.Probe(t.Context(), kubernetes.VerbNeeds, r); err == nil || connector.KindOf(err) != connector.KindConfig {
		t.Errorf("malformed access: %v", err)
	}
}
