package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/web"
)

// exceptionLists is what the API says of exceptions.
type exceptionLists struct {
	Exceptions []web.StandingException `json:"exceptions"`
	Requests   []web.ExceptionRequest  `json:"requests"`
}

func (c *cli) exceptionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exception",
		Short: "Ask for, grant, revoke and list exceptions with an end",
		Long: `An exception is a reason for not taking the standard path, until a date. One person asks
for it, another grants it; it ends by itself. With --case it sets one case aside; else it
lets what it names pass the gate.`,
		Example: "  casement exception request --package lodash --weakness CVE-2026-1 --until 2027-01-31 -m \"not reachable\"\n  casement exception grant exc_0123\n  casement exception list",
	}
	cmd.AddCommand(c.exceptionRequestCommand(), c.exceptionGrantCommand(), c.exceptionRevokeCommand(), c.exceptionListCommand())
	return cmd
}

func (c *cli) exceptionRequestCommand() *cobra.Command {
	var q web.ExceptionRequest
	var until string
	cmd := &cobra.Command{
		Use:   "request (--case ID | --class, --package, --project, --weakness) --until WHEN -m REASON",
		Short: "Ask for an exception",
		Long: `Ask for an exception: of one case by --case, or of everything that fits all of --class,
--package, --project and --weakness. It holds once somebody else grants it, until its end.`,
		Example: "  casement exception request --package lodash --project acme/shop --until 2027-01-31 -m \"replaced in January\"\n  casement exception request --case cas_0123 --until 2027-01-31 -m \"move is planned\"",
		Args:    cobra.NoArgs,
	}
	f := output(cmd, "text", "json")
	fl := cmd.Flags()
	fl.StringVar(&q.Case, "case", "", "`id` of the case it is for")
	fl.StringVar(&q.Class, "class", "", "`class` of findings, e.g. pipeline.vulnerable-package")
	fl.StringVar(&q.Package, "package", "", "`name` of the package")
	fl.StringVar(&q.Project, "project", "", "`name` of the repository or application")
	fl.StringVar(&q.Weakness, "weakness", "", "`id` of the CVE or advisory")
	fl.StringVar(&q.Kind, "kind", "", "`kind` of reason, e.g. risk-accepted, false-positive (default risk-accepted)")
	fl.StringVar(&until, "until", "", "`when` it ends: 2027-01-31, 72h or 30d")
	fl.StringVarP(&q.Reason, "message", "m", "", "`reason`, for the record")
	who := signsIn(cmd)
	cmd.RunE = c.does(func(ctx context.Context, _ []string) (err error) {
		if until == "" || strings.TrimSpace(q.Reason) == "" {
			return failf(codeUsage, "casement exception request --help", "an exception needs an end (--until) and a reason (-m)")
		}
		if q.Until, err = c.instant(until); err != nil {
			return err
		}
		return c.with(ctx, false, func(k *client) error {
			if who.as != "" {
				if err := c.signIn(ctx, k, who); err != nil {
					return err
				}
			}
			var out web.ExceptionRequest
			if err := k.call(ctx, "POST", "/api/v1/exceptions", q.ExceptionAsk, &out); err != nil {
				return noCase(q.Case, err)
			}
			if f.word == "json" {
				return emitJSON(c, out)
			}
			fmt.Fprintf(c.out, "%s is asked for until %s; somebody else has to grant it\n", out.ID, out.Until.Format("2006-01-02"))
			c.next("casement exception grant " + out.ID)
			return nil
		})
	})
	return cmd
}

func (c *cli) exceptionGrantCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grant ID",
		Short: "Grant an exception somebody else asked for",
		Long: `Grant an exception that somebody else asked for. It is shown first; whoever grants it signs
in, may approve, and is not who asked. A token can't grant.`,
		Example: "  casement exception grant exc_0123 --as lee",
		Args:    exactly("ID"),
	}
	who := signsIn(cmd)
	c.dangerous(cmd)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		return c.with(ctx, false, func(k *client) error {
			var all exceptionLists
			if err := k.call(ctx, "GET", "/api/v1/exceptions", nil, &all); err != nil {
				return err
			}
			for _, q := range all.Requests {
				if q.ID != args[0] {
					continue
				}
				if err := c.confirm(fmt.Sprintf("%s asks for an exception for %s until %s:\n  %s", orWords(q.AskedBy, q.Asked), scope(q), q.Until.Format("2006-01-02"), clean(q.Reason))); err != nil {
					return err
				}
				if err := c.signIn(ctx, k, who); err != nil {
					return err
				}
				if err := k.call(ctx, "POST", "/api/v1/exceptions/"+url.PathEscape(q.ID)+"/grant", nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(c.out, "%s is in force until %s\n", q.ID, q.Until.Format("2006-01-02"))
				return nil
			}
			return failf(codeNotFound, "casement exception list", "no request %s waits", args[0])
		})
	})
	return cmd
}

// scope says in words what an exception is for.
func scope(q web.ExceptionRequest) string {
	if q.Case != "" {
		return "case " + q.Case
	}
	return scopeWords(q.Class, q.Package, q.Project, q.Weakness)
}

func scopeWords(class, pkg, project, weakness string) string {
	return clean(web.ExceptionScope(class, pkg, project, weakness))
}

func (c *cli) exceptionRevokeCommand() *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End an exception now, or drop a request",
		Long: `End an exception now, or drop a request that waits. What it let pass is judged again.
Exceptions of single cases need --case; casement case show names them.`,
		Example: "  casement exception revoke exc_0123\n  casement exception revoke exc_0123 --case cas_0456",
		Args:    exactly("ID"),
	}
	cmd.Flags().StringVar(&caseID, "case", "", "`id` of the case, for an exception of a case")
	who := signsIn(cmd)
	c.dangerous(cmd)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		if err := c.confirm("The exception " + args[0] + " ends now; what it let pass is judged again."); err != nil {
			return err
		}
		return c.with(ctx, false, func(k *client) error {
			if err := c.signIn(ctx, k, who); err != nil {
				return err
			}
			path := "/api/v1/exceptions/" + url.PathEscape(args[0])
			if caseID != "" {
				path += "?case=" + url.QueryEscape(caseID)
			}
			if err := k.call(ctx, "DELETE", path, nil, nil); err != nil {
				return missing(err, "casement exception list --all; with --case for an exception of a case, as casement case show names it", "there is no exception and no request %s", args[0])
			}
			fmt.Fprintf(c.out, "%s is revoked\n", args[0])
			return nil
		})
	})
	return cmd
}

func (c *cli) exceptionListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List requests that wait, and exceptions in force",
		Long:    "List requests that wait and standing exceptions, what ends first on top. Those of single\ncases are shown with the case.",
		Example: "  casement exception list\n  casement exception list --all -o json",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also those that are over")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			path := "/api/v1/exceptions"
			if all {
				path += "?all=1"
			}
			var out exceptionLists
			if err := k.call(ctx, "GET", path, nil, &out); err != nil {
				return err
			}
			rows := exceptionRows(out, all)
			return emit(c, f, rows, func(rows []exceptionRow) {
				if len(rows) == 0 {
					fmt.Fprintln(c.out, "no exceptions")
					return
				}
				tab := newTable("id", "state", "for~", "until", "asked by", "granted by", "reason~")
				for _, r := range rows {
					tab.add(r.ID, cell{r.State, map[string]string{"asked": yellow, "in force": green}[r.State]}, r.For, r.Until, r.Asked, r.Granted, r.Reason)
				}
				tab.print(c.term, "")
			})
		})
	})
	return cmd
}

// exceptionRow is one line of the list.
type exceptionRow struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	For     string `json:"for"`
	Kind    string `json:"kind"`
	Until   string `json:"until"`
	Asked   string `json:"asked_by"`
	Granted string `json:"granted_by,omitempty"`
	Reason  string `json:"reason"`
}

func exceptionRows(l exceptionLists, all bool) []exceptionRow {
	rows := []exceptionRow{}
	for _, q := range l.Requests {
		rows = append(rows, exceptionRow{ID: q.ID, State: "asked", For: scope(q), Kind: q.Kind, Until: q.Until.Format("2006-01-02"), Asked: orWords(q.AskedBy, q.Asked), Reason: q.Reason})
	}
	for _, e := range l.Exceptions {
		state := "over"
		switch {
		case e.Active:
			state = "in force"
		case !e.RevokedAt.IsZero():
			state = "revoked"
		}
		if !e.Active && !all {
			continue
		}
		rows = append(rows, exceptionRow{ID: e.ID, State: state, For: scopeWords(e.Class, e.Package, e.Project, e.Weakness), Kind: e.Kind, Until: e.Until.Format("2006-01-02"),
			Asked: orWords(e.AskedBy, e.Asked), Granted: orWords(e.GrantedBy, e.Approved), Reason: e.ReasonText})
	}
	return rows
}
