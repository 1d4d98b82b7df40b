package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/web"
)

// pauseLine is one thrown kill switch.
type pauseLine struct {
	Scope  string `json:"scope"`
	By     string `json:"by"`
	Since  string `json:"since"`
	Reason string `json:"reason,omitempty"`
}

// pauseScope are the flags that name what is paused.
type pauseScope struct{ playbook, connector, rule string }

func scopes(cmd *cobra.Command) *pauseScope {
	s := &pauseScope{}
	cmd.Flags().StringVar(&s.playbook, "playbook", "", "`name` of a playbook: only this one")
	cmd.Flags().StringVar(&s.connector, "connector", "", "`name` of a connector: only this one")
	cmd.Flags().StringVar(&s.rule, "rule", "", "`id` of a rule of the policy: only this one")
	return s
}

// word is the scope as the kill switch names it.
func (s *pauseScope) word() (string, error) {
	var out []string
	for _, x := range [][2]string{{"playbook", s.playbook}, {"connector", s.connector}, {"rule", s.rule}} {
		if x[1] != "" {
			out = append(out, x[0]+"/"+x[1])
		}
	}
	switch len(out) {
	case 0:
		return "all", nil
	case 1:
		return out[0], nil
	}
	return "", failf(codeUsage, "give the command once for each", "name one of --playbook, --connector, --rule")
}

func (c *cli) pauseCommand() *cobra.Command {
	var reason string
	var list bool
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Throw the kill switch: nothing is changed outside until resume",
		Long: `Throw the kill switch for everything, or for one playbook, connector or rule: no action
and no undo starts until casement resume. Probes, intake, clocks and messages go on. What
is under way at the target at this instant is not torn apart.`,
		Example: "  casement pause -m \"we look into something\"\n  casement pause --connector s3 -m \"quota\"\n  casement pause --list -o json",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	s := scopes(cmd)
	cmd.Flags().StringVarP(&reason, "message", "m", "", "`reason`, for the record")
	cmd.Flags().BoolVar(&list, "list", false, "only list what is paused")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		scope, err := s.word()
		if err != nil {
			return err
		}
		if strings.TrimSpace(reason) == "" {
			reason = "no reason was given" // a kill switch never waits for words
		}
		return c.with(ctx, false, func(k *client) error {
			if list {
				return c.pauses(ctx, k, f, "GET", nil)
			}
			if err := k.knowsScope(ctx, scope); err != nil {
				return err
			}
			if err := c.pauses(ctx, k, f, "PUT", map[string]string{"scope": scope, "reason": reason}); err != nil {
				return err
			}
			c.next("casement resume" + strings.TrimPrefix(" --"+strings.Replace(scope, "/", " ", 1), " --all") + "   # when it is over")
			return nil
		})
	})
	return cmd
}

func (c *cli) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "resume",
		Short:   "Release the kill switch",
		Example: "  casement resume\n  casement resume --connector s3",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	s := scopes(cmd)
	c.dangerous(cmd)
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		scope, err := s.word()
		if err != nil {
			return err
		}
		if err := c.confirm("Changes to outside systems go on (" + scope + "): what waited is done within minutes."); err != nil {
			return err
		}
		return c.with(ctx, false, func(k *client) error {
			err := c.pauses(ctx, k, f, "DELETE", map[string]string{"scope": scope})
			if codeOf(err) == codeNotFound {
				return failf(codeNotFound, "casement pause --list", "%s is not paused", strings.Replace(strings.Replace(scope, "/", " ", 1), "all", "everything", 1))
			}
			return err
		})
	})
	return cmd
}

// knowsScope refuses a scope nothing belongs to: a kill switch that covers
// nothing is worse than none. Where the names can't be had, the switch is
// thrown all the same.
func (k *client) knowsScope(ctx context.Context, scope string) error {
	var h app.Health
	if scope == "all" || k.call(ctx, "GET", "/api/v1/health", nil, &h) != nil || slices.Contains(h.Scopes, scope) {
		return nil
	}
	kind, name, _ := strings.Cut(scope, "/")
	var known []string
	for _, s := range h.Scopes {
		if n, ok := strings.CutPrefix(s, kind+"/"); ok {
			known = append(known, n)
		}
	}
	return failf(codeNotFound, "one of "+orWords(strings.Join(known, ", "), "none: there is no "+kind), "there is no %s %s, so nothing was paused", kind, name)
}

// pauses changes or reads the kill switches and prints those that are thrown.
func (c *cli) pauses(ctx context.Context, k *client, f *formats, method string, in any) error {
	var out struct {
		Pauses []web.Pause `json:"pauses"`
	}
	if err := k.call(ctx, method, "/api/v1/pauses", in, &out); err != nil {
		return err
	}
	lines := []pauseLine{}
	for _, p := range out.Pauses {
		lines = append(lines, pauseLine{p.Scope, p.By.ID, p.At.UTC().Format("2006-01-02 15:04 UTC"), p.Reason})
	}
	return emit(c, f, lines, func(lines []pauseLine) {
		if len(lines) == 0 {
			fmt.Fprintln(c.out, "nothing is paused")
			return
		}
		tab := newTable("paused", "by", "since", "why~")
		for _, l := range lines {
			tab.add(cell{l.Scope, red}, l.By, l.Since, l.Reason)
		}
		tab.print(c.term, "")
	})
}
