package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of the root's help, in order.
const (
	groupStart  = "start"
	groupCases  = "cases"
	groupRules  = "rules"
	groupServer = "server"
)

// root builds the command tree.
func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "casement",
		Short: "Turn security alerts into verified remediation",
		Long: `Casement closes exposure windows: it takes in security alerts, decides by policy,
acts within limits or asks a person, and proves that the risk is gone.
  See your own alerts, and what would be done: casement inventory alerts.json, casement try alerts.json
  Run it (pages and API on this machine, data in ./casement-data): casement serve`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	f := root.PersistentFlags()
	f.StringVar(&c.configPath, "config", os.Getenv("CASEMENT_CONFIG"), "configuration `file` or directory (default: casement.yaml if it is there)")
	f.StringVar(&c.data, "data", "", "data `folder` (default: data.dir of the configuration, ./casement-data)")
	f.StringVar(&c.database, "database", "", "PostgreSQL that nodes share: a `URL` without a password, or env:NAME, file:PATH of one")
	f.BoolVar(&c.noColor, "no-color", false, "plain output")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "no talk on standard error, only data and errors")
	f.BoolVar(&c.noInput, "no-input", false, "never ask; fail instead")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Begin with your own alerts:"},
		&cobra.Group{ID: groupCases, Title: "Work on cases:"},
		&cobra.Group{ID: groupRules, Title: "Policy and people:"},
		&cobra.Group{ID: groupServer, Title: "Run and look after it:"},
	)
	root.AddCommand(c.commands()...)
	root.SetHelpCommandGroupID(groupServer)
	root.AddCommand(helpTopics()...)
	root.InitDefaultCompletionCmd("casement")
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			describeCompletion(cmd)
		}
	}
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		cmd.Hidden = cmd.Hidden || cmd.Name() == "help" // the last line of the help says it
	}
	root.SetUsageFunc(writeUsage)
	walk(root, func(cmd *cobra.Command) {
		if cmd.HasSubCommands() {
			needsSub(cmd)
		}
	})
	return root
}

// needsSub makes a group of commands refuse words that are none of them.
func needsSub(cmd *cobra.Command) {
	if cmd.RunE != nil || cmd.Run != nil {
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		msg := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			msg += "; did you mean " + strings.Join(s, ", ") + "?"
		}
		return failf(codeUsage, cmd.CommandPath()+" --help", "%s", msg)
	}
}

// walk visits a command and all below it.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

func describeCompletion(cmd *cobra.Command) {
	cmd.GroupID = groupServer
	cmd.Example = "  casement completion bash > /etc/bash_completion.d/casement"
	for _, sub := range cmd.Commands() {
		sub.Example = "  casement completion " + sub.Name() + " > casement." + sub.Name()
	}
}

// in puts a command into a group of the root's help.
func in(group string, cmd *cobra.Command) *cobra.Command {
	cmd.GroupID = group
	return cmd
}

// commands lists every command of the program.
func (c *cli) commands() []*cobra.Command {
	return []*cobra.Command{
		in(groupStart, c.demoCommand()),
		in(groupStart, c.inventoryCommand()),
		in(groupStart, c.tryCommand()),
		in(groupStart, c.parseCommand()),
		in(groupStart, c.gateCommand()),

		in(groupCases, c.ingestCommand()),
		in(groupCases, c.caseCommand()),
		in(groupCases, c.approvalCommand()),
		in(groupCases, c.actionCommand()),
		in(groupCases, c.exceptionCommand()),
		in(groupCases, c.reportCommand()),

		in(groupRules, c.policyCommand()),
		in(groupRules, c.ownerCommand()),
		in(groupRules, c.pauseCommand()),
		in(groupRules, c.resumeCommand()),

		in(groupServer, c.serveCommand()),
		in(groupServer, c.doctorCommand()),
		in(groupServer, c.quarantineCommand()),
		in(groupServer, c.deadLetterCommand()),
		in(groupServer, c.backupCommand()),
		in(groupServer, c.restoreCommand()),
		in(groupServer, c.dbCommand()),
		in(groupServer, c.ledgerCommand()),
		in(groupServer, c.userCommand()),
		in(groupServer, c.tokenCommand()),
		in(groupServer, c.configCommand()),
		in(groupServer, c.connectorsCommand()),
		in(groupServer, c.schemaCommand()),
		in(groupServer, c.versionCommand()),
	}
}

// flagError says what a flag wants, instead of which function could not read it.
func flagError(err error) error {
	if what, _, found := strings.Cut(err.Error(), ": time: "); found {
		return fmt.Errorf("%s: want a length such as 90s, 10m or 1h30m", what)
	}
	what, how, found := strings.Cut(err.Error(), ": strconv.")
	if !found {
		return err
	}
	want := "a number"
	switch {
	case strings.HasPrefix(how, "ParseInt"), strings.HasPrefix(how, "Atoi"), strings.HasPrefix(how, "ParseUint"):
		want = "a whole number"
	case strings.HasPrefix(how, "ParseBool"):
		want = "true or false"
	}
	return fmt.Errorf("%s: want %s", what, want)
}
