package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// streams are where the program reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// cli is what all commands share: streams, global flags, the way to print.
type cli struct {
	streams
	term term // of standard output
	talk term // of standard error

	configPath string
	data       string
	database   string
	noColor    bool
	quiet      bool
	noInput    bool
	yes        bool
	dryRun     bool
	asset      scanned

	// started is set once a command's own code runs: an error before that is
	// one of usage.
	started bool
	env     func(string) string
	now     func() time.Time
}

// run executes one command line and returns its exit code.
func run(args []string, s streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{streams: s, env: os.Getenv, now: func() time.Time { return time.Now().UTC() }}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return codeOK
	}
	if !c.started {
		err = usage(cmd, err)
	}
	if ctx.Err() != nil {
		err = &exitError{code: codeInterrupt, err: errors.New("interrupted")}
	}
	c.report(err)
	return codeOf(err)
}

// usage turns an error of the command line into one that says where help is.
func usage(cmd *cobra.Command, err error) error {
	var e *exitError
	if errors.As(err, &e) {
		return err
	}
	first, rest, _ := strings.Cut(err.Error(), "\n\n")
	msg := first
	if rest = strings.Join(strings.Fields(strings.TrimPrefix(rest, "Did you mean this?")), ", "); rest != "" {
		msg += "; did you mean " + rest + "?"
	}
	return &exitError{code: codeUsage, err: errors.New(msg), mend: cmd.CommandPath() + " --help"}
}

// report prints an error and what to do about it.
func (c *cli) report(err error) {
	var e *exitError
	if errors.As(err, &e) && e.silent {
		return
	}
	c.prepare()
	msg := err.Error()
	fmt.Fprintf(c.err, "%s %s\n", c.talk.paint(red, "error:"), cleanLines(msg))
	if mend := mendOf(err); mend != "" {
		fmt.Fprintf(c.err, "%s %s\n", c.talk.paint(dim, "try:"), cleanLines(mend))
	}
}

// prepare works out how to print; it is done once, after flags are read.
func (c *cli) prepare() {
	if c.term.w != nil {
		return
	}
	c.term = newTerm(c.out, c.env, c.noColor)
	c.talk = newTerm(c.err, c.env, c.noColor)
}

// does wraps a handler: from here on errors are the command's own.
func (c *cli) does(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.started = true
		c.prepare()
		return f(cmd.Context(), args)
	}
}

// sayf talks to the person: nothing with --quiet.
func (c *cli) sayf(format string, a ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, format+"\n", a...)
	}
}

// next names the command that is useful after this one.
func (c *cli) next(commands ...string) {
	for i, s := range commands {
		word := "next:"
		if i > 0 {
			word = "  or:"
		}
		c.sayf("%s %s", c.talk.paint(dim, word), s)
	}
}

// confirm shows what will happen and asks. --yes answers, --dry-run stops
// here, and without a terminal or with --no-input nothing dangerous happens.
func (c *cli) confirm(plan string) error {
	c.sayf("%s", strings.TrimRight(plan, "\n"))
	switch {
	case c.dryRun:
		c.sayf("dry run: nothing was changed")
		return silent(codeOK)
	case c.yes:
		return nil
	case c.noInput || !isTerminal(c.in):
		return failf(codeUsage, "add --yes if this is meant, or --dry-run to look only", "this changes things and nobody is there to confirm it")
	}
	fmt.Fprint(c.err, "Go on? [y/N] ")
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return failf(codeError, "", "not confirmed; nothing was changed")
	}
	return nil
}

// dangerous adds the flags of a command that changes things.
func (c *cli) dangerous(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do it without asking")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "show what would be done and stop")
	return cmd
}

// formats is the -o flag of one command.
type formats struct {
	word  string
	known []string
}

// output adds -o with the given formats; the first is the default.
func output(cmd *cobra.Command, known ...string) *formats {
	f := &formats{word: known[0], known: known}
	cmd.Flags().VarP(f, "output", "o", "output format: "+strings.Join(known, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp))
	return f
}

// lists adds the formats that everything that lists has.
func lists(cmd *cobra.Command) *formats { return output(cmd, "table", "json", "jsonl") }

// String implements pflag.Value.
func (f *formats) String() string { return f.word }

// Type implements pflag.Value.
func (f *formats) Type() string { return "format" }

// Set implements pflag.Value.
func (f *formats) Set(word string) error {
	for _, k := range f.known {
		if k == word {
			f.word = word
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(f.known, ", "))
}
