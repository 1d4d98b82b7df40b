package web

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// pageSize is the number of cases on one page.
const pageSize = 50

// casesData is what the list of cases shows.
type casesData struct {
	frame
	Tiles     []tile
	Filter    store.CaseFilter
	Open      string
	OwnerText string
	Filtered  bool
	Rows      []summary
	First     string
	Next      string
	// Unread are the bodies in quarantine.
	Unread int
}

// tile is one headline count that leads to its cases.
type tile struct {
	Label, Icon, Href string
	N                 int
	Tone              tone
	Chosen            bool
}

func (s *server) home(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, "/cases", http.StatusSeeOther)
	return nil
}

// filterOf reads a filter from the address. Words that are none are an error,
// not an empty list.
func filterOf(q url.Values, tenant string) (f store.CaseFilter, open string, err error) {
	f = store.CaseFilter{Tenant: tenant, State: q.Get("state"), Class: finding.Class(q.Get("class")), Path: remedy.Path(q.Get("path")),
		Owner: strings.TrimSpace(q.Get("owner")), Risk: strings.ToUpper(q.Get("risk")), Text: strings.TrimSpace(q.Get("q"))}
	invalid := func(what, got, want string) error {
		return &problem{Status: http.StatusBadRequest, Title: "The filter can't be read", Detail: fmt.Sprintf("%s %q: want %s.", what, got, want)}
	}
	if f.State != "" && !slices.Contains(remedy.States(), remedy.State(f.State)) {
		return f, "", invalid("state", f.State, "one of the states of a case, e.g. open, approval, closed")
	}
	if f.Path != "" && !slices.Contains(remedy.Paths(), f.Path) {
		return f, "", invalid("path", string(f.Path), "incident, enforce, approve, ticket, monitor or suppress")
	}
	if k, err := deadline.ParseRiskClass(f.Risk); err != nil || f.Risk != "" && k == 0 {
		return f, "", invalid("risk", f.Risk, "K1, K2, K3, K4 or K5")
	}
	open = q.Get("open")
	if open == "" {
		open = "yes"
		switch remedy.State(f.State) {
		case remedy.StateClosed, remedy.StateSettled, remedy.StateSuppressed, remedy.StateMerged:
			open = "all"
		}
	}
	switch open {
	case "yes":
		f.Open = finding.Yes
	case "no":
		f.Open = finding.No
	case "all":
	default:
		return f, "", invalid("open", open, "yes, no or all")
	}
	return f, open, nil
}

func (s *server) casesPage(w http.ResponseWriter, r *http.Request) error {
	p, q := auth.FromContext(r.Context()), r.URL.Query()
	d := casesData{frame: s.frame(r, "Cases", "cases"), OwnerText: strings.TrimSpace(q.Get("owner"))}
	var err error
	if d.Filter, d.Open, err = filterOf(q, p.Tenant); err != nil {
		return err
	}
	names := s.names(r.Context())
	d.Filter.Owner = names.id(d.Filter.Owner)
	list, err := s.Reader.ListCases(r.Context(), d.Filter, q.Get("cursor"), pageSize)
	if err != nil {
		return err
	}
	if d.Rows, err = s.summaries(r.Context(), list.Cases, names); err != nil {
		return err
	}
	f := d.Filter
	d.Filtered = d.Open != "yes" || f.State != "" || f.Class != "" || f.Path != "" || f.Owner != "" || f.Risk != "" || f.Text != ""
	link := func(cursor string) string {
		v := url.Values{}
		for _, k := range []string{"q", "open", "risk", "state", "path", "class", "owner"} {
			if x := q.Get(k); x != "" {
				v.Set(k, x)
			}
		}
		if cursor != "" {
			v.Set("cursor", cursor)
		}
		return "/cases?" + v.Encode()
	}
	if list.Next != "" {
		d.Next = link(list.Next)
	}
	if q.Get("cursor") != "" {
		d.First = link("")
	}
	counts, err := s.Reader.Counts(r.Context(), p.Tenant)
	if err != nil {
		return err
	}
	d.Tiles = tilesOf(counts, f.State, d.Open)
	if d.Unread, err = s.Quarantine.Quarantined(r.Context(), p.Tenant); err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, casesList(d))
	return nil
}

// summaries loads the cases of a page: a row lacks what the window and the
// clocks are reckoned from.
func (s *server) summaries(ctx context.Context, rows []store.CaseRow, names people) ([]summary, error) {
	out := make([]summary, 0, len(rows))
	for _, row := range rows {
		c, err := s.Reader.Load(ctx, row.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, s.summarize(c, names))
	}
	return out, nil
}

// id returns the principal id of a login name, or the name itself: owners may
// be teams.
func (p people) id(name string) string {
	for id, n := range p {
		if n != "" && strings.EqualFold(n, name) {
			return id
		}
	}
	return name
}

// tilesOf makes the headline counts of the counts by state; chosen and which
// (yes, no, all) are the filter's state and openness.
func tilesOf(n map[string]int, chosen, which string) []tile {
	sum := func(states ...remedy.State) int {
		t := 0
		for _, st := range states {
			t += n[string(st)]
		}
		return t
	}
	closed := sum(remedy.StateClosed, remedy.StateSettled)
	open := -closed - sum(remedy.StateSuppressed, remedy.StateMerged)
	for _, st := range remedy.States() {
		open += n[string(st)]
	}
	at := func(st remedy.State) string { return "/cases?state=" + string(st) }
	return []tile{
		{"Open", "open", "/cases", open, toneWarn, chosen == "" && which == "yes"},
		{"Need approval", "hand", at(remedy.StateApproval), sum(remedy.StateApproval), tonePerm, chosen == string(remedy.StateApproval)},
		{"Wait for owner", "person", at(remedy.StateOpen), sum(remedy.StateOpen), toneQuiet, chosen == string(remedy.StateOpen)},
		{"Held", "pause", at(remedy.StateHeld), sum(remedy.StateHeld), toneWarn, chosen == string(remedy.StateHeld)},
		{"Verifying", "eye", at(remedy.StateVerifying), sum(remedy.StateVerifying), toneInfo, chosen == string(remedy.StateVerifying)},
		{"Contained", "shield", at(remedy.StateContained), sum(remedy.StateContained), toneGood, chosen == string(remedy.StateContained)},
		{"Closed", "check", "/cases?open=no", closed, toneGood, chosen == "" && which == "no"},
	}
}

// caseData is what the page of one case shows.
type caseData struct {
	frame
	summary
	Names    people
	Verdict  mark
	Clocks   []clock
	Proof    proof
	Actions  []remedy.Action
	Evidence []evidence
	Findings []store.FindingRow
	Timeline []entry
	// Earlier is the number of entries before those that are shown.
	Earlier int
	Kind    string
	Chain   []chainLink
	// Choices are ids and names of people to assign to.
	Choices [][2]string
	Steps   []Step
	// Claim is the newest word that the exposure is gone, if Claims.
	Claim      claimed
	Claims     bool
	Asking     string
	Dead       []record.DeadLetter
	MayRespond bool
	MayAttest  bool
	// Paused says until when and why the SLA clock stands still, "" if it runs;
	// PausedFor how long it stood still in this episode, "" if never.
	Paused, PausedFor string
	CanAck            bool
	CanVerify         bool
	CanContain        bool
	CanSplit          bool
}

// stepsDone counts the steps that are said to be done.
func (d caseData) stepsDone() int {
	n := 0
	for _, st := range d.Steps {
		if st.Done {
			n++
		}
	}
	return n
}

// proof is the pair of observations that a closure rests on.
type proof struct {
	Before, After remedy.Observation
	Between       string
}

// evidence is one observation of a probe.
type evidence struct {
	remedy.Observation
	Why  string
	Mark mark
	// Times it was seen without a change in between; At is the newest.
	Times int
}

// chainLink is one person in the chain of responsibility. Now marks who the
// case waits for.
type chainLink struct {
	Role, Name string
	Now        bool
}

// load returns a case of the request's tenant; others do not exist for it.
func (s *server) load(r *http.Request, id string) (remedy.Case, error) {
	c, err := s.Reader.Load(r.Context(), id)
	if err == nil && c.Tenant != auth.FromContext(r.Context()).Tenant {
		return remedy.Case{}, fmt.Errorf("case %s: %w", id, engine.ErrNotFound)
	}
	return c, err
}

func (s *server) casePage(w http.ResponseWriter, r *http.Request) error {
	c, err := s.load(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	ctx, p := r.Context(), auth.FromContext(r.Context())
	evs, err := s.Reader.Events(ctx, c.Tenant, c.ID)
	if err != nil {
		return err
	}
	found, err := s.Reader.Findings(ctx, c.ID)
	if err != nil {
		return err
	}
	names, now := s.names(ctx), s.Now().UTC()
	d := caseData{frame: s.frame(r, c.Title, "cases"), summary: s.summarize(c, names), Names: names, Verdict: verdictOf(c, now),
		Clocks: clocksOf(c, now), Proof: proofOf(c), Evidence: evidenceOf(evs), Findings: found, Kind: r.URL.Query().Get("kind"),
		Chain: chainOf(c, names), Choices: choicesOf(c, names), MayRespond: p.Can(auth.Respond)}
	if d.Dead, err = s.Reader.DeadLetters(ctx, c.Tenant, c.ID, maxDead); err != nil {
		return err
	}
	if !slices.ContainsFunc(timelineKinds(), func(k [2]string) bool { return k[0] == d.Kind }) {
		d.Kind = ""
	}
	d.Timeline = timeline(evs, d.Kind, names, s.notes(ctx, c.Tenant, evs))
	if n := len(d.Timeline) - maxTimeline; n > 0 && r.URL.Query().Get("all") == "" {
		d.Timeline, d.Earlier = d.Timeline[n:], n
	}
	d.Actions = slices.Clone(c.Actions)
	slices.SortStableFunc(d.Actions, func(a, b remedy.Action) int { return cmp.Compare(b.Episode, a.Episode) })
	for _, a := range c.Actions {
		if a.Status == remedy.ActionAsking {
			d.Asking = a.ID
		}
	}
	busy := slices.ContainsFunc(c.Actions, func(a remedy.Action) bool {
		return slices.Contains([]remedy.ActionStatus{remedy.ActionIntended, remedy.ActionUnsure, remedy.ActionActed, remedy.ActionWatching,
			remedy.ActionUndoing, remedy.ActionAsking, remedy.ActionPlanning, remedy.ActionReady}, a.Status)
	})
	d.CanAck = c.Open() && c.Episode().AckAt.IsZero()
	d.CanVerify = c.Judgement.Decision.Probe.Name() != "" && c.Probe.N == 0 && c.MergedInto == ""
	d.CanContain = c.Open() && c.Exception == nil && len(c.Judgement.Decision.Actions) > 0 && !busy
	d.CanSplit = c.Open() && len(c.Members) > 1
	d.Steps = stepsOf(s.stepTexts(c), evs, names)
	d.Claim, d.Claims = claimOf(evs, names)
	d.Paused, d.PausedFor = pausedWords(c, names, d.Now)
	d.MayAttest = p.Can(auth.Attest) && c.RiskClass() >= deadline.K3
	s.render(w, r, http.StatusOK, caseView(d))
	return nil
}

// verdictOf says in one line what is known of the exposure now. Word is the
// verdict, Hint where it comes from.
func verdictOf(c remedy.Case, now time.Time) mark {
	o := c.LastProbe
	how := "by " + o.Probe + " (" + o.Grade.String() + placeText(o.Place) + ")"
	ep := c.Episode()
	switch {
	case c.Closed == remedy.ClosedProven && o.Result == remedy.Exposed:
		return mark{"Exposed again", "open", toneBad, "seen " + ago(now, o.At) + " " + how}
	case c.Closed == remedy.ClosedProven:
		return mark{"Proven: not exposed", "shut", toneGood, "window was " + span(ep.ClosedAt.Sub(ep.DetectedAt)) + "; last seen closed " + ago(now, o.At) + " " + how}
	case c.Closed == remedy.ClosedGone:
		return mark{"Gone", "check", toneGood, "the asset is proven deleted"}
	case c.Closed == remedy.ClosedAttested:
		return mark{"Attested, not proven", "pen", toneQuiet, "closed on a person's word; it opens again " + ago(now, c.NextProbe)}
	case c.Closed == remedy.ClosedSuppressed:
		return mark{"Suppressed", "mute", toneQuiet, "not an exposure by rule; it is looked at again " + ago(now, c.NextProbe)}
	case c.MergedInto != "":
		return mark{"Merged", "merge", toneQuiet, "the other case goes on with the exposure; nothing is proven here"}
	case c.Closed != "":
		return mark{"Closed", "check", toneQuiet, string(c.Closed)}
	case o.Probe == "" && c.Judgement.Decision.Probe.Name() == "":
		return mark{"Reported, not probed", "question", toneWarn, "the playbook has no probe: the alert's word is all we have"}
	case o.Probe == "":
		return mark{"Reported, not probed yet", "question", toneWarn, "the first look by " + c.Judgement.Decision.Probe.Name() + " is " + ago(now, c.NextProbe)}
	case o.Result == remedy.Exposed:
		return mark{"Still exposed", "open", toneBad, "seen " + ago(now, o.At) + " " + how}
	case o.Result == remedy.NotExposed && c.State() == remedy.StateContained:
		return mark{"Contained", "shield", toneGood, "not reachable when looked at " + ago(now, o.At) + " " + how + "; not fixed yet"}
	case o.Result == remedy.NotExposed:
		return mark{"Not exposed at the last look", "shut", toneInfo, "seen " + ago(now, o.At) + " " + how + "; not proven"}
	}
	return mark{"The last probe could not tell", "question", toneWarn, ago(now, o.At) + ": " + o.Detail}
}

// proofOf returns the newest pair of observations before and after an act.
func proofOf(c remedy.Case) proof {
	for _, a := range slices.Backward(c.Actions) {
		if a.Before.At.IsZero() || a.ActedAt.IsZero() {
			continue
		}
		p := proof{Before: a.Before, After: a.After, Between: "acted " + a.ActedAt.Format("15:04") + " UTC"}
		// Where an action before this one contained the exposure, the proof is
		// from when it was seen, not from between the two.
		if seen := lastSeen(c, a.Before); p.Before.Result != remedy.Exposed && !seen.At.IsZero() {
			p.Before = seen
		}
		if !a.After.At.IsZero() {
			p.Between = span(a.After.At.Sub(p.Before.At))
		}
		return p
	}
	for _, a := range slices.Backward(c.Actions) {
		if !a.Before.At.IsZero() {
			return proof{Before: a.Before, Between: "no change made yet"}
		}
	}
	if len(c.Exposed) > 0 {
		return proof{Before: c.Exposed[len(c.Exposed)-1], Between: "no change made yet"}
	}
	return proof{}
}

// lastSeen is the newest observation of the exposure by the probe of like,
// before it; zero if there is none. A closed case keeps only those before its
// actions.
func lastSeen(c remedy.Case, like remedy.Observation) remedy.Observation {
	var last remedy.Observation
	look := func(o remedy.Observation) {
		if o.Result == remedy.Exposed && o.Probe == like.Probe && !o.At.After(like.At) && o.At.After(last.At) {
			last = o
		}
	}
	for _, o := range c.Exposed {
		look(o)
	}
	for _, a := range c.Actions {
		look(a.Before)
	}
	return last
}

// maxEvidence bounds the table of observations; the timeline has them all.
const maxEvidence = 12

// evidenceOf lists what probes saw, newest first.
func evidenceOf(evs []store.StoredEvent) []evidence {
	var out []evidence
	add := func(o remedy.Observation, why string, m mark) {
		if n := len(out) - 1; n >= 0 && out[n].Why == why && out[n].Probe == o.Probe && out[n].Result == o.Result && out[n].Detail == o.Detail {
			out[n].Times++
			return
		}
		out = append(out, evidence{o, why, m, 1})
	}
	for _, ev := range slices.Backward(evs) {
		switch b := ev.Decoded.(type) {
		case remedy.Planned:
			if b.Before.Probe != "" {
				add(b.Before, "before action "+b.Action, resultMark(b.Before.Result))
			}
		case remedy.ProbeSaw:
			m := resultMark(b.Observation.Result)
			if b.Purpose == remedy.ProbeContinuity {
				m = worksMark(b.Observation.Result)
			}
			add(b.Observation, purposeText(b.Purpose, b.Action), m)
		}
		if len(out) > maxEvidence {
			return out[:maxEvidence]
		}
	}
	return out
}

func purposeText(p remedy.Purpose, action string) string {
	switch p {
	case remedy.ProbeAfter:
		return "after action " + action
	case remedy.ProbeContinuity:
		return "nothing broke?"
	case remedy.ProbeSchedule:
		return "by schedule"
	case remedy.ProbeClaim:
		return "on a claim"
	case remedy.ProbeRecheck:
		return "stays closed?"
	case remedy.ProbeUndo:
		return "after the undo"
	}
	return string(p)
}

func chainOf(c remedy.Case, names people) []chainLink {
	r, waits := c.Judgement.Routing, c.Bottleneck.Who
	link := func(role, who string) chainLink { return chainLink{role, names.of(who), who != "" && who == waits} }
	approvers := link("Approver", strings.Join(r.Approvers, ", "))
	approvers.Name = namesText(r.Approvers, names)
	approvers.Now = slices.Contains(r.Approvers, waits)
	return []chainLink{link("Owner", c.Owner()), approvers, link("Backup", r.Backup), link("Manager", r.Manager), link("Operations lead", r.OpsLead)}
}

// choicesOf are the people and teams a case may be assigned to.
func choicesOf(c remedy.Case, names people) [][2]string {
	var out [][2]string
	for id, n := range names {
		if id != auth.LocalID {
			out = append(out, [2]string{id, n})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return cmp.Compare(a[1], b[1]) })
	r := c.Judgement.Routing
	for _, t := range append([]string{r.Owner, r.Backup}, r.Approvers...) {
		if t != "" && names[t] == "" && !slices.Contains(out, [2]string{t, t}) {
			out = append(out, [2]string{t, t})
		}
	}
	return out
}

// stepView is one step of an action's life: State is done, now, todo or bad.
type stepView struct{ Name, State string }

// lifeOf shows how far an action is.
func lifeOf(a remedy.Action) []stepView {
	names := []string{"Plan", "Authorize", "Act", "Probe", "Proven"}
	at := 0
	bad := false
	switch a.Status {
	case remedy.ActionWaiting, remedy.ActionPlanning:
	case remedy.ActionHeld:
		bad = true
	case remedy.ActionAsking:
		at = 1
	case remedy.ActionReady, remedy.ActionIntended:
		at = 2
	case remedy.ActionUnsure, remedy.ActionUndoing, remedy.ActionUnundone:
		at, bad = 2, true
	case remedy.ActionActed:
		at = 3
	case remedy.ActionWatching:
		at = 4
	case remedy.ActionDone:
		at = 5
	case remedy.ActionFailed:
		at, bad = 2, true
		if !a.ActedAt.IsZero() {
			at = 3
		}
	case remedy.ActionDropped:
		at, bad = 1, true
	case remedy.ActionUndone:
		at, bad = 4, true
	}
	out := make([]stepView, len(names))
	for i, n := range names {
		out[i] = stepView{n, "todo"}
		switch {
		case i < at:
			out[i].State = "done"
		case i == at && bad:
			out[i].State = "bad"
		case i == at:
			out[i].State = "now"
		}
	}
	return out
}

// canUndo says whether the connector can change the action back now.
func canUndo(a remedy.Action) bool {
	return a.Spec.Undoable && !a.ActedAt.IsZero() && slices.Contains([]remedy.ActionStatus{remedy.ActionActed, remedy.ActionWatching,
		remedy.ActionDone, remedy.ActionFailed}, a.Status)
}

// rawRecord shows what a source sent as plain text: nothing in it is markup.
func (s *server) rawRecord(w http.ResponseWriter, r *http.Request) error {
	if s.RawRecord == nil {
		return record.ErrNotFound
	}
	text, err := s.RawRecord(r.Context(), auth.FromContext(r.Context()), r.PathValue("id"), r.PathValue("hash"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.WriteString(w, text)
	return err
}

// rawHref leads to the newest raw record of a finding, "" if none is kept.
func rawHref(c remedy.Case, uid string) string {
	if m, ok := c.Member(uid); ok && m.Raw != "" {
		return "/cases/" + c.ID + "/raw/" + m.Raw
	}
	return ""
}

func whyJoined(c remedy.Case, uid string) string {
	for _, m := range c.Members {
		if m.UID == uid {
			return m.Why
		}
	}
	return ""
}

// maxTimeline bounds the entries that a page shows at first: the newest.
const maxTimeline = 200

func timelineHref(id, kind string) string {
	if kind == "" {
		return "/cases/" + id + "#timeline"
	}
	return "/cases/" + id + "?kind=" + kind + "#timeline"
}

// diffClass marks added and removed lines of a plan; the sign says the same.
func diffClass(line string) string {
	switch {
	case strings.HasPrefix(line, "+"):
		return "line add"
	case strings.HasPrefix(line, "-"):
		return "line del"
	}
	return "line"
}

func rolesText(roles []auth.Role) string {
	out := make([]string, len(roles))
	for i, r := range roles {
		out[i] = string(r)
	}
	return strings.Join(out, ", ")
}

// undoData is what the page shows before an action is changed back.
type undoData struct {
	frame
	summary
	Action remedy.Action
}

func (s *server) undoPage(w http.ResponseWriter, r *http.Request) error {
	c, err := s.load(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	a, ok := c.Action(r.PathValue("action"))
	if !ok {
		return fmt.Errorf("action %s: %w", strconv.Quote(r.PathValue("action")), engine.ErrNotFound)
	}
	if !canUndo(a) {
		return &problem{Status: http.StatusConflict, Title: "There is nothing to undo", Detail: "The action is " + strings.ToLower(actionMark(a.Status).Word) + "."}
	}
	s.render(w, r, http.StatusOK, undoConfirm(undoData{s.frame(r, "Undo "+a.Spec.Name, "cases"), s.summarize(c, s.names(r.Context())), a}))
	return nil
}
