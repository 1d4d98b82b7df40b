package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/policy"
)

func (c *cli) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Check, test, explain, document and backtest the rules",
		Example: "  casement policy check ./policy\n  casement policy test ./policy\n  casement policy explain alerts.json",
	}
	cmd.AddCommand(c.policyCheckCommand(), c.policyTestCommand(), c.policyExplainCommand(), c.policyDocCommand(), c.policyBacktestCommand())
	return cmd
}

// oneDir is the policy directory of a command that takes at most one.
func (c *cli) oneDir(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	l, err := c.config()
	if err != nil {
		return "", err
	}
	return l.Policy.Dir, nil
}

func dirName(dir string) string { return orWords(dir, "the shipped pack") }

func (c *cli) policyCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Load a policy directory and list every fault",
		Long: `Load a policy directory (default: the configured one, else the shipped pack) and list
every fault of every file with line and column: unknown keys, conditions that do not
type-check, rules nothing can reach, actions without probe or undo that would enforce.
Exit code 3 if there is one. The policy in force is not touched.`,
		Example: "  casement policy check ./policy\n  casement policy check ./policy -o json",
		Args:    atMost(1, "DIR"),
	}
	f := lists(cmd)
	cmd.RunE = c.does(func(_ context.Context, args []string) error {
		dir, err := c.oneDir(args)
		if err != nil {
			return err
		}
		p, err := c.loadPack(dir)
		var issues policy.Issues
		if as(err, &issues) && f.word != "table" {
			if err := emit(c, f, issues, nil); err != nil {
				return err
			}
			return silent(codeConfig)
		}
		if err != nil {
			if len(issues) > 0 {
				return &exitError{code: codeConfig, err: fmt.Errorf("%s has %s:\n%w", dirName(dir), plural(len(issues), "fault"), err)}
			}
			return err
		}
		if f.word != "table" {
			return emit(c, f, policy.Issues{}, nil)
		}
		fmt.Fprintf(c.out, "%s is valid: %s, version %s\n", dirName(dir), plural(len(p.RuleNames()), "rule"), p.Version())
		c.next(strings.TrimSpace("casement policy test " + dir))
		return nil
	})
	return cmd
}

func (c *cli) policyTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run the policy tests that are in the directory",
		Long: `Run the tests of a policy directory: documents of kind tests, each giving facts and
what the decision has to be. Exit code 1: a test fails; 3: the policy does not load.
Rules that decide no test are named.`,
		Example: "  casement policy test ./policy\n  casement policy test -o json | jq '.[] | select(.failures)'",
		Args:    atMost(1, "DIR"),
	}
	f := lists(cmd)
	cmd.RunE = c.does(func(_ context.Context, args []string) error {
		dir, err := c.oneDir(args)
		if err != nil {
			return err
		}
		p, err := c.loadPack(dir)
		if err != nil {
			return err
		}
		results := policy.RunTests(p)
		failed := 0
		for i, r := range results {
			results[i].Where = inFolder(dir, r.Where)
			if !r.OK() {
				failed++
			}
		}
		if err := emit(c, f, results, c.showTests); err != nil {
			return err
		}
		if u := policy.Untested(p); len(u) > 0 {
			c.sayf("%s %s", c.talk.paint(yellow, "no test is decided by:"), strings.Join(u, ", "))
		}
		switch {
		case len(results) == 0:
			return failf(codeError, "add a document of kind tests, see casement policy doc", "%s has no tests", dirName(dir))
		case failed > 0:
			return failf(codeError, "", "%d of %s failed", failed, plural(len(results), "test"))
		}
		c.sayf("%s passed", plural(len(results), "test"))
		c.next("casement policy backtest --policy DIR --history alerts.json   # what a change would do to real alerts")
		return nil
	})
	return cmd
}

func (c *cli) showTests(results []policy.TestResult) {
	t := c.term
	for _, r := range results {
		mark, style := "ok  ", green
		if !r.OK() {
			mark, style = "FAIL", red
		}
		fmt.Fprintf(t.w, "%s  %s\n", t.paint(style, mark), clean(r.Name))
		for _, f := range r.Failures {
			fmt.Fprintf(t.w, "      %s\n", clean(f))
		}
		if !r.OK() {
			fmt.Fprintf(t.w, "      at %s, decided by rule %s\n", clean(r.Where), clean(r.Rule))
		}
	}
}

func (c *cli) policyDocCommand() *cobra.Command {
	var reference bool
	cmd := &cobra.Command{
		Use:     "doc [DIR]",
		Short:   "Write the runbook of every rule as Markdown",
		Long:    "Write the runbook of a policy as Markdown: each rule with its condition, class, clocks,\nactions, proof and way back. --reference writes what conditions can read instead.",
		Example: "  casement policy doc ./policy > RUNBOOK.md\n  casement policy doc --reference",
		Args:    atMost(1, "DIR"),
	}
	cmd.Flags().BoolVar(&reference, "reference", false, "write the facts and functions of conditions")
	cmd.RunE = c.does(func(_ context.Context, args []string) error {
		if reference {
			fmt.Fprint(c.out, policy.Reference())
			return nil
		}
		dir, err := c.oneDir(args)
		if err != nil {
			return err
		}
		p, err := c.loadPack(dir)
		if err != nil {
			return err
		}
		fmt.Fprint(c.out, policy.Doc(p))
		return nil
	})
	return cmd
}
