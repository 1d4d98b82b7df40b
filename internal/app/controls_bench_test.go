package app_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// BenchmarkApprovalToProof measures, by the clock of the machine, the time from
// a person's approval to the proof by the probe, for every control, with a
// settle time of zero; the case closes on it when the watch is over, which is
// run by a clock that the benchmark moves. go test -bench ApprovalToProof
// -benchtime 5x -run '^$' ./internal/app prints the table of docs/controls.md.
func BenchmarkApprovalToProof(b *testing.B) {
	for _, c := range controls() {
		b.Run(c.title(), func(b *testing.B) {
			fresh := c.start(b)
			var took []time.Duration
			for b.Loop() {
				b.StopTimer()
				d := c.open(b, fresh(b), "approve", nil)
				anna, err := d.app.Auth.AddUser(context.Background(), remedy.Actor{Kind: remedy.System, ID: "bench"},
					auth.User{Tenant: finding.DefaultTenant, Name: "anna", Roles: []auth.Role{auth.RoleAdmin}}, "a-long-enough-password-41")
				if err != nil {
					b.Fatal(err)
				}
				d.alert(c)
				d.until(time.Hour, func(x remedy.Case) bool { return len(x.Actions) > 0 && x.Actions[0].Status == remedy.ActionAsking })
				a := d.action()
				if a.Status != remedy.ActionAsking {
					b.Fatalf("nobody is asked: %s (%s)", a.Status, a.Reason)
				}
				b.StartTimer()
				at := time.Now()
				if _, err := d.app.Engine.Approve(context.Background(), d.id, a.ID, a.Plan.Hash, anna.ID, "", d.now); err != nil {
					b.Fatal(err)
				}
				for d.action().After.Result != remedy.NotExposed {
					if d.step() == 0 {
						b.Fatalf("nothing is due, and the case is %s: %s", d.load().State(), d.action().Reason)
					}
				}
				took = append(took, time.Since(at))
				b.StopTimer()
				d.proven()
				b.StartTimer()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/p50")
		})
	}
}
