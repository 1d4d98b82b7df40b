package simulation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// audit holds the laws against the ledger as it grows. What it knows of a case
// it works out itself from the events.
type audit struct {
	s *sim
	// pos is how far the ledger was read, seen how many events that were.
	pos   int64
	seen  int
	cases map[string]*caseView
	order []string
	// open is the open case of each target.
	open map[int]string
	// held are the scopes of the kill switch.
	held map[string]bool
	// epochs are the newest claim of each effect.
	epochs map[string]uint64
	// spent are the instants of the intents that took from the budget.
	spent []time.Time
	// keys are the once-keys ever given.
	keys map[string]bool
	// owner is the case and target of each finding.
	owner map[string]string
	heads map[string][32]byte
}

// caseView is a case as its events tell it.
type caseView struct {
	id, key  string
	target   int
	open     bool
	how      remedy.How
	settled  bool
	until    time.Time // of a suppression or attestation
	closedAt time.Time
	opened   time.Time
	acked    bool
	episode  int
	members  map[string]finding.Status
	severity finding.Severity
	judged   remedy.Judgement
	// exposed are the probes and places that saw the exposure in this episode.
	exposed map[string]bool
	// last is the newest observation that may close, and whether something was
	// done since.
	last    remedy.Observation
	covers  []string
	since   bool
	actions []*actionView
	except  *remedy.Exception
	// stood are the times in which the clock of the episode stood still.
	stood []*stood
	said  map[string]bool
	// touched: in this episode something was probed, acted or answered.
	touched   bool
	contained bool
	at        time.Time
	version   uint64
	messages  map[int]bool
}

// actionView is an action as the events tell it.
type actionView struct {
	id        string
	episode   int
	spec      remedy.ActionSpec
	requester string
	status    remedy.ActionStatus
	plan      remedy.Plan
	before    remedy.Observation
	ask       remedy.Approval
	grants    []remedy.Grant
	// shown are the hashes of all plans anybody was asked to approve.
	shown   []string
	key     string
	repeats int
	changes int
	acted   bool
	doubt   bool // intended, and the outcome is not known yet
	undoKey string
	undos   int
	expires time.Time
	watch   time.Time
	works   remedy.Result
	worksAt time.Time
}

func (a *actionView) asking() bool { return a.status == remedy.ActionAsking }

func newAudit(s *sim) *audit {
	return &audit{s: s, cases: map[string]*caseView{}, open: map[int]string{}, held: map[string]bool{}, epochs: map[string]uint64{},
		keys: map[string]bool{}, owner: map[string]string{}, heads: map[string][32]byte{}}
}

// ids are the cases in the order they were opened.
func (a *audit) ids() []string { return slices.Clone(a.order) }

// claimed notes a claim: from now on only its epoch may speak for the effect.
func (a *audit) claimed(l record.Lease) {
	a.s.say("claims %s until %s", leaseOf(l), l.Until.Format(time.TimeOnly))
	if old := a.epochs[l.Row.ID]; l.Epoch <= old {
		a.s.breach(8, "effect %s was claimed with epoch %d after %d", l.Row.ID, l.Epoch, old)
	}
	a.epochs[l.Row.ID] = l.Epoch
}

// committed looks at a commit that just ended.
func (a *audit) committed(units []record.Unit, seen []record.Sighting, errs []error, err error) {
	s := a.s
	for i, u := range units {
		e := err
		if e == nil {
			e = errs[i]
		}
		s.say("commit %s %d+%d: %s", u.Case.ID, u.Before, len(u.Events), short(e))
		if e != nil {
			s.count(e)
			continue
		}
		if d := u.Done; d != nil && a.epochs[d.Row.ID] != d.Epoch {
			s.breach(8, "the outcome of %s was taken though epoch %d holds it", leaseOf(*d), a.epochs[d.Row.ID])
		}
	}
	// Before the new events are looked at: the sightings are of the same commit.
	if err == nil && len(units) == 0 {
		for _, x := range seen {
			a.sighting(x.UID)
		}
	}
	a.pull()
	for i, u := range units {
		if err == nil && errs[i] == nil {
			a.wakes(u)
		}
		if err == nil && errs[i] == nil && u.Done != nil && s.cur != nil && slices.ContainsFunc(u.Events, func(e remedy.Event) bool {
			_, ok := e.Body.(remedy.Intended)
			return ok
		}) {
			s.cur.intended = s.tick
		}
	}
}

// wakes: what is stored as the next wake-up is not after an instant that was
// promised.
func (a *audit) wakes(u record.Unit) {
	v, s := a.cases[u.Case.ID], a.s
	if v.settled || v.version != u.Case.Version {
		return
	}
	if u.WakeAt.IsZero() {
		s.breach(9, "case %s is not settled and never wakes up", v.id)
	}
	by := func(what string, t time.Time) {
		if t.After(s.now.Add(s.ahead+time.Minute)) && u.WakeAt.After(t) {
			s.breach(9, "case %s wakes up at %s, after %s at %s", v.id, u.WakeAt, what, t)
		}
	}
	if v.except != nil {
		by("the end of its exception", v.except.Until)
	}
	if x := v.stopped(); x != nil {
		by("the end of its pause", x.until)
	}
	if v.open && v.except == nil && !v.said["fix"] && !v.judged.Clocks.Fix.IsZero() {
		by("its deadline", v.due(v.judged.Clocks.Fix))
	}
	for _, x := range v.actions {
		if x.asking() {
			by("the end of a request", x.ask.ExpiresAt)
		}
	}
}

func (s *sim) count(err error) {
	for _, e := range []error{record.ErrConflict, record.ErrStale, record.ErrBudget, record.ErrPaused} {
		if errors.Is(err, e) {
			s.counts["refused: "+e.Error()]++
		}
	}
}

// sighted holds what was counted in a commit of its own against the cases before
// the events that others have committed meanwhile.
func (a *audit) sighted(rs []record.Repeat, known []record.Known) {
	for i, k := range known {
		if !k.Repeats(rs[i].Digest) {
			continue
		}
		a.sighting(rs[i].UID)
		if k.CaseID != a.owner[rs[i].UID] {
			a.s.breach(2, "a repeat of finding %s was counted on case %s, it belongs to %s", rs[i].UID, k.CaseID, a.owner[rs[i].UID])
		}
	}
	a.pull()
}

// sighting: a repeat may be a mere counter only while nothing was done yet.
func (a *audit) sighting(uid string) {
	v := a.cases[a.owner[uid]]
	switch {
	case v == nil:
		a.s.breach(2, "a sighting of finding %s, which no case has", uid)
	case !v.open:
		a.s.breach(6, "a repeat was counted on case %s, which is closed", v.id)
	case v.touched || v.except != nil:
		a.s.breach(6, "a repeat was counted on case %s after something was done or seen there", v.id)
	}
	a.s.counts["sightings"]++
}

// acknowledged: what a sender was told is stored has to be there.
func (a *audit) acknowledged(f finding.Finding, p engine.Placed) {
	s := a.s
	s.counts["acknowledged"]++
	if p.Placement == correlate.Nothing {
		return
	}
	v := a.cases[a.owner[f.UID]]
	if v == nil {
		s.breach(1, "finding %s was acknowledged as %s and is in no case", f.UID, p.Placement)
	}
	if v.severity < f.Severity {
		s.breach(1, "finding %s was acknowledged as %s with severity %s, its case %s has %s", f.UID, p.Placement, f.Severity, v.id, v.severity)
	}
	stored, err := s.store.Finding(s.ctx, finding.DefaultTenant, f.UID)
	if err != nil {
		s.tolerate(err)
		return
	}
	if stored.Asset.UID != f.Asset.UID {
		s.breach(2, "finding %s is of %s and stored for %s", f.UID, f.Asset.UID, stored.Asset.UID)
	}
}

// actArrives is called for each act at the moment it reaches its target.
func (a *audit) actArrives(t *target, verb string, r connector.Request) {
	s := a.s
	a.pull()
	v := a.cases[r.CaseID]
	if v == nil {
		s.breach(3, "an act with key %s names case %q, which does not exist", r.Key, r.CaseID)
	}
	act := v.action(r.ActionID)
	switch {
	case act == nil:
		s.breach(3, "an act names action %q of %s, which does not exist", r.ActionID, r.CaseID)
	case v.target != t.i:
		s.breach(2, "an act of case %s, which is about %s, arrived at %s", v.id, s.world.targets[v.target].asset, t.asset)
	case !a.keys[r.Key]:
		s.breach(8, "an act arrived with key %s before its intent was committed", r.Key)
	case act.spec.Verb != verb:
		s.breach(3, "action %s is %s, %s arrived", act.id, act.spec.Verb, verb)
	}
	if cur := s.cur; cur != nil {
		if cur.looked <= cur.intended || cur.looked == 0 {
			s.breach(5, "an act arrived at %s, and the kill switch was not looked at since its intent", t.asset)
		}
	}
	if n := t.arrived[r.Key]; t.connector == "none" && n > act.repeats {
		s.breach(8, "act %s arrived %d times, and %d repeats were said; the target promises nothing", r.Key, n+1, act.repeats)
	}
}

// changed is called when an act changes its target.
func (a *audit) changed(t *target, verb string, r connector.Request) {
	act := a.cases[r.CaseID].action(r.ActionID)
	act.changes++
	if n := act.changes; n > 1+act.undos {
		a.s.breach(8, "action %s of %s changed %s %d times", act.id, r.CaseID, t.asset, n)
	}
}

// undoArrives is called for each undo at the moment it reaches its target.
func (a *audit) undoArrives(t *target, _ string, r connector.Request) {
	a.pull()
	v := a.cases[r.CaseID]
	if v == nil || v.action(r.ActionID) == nil {
		a.s.breach(3, "an undo names %q of case %q, which does not exist", r.ActionID, r.CaseID)
	}
	if v.action(r.ActionID).undoKey == "" {
		a.s.breach(8, "an undo of %s arrived before its intent was committed", r.ActionID)
	}
	v.action(r.ActionID).undos++
}

// maxReads is how often the ledger is read again where real trouble is made, and
// healAfter after how many of them that trouble ends, because the server may be
// gone until then: what is not read can't be judged.
const maxReads, healAfter = 1000, 20

// pull reads what was added to the ledger and judges each event.
func (a *audit) pull() {
	for {
		events, pos, err := a.s.store.EventsSince(a.s.ctx, a.pos, 500)
		for try := 0; err != nil && a.s.life.Trouble != nil && try < maxReads; try++ {
			if try == healAfter {
				a.s.life.Trouble(Op{}, true)
			}
			events, pos, err = a.s.store.EventsSince(a.s.ctx, a.pos, 500)
		}
		a.s.must(err)
		for _, e := range events {
			a.seen++
			a.event(e)
		}
		a.pos = pos
		if len(events) < 500 {
			return
		}
	}
}

func (a *audit) event(e store.StoredEvent) {
	s := a.s
	s.trace.Write(e.Hash[:])
	if at := e.Tenant + " " + e.Stream; e.Prev != a.heads[at] {
		s.breach(10, "event %d of %s does not follow the one before it", e.Seq, e.Stream)
	} else {
		a.heads[at] = e.Hash
	}
	id, ok := strings.CutPrefix(e.Stream, store.CaseStream(""))
	if !ok {
		a.guardrail(e)
		return
	}
	v := a.cases[id]
	if v == nil {
		v = &caseView{id: id, members: map[string]finding.Status{}, exposed: map[string]bool{}, said: map[string]bool{}, messages: map[int]bool{}}
		a.cases[id] = v
		a.order = append(a.order, id)
	}
	v.version++
	if e.Seq != v.version {
		s.breach(10, "event %d of case %s is the %d-th", e.Seq, id, v.version)
	}
	if e.At.Before(v.at) {
		s.breach(11, "time of case %s runs backwards: %s after %s", id, e.At, v.at)
	}
	v.at = e.At
	if s.life.Log {
		s.say("  %s %s %.160s", id, e.Type, e.Body)
	}
	a.apply(v, e)
}

func (a *audit) guardrail(e store.StoredEvent) {
	switch e.Type {
	case store.EventPaused, store.EventResumed:
		for _, scope := range []string{"all", "connector/key", "connector/key-blind", "connector/lookup", "connector/none"} {
			if strings.Contains(string(e.Body), `"`+scope+`"`) {
				a.held[scope] = e.Type == store.EventPaused
				a.s.say("kill switch %s: %s", scope, e.Type)
			}
		}
	}
}

func (v *caseView) action(id string) *actionView {
	for _, a := range v.actions {
		if a.id == id {
			return a
		}
	}
	return nil
}

// name of a probe and place.
func seenFrom(o remedy.Observation) string { return fmt.Sprint(o.Probe, " from ", o.Place) }
