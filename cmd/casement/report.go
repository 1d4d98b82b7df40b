package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/report"
	"github.com/casement/casement/internal/web"
)

func (c *cli) reportCommand() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Measure how fast exposures end and which promises are kept",
		Long: `Measure closure by risk class: how long it takes to acknowledge, contain, remediate and
verify, what was closed by itself, rejected, reopened or came back, and for how long SLA
clocks were paused. What is still open counts in every time; a share that is not reached is
not guessed. -o json has every count, -o jsonl a line for each class.`,
		Example: "  casement report\n  casement report --since 2026-10-01\n  casement report --since 30d -o json | jq '.rows[0].sla_fix'",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.Flags().StringVar(&since, "since", "", "`start` of the window: 2026-10-01, 2026-10-01T09:00:00Z, or how long ago: 720h or 30d (default: all time)")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		path := "/api/v1/report"
		if since != "" {
			from, err := c.begin(since)
			if err != nil {
				return err
			}
			path += "?since=" + url.QueryEscape(from.Format(time.RFC3339))
		}
		return c.with(ctx, false, func(k *client) error {
			var out report.Closure
			if err := k.call(ctx, "GET", path, nil, &out); err != nil {
				return err
			}
			if f.word == "json" {
				return emitJSON(c, out)
			}
			return emit(c, f, out.Rows, func([]report.Row) { c.showReport(out) })
		})
	})
	return cmd
}

func (c *cli) showReport(r report.Closure) {
	window := "all time"
	if !r.From.IsZero() {
		window = r.From.UTC().Format("2006-01-02 15:04")
	}
	fmt.Fprintf(c.out, "Closure, %s to %s\n", window, r.At.UTC().Format("2006-01-02 15:04 UTC"))
	if r.Rows[0].Episodes == 0 {
		fmt.Fprintln(c.out, "no exposure in this time")
		return
	}
	for _, t := range web.ReportTables(r) {
		fmt.Fprintf(c.out, "\n%s\n", c.term.paint(bold, t.Title))
		fmt.Fprintln(c.out, c.term.paint(dim, wrap(t.Note, reportWidth, "")))
		tab := newTable(t.Head...)
		for _, row := range t.Rows {
			cells := make([]any, len(row))
			for i, cell := range row {
				cells[i] = cell
			}
			tab.add(cells...)
		}
		tab.print(c.term, "")
	}
}

// reportWidth is where notes of the report are wrapped.
const reportWidth = 90

// begin reads the start of a window: a day, an instant, or how long ago.
func (c *cli) begin(word string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, word); err == nil {
			if t.After(c.now()) {
				return t, failf(codeUsage, "", "%s is in the future", word)
			}
			return t.UTC(), nil
		}
	}
	if d, err := length(word); err == nil && d > 0 {
		return c.now().Add(-d), nil
	}
	return time.Time{}, failf(codeUsage, "", "%q is no start: want 2026-10-01, 2026-10-01T09:00:00Z or a length such as 720h or 30d", word)
}
