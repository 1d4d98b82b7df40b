package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/remedy"
)

// asked is one request for approval.
type asked struct {
	Case     string    `json:"case"`
	Action   string    `json:"action"`
	What     string    `json:"what"`
	Title    string    `json:"title"`
	Asset    string    `json:"asset"`
	Risk     string    `json:"risk"`
	PlanHash string    `json:"plan_hash"`
	From     []string  `json:"from"`
	Backup   string    `json:"backup,omitempty"`
	AskedAt  time.Time `json:"asked_at"`
	Expires  time.Time `json:"expires_at"`
	Needed   int       `json:"needed"`
	Given    int       `json:"given"`
}

func (c *cli) approvalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approval",
		Short: "List what waits for approval, and approve or reject it",
		Long: `List what waits for approval, look at the exact plan, approve or reject it. An approval
covers the plan that was shown and no other. Only a person who signs in decides: a token
never does.`,
		Example: "  casement approval list\n  casement approval show cas_0123 e1.0\n  casement approval approve cas_0123 e1.0 --as kim",
	}
	cmd.AddCommand(c.approvalListCommand(), c.approvalShowCommand(), c.decideCommand("approve"), c.decideCommand("reject"))
	return cmd
}

func askedOf(k remedy.Case, a remedy.Action) asked {
	return asked{Case: k.ID, Action: a.ID, What: a.Spec.Connector + "/" + a.Spec.Verb, Title: k.Title, Asset: k.Asset.Name, Risk: k.RiskClass().String(),
		PlanHash: a.Approval.PlanHash, From: a.Approval.From, Backup: k.Judgement.Routing.Backup, AskedAt: a.Approval.AskedAt, Expires: a.Approval.ExpiresAt,
		Needed: a.Approval.Needed, Given: len(a.Approval.Grants)}
}

func (c *cli) approvalListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what waits for approval, what runs out first on top",
		Example: "  casement approval list\n  casement approval list -o jsonl",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			rows, _, err := k.cases(ctx, url.Values{"state": {string(remedy.StateApproval)}}, 0)
			if err != nil {
				return err
			}
			var list []asked
			for _, r := range rows {
				v, err := k.oneCase(ctx, r.ID)
				if err != nil {
					return err
				}
				for _, a := range v.Case.Actions {
					if a.Status == remedy.ActionAsking {
						list = append(list, askedOf(v.Case, a))
					}
				}
			}
			slices.SortStableFunc(list, func(a, b asked) int { return a.Expires.Compare(b.Expires) })
			if err := emit(c, f, list, c.showAsked); err != nil {
				return err
			}
			if len(list) > 0 {
				c.next("casement approval show " + list[0].Case + " " + list[0].Action)
			}
			return nil
		})
	})
	return cmd
}

func (c *cli) showAsked(list []asked) {
	if len(list) == 0 {
		fmt.Fprintln(c.out, "nothing waits for approval")
		return
	}
	tab := newTable("case", "action", "risk", "change~", "asset~", "asked~", "given>", "time left>")
	for _, a := range list {
		left := a.Expires.Sub(c.now())
		style := ""
		if left < time.Hour {
			style = yellow
		}
		tab.add(a.Case, a.Action, cell{a.Risk, riskWordStyle(a.Risk)}, a.What, a.Asset, strings.Join(a.From, ", "), fmt.Sprintf("%d of %d", a.Given, a.Needed), cell{span(left), style})
	}
	tab.print(c.term, "")
}

// oneAsked reads the request for an action of a case.
func (k *client) oneAsked(ctx context.Context, id, action string) (remedy.Case, remedy.Action, error) {
	v, err := k.oneCase(ctx, id)
	if err != nil {
		return v.Case, remedy.Action{}, err
	}
	a, ok := v.Case.Action(action)
	if !ok {
		return v.Case, a, failf(codeNotFound, "casement case show "+id, "case %s has no action %s", id, action)
	}
	if a.Status != remedy.ActionAsking {
		return v.Case, a, failf(codeConflict, "casement case timeline "+id, "action %s of case %s does not wait for approval: it is %s", action, id, strings.ReplaceAll(string(a.Status), "_", " "))
	}
	return v.Case, a, nil
}

func (c *cli) approvalShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show CASE ACTION",
		Short:   "Show the approval card: the exact plan, why now, blast radius, undo",
		Example: "  casement approval show cas_0123 e1.0",
		Args:    exactly("CASE", "ACTION"),
	}
	f := output(cmd, "text", "json")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		return c.with(ctx, false, func(k *client) error {
			cs, a, err := k.oneAsked(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			if f.word == "json" {
				return emitJSON(c, map[string]any{"request": askedOf(cs, a), "plan": a.Plan, "before": a.Before, "diff": a.Approval.Diff})
			}
			c.showCard(cs, a)
			c.next(fmt.Sprintf("casement approval approve %s %s --plan %s", cs.ID, a.ID, a.Plan.Hash[:min(12, len(a.Plan.Hash))]),
				fmt.Sprintf(`casement approval reject %s %s -m "why not"`, cs.ID, a.ID))
			return nil
		})
	})
	return cmd
}

// showCard prints what an approver has to know, in the order of the page.
func (c *cli) showCard(k remedy.Case, a remedy.Action) {
	t := c.term
	fmt.Fprintf(t.w, "%s  %s\n\n", t.paint(bold, "Approve? "+clean(a.Spec.Name)+" on "+clean(k.Asset.Name)), t.paint(dim, k.ID+" "+a.ID))
	fmt.Fprintf(t.w, "  %s\n", t.paint(bold, "What will change"))
	for _, line := range strings.Split(strings.TrimRight(a.Plan.Text, "\n"), "\n") {
		fmt.Fprintf(t.w, "    %s\n", clean(line))
	}
	fmt.Fprintf(t.w, "    plan %s\n", a.Plan.Hash)
	if a.Approval.Diff != "" {
		fmt.Fprintf(t.w, "  %s\n", t.paint(yellow, "The plan is another one than was approved before:"))
		for _, line := range strings.Split(strings.TrimRight(a.Approval.Diff, "\n"), "\n") {
			fmt.Fprintf(t.w, "    %s\n", clean(line))
		}
	}
	d := k.Judgement.Decision
	c.fact("why now", fmt.Sprintf("%s: %s", d.Class, d.Why), riskStyle(d.Class))
	if !a.Before.At.IsZero() {
		c.fact("seen", fmt.Sprintf("%s%s: %s (%s, grade %s)", strings.ReplaceAll(string(a.Before.Result), "_", " "), ago(c.now(), a.Before.At), a.Before.Detail, a.Before.Probe, a.Before.Grade), "")
	}
	c.fact("blast", orWords(a.Plan.Blast, "unknown: count it as large"), "")
	c.fact("undo", orWords(a.Plan.Undo, "there is no way back"), "")
	c.fact("last change", orWords(a.Plan.LastModifier, "unknown: the target does not say by whom"), "")
	c.fact("asked", orWords(strings.Join(a.Approval.From, ", "), "nobody")+"; backup "+orWords(k.Judgement.Routing.Backup, "nobody")+"; "+span(a.Approval.ExpiresAt.Sub(c.now()))+" left", "")
	if n := a.Approval.Needed; n > 1 {
		why := ""
		if a.Plan.LastModifier == "" {
			why = "; more than one, as nobody knows who made the last change"
		}
		c.fact("given", fmt.Sprintf("%d of %d%s", len(a.Approval.Grants), n, why), "")
	}
}

func (c *cli) decideCommand(word string) *cobra.Command {
	var plan, text string
	short, textDoc := "Approve exactly the plan that is shown", "`words` for the record"
	long := `Approve the plan of an action, as it is shown; you sign in, and it holds for nothing else. If
the plan or the state at the target changes before it is carried out, the approval is void and
is asked for again. Exit code 6: you may not approve this; 7: it does not wait, or --plan
names another plan.`
	if word == "reject" {
		short, textDoc = "Reject a plan, with the reason", "`reason`, for the owner and the record"
		long = "Reject the plan of an action: nothing is changed, and the owner is told your reason, which\nis needed. You sign in for it."
	}
	cmd := &cobra.Command{
		Use:     word + " CASE ACTION",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  casement approval %s cas_0123 e1.0 -m \"…\"\n  casement approval %s cas_0123 e1.0 --as kim --password file:pw -m \"…\" --yes", word, word),
		Args:    exactly("CASE", "ACTION"),
	}
	cmd.Flags().StringVarP(&text, "message", "m", "", textDoc)
	if word == "approve" {
		cmd.Flags().StringVar(&plan, "plan", "", "beginning of the plan `hash` you have seen; another plan is refused")
	}
	who := signsIn(cmd)
	c.dangerous(cmd)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		if word == "reject" && strings.TrimSpace(text) == "" {
			return failf(codeUsage, `add -m "why not"`, "say why with -m: the owner has to know what to do instead")
		}
		return c.with(ctx, false, func(k *client) error {
			cs, a, err := k.oneAsked(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			if plan != "" && !strings.HasPrefix(a.Plan.Hash, plan) {
				return failf(codeConflict, fmt.Sprintf("casement approval show %s %s", cs.ID, a.ID), "the plan is another one than the one you have seen")
			}
			if !c.quiet {
				c.showCard(cs, a)
			}
			if err := c.confirm(fmt.Sprintf("\nYou are about to %s this plan.", word)); err != nil {
				return err
			}
			if err := c.signIn(ctx, k, who); err != nil {
				return err
			}
			form := url.Values{"plan_hash": {a.Plan.Hash}, "text": {text}}
			resp, err := k.send(ctx, "POST", "/approvals/"+url.PathEscape(cs.ID)+"/"+url.PathEscape(a.ID)+"/"+word, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if word == "approve" {
				fmt.Fprintf(c.out, "approved: %s on %s\n", a.Spec.Name, clean(cs.Asset.Name))
				if a.Approval.Needed > len(a.Approval.Grants)+1 {
					fmt.Fprintf(c.out, "%d of %d approvals are given: another person has to approve before anything is changed\n", len(a.Approval.Grants)+1, a.Approval.Needed)
				}
				c.pending(k)
			} else {
				fmt.Fprintf(c.out, "rejected: nothing is changed at %s\n", clean(cs.Asset.Name))
			}
			c.next("casement case timeline " + cs.ID)
			return nil
		})
	})
	return cmd
}
