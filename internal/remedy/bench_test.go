package remedy

import "testing"

// BenchmarkOpen is what an alert that opens a case costs in the core: Handle,
// then applying the events to the case in memory.
func BenchmarkOpen(b *testing.B) {
	cmd := Command{At: start(), By: Actor{Source, "aws.securityhub"}, Do: observe(public("u1"), judged(start(), closeSpec(AuthEnforce)))}
	b.ReportAllocs()
	for b.Loop() {
		var c Case
		evs, err := Handle(c, cmd)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range evs {
			c = Apply(c, e)
		}
		if len(Pending(c)) == 0 || WakeAt(c).IsZero() {
			b.Fatal("the case waits for nothing")
		}
	}
}

// BenchmarkJoin is what a further finding of an open case costs.
func BenchmarkJoin(b *testing.B) {
	var c Case
	evs, err := Handle(c, Command{At: start(), Do: observe(public("u1"), judged(start(), closeSpec(AuthApprove)))})
	if err != nil {
		b.Fatal(err)
	}
	c = Replay(evs)
	cmd := Command{At: start(), Do: observe(public("u2"), judged(start(), closeSpec(AuthApprove)))}
	b.ReportAllocs()
	for b.Loop() {
		evs, err := Handle(c, cmd)
		if err != nil || len(evs) != 1 {
			b.Fatal(evs, err)
		}
		Apply(c, evs[0])
	}
}
