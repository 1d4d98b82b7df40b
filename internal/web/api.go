package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// operations is the table of the API: ours, and what the app adds.
func (s *server) operations() []Operation {
	return append([]Operation{
		Op("GET", "/api/v1/me", auth.View, "getMe", "Tell who the caller is", s.apiMe),
		Op("GET", "/api/v1/cases", auth.View, "listCases", "List cases, the most urgent first", s.apiCases),
		Op("GET", "/api/v1/cases/{id}", auth.View, "getCase", "Show a case", s.apiCase),
		Op("GET", "/api/v1/cases/{id}/events", auth.View, "listEvents", "List a case's events as they are stored", s.apiEvents),
		Op("GET", "/api/v1/cases/{id}/timeline", auth.View, "listTimeline", "List a case's events in words", s.apiTimeline),
		Op("POST", "/api/v1/cases/{id}/commands/attest", auth.Attest, "attest", "Close a case of K3 to K5 on one's word, until a date", s.apiAttest),
		Op("POST", "/api/v1/cases/{id}/commands/merge", auth.Respond, "merge", "Merge a case into another one of the same asset", s.apiMerge),
		Op("POST", "/api/v1/cases/{id}/commands/merge-alias", auth.Decide, "mergeAlias", "Merge cases whose assets are one under two names, with the evidence", s.apiMergeAlias),
		Op("POST", "/api/v1/cases/{id}/commands/split", auth.Respond, "split", "Split findings off to a new case", s.apiSplit),
		Op("POST", "/api/v1/cases/{id}/commands/undo-merge", auth.Respond, "undoMerge", "Undo the merge of a case into this one", s.apiUnmerge),
		Op("POST", "/api/v1/cases/{id}/commands/{verb}", auth.Respond, "command", "Give a command to a case", s.apiCommand),
		Op("GET", "/api/v1/tickets", auth.View, "listTickets", "List tickets of the built-in tracker, newest first", s.apiTickets),
		Op("GET", "/api/v1/tickets/{id}", auth.View, "getTicket", "Show a ticket with its comments", s.apiTicket),
		Op("POST", "/api/v1/tickets/{id}/comments", auth.Respond, "commentTicket", "Comment on a ticket", s.apiTicketComment),
		Op("PUT", "/api/v1/tickets/{id}/status", auth.Respond, "setTicketStatus", "Set a ticket's status; done is a claim that a probe checks", s.apiTicketStatus),
		Op("GET", "/api/v1/quarantine", auth.View, "listQuarantine", "List bodies that could not be read, oldest first", s.apiBodies),
		Op("GET", "/api/v1/quarantine/{id}", auth.Respond, "getQuarantined", "Show a body that could not be read, secrets redacted; the ledger holds who looked", s.apiBody),
		Op("POST", "/api/v1/quarantine/{id}/release", auth.Administer, "releaseQuarantined", "Read a body again; what can be read leaves the quarantine", s.apiRelease),
		Op("POST", "/api/v1/quarantine/{id}/drop", auth.Administer, "dropQuarantined", "Drop a body that could not be read, for a reason", s.apiDrop),
		Op("GET", "/api/v1/exceptions", auth.View, "listExceptions", "List requests that wait and standing exceptions", s.apiExceptions),
		Op("POST", "/api/v1/exceptions", auth.Respond, "requestException", "Ask for an exception; somebody else grants it", s.apiAskException),
		Op("POST", "/api/v1/exceptions/{id}/grant", auth.Decide, "grantException", "Grant an exception somebody else asked for", s.apiGrantException),
		Op("DELETE", "/api/v1/exceptions/{id}", auth.Decide, "revokeException", "End an exception, or drop a request", s.apiEndException),
		Op("GET", "/api/v1/pauses", auth.View, "listPauses", "List the kill switches that are thrown", s.apiPauses),
		Op("PUT", "/api/v1/pauses", auth.Halt, "pause", "Throw the kill switch of a scope", s.apiPause),
		Op("DELETE", "/api/v1/pauses", auth.Halt, "resume", "Release the kill switch of a scope", s.apiResume),
	}, s.More...)
}

// me is who a request speaks for.
type me struct {
	ID     string      `json:"id"`
	Kind   auth.Kind   `json:"kind" enum:"human,machine"`
	Tenant string      `json:"tenant"`
	Roles  []auth.Role `json:"roles"`
}

func (s *server) apiMe(_ context.Context, p auth.Principal, _ *struct{}) (me, error) {
	return me{p.ID, p.Kind, p.Tenant, p.Roles}, nil
}

// casesQuery selects cases.
type casesQuery struct {
	Q      string `query:"q" maxLength:"200" doc:"Text in id, title or asset."`
	Open   string `query:"open" enum:"yes,no,all" doc:"yes unless the state is one of closed cases."`
	State  string `query:"state" doc:"One word such as open, approval, verifying, closed."`
	Class  string `query:"class" doc:"Such as storage.public."`
	Path   string `query:"path" enum:"incident,enforce,approve,ticket,monitor,suppress"`
	Owner  string `query:"owner" doc:"Person or team."`
	Risk   string `query:"risk" doc:"K1 to K5."`
	Cursor string `query:"cursor" doc:"next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// casesPageBody is one page of cases.
type casesPageBody struct {
	Cases []store.CaseRow `json:"cases" nullable:"false"`
	Next  string          `json:"next,omitempty" doc:"Cursor of the next page; missing on the last."`
}

func (s *server) apiCases(ctx context.Context, p auth.Principal, in *casesQuery) (casesPageBody, error) {
	q := url.Values{}
	for k, v := range map[string]string{"q": in.Q, "open": in.Open, "state": in.State, "class": in.Class, "path": in.Path, "owner": in.Owner, "risk": in.Risk} {
		if v != "" {
			q.Set(k, v)
		}
	}
	f, _, err := filterOf(q, p.Tenant)
	if err != nil {
		return casesPageBody{}, err
	}
	f.Owner = s.names(ctx).id(f.Owner)
	page, err := s.Reader.ListCases(ctx, f, in.Cursor, in.Limit)
	return casesPageBody{append([]store.CaseRow{}, page.Cases...), page.Next}, err
}

// CaseID names the case of an operation.
type CaseID struct {
	ID string `path:"id" doc:"The case."`
}

// caseBody is one case.
type caseBody struct {
	State remedy.State `json:"state"`
	Path  remedy.Path  `json:"path"`
	Owner string       `json:"owner"`
	Case  remedy.Case  `json:"case"`
	// Clocks are the due instants in force: those judged, put off by paused time.
	Clocks deadline.Clocks `json:"clocks"`
	// PausedSeconds is how long the SLA clock stood still so far, in all episodes.
	PausedSeconds int64 `json:"paused_seconds"`
	// Steps are those that the playbook leaves to a person, in their order.
	Steps []Step `json:"steps,omitempty" doc:"What the playbook leaves to a person, in order."`
	// Dead are effects of the case that failed too often.
	Dead []record.DeadLetter `json:"dead_letters,omitempty"`
}

func (c caseBody) etag() string { return versionTag(c.Case.Version) }

func versionTag(v uint64) string { return `"` + strconv.FormatUint(v, 10) + `"` }

// own loads a case of the caller's tenant; others do not exist.
func (s *server) own(ctx context.Context, p auth.Principal, id string) (remedy.Case, error) {
	if err := s.sameTenant(ctx, p.Tenant, id); err != nil {
		return remedy.Case{}, err
	}
	return s.Reader.Load(ctx, id)
}

// maxDead bounds the dead letters shown of a case.
const maxDead = 20

func (s *server) apiCase(ctx context.Context, p auth.Principal, in *CaseID) (caseBody, error) {
	c, err := s.own(ctx, p, in.ID)
	if err != nil {
		return caseBody{}, err
	}
	steps, err := s.steps(ctx, c)
	if err != nil {
		return caseBody{}, err
	}
	dead, err := s.Reader.DeadLetters(ctx, c.Tenant, c.ID, maxDead)
	return caseBody{c.State(), c.Judgement.Decision.Path(), c.Owner(), c, c.Clocks(), int64(pausedTime(c, s.Now()) / time.Second), steps, dead}, err
}

// eventLine is one stored event.
type eventLine struct {
	Seq  uint64          `json:"seq"`
	At   time.Time       `json:"at"`
	Type string          `json:"type"`
	By   remedy.Actor    `json:"by"`
	Body json.RawMessage `json:"body"`
}

// eventsBody lists the events of a case.
type eventsBody struct {
	Events []eventLine `json:"events" nullable:"false"`
}

func (s *server) apiEvents(ctx context.Context, p auth.Principal, in *CaseID) (eventsBody, error) {
	c, err := s.own(ctx, p, in.ID)
	if err != nil {
		return eventsBody{}, err
	}
	events, err := s.Reader.Events(ctx, c.Tenant, c.ID)
	out := eventsBody{make([]eventLine, len(events))}
	for i, e := range events {
		out.Events[i] = eventLine{e.Seq, e.At, e.Type, e.By, json.RawMessage(e.Body)}
	}
	return out, err
}

// timelineQuery selects events of a case.
type timelineQuery struct {
	CaseID
	Kind string `query:"kind" enum:"finding,decision,action,verify,human,notice"`
}

// timelineBody lists events in words.
type timelineBody struct {
	Timeline []TimelineEntry `json:"timeline" nullable:"false"`
}

func (s *server) apiTimeline(ctx context.Context, p auth.Principal, in *timelineQuery) (timelineBody, error) {
	c, err := s.own(ctx, p, in.ID)
	if err != nil {
		return timelineBody{}, err
	}
	events, err := s.Reader.Events(ctx, c.Tenant, c.ID)
	if err != nil {
		return timelineBody{}, err
	}
	return timelineBody{Timeline(events, in.Kind, s.names(ctx), s.notes(ctx, c.Tenant, events))}, nil
}

// orderBody is what a command needs; which of it depends on the verb.
type orderBody struct {
	Action string    `json:"action,omitempty" doc:"The action to undo."`
	Step   string    `json:"step,omitempty" maxLength:"2048" doc:"The manual step, word by word as the case lists it."`
	To     string    `json:"to,omitempty" doc:"Whom to assign to."`
	Text   string    `json:"text,omitempty" maxLength:"16384" doc:"Words: a comment, a reason, evidence."`
	Until  time.Time `json:"until,omitzero" doc:"The end of a snooze, pause or attestation."`
	Reason string    `json:"reason,omitempty" doc:"Why the SLA clock is paused: vendor, change_freeze or legal_hold."`
}

// IfMatchHeader lets a caller command only what she has seen.
type IfMatchHeader struct {
	IfMatch string `header:"If-Match" doc:"The ETag of the case as it was read: if it changed since, nothing is done (412)."`
}

// version reads the precondition; 0 is none.
func (m IfMatchHeader) version() (uint64, error) {
	tag := strings.TrimSpace(m.IfMatch)
	if tag == "" || tag == "*" {
		return 0, nil
	}
	v, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if err != nil || v == 0 {
		return 0, &problem{Status: http.StatusBadRequest, Title: "If-Match can't be read", Detail: `Send the ETag as it came, such as "7".`}
	}
	return v, nil
}

// commandIn is a command to a case.
type commandIn struct {
	CaseID
	IfMatchHeader
	Verb string     `path:"verb" enum:"ack,assign,comment,step,step-undone,verify,contain,claim,snooze,pause,resume,escalate,reopen,undo"`
	Body *orderBody `required:"false"`
}

// attestIn is an attestation.
type attestIn struct {
	CaseID
	IfMatchHeader
	Body orderBody
}

// told is the case after a command.
type told struct {
	ID      string       `json:"id"`
	State   remedy.State `json:"state"`
	Version uint64       `json:"version"`
}

func (t told) etag() string { return versionTag(t.Version) }

func (s *server) apiCommand(ctx context.Context, _ auth.Principal, in *commandIn) (told, error) {
	body := orderBody{}
	if in.Body != nil {
		body = *in.Body
	}
	return s.apiTell(ctx, in.ID, in.Verb, in.IfMatchHeader, body)
}

func (s *server) apiAttest(ctx context.Context, _ auth.Principal, in *attestIn) (told, error) {
	return s.apiTell(ctx, in.ID, "attest", in.IfMatchHeader, in.Body)
}

func (s *server) apiTell(ctx context.Context, id, verb string, m IfMatchHeader, b orderBody) (told, error) {
	v, err := m.version()
	if err != nil {
		return told{}, err
	}
	c, err := s.tell(ctx, id, order{Verb: verb, Action: b.Action, Step: b.Step, To: b.To, Text: b.Text, Until: b.Until, Reason: b.Reason, Version: v})
	if v > 0 && errors.Is(err, engine.ErrConflict) {
		err = &problem{Status: http.StatusPreconditionFailed, Title: "The case changed since you read it", Detail: "Nothing was done. Load it again and look."}
	}
	return toldOf(c), err
}

// Pause is a thrown kill switch.
type Pause struct {
	Scope  string       `json:"scope" doc:"all, playbook/NAME or connector/NAME."`
	By     remedy.Actor `json:"by"`
	At     time.Time    `json:"at"`
	Reason string       `json:"reason,omitempty"`
}

// pausesBody lists the kill switches that are thrown.
type pausesBody struct {
	Pauses []Pause `json:"pauses" nullable:"false"`
}

func (s *server) apiPauses(ctx context.Context, p auth.Principal, _ *struct{}) (pausesBody, error) {
	out := pausesBody{[]Pause{}}
	ps, err := s.Switches.Pauses(ctx)
	for _, x := range ps {
		if x.Tenant == "" || x.Tenant == p.Tenant {
			out.Pauses = append(out.Pauses, Pause{x.Scope, x.By, x.At, x.Reason.Text})
		}
	}
	return out, err
}

// pauseIn names the scope of a kill switch.
type pauseIn struct {
	Body struct {
		Scope  string `json:"scope" minLength:"1" maxLength:"200" doc:"all, playbook/NAME or connector/NAME."`
		Reason string `json:"reason,omitempty" maxLength:"4096"`
	}
}

func (s *server) apiPause(ctx context.Context, p auth.Principal, in *pauseIn) (pausesBody, error) {
	x := store.Pause{Scope: in.Body.Scope, By: p.Actor(), At: s.Now().UTC()}
	_, texts, err := s.Engine.Note(in.Body.Reason)
	if err != nil {
		return pausesBody{}, err
	}
	if len(texts) == 1 {
		x.Reason = texts[0]
	}
	if err := s.Switches.SetPause(ctx, x); err != nil {
		return pausesBody{}, err
	}
	return s.apiPauses(ctx, p, nil)
}

func (s *server) apiResume(ctx context.Context, p auth.Principal, in *pauseIn) (pausesBody, error) {
	if err := s.Switches.ClearPause(ctx, store.Pause{Scope: in.Body.Scope, By: p.Actor(), At: s.Now().UTC()}); err != nil {
		return pausesBody{}, err
	}
	return s.apiPauses(ctx, p, nil)
}
