package app_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// BenchmarkApprovalToProof measures, by the clock of the machine, the time from
// a person's approval to the proof by the probe, for every control, with a
// settle time of zero; and by the clock of the case, which the benchmark moves,
// what the watch adds to that before the case closes. make controls runs it with
// -update, which writes the column of docs/controls.md anew.
func BenchmarkApprovalToProof(b *testing.B) {
	var measured []measurement
	for _, c := range controls() {
		b.Run(c.title(), func(b *testing.B) {
			fresh := c.start(b)
			var took []time.Duration
			m := measurement{control: c}
			for b.Loop() {
				b.StopTimer()
				d := c.open(b, fresh(b), "approve", nil)
				anna, err := d.app.Auth.AddUser(context.Background(), remedy.Actor{Kind: remedy.System, ID: "bench"},
					auth.User{Tenant: finding.DefaultTenant, Name: "anna", Roles: []auth.Role{auth.RoleAdmin}}, "a-long-enough-password-41")
				if err != nil {
					b.Fatal(err)
				}
				d.alert(c)
				d.now = d.now.Add(time.Second) // what joins at the very instant of the act has it proven anew
				d.until(time.Hour, func(x remedy.Case) bool { return len(x.Actions) > 0 && x.Actions[0].Status == remedy.ActionAsking })
				a := d.action()
				if a.Status != remedy.ActionAsking {
					b.Fatalf("nobody is asked: %s (%s)", a.Status, a.Reason)
				}
				b.StartTimer()
				at, approved := time.Now(), d.now
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
				m.watch = d.now.Sub(approved)
				b.StartTimer()
			}
			slices.Sort(took)
			m.proof, m.runs = took[len(took)/2], len(took)
			b.ReportMetric(float64(m.proof.Microseconds())/1000, "ms/p50")
			measured = append(measured, m)
		})
	}
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		writeTimes(b, measured)
	}
}

// measurement is a control's median from approval to proof, and what the case
// then waited before it closed.
type measurement struct {
	control
	proof, watch time.Duration
	runs         int
}

// String is the cell of the table.
func (m measurement) String() string {
	s := fmt.Sprintf("%d ms", m.proof.Milliseconds())
	if m.watch >= time.Second {
		s += fmt.Sprintf(", closed %s later", strings.TrimSuffix(m.watch.Round(time.Second).String(), "0s"))
	}
	return s
}

// writeTimes writes the last column of the table in docs/controls.md. A row
// keeps what was measured before for a server that is not here now.
func writeTimes(b *testing.B, measured []measurement) {
	b.Helper()
	doc, err := os.ReadFile(controlsDoc)
	if err != nil {
		b.Fatal(err)
	}
	cells, servers := map[string]string{}, map[string]int{}
	for _, m := range measured {
		servers[m.name+"/"+m.verb]++
	}
	for _, m := range measured {
		name, cell := m.name+"/"+m.verb, m.String()
		if servers[name] > 1 {
			cell += " (" + strings.TrimPrefix(m.on, "the ") + ")"
		}
		if cells[name] != "" {
			cell = cells[name] + "; " + cell
		}
		cells[name] = cell
	}
	lines := strings.Split(string(doc), "\n")
	for i, line := range lines {
		row := strings.Split(line, " | ")
		if cell, ok := cells[strings.Trim(row[0], "|` ")]; ok && strings.HasPrefix(line, "| `") {
			row[len(row)-1] = cell + " |"
			lines[i] = strings.Join(row, " | ")
		}
		if strings.HasPrefix(line, recorded) {
			lines[i] = fmt.Sprintf("%s %s: medians of %d, on %d cores of %s.", recorded, time.Now().UTC().Format(time.DateOnly), measured[0].runs, runtime.NumCPU(), runtime.GOARCH)
		}
	}
	if err := os.WriteFile(controlsDoc, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		b.Fatal(err)
	}
}

const (
	controlsDoc = "../../docs/controls.md"
	recorded    = "Times recorded on"
)
