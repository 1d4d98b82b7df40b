package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/remedy"
)

// order is a command to a case as the API takes it.
type order struct {
	Action string    `json:"action,omitempty"`
	Step   string    `json:"step,omitempty"`
	To     string    `json:"to,omitempty"`
	Text   string    `json:"text,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// told is what the API answers to a command.
type told struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Version uint64 `json:"version"`
	Error   string `json:"error,omitempty"`
}

func (k *client) tell(ctx context.Context, id, verb string, o order) (t told, err error) {
	err = k.call(ctx, "POST", "/api/v1/cases/"+url.PathEscape(id)+"/commands/"+verb, o, &t)
	return t, noCase(id, err)
}

// verb describes one command to cases.
type verb struct {
	name, short, example string
	// long says what follows from it.
	long string
	// many: several cases may be named.
	many bool
	// text, until and to say which flags it has, and which it can't do without.
	text, until, to  bool
	needText, needTo bool
	toDoc, textDoc   string
	// effect: the server has something to do after it.
	effect bool
}

func verbs() []verb {
	return []verb{
		{name: "ack", short: "Take note of cases: the acknowledge clock stops", many: true, long: "Take note of cases: the acknowledge clock stops. The owner and the other clocks stay as they are.", example: "casement case ack cas_0123 cas_0456"},
		{name: "assign", short: "Give cases to a person or team", many: true, to: true, needTo: true, toDoc: "person or team", long: "Give cases to a person or a team, as the owners files name them. They are told, and the\ncases wait for them from now on; clocks go on.", example: "casement case assign cas_0123 --to team-shop"},
		{name: "comment", short: "Add words to a case", many: true, text: true, needText: true, textDoc: "the comment", long: "Add words to a case: they are in its timeline under your name, and nothing follows from them.", example: `casement case comment cas_0123 -m "the owner is on it"`},
		{name: "contain", short: "Ask for the compensating control of the playbook", effect: true, long: "Ask for the compensating control of the playbook, or its first action where it has none. It is\nplanned, and somebody else has to approve it; the case stays open until the fix is proven.", example: "casement case contain cas_0123"},
		{name: "verify", short: "Ask for a probe now", many: true, effect: true, long: "Ask for a probe now: what it sees may close the case, and nothing else does. With --wait its\nanswer is shown.", example: "casement case verify cas_0123 --wait 1m"},
		{name: "escalate", short: "Ask for a person higher up", text: true, textDoc: "reason", effect: true, long: "Ask for a person higher up: the manager of the owner and the operations lead are told at once.", example: `casement case escalate cas_0123 -m "no answer"`},
		{name: "snooze", short: "Silence reminders until a date; with --reason the SLA clock stands still too", many: true, text: true, until: true, textDoc: "reason", long: "Silence reminders until a date, at most 7 days ahead. Deadlines come all the same, unless --reason\npauses the SLA clock: for one of three reasons, and for at most 30 % of a deadline's time in all.", example: "casement case snooze cas_0123 --until 72h -m \"back on Monday\"\n  casement case snooze cas_0123 --reason vendor --until 2027-01-31 -m \"their fix comes with 4.2\""},
		{name: "resume", short: "Let a paused SLA clock run again before its date", many: true, long: "Let a paused SLA clock run again before its date. The kill switch is another one: casement resume.", example: "casement case resume cas_0123"},
		{name: "reopen", short: "Open a closed case again", text: true, textDoc: "reason", long: "Open a closed case again: a new episode begins. Within 30 days of closing, an alert of the\nsame exposure does so by itself.", example: `casement case reopen cas_0123 -m "seen again in the logs"`},
		{name: "attest", short: "Close K3 to K5 on your word, with evidence and an end", text: true, needText: true, until: true, textDoc: "the evidence", long: "Close a case of class K3 to K5 on your word: with evidence, until a date within one year, on which\nit opens again. It is shown as attested and never counted as proven.", example: `casement case attest cas_0123 -m "host was scrapped, see CHG-12" --until 2027-06-30`},
	}
}

// caseVerbs makes the commands of all verbs; undo, merge and split besides.
func (c *cli) caseVerbs() []*cobra.Command {
	var out []*cobra.Command
	for _, v := range verbs() {
		out = append(out, c.caseVerb(v))
	}
	return append(out, c.caseStepCommand(), c.caseUndoCommand(), c.caseMergeCommand(), c.caseSplitCommand())
}

func (c *cli) caseVerb(v verb) *cobra.Command {
	var o order
	var until, target string
	var wait time.Duration
	use := v.name + " CASE"
	args := exactly("CASE")
	if v.many {
		use, args = use+"...", atLeast(1, "CASE")
	}
	cmd := &cobra.Command{Use: use, Short: v.short, Long: v.long, Example: "  " + v.example, Args: args}
	f := output(cmd, "text", "json", "jsonl")
	if v.text {
		cmd.Flags().StringVarP(&o.Text, "message", "m", "", v.textDoc+", in `words` for the record")
	}
	if v.until {
		cmd.Flags().StringVar(&until, "until", "", "`when` it ends: 2027-01-31, 2027-01-31T09:00:00Z, 72h or 30d")
	}
	if v.to {
		cmd.Flags().StringVar(&target, "to", "", "`name` of a "+v.toDoc)
	}
	if v.name == "snooze" {
		cmd.Flags().StringVar(&o.Reason, "reason", "", "pause the SLA clock as well, for this `reason`: vendor, change_freeze or legal_hold")
	}
	if v.name == "verify" {
		cmd.Flags().DurationVar(&wait, "wait", 0, "how `long` to wait for the probe, e.g. 1m; exit code 10 if it is still exposed, 124 if none answers")
	}
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		switch {
		case v.needText && strings.TrimSpace(o.Text) == "":
			return failf(codeUsage, v.example, "say %s with -m", v.textDoc)
		case v.needTo && target == "":
			return failf(codeUsage, v.example, "name %s with --to", v.toDoc)
		case v.until && until == "":
			return failf(codeUsage, v.example, "name the end with --until")
		}
		var err error
		if v.until {
			if o.Until, err = c.instant(until); err != nil {
				return err
			}
		}
		o.To = target
		name := v.name
		if o.Reason != "" {
			name = "pause"
		}
		return c.with(ctx, false, func(k *client) error {
			if err := c.tellAll(ctx, k, f, name, args, o); err != nil {
				return err
			}
			if wait > 0 {
				return c.awaitProbe(ctx, k, args, wait)
			}
			if v.effect {
				c.pending(k)
			}
			c.next("casement case show " + args[0])
			return nil
		})
	})
	return cmd
}

// caseStepCommand says of a manual step that it is done.
func (c *cli) caseStepCommand() *cobra.Command {
	var o order
	var undone bool
	cmd := &cobra.Command{
		Use:   "step CASE NUMBER",
		Short: "Say that a manual step of the playbook is done",
		Long: `Say that a step that the playbook leaves to a person is done, by its number in "casement case
show". It is a word in the timeline under your name: nothing follows from it, a probe has to see
that the exposure is gone.`,
		Example: "  casement case step cas_0123 2\n  casement case step cas_0123 2 --undone -m \"the new key does not work yet\"",
		Args:    exactly("CASE", "NUMBER"),
	}
	f := output(cmd, "text", "json")
	cmd.Flags().StringVarP(&o.Text, "message", "m", "", "`text` of a comment on it")
	cmd.Flags().BoolVar(&undone, "undone", false, "say that the step is not done after all")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		return c.with(ctx, false, func(k *client) error {
			v, err := k.oneCase(ctx, args[0])
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(args[1])
			switch {
			case len(v.Steps) == 0:
				return failf(codeConflict, "casement case show "+args[0], "the playbook of case %s leaves no steps to a person", args[0])
			case err != nil || n < 1 || n > len(v.Steps):
				return failf(codeUsage, "casement case show "+args[0], "step %q: want a number from 1 to %d", args[1], len(v.Steps))
			}
			verb := "step"
			if undone {
				verb = "step-undone"
			}
			o.Step = v.Steps[n-1].Text
			if err := c.tellAll(ctx, k, f, verb, args[:1], o); err != nil {
				return err
			}
			c.next("casement case show " + args[0])
			return nil
		})
	})
	return cmd
}

// tellAll gives one command to several cases; what fails does not stop the
// others.
func (c *cli) tellAll(ctx context.Context, k *client, f *formats, verb string, ids []string, o order) error {
	var list []told
	var first error
	done := 0
	for _, id := range ids {
		t, err := k.tell(ctx, id, verb, o)
		if err != nil {
			if len(ids) == 1 {
				return err
			}
			t = told{ID: id, Error: err.Error()}
			first = firstOf(first, err)
		} else {
			done++
		}
		list = append(list, t)
	}
	if err := emitTold(c, f, verb, list); err != nil {
		return err
	}
	switch {
	case first == nil:
		return nil
	case done == 0:
		return failf(codeOf(first), "", "none of %s took %s", plural(len(ids), "case"), verb)
	}
	return failf(codePartial, "", "%s of %s did not take %s", group(len(ids)-done), plural(len(ids), "case"), verb)
}

func emitTold(c *cli, f *formats, verb string, list []told) error {
	if f.word == "json" && len(list) == 1 {
		return emitJSON(c, list[0])
	}
	return emit(c, f, list, func(list []told) {
		for _, t := range list {
			if t.Error != "" {
				fmt.Fprintf(c.out, "%s: %s\n", clean(t.ID), c.term.paint(red, clean(t.Error)))
				continue
			}
			fmt.Fprintf(c.out, "%s: %s; state %s\n", t.ID, doneWord(verb), c.term.paint(stateStyle(t.State), t.State))
		}
	})
}

// doneWord says what has happened to a case after a verb.
func doneWord(verb string) string {
	switch verb {
	case "ack":
		return "acknowledged"
	case "comment":
		return "comment added"
	case "contain":
		return "containment asked for"
	case "verify":
		return "probe asked for"
	case "snooze":
		return "reminders silenced"
	case "step":
		return "step said to be done"
	case "step-undone":
		return "step said not to be done"
	case "pause":
		return "SLA clock paused"
	case "resume":
		return "SLA clock runs"
	case "attest":
		return "closed as attested"
	}
	return strings.TrimSuffix(verb, "e") + "ed" // assigned, escalated, reopened
}

// instant reads a date (its first instant, UTC) or an RFC 3339 time ahead of now.
func (c *cli) instant(word string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, word)
	if err != nil {
		t, err = time.Parse(time.RFC3339, word)
	}
	if err != nil {
		if d, derr := length(word); derr == nil {
			t, err = c.now().Add(d), nil
		}
	}
	switch {
	case err != nil:
		return t, failf(codeUsage, "", "%q is no date: want 2027-01-31, 2027-01-31T09:00:00Z or a length such as 72h or 30d", word)
	case !t.After(c.now()):
		return t, failf(codeUsage, "", "%s is in the past", word)
	}
	return t.UTC(), nil
}

// length reads a length of time as Go writes it, or whole days: 30d.
func length(word string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(word, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(word)
}

// pollEvery is how often a waiting command looks again.
const pollEvery = 500 * time.Millisecond

// poll calls look until it is done, the time is over or ctx ends.
func poll(ctx context.Context, limit time.Duration, look func() (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// awaitProbe waits until the probes that were asked for have seen something.
func (c *cli) awaitProbe(ctx context.Context, k *client, ids []string, limit time.Duration) error {
	if !k.live {
		return failf(codeConflict, "casement serve", "no server is running, so no probe will run")
	}
	exposed := 0
	asked := c.now()
	for _, id := range ids {
		var v caseView
		err := poll(ctx, limit, func() (bool, error) {
			var err error
			v, err = k.oneCase(ctx, id)
			return err == nil && v.Case.Probe.N == 0 && !v.Case.LastProbe.At.Before(asked.Add(-time.Minute)), err
		})
		if err != nil {
			return fmt.Errorf("case %s: no answer of the probe yet: %w", id, err)
		}
		o := v.Case.LastProbe
		fmt.Fprintf(c.out, "%s: %s (%s, grade %s): %s\n", id, strings.ReplaceAll(string(o.Result), "_", " "), o.Probe, o.Grade, clean(o.Detail))
		if o.Result != remedy.NotExposed && o.Result != remedy.Gone {
			exposed++
		}
	}
	if exposed > 0 {
		return failf(codeUnverified, "casement case show "+ids[0], "not proven closed: %s", plural(exposed, "case"))
	}
	return nil
}
