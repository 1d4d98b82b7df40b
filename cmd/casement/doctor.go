package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/policy"
)

// check is one thing the doctor looked at.
type check struct {
	What string `json:"what"`
	// Result is ok, warn or bad.
	Result string `json:"result"`
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"`
}

func (c *cli) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether everything is in order, and say what to mend",
		Long: `Look at configuration, policy, owners, data folder, server, ledger, connectors and what
waits. Exit code 1 if something is bad; warnings do not fail.`,
		Example: "  casement doctor\n  casement doctor -o json | jq '.[] | select(.result != \"ok\")'",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		list := c.examine(ctx)
		if err := emit(c, f, list, func(list []check) {
			for _, x := range list {
				style := map[string]string{"ok": green, "warn": yellow, "bad": red}[x.Result]
				fmt.Fprintf(c.out, "%s  %-14s %s\n", c.term.paint(style, fmt.Sprintf("%-4s", x.Result)), x.What, cleanLines(x.Detail))
				if x.Mend != "" {
					fmt.Fprintf(c.out, "      %-14s %s\n", "", c.term.paint(dim, "→ "+cleanLines(x.Mend)))
				}
			}
		}); err != nil {
			return err
		}
		bad := 0
		for _, x := range list {
			if x.Result == "bad" {
				bad++
			}
		}
		if bad > 0 {
			return failf(codeError, "", "%s to mend", plural(bad, "thing"))
		}
		return nil
	})
	return cmd
}

// examine looks at one thing after the other; what can't be looked at is said.
func (c *cli) examine(ctx context.Context) []check {
	var out []check
	add := func(what, result, mend, format string, a ...any) {
		out = append(out, check{what, result, fmt.Sprintf(format, a...), mend})
	}
	l, err := c.config(nil)
	if err != nil {
		add("configuration", "bad", "casement config validate", "%v", err)
		return out
	}
	from := "defaults and environment"
	if len(l.Files) > 0 {
		from = fmt.Sprint(len(l.Files), " file(s)")
	}
	add("configuration", "ok", "", "valid, from %s", from)
	c.examineSecrets(ctx, l.Connectors == nil, add)
	p, err := loadPack(l.Policy.Dir)
	if err != nil {
		add("policy", "bad", "casement policy check", "%v", err)
	} else {
		failed := 0
		for _, r := range policy.RunTests(p) {
			if !r.OK() {
				failed++
			}
		}
		if failed > 0 {
			add("policy", "bad", "casement policy test", "%d of its tests fail", failed)
		} else {
			add("policy", "ok", "", "%s: %s, its tests pass", dirName(l.Policy.Dir), plural(len(p.RuleNames()), "rule"))
		}
	}
	if len(l.Owners.Files) == 0 {
		add("owners", "warn", "write owners.yaml and name it under owners.files", "no owners files: everything goes to the fallback team, and nothing is enforced")
	} else if files, err := c.readOwners(l.Owners.Files); err != nil {
		add("owners", "bad", "", "%v", err)
	} else if d, err := c.directory(files); err != nil {
		add("owners", "bad", "", "%v", err)
	} else {
		add("owners", "ok", "", "%s, %s", plural(len(d.Data().People), "person"), plural(len(d.Data().Teams), "team"))
	}
	return c.examineInstall(ctx, out, add)
}

// examineSecrets resolves every reference, and says which fail, never what
// they lead to.
func (c *cli) examineSecrets(ctx context.Context, none bool, add func(what, result, mend, format string, a ...any)) {
	l, err := c.config(nil)
	if err != nil || none {
		return
	}
	n := 0
	for name, s := range l.Sources {
		for _, x := range s.Secret {
			n++
			if _, err := x.Resolve(ctx); err != nil {
				add("secrets", "bad", "", "sources.%s.secret: %v", name, err)
			}
		}
	}
	for name, k := range l.Connectors {
		for key, x := range k.Secrets {
			n++
			if _, err := x.Resolve(ctx); err != nil {
				add("secrets", "bad", "", "connectors.%s.secrets.%s: %v", name, key, err)
			}
		}
	}
	if n > 0 {
		add("secrets", "ok", "", "%s looked up", plural(n, "reference"))
	}
}

// examineInstall looks at the data folder and what is in it.
func (c *cli) examineInstall(ctx context.Context, out []check, add func(what, result, mend, format string, a ...any)) []check {
	_ = out
	dir, err := c.dataDir()
	if err != nil {
		add("data folder", "bad", "", "%v", err)
		return nil
	}
	return nil
}

var _ = app.Health{}
var _ = os.Stat
var _ = time.Now
