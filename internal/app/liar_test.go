package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
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
	d := openLiar(t, b)
	if err := b.Block(); err == nil || b.SaysPublic() {
		t.Fatalf("this server does not lie any more (PutPublicAccessBlock: %v, isPublic: %v): the test needs another one", err, b.SaysPublic())
	}
	d.alert(bucketControl())

	first, seen := d.firstFailed()
	t.Logf("control plane: isPublic=%v; probe: %s; block: %s", b.SaysPublic(), seen.Detail, first.Reason)
	if b.SaysPublic() || seen.Result != remedy.Exposed || !strings.Contains(seen.Detail, "without a credential answers 20") {
		t.Errorf("the control plane says public=%v, the probe %+v", b.SaysPublic(), seen)
	}

	// The source believes the control plane: its word starts a verification, no more.
	d.tell(bucketControl(), finding.StatusFixed)
	if c := d.load(); !c.Open() {
		t.Errorf("the source's word closed the case: %s", c.Closed)
	}

	d.secondProven()
	if b.State() != "none" {
		t.Errorf("bucket policy %s", b.State())
	}
}

// The server takes the block, says that all four settings are on, and goes on
// serving what a policy opened: done is not proven.
func TestBlockHoldsNoPolicy(t *testing.T) {
	b := targets.StartCeph(t).Bucket(t)
	b.OpenByPolicy()
	d := openLiar(t, b)
	d.alert(bucketControl())
	first, seen := d.firstFailed()
	t.Logf("block: %s; probe: %s; %s", first.Reason, seen.Detail, b.State())
	if !strings.Contains(b.State(), "block true true true true") || seen.Result != remedy.Exposed {
		t.Errorf("the bucket is %s, the probe says %+v", b.State(), seen)
	}
	d.secondProven()
}

func bucketControl() control { return control{name: "s3", verb: "remove-public-access"} }

// openLiar starts a desk with a playbook that blocks public access and, where
// that ends nothing, takes it out.
func openLiar(t *testing.T, b connectortest.Bench) *desk {
	t.Helper()
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
	return d
}

// firstFailed waits until the block is given up, and returns it with what the
// probe saw then; the case is open.
func (d *desk) firstFailed() (remedy.Action, remedy.Observation) {
	d.Helper()
	d.until(time.Hour, func(c remedy.Case) bool { return len(c.Actions) > 1 && c.Actions[1].Before.Result != "" })
	c := d.load()
	if len(c.Actions) < 2 {
		d.Fatalf("no second action: the case is %s (%s), its actions %s", c.State(), c.Closed, asText(c.Actions))
	}
	first := c.Actions[0]
	if !c.Open() || first.Status != remedy.ActionFailed || first.Spec.Verb != "block-public-access" {
		d.Fatalf("after the block the case is %s (%s), the action %s (%s)", c.State(), c.Closed, first.Status, first.Reason)
	}
	return first, c.Actions[1].Before
}

// secondProven waits for the proof, which is the second action's.
func (d *desk) secondProven() {
	d.Helper()
	d.proven()
	if second := d.load().Actions[1]; second.Spec.Verb != "remove-public-access" || second.Status != remedy.ActionDone {
		d.Errorf("the next action is %s: %s (%s)", second.Spec.Verb, second.Status, second.Reason)
	}
}
