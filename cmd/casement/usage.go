package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// writeUsage writes what cobra's own usage does, with two differences: a group of
// commands does nothing by itself, so that its usage is that of its commands; and
// what is no group names where exit codes are explained. It is no template: a
// program that runs text/template keeps each exported method of all it links,
// which is 10 MB here.
func writeUsage(cmd *cobra.Command) error {
	var b strings.Builder
	group := cmd.HasAvailableSubCommands()
	b.WriteString("Usage:")
	if cmd.Runnable() && !group {
		b.WriteString("\n  " + cmd.UseLine())
	}
	if group {
		b.WriteString("\n  " + cmd.CommandPath() + " [command]")
	}
	if len(cmd.Aliases) > 0 {
		b.WriteString("\n\nAliases:\n  " + cmd.NameAndAliases())
	}
	if cmd.HasExample() {
		b.WriteString("\n\nExamples:\n" + cmd.Example)
	}
	if group && len(cmd.Groups()) == 0 {
		b.WriteString("\n\nAvailable Commands:" + members(cmd, func(*cobra.Command) bool { return true }))
	} else if group {
		for _, g := range cmd.Groups() {
			b.WriteString("\n\n" + g.Title + members(cmd, func(sub *cobra.Command) bool { return sub.GroupID == g.ID }))
		}
		if !cmd.AllChildCommandsHaveGroup() {
			b.WriteString("\n\nAdditional Commands:" + members(cmd, func(sub *cobra.Command) bool { return sub.GroupID == "" }))
		}
	}
	if cmd.HasAvailableLocalFlags() {
		b.WriteString("\n\nFlags:\n" + strings.TrimRight(cmd.LocalFlags().FlagUsages(), " \n"))
	}
	if cmd.HasAvailableInheritedFlags() {
		b.WriteString("\n\nGlobal Flags:\n" + strings.TrimRight(cmd.InheritedFlags().FlagUsages(), " \n"))
	}
	if cmd.HasHelpSubCommands() {
		b.WriteString("\n\nAdditional help topics:")
		for _, sub := range cmd.Commands() {
			if sub.IsAdditionalHelpTopicCommand() {
				fmt.Fprintf(&b, "\n  %-*s %s", sub.CommandPathPadding(), sub.CommandPath(), sub.Short)
			}
		}
	}
	if group {
		fmt.Fprintf(&b, "\n\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	} else {
		b.WriteString("\n\nExit codes: casement help exit-codes")
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String()+"\n")
	return err
}

// members lists the commands of a group that pass.
func members(cmd *cobra.Command, pass func(*cobra.Command) bool) string {
	var b strings.Builder
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && pass(sub) {
			fmt.Fprintf(&b, "\n  %-*s %s", sub.NamePadding(), sub.Name(), sub.Short)
		}
	}
	return b.String()
}
