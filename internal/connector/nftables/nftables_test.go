package nftables_test

import (
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/connector/nftables"
	"github.com/casement/casement/internal/remedy"
)

func TestPacketFilter(t *testing.T) {
	connectortest.Run(t, func(t testing.TB) connectortest.Bench { return targets.StartNet(t) })
}

func door(b *targets.NetBench) (*connector.Door, connector.Request) {
	r := b.Request("")
	r.CaseID, r.Key, r.Now = connectortest.CaseID, "k", connectortest.Now()
	return connector.Stack(b.Connector(), connector.Options{Attempts: 1}), r
}

func probe(t *testing.T, d *connector.Door, r connector.Request) remedy.Observation {
	t.Helper()
	o, err := d.Probe(t.Context(), nftables.VerbPackets, r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func block(t *testing.T, d *connector.Door, r connector.Request) connector.Request {
	t.Helper()
	p, err := d.Plan(t.Context(), nftables.VerbBlock, r)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = connector.Seal(p, "nftables", nftables.VerbBlock, r, r.Now)
	o, err := d.Act(t.Context(), nftables.VerbBlock, r)
	if err != nil {
		t.Fatal(err)
	}
	r.UndoHandle = o.UndoHandle
	return r
}

// The kernel takes the element out by itself; undoing it then is nothing.
func TestExpiresByItself(t *testing.T) {
	b := targets.StartNet(t)
	d, r := door(b)
	r.Params["timeout"] = "2s"
	r = block(t, d, r)
	if o := probe(t, d, r); o.Result != remedy.NotExposed {
		t.Fatalf("blocked, the probe says %+v", o)
	}
	// Only the kernel's clock ends it: knock until it does, for at most a minute.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var o remedy.Observation
	for range 600 {
		if o = probe(t, d, r); o.Result == remedy.Exposed {
			break
		}
		<-tick.C
	}
	if o.Result != remedy.Exposed {
		t.Fatalf("after its time the probe says %+v\n%s", o, b.Elements())
	}
	if out, err := d.Undo(t.Context(), nftables.VerbBlock, r); err != nil || !out.Nothing {
		t.Errorf("undo after expiry: %+v %v", out, err)
	}
}

// No answer proves a block only while the way itself works.
func TestBrokenWayIsNoProof(t *testing.T) {
	b := targets.StartNet(t)
	d, r := door(b)
	r = block(t, d, r)
	b.Cut(true)
	if o := probe(t, d, r); o.Result != remedy.Inconclusive || !strings.Contains(o.Detail, "way") {
		t.Errorf("with the wire cut the probe says %+v", o)
	}
}

func TestSetMustBeThere(t *testing.T) {
	b := targets.StartNet(t)
	_, r := door(b)
	for _, c := range []struct {
		cfg  nftables.Config
		want string
	}{
		{nftables.Config{Set: "other"}, "no set other"},
		{nftables.Config{Table: "other"}, "nft says"},
	} {
		c.cfg.Namespace = b.Gateway()
		x, err := nftables.New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = connector.Stack(x, connector.Options{Attempts: 1}).Plan(t.Context(), nftables.VerbBlock, r)
		if connector.KindOf(err) != connector.KindRefused || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("plan without set or table: %v", err)
		}
	}
}
