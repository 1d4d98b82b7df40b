package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/backtest"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

// explained is one exposure with its judgement and how it came about.
type explained struct {
	Key         string            `json:"key"`
	UIDs        []string          `json:"uids"`
	Title       string            `json:"title"`
	Alerts      int               `json:"alerts"`
	Path        remedy.Path       `json:"path"`
	Trusted     remedy.Path       `json:"path_if_trusted"`
	Judgement   remedy.Judgement  `json:"judgement"`
	Explanation judge.Explanation `json:"explanation"`
}

func (c *cli) policyExplainCommand() *cobra.Command {
	var mappings []string
	var event, key string
	var top int
	cmd := &cobra.Command{
		Use:   "explain FILE...",
		Short: "Say why an alert gets the decision it gets",
		Long: `Judge alerts and show how each decision came about: the rules that were tried, which
one decided, how the risk class and the deadlines follow, what lowered an authorization,
who owns it and why, and which facts were unknown. --key picks one exposure, by a
key or uid as parse and try print them; its beginning is enough.`,
		Example: "  casement policy explain alerts.json\n  casement policy explain alerts.json --key v1:5f2a --policy ./policy",
		Args:    atLeast(1, "FILE"),
	}
	f := lists(cmd)
	j := judges(cmd)
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	c.scans(cmd)
	cmd.Flags().StringVar(&event, "event", "", "event `name` of the sender, e.g. of its X-GitHub-Event header")
	cmd.Flags().StringVar(&key, "key", "", "exposure `key` or uid, or its beginning")
	cmd.Flags().IntVar(&top, "top", 3, "`number` of exposures to explain when --key is not given; 0 for all")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		jd, err := c.judge(ctx, j)
		if err != nil {
			return err
		}
		a, err := c.readAlerts(ctx, args, mappings, event)
		if err != nil {
			return err
		}
		verdict := c.tell(a)
		if verdict != nil && a.summary.Kept == 0 {
			return verdict
		}
		groups := backtest.GroupOf(a.findings)
		if key != "" {
			groups = slices.DeleteFunc(groups, func(g backtest.Group) bool {
				return !strings.HasPrefix(g.Key, key) && !slices.ContainsFunc(g.UIDs, func(u string) bool { return strings.HasPrefix(u, key) })
			})
			if len(groups) == 0 {
				return failf(codeNotFound, "casement try "+fileWords(args), "no exposure has the key %s", key)
			}
		} else if top > 0 && len(groups) > top {
			c.sayf("explaining %d of %s; choose one with --key, or all with --top 0", top, plural(len(groups), "exposure"))
			groups = groups[:top]
		}
		list := make([]explained, len(groups))
		for i, g := range groups {
			list[i] = explain(jd, g, c.now())
			for n, r := range list[i].Explanation.Trace.Rules {
				list[i].Explanation.Trace.Rules[n].Where = inFolder(j.policy, r.Where)
			}
		}
		if err := emit(c, f, list, func(list []explained) {
			for i, x := range list {
				if i > 0 {
					fmt.Fprintln(c.out)
				}
				c.showExplained(x)
			}
		}); err != nil {
			return err
		}
		return verdict
	})
	return cmd
}

func explain(j judge.Judge, g backtest.Group, at time.Time) explained {
	facts := policy.CaseFacts{Members: len(g.UIDs)}
	v, e := j.Judge(g.Finding, facts, at)
	j.IgnoreModes = true
	trusted, _ := j.Judge(g.Finding, facts, at)
	return explained{Key: g.Key, UIDs: g.UIDs, Title: g.Finding.Title, Alerts: g.Alerts, Path: v.Decision.Path(), Trusted: trusted.Decision.Path(),
		Judgement: v, Explanation: e}
}

func (c *cli) showExplained(x explained) {
	t, d, tr := c.term, x.Judgement.Decision, x.Explanation.Trace
	fmt.Fprintf(t.w, "%s  %s\n", t.paint(bold, clean(x.Title)), t.paint(dim, x.Key))
	decision := pathWord(x.Path)
	if x.Trusted != x.Path {
		decision += " (mode " + string(d.Mode) + "; once trusted: " + pathWord(x.Trusted) + ")"
	}
	c.fact("decision", decision, pathStyle(x.Trusted))
	c.fact("rule", d.Rule+": "+d.Why, "")
	if d.Error != "" {
		c.fact("error", d.Error+"; a person decides", red)
	}
	c.fact("class", d.Class.String()+", the strictest of: "+strings.Join(tr.Class, "; "), riskStyle(d.Class))
	c.fact("deadlines", deadlineWords(x.Judgement, c.now()), "")
	for _, a := range d.Actions {
		c.fact(string(a.Phase), fmt.Sprintf("%s: %s/%s, authorization %s", a.Name, a.Connector, a.Verb, a.Auth), "")
	}
	if d.Probe.Name() != "" {
		c.fact("proof", d.Probe.Name()+", at least grade "+d.Grade.String(), "")
	}
	if len(tr.Lowered) > 0 {
		c.fact("held back", strings.Join(tr.Lowered, "; "), yellow)
	}
	if len(tr.Would) > 0 {
		c.fact("unknown", strings.Join(tr.Would, ", ")+": counted as the worst case", yellow)
	}
	as := x.Explanation.Assignment
	who := as.Owner
	if !as.Known() {
		who += " (the fallback)"
	}
	c.fact("owner", fmt.Sprintf("%s, by %s; approver %s; backup %s", who, as.Source, orWords(as.Approver, "nobody"), orWords(as.Backup, "nobody")), "")
	fmt.Fprintf(t.w, "    %s\n", t.paint(dim, "rules tried"))
	no := 0
	for _, r := range tr.Rules {
		if r.Result == "no" {
			no++
			continue
		}
		line := fmt.Sprintf("%-8s %s (%s)", r.Result, r.Rule, r.Where)
		if len(r.Unknown) > 0 {
			line += ", depends on " + strings.Join(r.Unknown, ", ")
		}
		if r.Error != "" {
			line += ": " + r.Error
		}
		fmt.Fprintf(t.w, "      %s\n", clean(line))
	}
	if no > 0 {
		fmt.Fprintf(t.w, "      %s\n", plural(no, "other rule")+" did not match, or would come later")
	}
	fmt.Fprintf(t.w, "    %s\n", t.paint(dim, "owners asked"))
	for _, s := range as.Chain {
		mark := "-"
		if s.Answered {
			mark = "*"
		}
		why := s.Why
		if s.Value != "" {
			why = strings.TrimSuffix(s.Value+": "+why, ": ")
		}
		fmt.Fprintf(t.w, "      %s %-11s %s\n", mark, s.Source, clean(why))
	}
}

// deadlineWords lists the clocks with the time that is left.
func deadlineWords(j remedy.Judgement, now time.Time) string {
	var parts []string
	for _, x := range []struct {
		word string
		at   time.Time
	}{{"acknowledge", j.Clocks.Ack}, {"contain", j.Clocks.Contain}, {"fix", j.Clocks.Fix}} {
		if !x.at.IsZero() {
			parts = append(parts, x.word+" in "+span(x.at.Sub(now)))
		}
	}
	return strings.Join(parts, ", ")
}

// span words a length of time in its two largest units.
func span(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	d = d.Round(time.Second)
	day := 24 * time.Hour
	switch {
	case d > 2*day:
		return fmt.Sprintf("%s%d d", sign, (d+day/2)/day)
	case d >= time.Hour:
		if m := d % time.Hour / time.Minute; m > 0 && d < 12*time.Hour {
			return fmt.Sprintf("%s%d h %d min", sign, d/time.Hour, m)
		}
		return fmt.Sprintf("%s%d h", sign, d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%s%d min", sign, d/time.Minute)
	}
	return fmt.Sprintf("%s%d s", sign, d/time.Second)
}
