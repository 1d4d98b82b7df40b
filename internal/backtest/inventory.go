package backtest

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

// Inventory is what a file of alerts holds, by domain and class.
type Inventory struct {
	Policy string `json:"policy"`
	Alerts int    `json:"alerts"`
	Cases  int    `json:"cases"`
	// Rows in the order of domains, then by volume.
	Rows []Row `json:"rows"`
}

// Row is one class of alerts and what would become of them.
type Row struct {
	Domain finding.Domain `json:"domain"`
	// Class is "" where no class fits.
	Class  finding.Class `json:"class"`
	Alerts int           `json:"alerts"`
	Cases  int           `json:"cases"`
	// Duplicates are alerts that open no case of their own.
	Duplicates int      `json:"duplicates"`
	Sources    []string `json:"sources"`
	// Confidence is the median of the sources that state one, 1..100; 0 if none
	// does. ConfidenceStated counts the cases in which one is.
	Confidence       int `json:"confidence"`
	ConfidenceStated int `json:"confidence_stated"`
	OwnerFound       int `json:"owner_found"`
	// Decisions counts cases by path, were the pack trusted; Path is the most
	// frequent, and Now is where the modes of today leave it.
	Decisions map[remedy.Path]int `json:"decisions"`
	Path      remedy.Path         `json:"path"`
	Now       remedy.Path         `json:"now"`
	// Risk counts cases by class; Strictest is the worst of them.
	Risk      map[string]int     `json:"risk"`
	Strictest deadline.RiskClass `json:"strictest"`
	// Contain and Fix are the shortest times to the deadlines, "" for none.
	Contain string   `json:"contain,omitempty"`
	Fix     string   `json:"fix"`
	Rules   []string `json:"rules"`
	// Actions are "connector/verb", or the manual steps of the playbook in order.
	Actions   []string `json:"actions"`
	Approvers []string `json:"approvers"`
	// Asked are cases with an action that a person has to approve.
	Asked int    `json:"asked"`
	Probe string `json:"probe,omitempty"`
	Grade string `json:"grade"`
	// Unknown are facts whose absence makes it stricter or needs a person, most
	// frequent first.
	Unknown []string `json:"unknown"`

	confidences []int
	unknown     map[string]int
	now         map[remedy.Path]int
}

// InventoryOf sorts findings into classes and judges each exposure by j, as of
// at. Nothing is stored.
func InventoryOf(j judge.Judge, p *finding.Pile, at time.Time) (Inventory, error) {
	trusted := j
	trusted.IgnoreModes = true
	out := Inventory{Policy: j.Pack.Version(), Alerts: p.Len()}
	rows := map[string]*Row{}
	err := eachGroup(p, func(g Group) {
		out.Cases++
		key := string(g.Finding.Domain) + "\x00" + string(g.Finding.Class)
		r := rows[key]
		if r == nil {
			r = &Row{Domain: g.Finding.Domain, Class: g.Finding.Class, Decisions: map[remedy.Path]int{}, Risk: map[string]int{},
				unknown: map[string]int{}, now: map[remedy.Path]int{}, Sources: []string{}, Rules: []string{}, Actions: []string{}, Approvers: []string{}}
			rows[key] = r
		}
		would, e := trusted.Judge(g.Finding, policy.CaseFacts{Members: len(g.UIDs)}, at)
		now, _ := j.Judge(g.Finding, policy.CaseFacts{Members: len(g.UIDs)}, at)
		r.add(j.Pack, g, would, now.Decision.Path(), e, at)
	})
	for _, r := range rows {
		r.finish()
		out.Rows = append(out.Rows, *r)
	}
	order := map[finding.Domain]int{}
	for i, d := range finding.Domains() {
		order[d] = i - len(finding.Domains())
	}
	sort.Slice(out.Rows, func(a, b int) bool {
		x, y := out.Rows[a], out.Rows[b]
		if order[x.Domain] != order[y.Domain] {
			return order[x.Domain] < order[y.Domain]
		}
		if x.Alerts != y.Alerts {
			return x.Alerts > y.Alerts
		}
		return string(x.Domain)+string(x.Class) < string(y.Domain)+string(y.Class)
	})
	return out, err
}

func (r *Row) add(p *policy.Pack, g Group, j remedy.Judgement, now remedy.Path, e judge.Explanation, at time.Time) {
	d := j.Decision
	r.Alerts += g.Alerts
	r.Cases++
	r.Sources = appendNew(r.Sources, g.Sources...)
	if g.Finding.Confidence > 0 {
		r.confidences = append(r.confidences, g.Finding.Confidence)
	}
	if j.Routing.Known {
		r.OwnerFound++
	}
	r.Decisions[d.Path()]++
	r.now[now]++
	r.Risk[d.Class.String()]++
	r.Rules = appendNew(r.Rules, d.Rule)
	asks := false
	for _, a := range d.Actions {
		r.Actions = appendNew(r.Actions, a.Connector+"/"+a.Verb)
		if a.Auth == remedy.AuthApprove {
			asks = true
			for _, who := range j.Routing.Approvers {
				r.Approvers = appendNew(r.Approvers, who)
			}
		}
	}
	if asks {
		r.Asked++
	}
	if len(d.Actions) == 0 {
		if steps := p.ManualSteps(d.Playbook); len(steps) > 0 {
			r.Actions = appendNew(r.Actions, "by hand: "+numbered(steps))
		}
	}
	if d.Probe.Connector != "" {
		r.Probe = d.Probe.Name()
	}
	if r.Strictest == 0 || d.Class <= r.Strictest {
		if d.Class != r.Strictest {
			r.Contain, r.Fix = "", ""
		}
		r.Strictest, r.Grade = d.Class, d.Grade.String()
		r.Contain, r.Fix = within(at, j.Clocks.Contain), within(at, j.Clocks.Fix)
	}
	for _, u := range appendNew(append([]string(nil), d.Unknown...), e.Trace.Would...) {
		r.unknown[u]++
	}
}

// numbered joins steps: "1. this 2. that", one step without its number.
func numbered(steps []string) string {
	if len(steps) == 1 {
		return steps[0]
	}
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = strconv.Itoa(i+1) + ". " + s
	}
	return strings.Join(out, " ")
}

func (r *Row) finish() {
	r.Duplicates = r.Alerts - r.Cases
	r.ConfidenceStated = len(r.confidences)
	if n := len(r.confidences); n > 0 {
		sort.Ints(r.confidences)
		r.Confidence = r.confidences[n/2]
	}
	r.Path, r.Now = most(r.Decisions), most(r.now)
	sort.Strings(r.Sources)
	r.Unknown = []string{}
	for u := range r.unknown {
		r.Unknown = append(r.Unknown, u)
	}
	sort.Slice(r.Unknown, func(a, b int) bool {
		x, y := r.Unknown[a], r.Unknown[b]
		if r.unknown[x] != r.unknown[y] {
			return r.unknown[x] > r.unknown[y]
		}
		return x < y
	})
}

// most returns the most frequent path; of equals the more intrusive.
func most(m map[remedy.Path]int) remedy.Path {
	var best remedy.Path
	for _, p := range Paths() {
		if m[p] > m[best] {
			best = p
		}
	}
	return best
}

func appendNew(to []string, words ...string) []string {
	for _, w := range words {
		if w != "" && !slices.Contains(to, w) {
			to = append(to, w)
		}
	}
	return to
}

// within says how long it is from at to a deadline: "1 h", "3 d", "overdue".
func within(at, due time.Time) string {
	if due.IsZero() {
		return ""
	}
	d := due.Sub(at).Round(time.Minute)
	switch {
	case d <= 0:
		return "overdue"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d <= 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()+0.5))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24+0.5))
}

// Trial is what a pack would do with a file of alerts, were it trusted.
type Trial struct {
	Policy string `json:"policy"`
	Alerts int    `json:"alerts"`
	Cases  int    `json:"cases"`
	// Paths counts cases by path.
	Paths map[remedy.Path]int `json:"paths"`
	// NoOwner counts the cases (of all paths) whose owner nobody knows.
	NoOwner int `json:"no_owner"`
	// Errors counts cases the policy could not evaluate.
	Errors int `json:"errors"`
	// Items, the most pressing first.
	Items []TrialCase `json:"items"`

	// Owned and Unowned count the cases by path: those with a known owner, and
	// the others. Held, Relax and Failed count the cases by what TrialCase says
	// in Held, Relax and Error. They count all cases, Items may be fewer.
	Owned   map[remedy.Path]int `json:"-"`
	Unowned map[remedy.Path]int `json:"-"`
	Held    map[string]int      `json:"-"`
	Relax   map[string]int      `json:"-"`
	Failed  map[string]int      `json:"-"`
}

// TrialCase is one case of a trial.
type TrialCase struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	Asset string `json:"asset"`
	// Where is "file:line", "" if the source names no file.
	Where  string             `json:"where,omitempty"`
	Class  finding.Class      `json:"class"`
	Risk   deadline.RiskClass `json:"risk"`
	Path   remedy.Path        `json:"path"`
	Now    remedy.Path        `json:"now"`
	Alerts int                `json:"alerts"`
	Rule   string             `json:"rule"`
	Why    string             `json:"why"`
	// Actions are "connector/verb (authorization)".
	Actions    []string `json:"actions"`
	Owner      string   `json:"owner"`
	OwnerKnown bool     `json:"owner_known"`
	Approvers  []string `json:"approvers"`
	FixBy      string   `json:"fix_by"`
	// Held says why it is not more: unknown facts, limits.
	Held []string `json:"held"`
	// Relax are facts that could make it less urgent once they are known.
	Relax []string `json:"relax"`
	Error string   `json:"error,omitempty"`

	first int
}

// Rank is the place of a case in a trial: by risk, then volume, then appearance.
type Rank struct {
	Risk          deadline.RiskClass
	Alerts, First int
}

// Rank returns the case's place.
func (c TrialCase) Rank() Rank { return Rank{c.Risk, c.Alerts, c.first} }

// Compare is below 0 when r presses more than o.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(cmp.Compare(r.Risk, o.Risk), cmp.Compare(o.Alerts, r.Alerts), cmp.Compare(r.First, o.First))
}

// Try judges findings as if every rule had mode enforce, as of at. Limits by
// unknown facts stay, so what it counts as enforced really would be. It keeps
// the most pressing items, as many as asked for; 0 keeps all. Each, if it is not
// nil, gets every case as it is judged, in no order; its error ends it.
func Try(j judge.Judge, p *finding.Pile, at time.Time, keep int, each func(TrialCase) error) (Trial, error) {
	trusted := j
	trusted.IgnoreModes = true
	out := Trial{Policy: j.Pack.Version(), Alerts: p.Len(), Paths: map[remedy.Path]int{}, Items: []TrialCase{}, Owned: map[remedy.Path]int{},
		Unowned: map[remedy.Path]int{}, Held: map[string]int{}, Relax: map[string]int{}, Failed: map[string]int{}}
	var failed error
	err := eachGroup(p, func(g Group) {
		if failed != nil {
			return
		}
		would, e := trusted.Judge(g.Finding, policy.CaseFacts{Members: len(g.UIDs)}, at)
		now, _ := j.Judge(g.Finding, policy.CaseFacts{Members: len(g.UIDs)}, at)
		d := would.Decision
		c := TrialCase{
			Key: g.Key, Title: titleOf(g.Finding), Asset: g.Finding.Asset.Name, Class: g.Finding.Class, Risk: d.Class,
			Path: d.Path(), Now: now.Decision.Path(), Alerts: g.Alerts, Rule: d.Rule, Why: d.Why, Actions: []string{},
			Owner: would.Routing.Owner, OwnerKnown: would.Routing.Known, Approvers: append([]string{}, would.Routing.Approvers...),
			FixBy: within(at, would.Clocks.Fix), Held: append([]string{}, e.Trace.Lowered...), Relax: append([]string{}, e.Trace.Would...), Error: d.Error, first: g.first,
		}
		if l := g.Finding.Location; l.File != "" {
			c.Where = l.File
			if l.Line > 0 {
				c.Where += ":" + strconv.Itoa(l.Line)
			}
		}
		for _, a := range d.Actions {
			c.Actions = append(c.Actions, a.Connector+"/"+a.Verb+" ("+string(a.Auth)+")")
		}
		out.count(c)
		if each != nil {
			failed = each(c)
		}
		out.Items = append(out.Items, c)
		if keep > 0 && len(out.Items) >= 2*keep+1000 {
			out.Items = mostPressing(out.Items, keep)
		}
	})
	out.Items = mostPressing(out.Items, keep)
	return out, cmp.Or(failed, err)
}

func (t *Trial) count(c TrialCase) {
	t.Cases++
	t.Paths[c.Path]++
	if c.OwnerKnown {
		t.Owned[c.Path]++
	} else {
		t.NoOwner++
		t.Unowned[c.Path]++
	}
	for _, h := range c.Held {
		t.Held[h]++
	}
	for _, r := range c.Relax {
		t.Relax[r]++
	}
	if c.Error != "" {
		t.Errors++
		t.Failed[c.Error]++
	}
}

// mostPressing orders cases by risk, then volume, then appearance.
func mostPressing(list []TrialCase, keep int) []TrialCase {
	slices.SortFunc(list, func(a, b TrialCase) int { return a.Rank().Compare(b.Rank()) })
	if keep > 0 && len(list) > keep {
		clear(list[keep:])
		list = list[:keep]
	}
	return list
}

// titleOf names the package too: one advisory in two packages is two cases.
func titleOf(f finding.Finding) string {
	if name := f.Component.Name; name != "" && !strings.Contains(f.Title, name) {
		return name + ": " + f.Title
	}
	return f.Title
}

// String is the one line of `casement try`. Each case is counted once: what has
// no owner is counted as that, whatever its path.
func (t Trial) String() string {
	owned := t.Owned
	parts := []string{fmt.Sprintf("%d would be enforced", owned[remedy.PathEnforce]), fmt.Sprintf("%d approved", owned[remedy.PathApprove]),
		fmt.Sprintf("%d ticketed", owned[remedy.PathTicket])}
	if n := owned[remedy.PathIncident]; n == 1 {
		parts = append(parts, "1 incident")
	} else if n > 1 {
		parts = append(parts, fmt.Sprintf("%d incidents", n))
	}
	if n := owned[remedy.PathMonitor]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d only watched", n))
	}
	if n := owned[remedy.PathSuppress]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d suppressed", n))
	}
	parts = append(parts, fmt.Sprintf("%d no owner", t.NoOwner))
	failed := ""
	if t.Errors > 0 {
		failed = fmt.Sprintf("; policy errors in %d of them", t.Errors)
	}
	return fmt.Sprintf("%s → %s; %s%s; nothing was touched", count(t.Alerts, "alert"), count(t.Cases, "case"), strings.Join(parts, ", "), failed)
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
