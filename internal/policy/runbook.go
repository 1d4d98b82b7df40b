package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// Doc renders the runbook of the pack as Markdown: every rule with its
// condition, clocks, actions, probe and way back.
func Doc(p *Pack) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Runbook\n\nPolicy version `%s`. Rules are tried in this order; the first that matches decides.\n", p.version)
	for i, r := range p.rules {
		p.docRule(&b, i+1, r)
	}
	fmt.Fprintf(&b, "\n## %d. %s\n\nWhat no rule matches: class K3 and a ticket for the owner, or the fallback team where nobody is known.\n", len(p.rules)+1, FallbackRule)
	p.docGuard(&b)
	return b.String()
}

func (p *Pack) docRule(b *strings.Builder, n int, r rule) {
	fmt.Fprintf(b, "\n## %d. %s\n\n", n, r.name)
	if r.why != "" {
		fmt.Fprintf(b, "%s\n\n", strings.TrimSpace(r.why))
	}
	fmt.Fprintf(b, "- When: `%s` (%s)\n", oneLine(r.when.src), r.at)
	if r.suppress != nil {
		fmt.Fprintf(b, "- Suppressed until %s: %s\n", r.suppress.until.Format(time.DateOnly), r.suppress.reason)
		return
	}
	for _, row := range r.class {
		cond := "otherwise"
		if row.when != nil {
			cond = "when `" + oneLine(row.source) + "`"
		} else if len(r.class) == 1 {
			cond = "always"
		}
		fmt.Fprintf(b, "- Class %s %s; probed every %s\n", row.class, cond, seconds(probeEvery(row.class)))
	}
	fmt.Fprintf(b, "- Mode: %s", r.mode)
	for _, m := range r.modes {
		fmt.Fprintf(b, "; %s in%s", m.mode, scopeWords(m))
	}
	b.WriteString("\n")
	if r.incident {
		b.WriteString("- Opens an incident\n")
	}
	if r.ticket {
		b.WriteString("- Opens a ticket\n")
	}
	if len(r.notify) > 0 {
		fmt.Fprintf(b, "- Tells %s\n", strings.Join(r.notify, ", "))
	}
	if pb, ok := p.playbooks[r.playbook]; ok {
		docPlaybook(b, r, pb)
	}
}

func scopeWords(m scopedMode) string {
	var out string
	for _, x := range [][2]string{{"team", m.team}, {"account", m.account}, {"environment", m.environment}} {
		if x[1] != "" {
			out += " " + x[0] + " " + x[1]
		}
	}
	return out
}

func docPlaybook(b *strings.Builder, r rule, pb playbook) {
	fmt.Fprintf(b, "\nPlaybook **%s**: %s\n\n", pb.name, strings.TrimSpace(pb.description))
	for i, a := range pb.actions {
		s := a.spec
		fmt.Fprintf(b, "%d. %s `%s/%s` (%s): %s, r%d", i+1, s.Phase, s.Connector, s.Verb, s.Name, authWords(r.auth(s)), s.Reversibility)
		if s.Undoable {
			b.WriteString(", can be undone")
		} else {
			b.WriteString(", cannot be undone")
		}
		if s.Expires > 0 {
			fmt.Fprintf(b, ", ends by itself after %s", seconds(s.Expires))
		}
		if s.Continuity.Connector != "" {
			fmt.Fprintf(b, "; `%s` is watched for %s", s.Continuity.Name(), seconds(s.Watch))
		}
		b.WriteString("\n")
	}
	for i, m := range pb.manual {
		fmt.Fprintf(b, "%d. By hand: %s\n", len(pb.actions)+i+1, m)
	}
	if pb.probe.Connector != "" {
		fmt.Fprintf(b, "\nProbe: `%s`, grade %s.\n", pb.probe.Name(), pb.probe.Grade)
	} else {
		b.WriteString("\nNo probe: closed by scan receipt or attestation where the class allows it.\n")
	}
	for _, t := range keysOf(pb.links) {
		fmt.Fprintf(b, "See [%s](%s).\n", t, pb.links[t])
	}
}

func authWords(a remedy.Authorization) string {
	switch a {
	case remedy.AuthEnforce:
		return "runs by itself"
	case remedy.AuthApprove:
		return "needs approval"
	}
	return "recommended only"
}

func (p *Pack) docGuard(b *strings.Builder) {
	g := p.guard
	if len(g.budgets)+len(g.shares)+len(g.protected)+len(g.freezes) == 0 {
		return
	}
	b.WriteString("\n## Guardrails\n\n")
	for _, x := range g.budgets {
		fmt.Fprintf(b, "- %s: at most %d actions per %s in %s\n", x.name, x.max, x.per, x.window)
	}
	for _, x := range g.shares {
		fmt.Fprintf(b, "- %s: at most %v %% of the known assets of a class in %s, but always %d\n", x.name, x.percent, x.window, x.atLeast)
	}
	for _, x := range g.protected {
		how := "no action"
		if x.approvable {
			how = "only with approval"
		}
		fmt.Fprintf(b, "- %s: %s when `%s` (%s)\n", x.name, how, oneLine(x.when.src), x.reason)
	}
	for _, x := range g.freezes {
		fmt.Fprintf(b, "- frozen: %s from %s until %s (%s)\n", x.Scope, x.From.Format(time.RFC3339), x.Until.Format(time.RFC3339), x.Reason)
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func seconds(n int) string {
	if n > 0 && n%(24*3600) == 0 {
		return fmt.Sprintf("%d d", n/(24*3600))
	}
	s := (time.Duration(n) * time.Second).String()
	s = strings.TrimSuffix(s, "0s")
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
