package witness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// judge says what is wrong with a claim, "" if nothing is.
func (c *court) judge(x claim) string {
	if x.Want != x.Saw {
		why := fmt.Sprintf("promised %q, saw %q", x.Want, x.Saw)
		if last := c.lastWord(x); last != "" {
			why += "; " + last
		}
		return why
	}
	look, ok := map[string]func(claim) string{
		"outside": c.outside, "before-probe": c.before, "action": c.action, "after-probe": c.after, "proven": c.proven,
		"pending": c.pending, "no-effect": c.noEffect, "void": c.void, "approved": c.approved, "rejected": c.rejected,
		"held": c.held, "budget": c.budget, "broke": c.broke, "undone": c.undone, "refuted": c.refuted, "storm": c.storm,
		"gate": c.gate, "twin": c.twin, "kill": c.kill, "once": c.once, "window": c.window,
	}[x.Kind]
	if !ok {
		return "nobody knows how to check this kind of claim"
	}
	return look(x)
}

// events are the case's events that satisfy a test.
func (c *court) events(x claim, typ string, test func(event) bool) []event {
	var out []event
	for _, e := range c.streams["case/"+x.Case] {
		if e.typ == typ && test(e) {
			out = append(out, e)
		}
	}
	return out
}

func (c *court) has(x claim, typ string, test func(event) bool) bool {
	return len(c.events(x, typ, test)) > 0
}

func of(action string) func(event) bool {
	return func(e event) bool { return e.word("action") == action }
}

func any1(event) bool { return true }

// requests are the entries of the subject that satisfy a test.
func (c *court) requests(subject string, test func(entry) bool) []entry {
	var out []entry
	for _, e := range c.log {
		if e.subject() == subject && test(e) {
			out = append(out, e)
		}
	}
	return out
}

// stateAt is what the target itself last said of the subject before a claim.
func (c *court) stateAt(x claim) string {
	es := c.requests(x.Subject, func(e entry) bool { return e.State != "" && !e.At.After(x.At) })
	if len(es) == 0 {
		return ""
	}
	return es[len(es)-1].State
}

func (c *court) wrongState(x claim) string {
	if s := c.stateAt(x); s != x.State {
		return fmt.Sprintf("the target's own log says %q, not %q", s, x.State)
	}
	return ""
}

// changed are the changes the case made to the subject.
func (c *court) changed(x claim) []entry {
	return c.requests(x.Subject, func(e entry) bool { return e.Changed && e.Case == x.Case })
}

// lastWord is what ledger and log say of a case that did not go as promised.
func (c *court) lastWord(x claim) string {
	var out []string
	evs := c.streams["case/"+x.Case]
	for _, e := range slices.Backward(evs) {
		if r := e.word("reason"); r != "" {
			out = append(out, "the ledger: "+r)
			break
		}
	}
	for _, e := range slices.Backward(c.log) {
		if e.subject() == x.Subject && e.Case == x.Case && (e.Status == 0 || e.Status >= 500) {
			said := fmt.Sprintf("the target's own log: %s %s answered %d", e.Method, e.Path, e.Status)
			if e.Status == 0 {
				said = fmt.Sprintf("the target's own log: %s %s was broken off", e.Method, e.Path)
			}
			out = append(out, said)
			break
		}
	}
	return strings.Join(out, "; ")
}

func (c *court) outside(x claim) string {
	es := c.requests(x.Subject, func(e entry) bool {
		return e.Anonymous && e.Agent == "casement-demo/outsider" && !e.At.After(x.At) && fmt.Sprint(e.Status) == x.Saw
	})
	if len(es) == 0 {
		return "the target's own log has no such request"
	}
	if s := es[len(es)-1].State; s != x.State {
		return fmt.Sprintf("the target's own log says %q while it answered %s", s, x.Saw)
	}
	return ""
}

func (c *court) before(x claim) string {
	plans := c.events(x, "planned", of(x.Action))
	if len(plans) == 0 || plans[0].word("before", "result") != x.Saw {
		return "the ledger has no such observation before the action"
	}
	seen := c.requests(x.Subject, func(e entry) bool { return e.by(x.Case, x.Action) && !e.Changed && e.Status/100 == 2 && looks(e) })
	if len(seen) == 0 {
		return "the target's own log has no probe of this case"
	}
	return ""
}

// looks: the request is that of a probe: without a credential at the object
// store, an introspection at the authorization server.
func looks(e entry) bool {
	return e.Service == "s3" && e.Anonymous || e.Service == "oauth" && e.Path == "/introspect"
}

func (c *court) action(x claim) string {
	intents := c.events(x, "intended", of(x.Action))
	if len(intents) == 0 || !c.has(x, "acted", of(x.Action)) {
		return "the ledger has no intent and outcome of it"
	}
	made := c.requests(x.Subject, func(e entry) bool { return e.Changed && e.by(x.Case, x.Action) && !e.At.Before(intents[0].at) })
	if len(made) == 0 {
		return "the ledger says done, the target's own log has no change by it"
	}
	return ""
}

func (c *court) after(x claim) string {
	saw := c.events(x, "probe_saw", func(e event) bool { return e.word("purpose") == "after" && e.word("action") == x.Action })
	if len(saw) == 0 || saw[len(saw)-1].word("observation", "result") != x.Saw {
		return "the ledger's last probe after the action says otherwise"
	}
	asked := c.requests(x.Subject, func(e entry) bool { return e.by(x.Case, x.Action) && looks(e) && !e.At.Before(saw[len(saw)-1].at) })
	if len(asked) == 0 {
		return "the target's own log has no probe after the action"
	}
	if e := asked[len(asked)-1]; e.State != x.State {
		return fmt.Sprintf("the probe was answered %d, and the target's own log says it was %q, not %q", e.Status, e.State, x.State)
	}
	return ""
}

func (c *court) proven(x claim) string {
	if !c.has(x, "closed", func(e event) bool { return e.word("how") == "proven" }) {
		return "the ledger has not closed it as proven"
	}
	return c.wrongState(x)
}

func (c *court) pending(x claim) string {
	if c.has(x, "closed", func(e event) bool { return !e.at.After(x.At) }) {
		return "the ledger had closed it by then"
	}
	return c.wrongState(x)
}

func (c *court) noEffect(x claim) string {
	if !c.has(x, "action_moved", func(e event) bool {
		return e.word("action") == x.Action && e.word("to") == "failed" && strings.Contains(e.word("reason"), "still sees the exposure")
	}) {
		return "the ledger does not say that it had no effect"
	}
	wrote := c.requests(x.Subject, func(e entry) bool {
		return e.by(x.Case, x.Action) && e.Method != "GET" && e.Method != "HEAD" && e.Status/100 == 2
	})
	if len(wrote) == 0 || slices.ContainsFunc(wrote, func(e entry) bool { return e.Changed }) {
		return "the target's own log does not show a change that was confirmed and not made"
	}
	return ""
}

func (c *court) void(x claim) string {
	voids := c.events(x, "approval_voided", of(x.Action))
	if len(voids) == 0 || voids[0].word("diff") == "" {
		return "the ledger has no void approval with a difference"
	}
	if !c.has(x, "approved", func(e event) bool { return e.person && !e.at.After(voids[0].at) }) {
		return "the ledger has no person's approval before it"
	}
	for _, e := range c.changed(x) {
		if !e.At.After(x.At) {
			return "the target was changed all the same"
		}
	}
	return c.wrongState(x)
}

func (c *court) approved(x claim) string {
	yes := c.events(x, "approved", func(e event) bool { return e.person && e.word("grant", "by") == x.Saw })
	acts := c.events(x, "intended", of(x.Action))
	if len(yes) == 0 || len(acts) == 0 {
		return "the ledger has no such approval before the action"
	}
	if yes[len(yes)-1].word("grant", "plan_hash") != acts[len(acts)-1].word("plan_hash") {
		return "the approved plan is not the one that was carried out"
	}
	return ""
}

func (c *court) rejected(x claim) string {
	if !c.has(x, "rejected", of(x.Action)) {
		return "the ledger has no rejection"
	}
	if len(c.changed(x)) > 0 {
		return "the target was changed all the same"
	}
	return ""
}

func (c *court) held(x claim) string {
	if !c.has(x, "action_moved", func(e event) bool {
		return e.word("to") == "held" && strings.Contains(e.word("reason"), x.Detail)
	}) {
		return "the ledger does not hold it for that reason"
	}
	if len(c.changed(x)) > 0 {
		return "the target was changed all the same"
	}
	return c.wrongState(x)
}

func (c *court) budget(x claim) string {
	scopes := map[string]bool{}
	for _, e := range c.log {
		if e.Changed && strings.HasPrefix(e.subject(), strings.TrimSuffix(x.Subject, "*")) {
			scopes[e.Scope] = true
		}
	}
	if n := fmt.Sprint(len(scopes)); n != x.Saw {
		return "the targets' own logs show " + n + " changed"
	}
	return ""
}

func (c *court) broke(x claim) string {
	if !c.has(x, "probe_saw", func(e event) bool {
		return e.word("purpose") == "continuity" && e.word("observation", "result") == "exposed"
	}) {
		return "the ledger has no failed continuity probe"
	}
	if !slices.ContainsFunc(c.log, func(e entry) bool { return e.Service == "app" && e.Case == x.Case && e.State == "down" }) {
		return "the application's own log was never down for it"
	}
	return ""
}

func (c *court) undone(x claim) string {
	if !c.has(x, "undo_intended", of(x.Action)) || !c.has(x, "undone", of(x.Action)) {
		return "the ledger has no intent and outcome of the undo"
	}
	if n := len(c.changed(x)); n != 2 {
		return fmt.Sprintf("the target's own log has %d changes, not one there and one back", n)
	}
	return c.wrongState(x)
}

func (c *court) refuted(x claim) string {
	done := c.events(x, "ticket_moved", func(e event) bool { return e.word("done") == "true" })
	saw := c.events(x, "probe_saw", func(e event) bool {
		return e.word("purpose") == "claim" && e.word("observation", "result") == "exposed"
	})
	again := c.events(x, "ticket_moved", func(e event) bool { return e.word("status") == "reopened" })
	if len(done) == 0 || len(saw) == 0 || len(again) == 0 || saw[0].at.Before(done[0].at) || again[0].at.Before(saw[0].at) {
		return "the ledger does not show done, exposed, reopened in this order"
	}
	return c.wrongState(x)
}

func (c *court) storm(x claim) string {
	opened := 0
	for _, evs := range c.streams {
		for _, e := range evs {
			if e.typ == "opened" && e.word("asset", "uid") == x.Subject {
				opened++
			}
		}
	}
	sent, arrived := len(c.events(x, "message_sent", any1)), 0
	for _, e := range c.log {
		if e.Service == "sink" && e.Path == "/notice" && e.Case == x.Case && e.Status == 200 {
			arrived++
		}
	}
	joined := len(c.events(x, "joined", any1))
	if said := fmt.Sprintf("%d alerts, %d case, %d message", joined, opened, sent); said != x.Saw {
		return "the ledger says " + said
	}
	if arrived != 1 {
		return fmt.Sprintf("the receiver's own log has %d messages", arrived)
	}
	return ""
}

func (c *court) gate(x claim) string {
	var rep struct {
		Blocked  int `json:"blocked"`
		Excepted int `json:"excepted"`
	}
	if err := json.Unmarshal(c.files[x.File], &rep); err != nil {
		return "its report " + x.File + " can't be read"
	}
	if x.Saw == "exit 4" {
		if rep.Blocked == 0 {
			return "its report blocks nothing"
		}
		return ""
	}
	granted := false
	for _, evs := range c.streams {
		granted = granted || slices.ContainsFunc(evs, func(e event) bool {
			return e.typ == "exception_granted" && strings.Contains(fmt.Sprint(e.body), x.Detail)
		})
	}
	if rep.Blocked > 0 || rep.Excepted == 0 || !granted || !strings.Contains(string(c.files[x.File]), x.Detail) {
		return "report and ledger do not show an exception that lets it pass"
	}
	return ""
}

func (c *court) twin(x claim) string {
	sources := map[string]bool{}
	for _, e := range c.events(x, "joined", any1) {
		sources[e.word("member", "source")] = true
	}
	if len(sources) < 2 {
		return "the ledger has only one source on the case"
	}
	return ""
}

func (c *court) kill(x claim) string {
	early := func(e event) bool { return of(x.Action)(e) && !e.at.After(x.At) }
	if !c.has(x, "intended", early) {
		return "the ledger has no intent before the kill"
	}
	if !slices.ContainsFunc(c.changed(x), func(e entry) bool { return !e.At.After(x.At) }) {
		return "the target's own log has no change before the kill"
	}
	if c.has(x, "acted", early) {
		return "the outcome was written down before the kill: it was not in mid-action"
	}
	if !c.has(x, "acted", of(x.Action)) {
		return "the ledger never learnt the outcome"
	}
	return ""
}

func (c *court) once(x claim) string {
	if n := fmt.Sprint(len(c.changed(x))); n != x.Saw {
		return "the target's own log has " + n + " changes"
	}
	return ""
}

func (c *court) window(x claim) string {
	opened := c.events(x, "opened", any1)
	closed := c.events(x, "closed", func(e event) bool { return e.word("how") == "proven" })
	if len(opened) == 0 || len(closed) == 0 || !closed[len(closed)-1].at.Equal(x.Closed) || !sameTime(opened[0].word("detected_at"), x) {
		return "the ledger has other times"
	}
	contained := c.events(x, "contained", any1)
	if !x.Contained.IsZero() && (len(contained) == 0 || !contained[0].at.Equal(x.Contained)) {
		return "the ledger has another time of containment"
	}
	return ""
}
