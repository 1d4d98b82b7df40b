package policy

import (
	"go.yaml.in/yaml/v4"
)

// The documents as written. Field tags are the grammar: yaml is the key, req
// marks a required one, enum its closed set of words, doc its description in
// the published schema.
type (
	rawRules struct {
		Place   place     `yaml:"-"`
		Kind    text      `yaml:"kind" req:"1" enum:"rules" doc:"what the document holds"`
		Authors list      `yaml:"authors" doc:"principal ids of who wrote this document"`
		Mode    text      `yaml:"mode" enum:"shadow ticket approve enforce" doc:"mode of rules that state none; shadow if left out"`
		Rules   []rawRule `yaml:"rules" req:"1" doc:"rules in order; the first that matches decides"`
	}
	rawRule struct {
		Place    place       `yaml:"-"`
		Name     text        `yaml:"name" req:"1" doc:"unique, stable name; lower case words with dashes"`
		When     text        `yaml:"when" req:"1" doc:"CEL condition over the fact variables"`
		Class    classTable  `yaml:"class" doc:"risk class K1 to K5, or rows of when and class"`
		Why      text        `yaml:"why" doc:"the reason, for the person who reads the case"`
		Playbook text        `yaml:"playbook" doc:"name of the playbook the actions come from"`
		Contain  text        `yaml:"contain" enum:"none approve enforce" doc:"authorization of containing actions"`
		Fix      text        `yaml:"fix" enum:"none approve enforce" doc:"authorization of fixing actions"`
		OptIn    list        `yaml:"opt_in" doc:"irreversible actions, by name, that may be enforced"`
		Incident bool        `yaml:"incident" doc:"open an incident"`
		Ticket   bool        `yaml:"ticket" doc:"open a ticket"`
		Suppress rawSuppress `yaml:"suppress" doc:"not an exposure for us, until a date"`
		Mode     text        `yaml:"mode" enum:"shadow ticket approve enforce" doc:"ceiling on authorization"`
		Modes    []rawMode   `yaml:"modes" doc:"ceilings by team, account or environment; the first that fits counts"`
		Notify   list        `yaml:"notify" doc:"channels told beside those of the route"`
		Gate     text        `yaml:"gate" enum:"block warn pass" doc:"what the gate of a pipeline does; by default K1 to K3 block and K4 and K5 warn"`
	}
	rawSuppress struct {
		Place  place `yaml:"-"`
		Until  date  `yaml:"until" req:"1" doc:"the rule has no effect from here on"`
		Reason text  `yaml:"reason" req:"1"`
	}
	rawMode struct {
		Place       place `yaml:"-"`
		Team        text  `yaml:"team"`
		Account     text  `yaml:"account"`
		Environment text  `yaml:"environment"`
		Mode        text  `yaml:"mode" req:"1" enum:"shadow ticket approve enforce"`
	}
	rawClassRow struct {
		Place place `yaml:"-"`
		When  text  `yaml:"when" doc:"CEL condition; a row without one always fits"`
		Class text  `yaml:"class" req:"1" enum:"K1 K2 K3 K4 K5"`
	}
	// classTable is a literal class or rows; nil means that the rule states none.
	classTable struct {
		rows []rawClassRow
		at   pos
	}

	rawPlaybooks struct {
		Place     place         `yaml:"-"`
		Kind      text          `yaml:"kind" req:"1" enum:"playbooks"`
		Authors   list          `yaml:"authors"`
		Playbooks []rawPlaybook `yaml:"playbooks" req:"1"`
	}
	rawPlaybook struct {
		Place       place             `yaml:"-"`
		Name        text              `yaml:"name" req:"1"`
		Description text              `yaml:"description" req:"1" doc:"what it does, for the runbook"`
		Probe       text              `yaml:"probe" doc:"connector/verb that observes the exposure; by default the probe of the first action"`
		ProbeParams map[string]text   `yaml:"probe_params" doc:"parameters of the probe; ${variable} takes a fact"`
		ProbeEvery  span              `yaml:"probe_every" doc:"time between probes while open; by default by risk class"`
		Grade       text              `yaml:"grade" enum:"P0 P1 P2 P3" doc:"least probe grade that proves closure"`
		Contain     []rawAction       `yaml:"contain" doc:"compensating controls, in order"`
		Fix         []rawAction       `yaml:"fix" doc:"actions that end the exposure, in order"`
		Manual      []text            `yaml:"manual" doc:"steps for a person, where no connector does it"`
		Links       map[string]string `yaml:"links" doc:"further reading by title"`
	}
	rawAction struct {
		Place            place           `yaml:"-"`
		Name             text            `yaml:"name" req:"1"`
		Do               text            `yaml:"do" req:"1" doc:"connector/verb"`
		Params           map[string]text `yaml:"params" doc:"parameters; ${variable} takes a fact"`
		Auth             text            `yaml:"auth" enum:"none approve enforce" doc:"authorization unless the rule says otherwise; approve if left out"`
		Quorum           number          `yaml:"quorum" doc:"number of approvers, at least 1"`
		Settle           span            `yaml:"settle" doc:"time before the first probe after the act"`
		Tries            number          `yaml:"tries" doc:"after-probes that may still see the exposure"`
		Interval         span            `yaml:"interval" doc:"time between these probes"`
		Expires          span            `yaml:"expires" doc:"time after which a containment ends by itself"`
		ContinuityParams map[string]text `yaml:"continuity_params"`
		Watch            span            `yaml:"watch" doc:"how long the continuity probe is watched"`
		WatchEvery       span            `yaml:"watch_every"`
		ApproveWithin    span            `yaml:"approve_within" doc:"life of an approval request"`
		UnknownModifier  bool            `yaml:"unknown_modifier_ok" doc:"one approver suffices though nobody knows who changed the target last"`
	}

	rawRoutes struct {
		Place   place      `yaml:"-"`
		Kind    text       `yaml:"kind" req:"1" enum:"routes"`
		Authors list       `yaml:"authors"`
		Routes  []rawRoute `yaml:"routes" req:"1" doc:"the first that fits is taken; the last has no match"`
	}
	rawRoute struct {
		Place   place       `yaml:"-"`
		Name    text        `yaml:"name" req:"1"`
		Match   rawMatch    `yaml:"match"`
		Tickets []rawTicket `yaml:"tickets" doc:"systems of record, all of them get a ticket"`
		Notify  list        `yaml:"notify" doc:"channels"`
	}
	rawTicket struct {
		Place    place `yaml:"-"`
		System   text  `yaml:"system" req:"1"`
		Template text  `yaml:"template" req:"1"`
		Project  text  `yaml:"project" doc:"project or queue; ${variable} takes a fact"`
	}
	// rawMatch fits when every given field has the fact among its words; a word
	// may end in * to fit a prefix.
	rawMatch struct {
		Place       place `yaml:"-"`
		Class       list  `yaml:"class" doc:"classes of exposure, e.g. storage.*"`
		Domain      list  `yaml:"domain"`
		Risk        list  `yaml:"risk" enum:"K1 K2 K3 K4 K5"`
		Team        list  `yaml:"team"`
		Account     list  `yaml:"account"`
		Environment list  `yaml:"environment"`
		App         list  `yaml:"app"`
	}

	rawTemplates struct {
		Place     place         `yaml:"-"`
		Kind      text          `yaml:"kind" req:"1" enum:"templates"`
		Authors   list          `yaml:"authors"`
		Templates []rawTemplate `yaml:"templates" req:"1"`
	}
	rawTemplate struct {
		Place  place           `yaml:"-"`
		Name   text            `yaml:"name" req:"1"`
		Title  text            `yaml:"title" req:"1"`
		Body   text            `yaml:"body" req:"1"`
		Fields map[string]text `yaml:"fields" doc:"fields of the ticket by the system's own names"`
	}

	rawSLAs struct {
		Place   place    `yaml:"-"`
		Kind    text     `yaml:"kind" req:"1" enum:"sla"`
		Authors list     `yaml:"authors"`
		SLA     []rawSLA `yaml:"sla" req:"1" doc:"all that fit count; the earliest instant of each duty stands"`
	}
	rawSLA struct {
		Place       place                `yaml:"-"`
		Name        text                 `yaml:"name" req:"1"`
		Use         text                 `yaml:"use" enum:"default ladder" doc:"built-in terms to start from"`
		Match       rawMatch             `yaml:"match"`
		Calendar    text                 `yaml:"calendar" doc:"working time for business terms"`
		Maintenance text                 `yaml:"maintenance" doc:"calendar of maintenance windows"`
		Warn        number               `yaml:"warn_percent" doc:"share of a term after which a warning goes out"`
		Upgrade     date                 `yaml:"next_upgrade" doc:"the next scheduled upgrade"`
		Classes     map[string]rawDuties `yaml:"classes" doc:"terms by risk class"`
	}
	rawDuties struct {
		Place   place `yaml:"-"`
		Ack     text  `yaml:"ack" doc:"15m, 4h, 3d, 8h working, 1 business day, next window, next upgrade"`
		Contain text  `yaml:"contain"`
		Fix     text  `yaml:"fix"`
	}

	rawCalendars struct {
		Place     place         `yaml:"-"`
		Kind      text          `yaml:"kind" req:"1" enum:"calendars"`
		Authors   list          `yaml:"authors"`
		Calendars []rawCalendar `yaml:"calendars" req:"1"`
	}
	rawCalendar struct {
		Place    place      `yaml:"-"`
		Name     text       `yaml:"name" req:"1"`
		Zone     text       `yaml:"zone" req:"1" doc:"IANA zone name"`
		Hours    []rawHours `yaml:"hours" req:"1"`
		Holidays list       `yaml:"holidays" doc:"YYYY-MM-DD, or MM-DD for every year"`
	}
	rawHours struct {
		Place place `yaml:"-"`
		Days  text  `yaml:"days" req:"1"`
		From  text  `yaml:"from" req:"1"`
		To    text  `yaml:"to" req:"1"`
	}

	rawEscalations struct {
		Place       place           `yaml:"-"`
		Kind        text            `yaml:"kind" req:"1" enum:"escalations"`
		Authors     list            `yaml:"authors"`
		Escalations []rawEscalation `yaml:"escalations" req:"1" doc:"the first that fits is taken; the last has no match"`
	}
	rawEscalation struct {
		Place place     `yaml:"-"`
		Name  text      `yaml:"name" req:"1"`
		Match rawMatch  `yaml:"match"`
		Steps []rawStep `yaml:"steps" req:"1"`
	}
	rawStep struct {
		Place place `yaml:"-"`
		After span  `yaml:"after" req:"1" doc:"time after the breach"`
		Who   text  `yaml:"who" req:"1" enum:"owner backup manager ops_lead"`
	}

	rawGuardrails struct {
		Place     place          `yaml:"-"`
		Kind      text           `yaml:"kind" req:"1" enum:"guardrails"`
		Authors   list           `yaml:"authors"`
		Budgets   []rawBudget    `yaml:"budgets" doc:"how often something may act in a window"`
		Share     []rawShare     `yaml:"share" doc:"largest part of the known assets of a class acted on in a window"`
		Protected []rawProtected `yaml:"protected" doc:"assets that are not acted on"`
		Freezes   []rawFreeze    `yaml:"freezes" doc:"spans in which nothing is changed"`
	}
	rawBudget struct {
		Place  place  `yaml:"-"`
		Name   text   `yaml:"name" req:"1"`
		Per    text   `yaml:"per" req:"1" enum:"rule playbook connector account total"`
		Of     list   `yaml:"of" doc:"names it is for; all if left out"`
		Max    number `yaml:"max" req:"1"`
		Window span   `yaml:"window" req:"1"`
	}
	rawShare struct {
		Place   place   `yaml:"-"`
		Name    text    `yaml:"name" req:"1"`
		Class   list    `yaml:"class" doc:"classes it is for; all if left out"`
		Percent float64 `yaml:"max_percent" req:"1"`
		AtLeast number  `yaml:"at_least" doc:"actions always allowed in the window, also when the fleet is unknown; 1 if left out"`
		Window  span    `yaml:"window" req:"1"`
	}
	rawProtected struct {
		Place  place `yaml:"-"`
		Name   text  `yaml:"name" req:"1"`
		When   text  `yaml:"when" req:"1" doc:"CEL condition; an error or an unknown fact counts as protected"`
		Allow  text  `yaml:"allow" enum:"none approve" doc:"none: no action at all; approve: only with a person's approval"`
		Reason text  `yaml:"reason" req:"1"`
	}
	rawFreeze struct {
		Place  place `yaml:"-"`
		From   date  `yaml:"from" req:"1"`
		Until  date  `yaml:"until" req:"1"`
		Scope  text  `yaml:"scope" req:"1" doc:"* or environment:, account:, team:, class:, connector: or playbook: and a name"`
		Reason text  `yaml:"reason" req:"1"`
	}

	rawExceptions struct {
		Place      place          `yaml:"-"`
		Kind       text           `yaml:"kind" req:"1" enum:"exceptions"`
		Authors    list           `yaml:"authors"`
		Exceptions []rawException `yaml:"exceptions" req:"1"`
	}
	rawException struct {
		Place    place `yaml:"-"`
		Name     text  `yaml:"name" req:"1"`
		When     text  `yaml:"when" req:"1" doc:"CEL condition; it has to hold whatever the unknown facts are"`
		Reason   text  `yaml:"reason" req:"1"`
		Asked    text  `yaml:"asked_by" req:"1"`
		Approved text  `yaml:"approved_by" req:"1"`
		From     date  `yaml:"from"`
		Until    date  `yaml:"until" req:"1" doc:"it ends here and the case comes back"`
	}

	rawTests struct {
		Place   place     `yaml:"-"`
		Kind    text      `yaml:"kind" req:"1" enum:"tests"`
		Authors list      `yaml:"authors"`
		Tests   []rawTest `yaml:"tests" req:"1"`
	}
	rawTest struct {
		Place  place               `yaml:"-"`
		Name   text                `yaml:"name" req:"1"`
		At     date                `yaml:"at" doc:"when it is judged; 2026-01-01 if left out"`
		Given  map[string]rawValue `yaml:"given" doc:"facts by variable name; the others are unknown"`
		Than   map[string]rawValue `yaml:"than" doc:"facts of the finding it is compared with by outranks"`
		Expect rawExpect           `yaml:"expect" req:"1"`
	}
	rawExpect struct {
		Place    place `yaml:"-"`
		Path     text  `yaml:"path" enum:"enforce approve ticket incident monitor suppress"`
		Intended text  `yaml:"intended" enum:"enforce approve ticket incident monitor suppress"`
		Class    text  `yaml:"class" enum:"K1 K2 K3 K4 K5"`
		Rule     text  `yaml:"rule"`
		Playbook text  `yaml:"playbook"`
		Unknown  list  `yaml:"unknown" doc:"facts that lowered an authorization; all are listed"`
		System   text  `yaml:"system" doc:"system of record of the first ticket"`
		Outranks text  `yaml:"outranks" enum:"yes no" doc:"the class is stricter than that of the finding under than"`
	}
	// rawValue is a fact as written in a test: a scalar, a list or a table.
	rawValue struct {
		node *yaml.Node
		at   pos
	}
)

func (c *classTable) read(d *decoder, n *yaml.Node) {
	c.at = d.at(n)
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			var row rawClassRow
			d.fill(item, &row)
			c.rows = append(c.rows, row)
		}
		return
	}
	row := rawClassRow{Place: place{c.at}}
	row.Class.read(d, n)
	if words := []string{"K1", "K2", "K3", "K4", "K5"}; !contains(words, row.Class.s) {
		c.at.failf(didYouMean(row.Class.s, words), "%s is not a risk class", quote(row.Class.s))
	}
	c.rows = append(c.rows, row)
}

func (c *classTable) schema() map[string]any {
	literal := map[string]any{"enum": []string{"K1", "K2", "K3", "K4", "K5"}}
	return map[string]any{"oneOf": []any{literal, map[string]any{"type": "array", "items": schemaOf(rawClassRow{})}}}
}

func (v *rawValue) read(d *decoder, n *yaml.Node) { *v = rawValue{n, d.at(n)} }
func (v *rawValue) schema() map[string]any        { return map[string]any{} }
