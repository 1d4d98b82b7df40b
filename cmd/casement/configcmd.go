package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/policy"
)

func (c *cli) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check and show the configuration",
		Example: "  casement config validate --config casement.yaml\n  casement config show --origin",
	}
	cmd.AddCommand(c.configValidateCommand(), c.configShowCommand())
	return cmd
}

func (c *cli) configValidateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Load the configuration and list every fault",
		Long: `Load the configuration (files, environment), and the policy and owners it names, and list
every fault with file, line and column. A literal secret is a fault; it is not repeated in
the message. Exit code 3 if there is one.`,
		Example: "  casement config validate\n  casement config validate --config /etc/casement -o json",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.RunE = c.does(func(context.Context, []string) error {
		l, issues, err := config.Load(config.Options{Path: c.configPath, Env: os.Environ()})
		if err != nil {
			return &exitError{code: codeConfig, err: err}
		}
		if len(issues) == 0 {
			issues = app.Check(l)
		}
		if f.word != "table" {
			if err := emit(c, f, issues, nil); err != nil {
				return err
			}
			if len(issues) > 0 {
				return silent(codeConfig)
			}
			return nil
		}
		if len(issues) > 0 {
			return &exitError{code: codeConfig, err: fmt.Errorf("the configuration has %s:\n%w", plural(len(issues), "fault"), issues)}
		}
		if err := c.validateNamed(l); err != nil {
			return err
		}
		from := "no file: defaults and environment"
		if len(l.Files) > 0 {
			from = strings.Join(l.Files, ", ")
		}
		fmt.Fprintf(c.out, "the configuration is valid (%s)\n", clean(from))
		c.next("casement config show --origin")
		return nil
	})
	return cmd
}

// validateNamed loads what the configuration names, as serve would.
func (c *cli) validateNamed(l *config.Loaded) error {
	_, perr := c.loadPack(l.Policy.Dir)
	files, ferr := c.readOwners(l.Owners.Files)
	if ferr == nil {
		_, ferr = c.directory(files)
	}
	return bothFaults(perr, ferr)
}

func (c *cli) configShowCommand() *cobra.Command {
	var origin bool
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show every setting in force, secrets masked",
		Long:    "Show every setting in force. --origin adds where each value comes from: flag,\nenvironment, file with line and column, or default. Secrets are always masked.",
		Example: "  casement config show --origin\n  casement config show -o json",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.Flags().BoolVar(&origin, "origin", false, "show where each value comes from")
	cmd.RunE = c.does(func(context.Context, []string) error {
		l, err := c.config()
		if err != nil {
			return err
		}
		return emit(c, f, l.Settings(), func(list []config.Setting) {
			names := []string{"setting", "value~"}
			if origin {
				names = append(names, "from~")
			}
			tab := newTable(names...)
			for _, s := range list {
				style := ""
				if s.Origin == "default" {
					style = dim
				}
				tab.add(s.Key, cell{s.Value, style}, cell{s.Origin, style})
			}
			tab.print(c.term, "")
		})
	})
	return cmd
}

func (c *cli) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [config|policy]",
		Short: "Print the JSON Schema of a file, for editors",
		Long: `Print the JSON Schema of casement.yaml or of policy files. Editors check files by it:
begin a file with "# yaml-language-server: $schema=casement.schema.json".`,
		Example:   "  casement schema > casement.schema.json\n  casement schema policy > policy.schema.json",
		Args:      atMost(1, "config or policy"),
		ValidArgs: []string{"config", "policy"},
		RunE: c.does(func(_ context.Context, args []string) error {
			b := config.Schema()
			if len(args) == 1 {
				switch args[0] {
				case "config":
				case "policy":
					b = policy.Schema()
				default:
					return failf(codeUsage, "casement schema --help", "%q has no schema: want config or policy", args[0])
				}
			}
			_, err := c.out.Write(b)
			return err
		}),
	}
}
