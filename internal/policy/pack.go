package policy

import (
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// Pack is a loaded policy. It is immutable and safe for concurrent use.
type Pack struct {
	version     string
	authors     []string
	vars        []Variable
	env         Environment
	rules       []rule
	playbooks   map[string]playbook
	routes      []route
	templates   map[string]template
	slas        []sla
	escalations []escalation
	guard       guardrails
	exceptions  []exception
	tests       []test
	owners      []File
}

// Version is the content hash over names and bytes of the files.
func (p *Pack) Version() string { return p.version }

// Authors are the principal ids of who wrote the pack, sorted.
func (p *Pack) Authors() []string { return append([]string(nil), p.authors...) }

// OwnerFiles returns the files with documents of kind owners, which
// internal/owner reads.
func (p *Pack) OwnerFiles() []File { return append([]File(nil), p.owners...) }

// rule is one compiled rule.
type rule struct {
	name, why string
	at        pos
	where     string // at, rendered
	when      condition
	class     []classRow
	playbook  string
	contain   remedy.Authorization // "" leaves the playbook's word
	fix       remedy.Authorization
	optIn     []string
	incident  bool
	ticket    bool
	suppress  *suppress
	mode      remedy.Mode
	modes     []scopedMode
	notify    []string
	gate      GateAction // "" goes by class
}

type classRow struct {
	when   *condition // nil always fits
	class  deadline.RiskClass
	source string
}

type suppress struct {
	until  time.Time
	reason string
}

type scopedMode struct {
	team, account, environment string
	mode                       remedy.Mode
}

// playbook is one compiled playbook.
type playbook struct {
	name, description string
	at                pos
	probe             remedy.ProbeSpec
	probeEvery        int
	grade             remedy.Grade
	actions           []action
	manual            []string
	links             map[string]string
}

type action struct {
	spec     remedy.ActionSpec // Params hold unfilled ${…}
	required []string
	at       pos
}

type route struct {
	name    string
	match   match
	tickets []remedy.TicketSpec
	notify  []string
}

type sla struct {
	match match
	terms deadline.SLA
}

type escalation struct {
	name  string
	match match
	steps []remedy.LadderStep
}

type exception struct {
	name, reason, asked, approved string
	when                          condition
	from, until                   time.Time
}

// match is a set of words per fact; an empty set fits everything.
type match struct {
	class, domain, risk, team, account, environment, app []string
}

// RuleNames lists the rules in the order they are tried.
func (p *Pack) RuleNames() []string {
	var out []string
	for _, r := range p.rules {
		out = append(out, r.name)
	}
	return out
}

// Scopes lists what a kill switch can name in this pack, sorted: connector/NAME,
// playbook/NAME and rule/NAME.
func (p *Pack) Scopes() []string {
	var out []string
	for _, r := range p.rules {
		out = append(out, "rule/"+r.name)
	}
	for name, b := range p.playbooks {
		out = append(out, "playbook/"+name)
		for _, a := range b.actions {
			out = append(out, "connector/"+a.spec.Connector)
		}
	}
	return unique(out)
}

// FallbackRule is the name of the built-in rule for what no rule matches.
const FallbackRule = "fallback"

// fits reports whether the facts are in the set. Unknown facts ("") fit only a
// set that does not name them, or "*".
func (m match) fits(f Facts, class deadline.RiskClass) bool {
	return in(m.class, f.Class) && in(m.domain, f.Domain) && in(m.risk, class.String()) && in(m.team, f.Team) &&
		in(m.account, f.Account) && in(m.environment, f.Environment) && in(m.app, f.App)
}

// mayFit is fits for deadlines: an unknown fact fits every set.
func (m match) mayFit(f Facts, class deadline.RiskClass) bool {
	may := func(set []string, w string) bool { return w == "" || in(set, w) }
	return in(m.class, f.Class) && in(m.domain, f.Domain) && in(m.risk, class.String()) && may(m.team, f.Team) &&
		may(m.account, f.Account) && may(m.environment, f.Environment) && may(m.app, f.App)
}

// empty reports whether everything fits.
func (m match) empty() bool {
	return len(m.class)+len(m.domain)+len(m.risk)+len(m.team)+len(m.account)+len(m.environment)+len(m.app) == 0
}

func in(set []string, w string) bool {
	if len(set) == 0 {
		return true
	}
	for _, s := range set {
		if wild(s, w) {
			return true
		}
	}
	return false
}

// wild reports whether w is s, or begins with it up to a final *.
func wild(s, w string) bool {
	if n := len(s) - 1; n >= 0 && s[n] == '*' {
		return len(w) >= n && w[:n] == s[:n]
	}
	return s == w
}

// ManualSteps returns the steps a playbook leaves to a person, nil if there is
// no such playbook.
func (p *Pack) ManualSteps(playbook string) []string {
	return append([]string(nil), p.playbooks[playbook].manual...)
}
