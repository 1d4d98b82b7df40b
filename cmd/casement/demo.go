package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/demo"
)

func (c *cli) demoCommand() *cobra.Command {
	var o demo.Options
	var serve, check string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the loop work: real server, simulated targets, about a minute",
		Long: `Start a server, a sample policy and targets behind real HTTP on this machine, and tell
in eight parts what Casement does: close a public bucket and prove it, not believe a
control plane, ask you, hold itself back, survive kill -9. You approve one change, on the
page or by a key; --once decides for you.

Each statement is a claim in a file. Another process compares the claims with the ledger
and with the targets' own logs, and its verdict is the exit code. --sabotage breaks one
thing on purpose: the demo then has to end with exit code 1.`,
		Example: `  casement demo
  casement demo --once
  casement demo --once --sabotage fix-noop`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.BoolVar(&o.Once, "once", false, "decide for the reader and wait for nobody")
	f.StringVar(&o.Sabotage, "sabotage", "", "break one thing on purpose: "+strings.Join(demo.Sabotages(), ", "))
	f.StringVar(&check, "check", "", "compare a run's `claims.jsonl` with the ledger and the logs beside it")
	f.StringVar(&serve, "serve", "", "internal: be the server of a run")
	_ = f.MarkHidden("serve") // the flag is there
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		switch {
		case serve != "":
			return demo.Serve(ctx, serve, c.in, c.out)
		case check != "":
			return c.checkDemo(check)
		case o.Sabotage != "" && !slices.Contains(demo.Sabotages(), o.Sabotage):
			return failf(codeUsage, "casement demo --help", "--sabotage %s: want one of %s", o.Sabotage, strings.Join(demo.Sabotages(), ", "))
		}
		return c.runDemo(ctx, o)
	})
	return cmd
}

func (c *cli) runDemo(ctx context.Context, o demo.Options) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if !o.Once && !isTerminal(c.in) {
		c.sayf("standard input is no terminal, so nobody can press a key: running with --once")
		o.Once = true
	}
	o.Exe, o.Name, o.In, o.Out, o.Paint = exe, programName(exe), c.in, c.out, c.term.paint
	err = demo.Run(ctx, o)
	if errors.Is(err, demo.ErrFailed) {
		return silent(codeError)
	}
	return err
}

// programName is how the program can be called from here.
func programName(exe string) string {
	if p, err := filepath.Abs("bin/casement"); err == nil && p == exe {
		return "bin/casement"
	}
	return "casement"
}

func (c *cli) checkDemo(path string) error {
	return fmt.Errorf("not yet: %s", path)
}
