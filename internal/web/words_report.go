package web

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/report"
)

// ReportTable is one table of the closure report in words, for page and command
// line. The first column is the risk class.
type ReportTable struct {
	Title string
	// Note says how to read it.
	Note string
	Head []string
	Rows [][]string
}

// ReportTables puts the closure report into words. Every percentage has its
// counts beside it.
func ReportTables(c report.Closure) []ReportTable {
	table := func(title, note string, head []string, cells func(r report.Row) []string) ReportTable {
		t := ReportTable{Title: title, Note: note, Head: append([]string{"class"}, head...)}
		for _, r := range c.Rows {
			t.Rows = append(t.Rows, append([]string{r.Class}, cells(r)...))
		}
		return t
	}
	n := strconv.Itoa
	out := []ReportTable{
		table("Exposures", "How many there were, and how they ended; K1 is the most urgent class. Only a probe or the asset's end is proof.",
			[]string{"open at start", "opened", "open now", "past due to fix", "proven closed", "closed without proof", "no exposure"},
			func(r report.Row) []string {
				open := n(r.Open)
				if r.Accepted > 0 {
					open += fmt.Sprintf(" (%d accepted)", r.Accepted)
				}
				return []string{n(r.OpenAtStart), n(r.Opened), open, n(r.Fix.OpenPastDue), n(r.Proven), n(r.Attested), n(r.Dropped)}
			}),
		table("Half were done within", "Median, and how many are done of all; what is still open counts. Verify is from the change to the proof, the exposure from the source's detection, the others from ours.",
			[]string{"acknowledge", "contain", "remediate", "verify", "exposure ended"},
			func(r report.Row) []string {
				var cells []string
				for _, t := range []report.Time{r.Acknowledge, r.Contain, r.Remediate, r.Verify, r.Window} {
					cells = append(cells, reachedWords(t.P50, t)+countWords(t))
				}
				return cells
			}),
		table("Nine of ten were done within", "A share that is not reached is not guessed.",
			[]string{"acknowledge", "contain", "remediate", "verify", "exposure ended"},
			func(r report.Row) []string {
				var cells []string
				for _, t := range []report.Time{r.Acknowledge, r.Contain, r.Remediate, r.Verify, r.Window} {
					cells = append(cells, reachedWords(t.P90, t))
				}
				return cells
			}),
		table("Promises kept", "Done in time, of those done or past due; – where nothing was due yet. Time in which the SLA clock was paused does not count.",
			[]string{"acknowledge", "contain", "fix"},
			func(r report.Row) []string {
				return []string{shareWords(r.Ack.Attained), shareWords(r.Cont.Attained), shareWords(r.Fix.Attained)}
			}),
		table("How it was closed", "Of what was proven closed: without a decision of a person; open again at the same place within 30 days; the same trouble of the same owner elsewhere within 90 days. Rejected is of the approvals that were answered or ran out.",
			[]string{"by itself", "reopened", "recurred", "approvals rejected", "waiting"},
			func(r report.Row) []string {
				return []string{shareWords(r.AutoResolved), shareWords(r.Reopened), shareWords(r.Recurred), shareWords(r.Rejected), n(r.Approvals.Waiting)}
			}),
	}
	if c.Rows[0].Paused.Episodes > 0 {
		out = append(out, table("SLA clock paused", "Promises are measured without this time; the exposure above goes on through it.",
			[]string{"exposures", "time", "why"},
			func(r report.Row) []string {
				var why []string
				for _, reason := range slices.Sorted(maps.Keys(r.Paused.ByReason)) {
					why = append(why, reason.Words()+" "+secondsWords(r.Paused.ByReason[reason]))
				}
				return []string{n(r.Paused.Episodes), secondsWords(r.Paused.Seconds), strings.Join(why, ", ")}
			}))
	}
	return out
}

func secondsWords(s report.Seconds) string {
	return strings.ReplaceAll(span(time.Duration(s)*time.Second), "\u00a0", " ")
}

// reachedWords says when a share was done.
func reachedWords(s *report.Seconds, t report.Time) string {
	switch {
	case t.N == 0:
		return "–"
	case s == nil:
		return "not reached"
	}
	return secondsWords(*s)
}

func countWords(t report.Time) string {
	if t.N == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of %d)", t.Done, t.N)
}

func shareWords(s report.Share) string {
	if s.Percent == nil {
		return "–"
	}
	return fmt.Sprintf("%.0f %% (%d of %d)", *s.Percent, s.Part, s.Whole)
}
