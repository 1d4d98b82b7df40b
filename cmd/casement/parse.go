package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/format/jsonl"
)

// parsed is one finding as `casement parse` prints it. The fields scripts rely
// on are always there, also when the source did not state them.
type parsed struct {
	jsonl.Line
	Rule  string      `json:"rule"`
	Asset parsedAsset `json:"asset"`
	// FirstSeen is null when the source does not say: parse invents no time.
	FirstSeen *time.Time `json:"first_seen"`
}

type parsedAsset struct {
	finding.Asset
	Type string `json:"type"`
	Name string `json:"name"`
}

func parsedOf(f finding.Finding) parsed {
	p := parsed{Line: jsonl.LineOf(f), Rule: f.Rule, Asset: parsedAsset{f.Asset, f.Asset.Type, f.Asset.Name}}
	if !f.FirstSeen.IsZero() {
		at := f.FirstSeen.UTC()
		p.FirstSeen = &at
	}
	return p
}

func (c *cli) parseCommand() *cobra.Command {
	var mappings []string
	var event string
	cmd := &cobra.Command{
		Use:   "parse FILE...",
		Short: "Read alerts and print them as normalized findings",
		Long: `Read alerts from files, - for standard input, and print one JSON object per finding. The
format is found by content (` + wrap(readable(), reportWidth, "") + `),
or JSON of any other form is read by a mapping file (docs/mapping.md). Nothing is stored and
no policy is applied: suppressed means that the source itself says "not a finding".

The summary {read, kept, suppressed, refused} goes to standard error as the last
line. Exit code 9: some records were refused; 1: none could be read.`,
		Example: `  casement parse trivy.json
  casement parse --mapping acme.yaml acme-alerts.json
  cat webhook.json | casement parse --event dependabot_alert - | jq .key`,
		Args: atLeast(1, "FILE"),
	}
	f := output(cmd, "jsonl", "json", "table")
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	c.scans(cmd)
	cmd.Flags().StringVar(&event, "event", "", "event `name` of the sender, e.g. of its X-GitHub-Event header")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		a, err := c.parse(ctx, f, args, mappings, event)
		if err != nil {
			return err
		}
		verdict := c.tell(a)
		if verdict != nil {
			c.report(verdict)
		}
		b, err := json.Marshal(a.summary)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.err, string(b))
		if verdict != nil {
			return silent(codeOf(verdict))
		}
		return nil
	})
	return cmd
}

// readable names the formats that are known, with those that mapping files read.
func readable() string {
	var names []string
	for _, r := range all.Readers() {
		names = append(names, r.Name())
	}
	return strings.Join(names, ", ")
}

// parse reads the files and prints the findings: lines as they are read, the
// other forms when all are.
func (c *cli) parse(ctx context.Context, f *formats, names, mappings []string, event string) (alerts, error) {
	if f.word != "jsonl" {
		a, err := c.readAlerts(ctx, names, mappings, event)
		if err != nil {
			return a, err
		}
		return a, c.printParsed(f, a.findings)
	}
	w := bufio.NewWriter(c.out)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	a, err := c.readEach(ctx, names, mappings, event, func(x finding.Finding) error { return e.Encode(parsedOf(x)) })
	return a, firstOf(err, w.Flush())
}

func (c *cli) printParsed(f *formats, list []finding.Finding) error {
	out := make([]parsed, len(list))
	for i, x := range list {
		out[i] = parsedOf(x)
	}
	return emit(c, f, out, func(list []parsed) {
		t := newTable("severity", "class~", "title~", "asset~", "component~", "source")
		for _, p := range list {
			component := p.Component
			if p.Version != "" {
				component += " " + p.Version
			}
			t.add(cell{p.Severity.String(), severityStyle(p.Severity)}, string(p.Class), p.Title, p.Asset.Name, component, p.Source)
		}
		t.print(c.term, "")
	})
}

func severityStyle(s finding.Severity) string {
	switch s {
	case finding.SeverityCritical:
		return bold + ";" + red
	case finding.SeverityHigh:
		return red
	case finding.SeverityMedium:
		return yellow
	}
	return ""
}
