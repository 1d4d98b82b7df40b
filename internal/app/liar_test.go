package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

const liarPolicy = `kind: playbooks
playbooks:
  - name: bucket
    description: Ends public access.
    probe: s3/anonymous-get
    grade: P3
    fix:
      - {name: block, do: s3/block-public-access, auth: enforce, settle: 0s, tries: 2, interval: 10s, watch: 1m, watch_every: 20s}
      - {name: remove, do: s3/remove-public-access, auth: enforce, settle: 0s, tries: 2, interval: 10s, watch: 1m, watch_every: 20s}
---
kind: rules
mode: enforce
rules:
  - {name: bucket, when: "true", class: K2, playbook: bucket, why: Anyone can read it.}
---
kind: routes
routes: [{name: all}]
`

// The server says that the bucket is not public while strangers read it, and
// refuses to block public access. Nobody's word counts: the case stays open
// until the next action of the playbook ends what the probe sees.
func TestControlPlaneLies(t *testing.T) {
	b := targets.StartMinIO(t).Bucket(t)
	d := &desk{TB: t, bench: b, now: time.Now().UTC(), at: func(string) {}}
	a, err := app.New(context.Background(), app.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Authors: []string{"paula"},
		Connectors: map[string]connector.Connector{"s3": connector.Stack(b.Connector(), connector.Options{Attempts: 1})},
		Policy:     []policy.File{{Name: "liar.yaml", Data: []byte(liarPolicy)}}, Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(killOwners)}}})
	if err != nil {
		t.Fatal(err)
	}
	d.app = a
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := b.Block(); err == nil || b.SaysPublic() {
		t.Fatalf("this server does not lie any more (PutPublicAccessBlock: %v, isPublic: %v): the test needs another one", err, b.SaysPublic())
	}
	c0 := control{name: "s3", verb: "remove-public-access"}
	d.alert(c0)

	d.until(time.Hour, func(c remedy.Case) bool { return len(c.Actions) > 1 && c.Actions[1].Before.Result != "" })
	c := d.load()
	first, seen := c.Actions[0], c.Actions[1].Before
	if !c.Open() || first.Status != remedy.ActionFailed || first.Spec.Verb != "block-public-access" {
		t.Fatalf("after the refused block the case is %s (%s), the action %s (%s)", c.State(), c.Closed, first.Status, first.Reason)
	}
	t.Logf("control plane: isPublic=%v; probe: %s; block: %s", b.SaysPublic(), seen.Detail, first.Reason)
	if b.SaysPublic() || seen.Result != remedy.Exposed || !strings.Contains(seen.Detail, "without a credential answers 20") {
		t.Errorf("the control plane says public=%v, the probe %+v", b.SaysPublic(), seen)
	}

	// The source believes the control plane: its word starts a verification, no more.
	d.tell(c0, finding.StatusFixed)
	if c := d.load(); !c.Open() {
		t.Errorf("the source's word closed the case: %s", c.Closed)
	}

	d.proven()
	c = d.load()
	if second := c.Actions[1]; second.Spec.Verb != "remove-public-access" || second.Status != remedy.ActionDone || b.State() != "none" {
		t.Errorf("the next action is %s: %s (%s); bucket policy %s", second.Spec.Verb, second.Status, second.Reason, b.State())
	}
}
