package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/gate"
)

func (c *cli) gateCommand() *cobra.Command {
	g := gating{statusWait: statusWait}
	cmd := &cobra.Command{
		Use:   "gate FILE...",
		Short: "Stop a build on what policy blocks",
		Long: `Judge the report of a scanner and stop the build on what policy blocks. Exit code 0: the
build may go on; 4: policy blocks it; any other: the gate could not decide, and the build
must not go on either (1: report empty or unreadable, 3: policy invalid, 8: the forge
did not take the verdict, whatever it is, or the install can't be reached).

When an install is known (CASEMENT_URL and CASEMENT_TOKEN, or --data), its exceptions
count until their dates, and each blocked exposure gets a case with a ticket there, once.`,
		Example: `  casement gate trivy.json
  casement gate --project acme/shop -o sarif results.sarif > gate.sarif
  trivy fs -f json . | casement gate - -o junit > gate.xml`,
		Args: atLeast(1, "FILE"),
	}
	f := output(cmd, "table", "json", "sarif", "junit")
	g.judging = judges(cmd)
	cmd.Flags().StringArrayVar(&g.mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	cmd.Flags().StringVar(&g.project, "project", "", "`name` of what is built (default: from the report)")
	c.scans(cmd)
	cmd.Flags().BoolVar(&g.noTicket, "no-ticket", false, "only judge; open no case and no ticket")
	cmd.Flags().BoolVar(&g.allowEmpty, "allow-empty", false, "a valid report without findings passes (default: it is an error, as a scanner that saw nothing looks the same)")
	cmd.Flags().StringVar(&g.status, "status", "", "tell a forge the verdict: `address` of the commit's statuses, https://HOST/api/v1/repos/OWNER/REPO/statuses/SHA (GitHub, Gitea); token from "+statusToken)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error { return c.gateAndTell(ctx, &g, f, args) })
	return cmd
}

// gating are the settings of one run of the gate.
type gating struct {
	*judging
	mappings             []string
	project, status      string
	noTicket, allowEmpty bool
	// statusWait bounds one telling of a status.
	statusWait time.Duration
}

// gate judges the reports and prints the verdict; what it can't decide fails.
func (c *cli) gate(ctx context.Context, g *gating, f *formats, args []string) (v gateVerdict, err error) {
	j, err := c.judge(ctx, g.judging)
	if err != nil {
		return v, err
	}
	if g.project != "" && c.asset.of.UID == "" {
		if err := c.asset.Set("repository=" + g.project); err != nil {
			return v, err
		}
	}
	var pile finding.Pile
	a, err := c.readEach(ctx, args, g.mappings, "", pile.Add)
	if err != nil {
		return v, err
	}
	if verdict := c.tell(a); verdict != nil {
		why := verdict
		if len(a.errs) != 1 || len(a.summary.Formats) > 0 {
			why = errors.New(gateFault(a))
		}
		return v, failf(codeError, orWords(mendOf(why), "mend the report: what can't be read can't be judged"), "the gate fails closed: %w", why)
	}
	if a.summary.Read == 0 && !g.allowEmpty {
		return v, failf(codeError, "check that the scanner ran over the right place; --allow-empty accepts it", "the gate fails closed: the report holds no findings at all")
	}
	k, err := c.gateInstall(ctx)
	if err != nil {
		return v, err
	}
	if k != nil {
		defer func() { _ = k.close() }() // nothing is written after the verdict
		v.pages = k.pages
	}
	opt := gate.Options{Project: g.project, At: c.now()}
	if k != nil {
		if opt.Exceptions, err = k.gateExceptions(ctx); err != nil {
			return v, failf(codeOf(err), "casement doctor", "the gate fails closed: exceptions can't be read: %w", err)
		}
	}
	rep, err := gate.Evaluate(j, &pile, opt)
	if err != nil {
		return v, fmt.Errorf("the gate fails closed: %w", err)
	}
	v.rep = &rep
	var ticketErr error
	if k != nil && !g.noTicket && rep.Blocked > 0 {
		ticketErr = c.openTickets(ctx, k, &rep)
	}
	if err := c.printGate(f, rep); err != nil {
		return v, err
	}
	if k != nil && !g.noTicket && rep.Blocked > len(rep.Results) {
		c.report(fmt.Errorf("tickets were opened for the %s that press most; casement ingest %s hands all in", plural(len(rep.Results), "exposure"), fileWords(args)))
	}
	if ticketErr != nil {
		c.report(fmt.Errorf("tickets were not opened: %w", ticketErr))
	}
	if !rep.Pass() {
		if k == nil && f.word == "table" {
			c.sayf("no install is known, so no ticket was opened; set CASEMENT_URL and CASEMENT_TOKEN, or --data")
		}
		return v, failf(codeGate, "mend what is listed, or ask for an exception: "+askFor(rep), "the gate blocks: %s", plural(rep.Blocked, "exposure"))
	}
	return v, nil
}

// askFor is the command that asks for an exception of the first blocked exposure.
func askFor(rep gate.Report) string {
	s := "casement exception request"
	for _, r := range rep.Results {
		if r.Outcome != gate.Blocked {
			continue
		}
		for _, x := range [][2]string{{"--package", r.Package}, {"--weakness", r.Weakness}, {"--project", r.Project}} {
			if x[1] != "" {
				s += " " + x[0] + " " + shellWord(x[1])
			}
		}
		break
	}
	return s + ` --until DATE -m "why"`
}

// gateFault says why reports could not be read.
func gateFault(a alerts) string {
	switch {
	case len(a.errs) > 0 && len(a.summary.Formats) > 0:
		return fmt.Sprintf("%d of %d reports can't be read", len(a.errs), len(a.errs)+len(a.summary.Formats))
	case len(a.errs) > 0:
		return "the report can't be read"
	}
	return plural(a.summary.Refused, "record") + " of the report can't be read"
}

// gateInstall connects to the install that was named, nil if none was: a build
// machine has none, and must not make one.
func (c *cli) gateInstall(ctx context.Context) (*client, error) {
	if c.env("CASEMENT_URL") == "" {
		dir, err := c.dataDir()
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(dir, "casement.db")); err != nil {
			if c.data != "" {
				return nil, noData(dir)
			}
			return nil, nil //nolint:nilerr // no data folder: judge by policy alone
		}
	}
	return c.connect(ctx, false)
}

// gateExceptions reads the standing exceptions, those that ended too, so that
// the verdict can say so.
func (k *client) gateExceptions(ctx context.Context) ([]gate.Exception, error) {
	var all exceptionLists
	if err := k.call(ctx, http.MethodGet, "/api/v1/exceptions?all=1", nil, &all); err != nil {
		return nil, err
	}
	var out []gate.Exception
	for _, e := range all.Exceptions {
		until := e.Until
		if !e.RevokedAt.IsZero() && e.RevokedAt.Before(until) {
			until = e.RevokedAt
		}
		out = append(out, gate.Exception{ID: e.ID, Class: finding.Class(e.Class), Package: e.Package, Project: e.Project, Weakness: e.Weakness,
			From: e.From, Until: until, Approved: e.Approved, Reason: e.ReasonText})
	}
	return out, nil
}

// ticketWait is how long the gate waits for the numbers of new tickets.
const ticketWait = 10 * time.Second

// openTickets hands the blocked exposures in: the install opens one case and
// one ticket per exposure, however often the gate runs.
func (c *cli) openTickets(ctx context.Context, k *client, rep *gate.Report) error {
	var blocked []finding.Finding
	for i := range rep.Results {
		if r := &rep.Results[i]; r.Outcome == gate.Blocked {
			f := r.Finding
			if f.Location.Repository == "" {
				f.Location.Repository = r.Project
			}
			blocked = append(blocked, f)
		}
	}
	cases, err := k.handIn(ctx, blocked)
	if err != nil {
		return err
	}
	for i := range rep.Results {
		for _, uid := range rep.Results[i].UIDs {
			if id := cases[uid]; id != "" && rep.Results[i].Outcome == gate.Blocked {
				rep.Results[i].Case = id
			}
		}
	}
	if k.tickets != nil {
		if err := k.tickets(ctx); err != nil {
			return err
		}
	}
	err = poll(ctx, ticketWait, func() (bool, error) {
		missing := false
		for i := range rep.Results {
			r := &rep.Results[i]
			if r.Case == "" || r.Ticket != "" {
				continue
			}
			v, err := k.oneCase(ctx, r.Case)
			if err != nil {
				return false, err
			}
			for _, t := range v.Case.Tickets {
				if t.Ref != "" {
					r.Ticket = t.System + " " + t.Ref
				}
			}
			missing = missing || r.Ticket == "" && len(v.Case.Tickets) > 0
		}
		return !missing || !k.live, nil
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil // the cases are there; their tickets come
	}
	return err
}

func (c *cli) printGate(f *formats, rep gate.Report) error {
	var b []byte
	var err error
	switch f.word {
	case "json":
		return emitJSON(c, rep)
	case "sarif":
		b, err = rep.SARIF(buildInfo().Version)
	case "junit":
		b, err = rep.JUnit()
	default:
		c.showGate(rep)
		return nil
	}
	if err == nil {
		_, err = c.out.Write(b)
	}
	return err
}

// shownWarnings is how many warnings the table lists.
const shownWarnings = 10

func (c *cli) showGate(rep gate.Report) {
	t := c.term
	verdict, style := "PASS", bold+";"+green
	if !rep.Pass() {
		verdict, style = "BLOCKED", bold+";"+red
	}
	parts := []string{plural(rep.Blocked, "exposure") + " blocked"}
	for _, x := range []struct {
		n    int
		word string
	}{{rep.Excepted, "excepted"}, {rep.Warned, "warned of"}, {rep.Passed, "passed"}} {
		if x.n > 0 {
			parts = append(parts, group(x.n)+" "+x.word)
		}
	}
	fmt.Fprintf(t.w, "%s  %s (%s, policy %s)\n", t.paint(style, verdict), strings.Join(parts, ", "), plural(rep.Alerts, "alert"), rep.Policy[:min(8, len(rep.Policy))])
	for _, r := range rep.Results {
		if r.Outcome == gate.Blocked {
			c.showBlocked(r)
		}
	}
	if r := rep.Results; rep.Unlisted > 0 && rep.Blocked > len(r) {
		fmt.Fprintf(t.w, "\n  … %s more blocked, which are not listed\n", plural(rep.Blocked-len(r), "exposure"))
	}
	var excepted, warned []gate.Result
	for _, r := range rep.Results {
		switch r.Outcome {
		case gate.Excepted:
			excepted = append(excepted, r)
		case gate.Warned:
			warned = append(warned, r)
		}
	}
	for _, x := range []struct {
		title string
		list  []gate.Result
		n     int
	}{{"Excepted", excepted, rep.Excepted}, {"Warnings", warned, rep.Warned}} {
		if len(x.list) == 0 {
			continue
		}
		fmt.Fprintf(t.w, "\n%s\n", t.paint(bold, x.title))
		tab := newTable("severity", "risk", "what", "where~", "to do~", "why~")
		for i, r := range x.list {
			if i == shownWarnings && x.title == "Warnings" {
				break
			}
			tab.add(cell{r.Severity.String(), severityStyle(r.Severity)}, r.Risk.String(), r.Weakness, r.Label(), r.Do, r.Reason())
		}
		tab.print(t, "  ")
		shown := len(x.list)
		if x.title == "Warnings" {
			shown = min(shown, shownWarnings)
		}
		if n := x.n - shown; n > 0 {
			fmt.Fprintf(t.w, "  … %d more; listed with -o json\n", n)
		}
	}
}

// showBlocked is what whoever has to mend the build needs of one exposure.
func (c *cli) showBlocked(r gate.Result) {
	t := c.term
	fmt.Fprintf(t.w, "\n  %s  %s  %s\n", t.paint(severityStyle(r.Severity), r.Severity.String()), t.paint(bold, clean(r.Weakness+" in "+r.Label())), t.paint(dim, clean(r.Title)))
	c.fact("to do", r.Do, green)
	where := r.Project
	if r.File != "" {
		where += ", " + r.File
		if r.Line > 0 {
			where += fmt.Sprintf(":%d", r.Line)
		}
	}
	c.fact("where", where, "")
	c.fact("why", r.Reason(), "")
	if slices.Contains(r.Unknown, "kev") {
		c.fact("", "is it known exploited? --kev FILE or policy.kev, a copy of CISA's list, tells", dim)
	}
	if r.Owner != "" {
		c.fact("owner", r.Owner, "")
	}
	if r.Case != "" {
		c.fact("ticket", orWords(r.Ticket, "on its way")+", case "+r.Case, "")
	}
}
