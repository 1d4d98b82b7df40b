package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

const expiryPolicy = `kind: playbooks
playbooks:
  - name: host
    description: Blocks for an hour.
    probe: nftables/packets
    grade: P3
    contain:
      - {name: block, do: nftables/block-host, params: {timeout: 1h}, expires: 1h, auth: enforce, settle: 0s, tries: 3, interval: 10s, watch: 1m, watch_every: 20s}
---
kind: rules
mode: enforce
rules:
  - {name: host, when: "true", class: K1, playbook: host, why: Somebody else controls it.}
---
kind: routes
routes: [{name: all, notify: [chat]}]
`

// A block of real packets ends with its hour: people are told before, by a real
// message, and the probe looks after.
func TestContainmentEnds(t *testing.T) {
	b, s := targets.StartNet(t), newSink(t)
	d := &desk{TB: t, bench: b, now: time.Now().UTC(), at: func(string) {}}
	a, err := app.New(context.Background(), app.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Authors: []string{"paula"},
		Connectors: map[string]connector.Connector{"nftables": connector.Stack(b.Connector(), connector.Options{Attempts: 1})},
		Notifiers:  map[string]connector.Notifier{"chat": s.notifier(t, "slack")},
		Policy:     []policy.File{{Name: "expiry.yaml", Data: []byte(expiryPolicy)}}, Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(killOwners)}}})
	if err != nil {
		t.Fatal(err)
	}
	d.app = a
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	open := b.State()
	d.alert(control{name: "nftables", verb: "block-host"})
	d.until(10*time.Minute, func(remedy.Case) bool { return d.action().Status == remedy.ActionDone })
	x := d.action()
	if x.Status != remedy.ActionDone || x.After.Result != remedy.NotExposed || !x.ExpiresAt.Equal(x.ActedAt.Add(time.Hour)) {
		t.Fatalf("the block is %s (%s), after it %+v, it ends %s", x.Status, x.Reason, x.After, x.ExpiresAt)
	}
	s.take() // what was said of the block itself
	says := "block ends at " + x.ExpiresAt.Format(time.RFC3339)
	d.until(x.ActedAt.Add(47*time.Minute).Sub(d.now), never)
	if got := s.take(); tellsOf(got, says) > 0 {
		t.Errorf("told of the end too early: %v", got)
	}
	d.until(x.ActedAt.Add(50*time.Minute).Sub(d.now), never)
	if got := s.take(); tellsOf(got, says) != 1 || d.action().Status != remedy.ActionDone {
		t.Errorf("ten minutes before its end the message did not arrive once: %v; the block is %s", got, d.action().Status)
	}
	if o := d.load().LastProbe; o.Result == remedy.Exposed {
		t.Errorf("the block holds, the probe says %+v", o)
	}
	d.until(x.ExpiresAt.Add(2*time.Minute).Sub(d.now), never)
	c := d.load()
	if b.State() != open || d.action().Status != remedy.ActionUndone {
		t.Errorf("after its hour the block is %s (%s)\n%s", d.action().Status, d.action().Reason, b.Elements())
	}
	if !c.Open() || c.LastProbe.Result != remedy.Exposed || !c.LastProbe.At.After(x.ExpiresAt.Add(-time.Second)) {
		t.Errorf("after it the case is %s, the probe says %+v", c.State(), c.LastProbe)
	}
	if got := s.take(); tellsOf(got, says) != 0 || tellsOf(got, "its time is over") == 0 {
		t.Errorf("after its end: %v", got)
	}
}

// tellsOf counts the messages that contain a text.
func tellsOf(got []arrival, text string) (n int) {
	for _, m := range got {
		if strings.Contains(m.text, text) {
			n++
		}
	}
	return n
}
