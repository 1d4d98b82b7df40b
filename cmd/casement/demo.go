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
	"github.com/casement/casement/internal/witness"
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
	f.StringVar(&o.Sabotage, "sabotage", "", "`thing` to break on purpose: "+strings.Join(demo.Sabotages(), ", "))
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

// checkDemo is the separate checker: it reads the files of a run and nothing of
// the demo.
func (c *cli) checkDemo(path string) error {
	dir := filepath.Dir(path)
	var e witness.Evidence
	var verifier []byte
	var err error
	for _, f := range []struct {
		to   *[]byte
		path string
	}{{&e.Claims, path}, {&e.Ledger, filepath.Join(dir, "ledger.jsonl")}, {&e.Targets, filepath.Join(dir, "targets.jsonl")}, {&verifier, filepath.Join(dir, "ledger.pub")}} {
		if *f.to, err = os.ReadFile(f.path); err != nil {
			return failf(codeOf(fileError(f.path, err)), "give the claims.jsonl of a run; its other files lie beside it", "%w", fileError(f.path, err))
		}
	}
	e.Verifier, e.Files = string(verifier), map[string][]byte{}
	reports, err := filepath.Glob(filepath.Join(dir, "gate-*.json"))
	if err != nil {
		return err
	}
	for _, name := range reports {
		if e.Files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	rep := witness.Check(e)
	t := c.term
	fact := func(ok bool, label, format string, args ...any) {
		style := green
		if !ok {
			style = red
		}
		fmt.Fprintf(t.w, "%s  %s\n", t.paint(style, fmt.Sprintf("%-8s", label)), fmt.Sprintf(format, args...))
	}
	fact(rep.Claims > 0 && rep.Held == rep.Claims, "claims", "%d of %d hold", rep.Held, rep.Claims)
	fact(rep.Events > 0, "ledger", "%s in %s, %s", plural(rep.Events, "event"), plural(rep.Chains, "chain"), plural(rep.Signed, "signed checkpoint"))
	fact(rep.Requests > 0, "targets", "%s in their own logs, %s, each looked up in the ledger", plural(rep.Requests, "request"), plural(rep.Changes, "change"))
	for _, f := range rep.Faults {
		fact(false, "wrong", "%s", clean(f))
	}
	if !rep.OK() {
		return silent(codeError)
	}
	fact(true, "story", "all that parts 1 to %d promise was claimed, and holds", rep.Parts)
	return nil
}
