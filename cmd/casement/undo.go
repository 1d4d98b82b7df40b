package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/remedy"
)

// undoing is one action that is to be changed back.
type undoing struct {
	Case   string    `json:"case"`
	Action string    `json:"action"`
	What   string    `json:"what"`
	Asset  string    `json:"asset"`
	Rule   string    `json:"rule"`
	Acted  time.Time `json:"acted_at"`
	Undo   string    `json:"undo"`
	Status string    `json:"status"`
	// Probe is what the probe saw after it.
	Probe string `json:"probe,omitempty"`
	Error string `json:"error,omitempty"`
}

func (c *cli) caseUndoCommand() *cobra.Command {
	return c.undoCommand("undo CASE [ACTION]", "Change an action of a case back", "  casement case undo cas_0123 e1.0 -m \"the shop needs it\"", false)
}

func (c *cli) actionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "action",
		Short:   "Change actions back, one or all of a rule",
		Example: "  casement action undo cas_0123 e1.0 -m \"wrong bucket\"\n  casement action undo --rule storage-public-s3 --since 1h -m \"rule was too broad\"",
	}
	cmd.AddCommand(c.undoCommand("undo [CASE [ACTION]]", "Change back one action, or all that a rule did",
		"  casement action undo cas_0123 e1.0 -m \"wrong bucket\"\n  casement action undo --rule storage-public-s3 --since 1h -m \"rule was too broad\"", true))
	return cmd
}

func (c *cli) undoCommand(use, short, example string, bulk bool) *cobra.Command {
	var rule, reason string
	var since, wait time.Duration
	long := short + `. The plan is shown first; changes are made
back in reverse order, and a probe looks at the state after each. An action whose target
was changed by somebody else meanwhile is refused, not overwritten. Exit code 7: nothing was
changed back; 9: some of it was not; 124: not within --wait, it goes on by itself.`
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: atMost(2, "words, CASE and ACTION")}
	f := lists(cmd)
	c.dangerous(cmd)
	if bulk {
		cmd.Flags().StringVar(&rule, "rule", "", "`id` of a rule: all actions it decided")
		cmd.Flags().DurationVar(&since, "since", time.Hour, "with --rule: how `long` ago at most it acted")
	}
	cmd.Flags().StringVarP(&reason, "message", "m", "", "`reason`, for the record")
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how `long` to wait for each to be changed back and probed; 0 does not wait")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		if (rule == "") == (len(args) == 0) {
			return failf(codeUsage, cmd.CommandPath()+" --help", "name a case%s", map[bool]string{true: ", or a rule with --rule", false: ""}[bulk])
		}
		if strings.TrimSpace(reason) == "" {
			return failf(codeUsage, `add -m "why"`, "say why with -m: it goes into the record")
		}
		return c.with(ctx, false, func(k *client) error {
			plan, err := c.undoPlan(ctx, k, args, rule, since)
			if err != nil {
				return err
			}
			if len(plan) == 0 {
				try := "casement case list"
				if rule == "" {
					try = "casement case show " + args[0]
				}
				return failf(codeNotFound, try, "nothing is there to be changed back: no action there was done that has a way back")
			}
			if err := c.confirm(undoText(plan)); err != nil {
				return err
			}
			if !k.live {
				wait = 0
			}
			for i := range plan {
				c.undoOne(ctx, k, &plan[i], reason, wait)
			}
			if err := emit(c, f, plan, c.showUndone); err != nil {
				return err
			}
			c.pending(k)
			return undoVerdict(plan, wait)
		})
	})
	return cmd
}

// undoable are the states in which an action can be changed back.
func undoable(a remedy.Action) bool {
	switch a.Status {
	case remedy.ActionActed, remedy.ActionWatching, remedy.ActionDone, remedy.ActionFailed, remedy.ActionUnundone:
		return !a.ActedAt.IsZero() && a.Spec.Undoable
	}
	return false
}

// undoPlan collects what is to be changed back, newest act first.
func (c *cli) undoPlan(ctx context.Context, k *client, args []string, rule string, since time.Duration) ([]undoing, error) {
	var ids []string
	if rule == "" {
		ids = args[:1]
	} else {
		rows, _, err := k.cases(ctx, url.Values{"open": {"all"}}, 0)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.UpdatedAt.After(c.now().Add(-since)) {
				ids = append(ids, r.ID)
			}
		}
	}
	var out []undoing
	for _, id := range ids {
		v, err := k.oneCase(ctx, id)
		if err != nil {
			return nil, err
		}
		decided := v.Case.Judgement.Decision.Rule
		for _, a := range v.Case.Actions {
			named := len(args) < 2 || a.ID == args[1]
			recent := rule == "" || decided == rule && a.ActedAt.After(c.now().Add(-since))
			if !named || !recent || !undoable(a) {
				continue
			}
			out = append(out, undoing{Case: id, Action: a.ID, What: a.Spec.Connector + "/" + a.Spec.Verb, Asset: v.Case.Asset.Name, Rule: decided,
				Acted: a.ActedAt, Undo: orWords(a.Plan.Undo, "restores the state before it"), Status: string(a.Status)})
		}
		if len(args) == 2 && len(out) == 0 {
			return nil, failf(codeConflict, "casement case show "+id, "case %s has no action %s that can be changed back", id, args[1])
		}
	}
	slices.SortStableFunc(out, func(a, b undoing) int { return b.Acted.Compare(a.Acted) })
	return out, nil
}

func undoText(plan []undoing) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s will be changed back, the newest first:\n", plural(len(plan), "action"))
	for i, u := range plan {
		fmt.Fprintf(&b, "  %d. %s on %s (case %s, action %s, acted %s): %s\n", i+1, u.What, clean(u.Asset), u.Case, u.Action, u.Acted.UTC().Format(time.RFC3339), clean(u.Undo))
	}
	return b.String()
}

// undoOne asks for one undo and waits for it and its probe.
func (c *cli) undoOne(ctx context.Context, k *client, u *undoing, reason string, wait time.Duration) {
	if _, err := k.tell(ctx, u.Case, "undo", order{Action: u.Action, Text: reason}); err != nil {
		u.Error = err.Error()
		return
	}
	u.Status = string(remedy.ActionUndoing)
	if wait <= 0 {
		return
	}
	err := poll(ctx, wait, func() (bool, error) {
		v, err := k.oneCase(ctx, u.Case)
		if err != nil {
			return false, err
		}
		a, _ := v.Case.Action(u.Action)
		u.Status, u.Probe = string(a.Status), ""
		if a.Status == remedy.ActionUnundone {
			u.Error = a.Reason
			return true, nil
		}
		if a.Status != remedy.ActionUndone || v.Case.Probe.Purpose == remedy.ProbeUndo {
			return false, nil
		}
		if o := v.Case.LastProbe; o.At.After(a.Since.Add(-time.Second)) {
			u.Probe = string(o.Result)
		}
		return true, nil
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		u.Error = err.Error()
	} else if err != nil {
		u.Error = "not changed back yet; it goes on without this command"
	}
}

func (c *cli) showUndone(list []undoing) {
	tab := newTable("case", "action", "what", "asset~", "status", "probe after", "error~")
	for _, u := range list {
		style := green
		if u.Error != "" {
			style = red
		}
		tab.add(u.Case, u.Action, u.What, u.Asset, cell{u.Status, style}, strings.ReplaceAll(u.Probe, "_", " "), u.Error)
	}
	tab.print(c.term, "")
}

func undoVerdict(list []undoing, wait time.Duration) error {
	failed, open := 0, 0
	for _, u := range list {
		switch {
		case u.Error != "" && u.Status == string(remedy.ActionUndoing):
			open++
		case u.Error != "":
			failed++
		}
	}
	switch {
	case failed == len(list):
		return failf(codeConflict, "casement case show "+list[0].Case, "nothing was changed back")
	case failed > 0:
		return failf(codePartial, "", "%d of %s were not changed back", failed, plural(len(list), "action"))
	case open > 0:
		return failf(codeTimeout, "casement case show "+list[0].Case, "%s not changed back within %s", plural(open, "action"), wait)
	}
	return nil
}
