package main

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/backtest"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// domainTitle is how a policy domain is called in lists.
func domainTitle(d finding.Domain) string {
	switch d {
	case finding.DomainCloud:
		return "cloud configuration"
	case finding.DomainPipeline:
		return "CI/CD"
	case finding.DomainSaaS:
		return "SaaS"
	case "":
		return "not classified"
	}
	return string(d)
}

func (c *cli) inventoryCommand() *cobra.Command {
	var mappings []string
	var event string
	var top int
	cmd := &cobra.Command{
		Use:   "inventory FILE...",
		Short: "See which classes of alerts a file holds and what each would get",
		Long: `Read alerts and show the top classes by category (identity, endpoint, cloud
configuration, CI/CD, SaaS, runtime): volume, duplicates, confidence, whether an owner is
found, and for each class the action, approver, SLA, probe and decision it would get
once its rules are trusted. Nothing is stored and nothing is touched. FILE - is standard input.
Exit code 9: some records could not be read; 1: none.`,
		Example: `  casement inventory securityhub.json
  casement inventory --owners owners.yaml --top 5 alerts/*.json
  casement inventory alerts.json -o json | jq '.rows[].class'`,
		Args: atLeast(1, "FILE"),
	}
	f := lists(cmd)
	j := judges(cmd)
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	c.scans(cmd)
	cmd.Flags().StringVar(&event, "event", "", "event `name` of the sender, e.g. of its X-GitHub-Event header")
	cmd.Flags().IntVar(&top, "top", 10, "`number` of classes to show per category; 0 for all")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		jd, err := c.judge(ctx, j)
		if err != nil {
			return err
		}
		var pile finding.Pile
		a, err := c.readEach(ctx, args, mappings, event, pile.Add)
		if err != nil {
			return err
		}
		verdict := c.tell(a)
		if verdict != nil && a.summary.Kept == 0 {
			return verdict
		}
		inv, err := backtest.InventoryOf(jd, &pile, c.now())
		if err != nil {
			return err
		}
		switch f.word {
		case "json":
			err = emitJSON(c, inv)
		case "jsonl":
			err = emit(c, f, inv.Rows, nil)
		default:
			c.showInventory(inv, a, top)
		}
		if err != nil {
			return err
		}
		if pile.Len() > 0 {
			c.next("casement try "+fileWords(args)+"   # which cases, who would be asked", "casement owner gaps "+fileWords(args)+"   # why owners are missing")
		}
		return verdict
	})
	return cmd
}

func (c *cli) showInventory(inv backtest.Inventory, a alerts, top int) {
	t := c.term
	fmt.Fprintln(t.w, t.paint(bold, fmt.Sprintf("%s → %s%s", plural(inv.Alerts, "alert"), plural(inv.Cases, "case"), repeats(inv))))
	if a.summary.Suppressed > 0 {
		fmt.Fprintf(t.w, "%s left out because the source itself says they are no findings\n", plural(a.summary.Suppressed, "record"))
	}
	if inv.Alerts == 0 {
		fmt.Fprintln(t.w, "The file was read and holds no findings.")
		return
	}
	fmt.Fprintln(t.w)
	c.showDomains(inv)
	rows := map[finding.Domain][]backtest.Row{}
	var order []finding.Domain
	for _, r := range inv.Rows {
		if len(rows[r.Domain]) == 0 {
			order = append(order, r.Domain)
		}
		rows[r.Domain] = append(rows[r.Domain], r)
	}
	for _, d := range order {
		fmt.Fprintf(t.w, "\n%s\n", t.paint(bold, strings.ToUpper(domainTitle(d))))
		for i, r := range rows[d] {
			if top > 0 && i == top {
				fmt.Fprintf(t.w, "  … %s more; show all with --top 0\n", plural(len(rows[d])-i, "class"))
				break
			}
			c.showRow(r)
		}
	}
}

func repeats(inv backtest.Inventory) string {
	if inv.Alerts <= inv.Cases {
		return ""
	}
	what := "duplicates"
	if slices.ContainsFunc(inv.Rows, func(r backtest.Row) bool { return len(r.Sources) > 1 }) {
		what += " or other tools' views"
	}
	return fmt.Sprintf(", %d %% are %s", (100*(inv.Alerts-inv.Cases)+inv.Alerts/2)/inv.Alerts, what)
}

// barWidth is the length of the longest bar.
const barWidth = 24

func (c *cli) showDomains(inv backtest.Inventory) {
	t := c.term
	type sum struct{ alerts, cases, owners int }
	sums := map[finding.Domain]*sum{}
	most := 1
	for _, r := range inv.Rows {
		if sums[r.Domain] == nil {
			sums[r.Domain] = &sum{}
		}
		s := sums[r.Domain]
		s.alerts, s.cases, s.owners = s.alerts+r.Alerts, s.cases+r.Cases, s.owners+r.OwnerFound
		most = max(most, s.alerts)
	}
	domains := finding.Domains()
	if sums[""] != nil {
		domains = append(domains, "")
	}
	var none []string
	tab := newTable("category", "alerts>", "cases>", "owner found>", "")
	for _, d := range domains {
		s := sums[d]
		if s == nil {
			none = append(none, domainTitle(d))
			continue
		}
		bar := strings.Repeat("█", max(1, s.alerts*barWidth/most))
		tab.add(domainTitle(d), group(s.alerts), group(s.cases), ownersFound(s.owners, s.cases), cell{bar, blue})
	}
	tab.print(t, "  ")
	if len(none) > 0 {
		fmt.Fprintf(t.w, "  %s\n", t.paint(dim, "no alerts: "+strings.Join(none, ", ")))
	}
}

func ownersFound(found, of int) string {
	switch {
	case found == of:
		return "all"
	case found == 0:
		return "none"
	}
	return fmt.Sprintf("%s of %s", group(found), group(of))
}

// showRow is one class: what it is, what would become of it, what is missing.
func (c *cli) showRow(r backtest.Row) {
	t := c.term
	class, about := string(r.Class), ""
	if class == "" {
		class, about = "(no class fits)", "a mapping file or a newer reader can give these a class"
	} else if i, ok := finding.InfoOf(r.Class); ok {
		about = i.Description
	}
	fmt.Fprintf(t.w, "\n  %s  %s\n", t.paint(bold, class), t.paint(dim, about))
	volume := fmt.Sprintf("%s → %s", plural(r.Alerts, "alert"), plural(r.Cases, "case"))
	if r.Duplicates > 0 {
		volume += ", " + plural(r.Duplicates, "duplicate")
	}
	volume += "; from " + strings.Join(r.Sources, ", ")
	c.fact("volume", volume, "")
	confidence := "the source states none"
	if r.ConfidenceStated > 0 {
		confidence = fmt.Sprintf("%d of 100 (median; stated for %s of %s)", r.Confidence, group(r.ConfidenceStated), plural(r.Cases, "case"))
	}
	c.fact("confidence", confidence, "")
	owner := "found for " + ownersFound(r.OwnerFound, r.Cases)
	style := ""
	if r.OwnerFound < r.Cases {
		style = yellow
	}
	if r.OwnerFound == 0 {
		owner = "not found for any: the fallback team gets them"
	}
	c.fact("owner", owner, style)
	c.fact("decision", decisionWords(r), pathStyle(r.Path))
	c.fact("action", orWords(strings.Join(r.Actions, ", "), "none in the playbook; the ticket carries the source's advice"), "")
	if r.Asked > 0 || r.Decisions[remedy.PathApprove] > 0 {
		c.fact("approver", orWords(strings.Join(r.Approvers, ", "), "nobody is known: name people in an owners file"), "")
	} else {
		c.fact("approver", "not needed", "")
	}
	sla := r.Strictest.String() + ": "
	if r.Contain != "" {
		sla += "contain in " + r.Contain + ", "
	}
	sla += "fix in " + r.Fix
	if len(r.Risk) > 1 {
		sla += " (" + riskWords(r.Risk) + ")"
	}
	c.fact("SLA", sla, "")
	probe := "none in the playbook; a person's word with evidence closes it"
	if r.Probe != "" {
		probe = r.Probe + ", at least grade " + r.Grade
	} else if r.Strictest <= 2 {
		probe = "none in the playbook, and K1 and K2 close only by a probe (grade " + r.Grade + " or better): set up a connector that has one, see casement connectors"
	}
	c.fact("probe", probe, "")
	if len(r.Unknown) > 0 {
		c.fact("unknown", strings.Join(r.Unknown, ", ")+": counted as the worst case", yellow)
	}
}

// fact prints one labelled line of a block, wrapped to the terminal.
func (c *cli) fact(label, text, style string) {
	t := c.term
	const indent = "                "
	body := wrap(clean(text), t.width, indent)
	if t.width == 0 {
		body = indent + clean(text)
	}
	body = strings.TrimPrefix(body, indent)
	fmt.Fprintf(t.w, "    %s%s%s\n", t.paint(dim, label), strings.Repeat(" ", len(indent)-4-len(label)), t.paint(style, body))
}

func orWords(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// decisionWords says which paths the cases would take and what holds today.
func decisionWords(r backtest.Row) string {
	var parts []string
	for _, p := range backtest.Paths() {
		if n := r.Decisions[p]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", pathWord(p), group(n)))
		}
	}
	s := strings.Join(parts, ", ")
	if r.Now != r.Path {
		s += "; today only " + pathWord(r.Now) + ", as the rule is not trusted yet"
	}
	return s + "; rule " + strings.Join(r.Rules, ", ")
}

// pathWord is the path as a verb for people.
func pathWord(p remedy.Path) string {
	switch p {
	case remedy.PathEnforce:
		return "act at once"
	case remedy.PathApprove:
		return "ask, then act"
	case remedy.PathTicket:
		return "ticket"
	case remedy.PathIncident:
		return "incident"
	case remedy.PathMonitor:
		return "watch"
	case remedy.PathSuppress:
		return "suppress"
	}
	return string(p)
}

func pathStyle(p remedy.Path) string {
	switch p {
	case remedy.PathIncident:
		return red
	case remedy.PathEnforce:
		return green
	case remedy.PathApprove:
		return yellow
	}
	return ""
}

func riskWords(risk map[string]int) string {
	keys := make([]string, 0, len(risk))
	for k := range risk {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %s", k, group(risk[k]))
	}
	return strings.Join(keys, ", ")
}
