package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// ExceptionAsk is what somebody asks to except, until when and why.
type ExceptionAsk struct {
	Kind string `json:"kind,omitempty" doc:"risk-accepted if missing."`
	// Case is set for an exception of one case; else the next four name what
	// passes the gate.
	Case     string    `json:"case,omitempty" doc:"One case; or name by the next four what passes the gate."`
	Class    string    `json:"class,omitempty"`
	Package  string    `json:"package,omitempty"`
	Project  string    `json:"project,omitempty"`
	Weakness string    `json:"weakness,omitempty" doc:"CVE or advisory id."`
	Until    time.Time `json:"until"`
	Reason   string    `json:"reason"`
}

// ExceptionRequest is an exception somebody asked for and nobody granted yet.
type ExceptionRequest struct {
	ID string `json:"id"`
	ExceptionAsk
	// Asked is the principal's id, AskedBy the name for people.
	Asked   string    `json:"asked"`
	AskedBy string    `json:"asked_by"`
	AskedAt time.Time `json:"asked_at"`
}

// StandingException is a granted exception as lists show it.
type StandingException struct {
	store.Exception
	ReasonText string `json:"reason_text,omitempty"`
	// AskedBy and GrantedBy are the names for people.
	AskedBy   string `json:"asked_by,omitempty"`
	GrantedBy string `json:"granted_by,omitempty"`
	Active    bool   `json:"active"`
}

const (
	// requestsKey is the setting that holds the requests that wait.
	requestsKey = "exception-requests"
	// maxRequests bounds them.
	maxRequests = 500
	// maxException is the longest time an exception may last.
	maxException = 366 * 24 * time.Hour
	// eventExceptionAsked is recorded in the guardrail stream.
	eventExceptionAsked = "exception_asked"
)

// requests returns the requests that wait, and the bytes they were read from.
func (a *App) requests(ctx context.Context, tenant string) (list []ExceptionRequest, raw []byte, err error) {
	raw, err = a.Store.Setting(ctx, tenant, requestsKey)
	if err != nil || len(raw) == 0 {
		return nil, nil, notFoundIsNone(err)
	}
	return list, raw, json.Unmarshal(raw, &list)
}

func notFoundIsNone(err error) error {
	if authErr(err) == auth.ErrNotFound {
		return nil
	}
	return err
}

// saveRequests writes the requests if nobody else did meanwhile.
func (a *App) saveRequests(ctx context.Context, tenant string, old []byte, list []ExceptionRequest) error {
	b, err := json.Marshal(list)
	if err != nil || bytes.Equal(b, old) {
		return err
	}
	return a.Store.CompareAndSetSetting(ctx, tenant, requestsKey, old, b)
}

// exceptionsQuery selects exceptions.
type exceptionsQuery struct {
	All string `query:"all" doc:"1: also those that are over."`
}

// exceptionList is what waits and what stands.
type exceptionList struct {
	Exceptions []StandingException `json:"exceptions" nullable:"false"`
	Requests   []ExceptionRequest  `json:"requests" nullable:"false"`
}

func (a *App) listExceptions(ctx context.Context, p auth.Principal, in *exceptionsQuery) (exceptionList, error) {
	now := a.Store.Now()
	after := now
	if in.All != "" {
		after = time.Time{}
	}
	es, err := a.Store.Exceptions(ctx, p.Tenant, after)
	if err != nil {
		return exceptionList{}, err
	}
	names, err := a.Auth.Names(ctx, p.Tenant)
	if err != nil {
		return exceptionList{}, err
	}
	out := exceptionList{make([]StandingException, len(es)), []ExceptionRequest{}}
	for i, e := range es {
		out.Exceptions[i] = StandingException{Exception: e, ReasonText: e.Reason.Text, AskedBy: names[e.Asked], GrantedBy: names[e.Approved], Active: e.Active(now)}
	}
	reqs, _, err := a.requests(ctx, p.Tenant)
	out.Requests = append(out.Requests, reqs...)
	return out, err
}

// exceptionIn is a request for an exception.
type exceptionIn struct{ Body ExceptionAsk }

func (a *App) requestException(ctx context.Context, p auth.Principal, ask *exceptionIn) (ExceptionRequest, error) {
	now := a.Store.Now()
	in := ExceptionRequest{ID: "exc_" + strings.ToLower(rand.Text()[:16]), ExceptionAsk: ask.Body, Asked: p.ID, AskedBy: p.Name, AskedAt: now}
	if in.Kind == "" {
		in.Kind = "risk-accepted"
	}
	switch {
	case strings.TrimSpace(in.Reason) == "":
		return ExceptionRequest{}, badInput("an exception needs a reason")
	case len(in.Reason) > 4096:
		return ExceptionRequest{}, badInput("the reason is longer than 4096 bytes")
	case !in.Until.After(now) || in.Until.Sub(now) > maxException:
		return ExceptionRequest{}, badInput("an exception ends in the future, within a year: name a date")
	case in.Case == "" && in.Class == "" && in.Package == "" && in.Project == "" && in.Weakness == "":
		return ExceptionRequest{}, badInput("name what is excepted: a case, or a class, package, project or weakness")
	case in.Case != "" && (in.Class != "" || in.Package != "" || in.Project != "" || in.Weakness != ""):
		return ExceptionRequest{}, badInput("name either a case, or what passes the gate")
	case in.Class != "" && !finding.KnownClass(finding.Class(in.Class)):
		return ExceptionRequest{}, badInput("class %.60q is not known", in.Class)
	}
	if in.Case != "" {
		c, err := a.Store.Load(ctx, in.Case)
		if err == nil && c.Tenant != p.Tenant {
			err = fmt.Errorf("case %s: %w", in.Case, record.ErrNotFound)
		}
		if err != nil {
			return ExceptionRequest{}, err
		}
	}
	list, raw, err := a.requests(ctx, p.Tenant)
	if err != nil {
		return ExceptionRequest{}, err
	}
	if len(list) >= maxRequests {
		return ExceptionRequest{}, badInput("too many requests wait: grant or drop some first")
	}
	if err := a.saveRequests(ctx, p.Tenant, raw, append(list, in)); err != nil {
		return ExceptionRequest{}, err
	}
	body, _ := json.Marshal(map[string]any{"id": in.ID, "case": in.Case, "class": in.Class, "package": in.Package, "project": in.Project,
		"weakness": in.Weakness, "until": in.Until}) // plain values: cannot fail; the reason is a person's words and stays out
	_, err = a.Store.AppendEvent(ctx, store.StreamEvent{Tenant: p.Tenant, Stream: store.StreamGuardrail, Type: eventExceptionAsked, Schema: 1, At: now, By: p.Actor(), Body: body})
	return in, err
}

// grantException grants what somebody else asked for. A token never does.
func (a *App) grantException(ctx context.Context, p auth.Principal, in *Named) (ExceptionRequest, error) {
	id := in.ID
	list, raw, err := a.requests(ctx, p.Tenant)
	if err != nil {
		return ExceptionRequest{}, err
	}
	i := slices.IndexFunc(list, func(x ExceptionRequest) bool { return x.ID == id })
	if i < 0 {
		return ExceptionRequest{}, fmt.Errorf("no request %s waits: %w", id, record.ErrNotFound)
	}
	q := list[i]
	if q.Asked == p.ID {
		return ExceptionRequest{}, &remedy.Refusal{Code: remedy.Forbidden, Msg: "you asked for this exception; somebody else has to grant it"}
	}
	now := a.Store.Now()
	note, texts, err := a.Engine.Note(q.Reason)
	if err != nil {
		return ExceptionRequest{}, err
	}
	if q.Case != "" {
		_, err = a.Engine.Tell(ctx, q.Case, remedy.Command{At: now, By: p.Actor(), Do: remedy.GrantException{Exception: remedy.Exception{
			ID: q.ID, Kind: q.Kind, By: p.ID, Asked: q.Asked, Until: q.Until, Reason: note}}}, texts...)
	} else {
		e := store.Exception{ID: q.ID, Tenant: p.Tenant, Kind: q.Kind, Class: q.Class, Package: q.Package, Project: q.Project, Weakness: q.Weakness,
			From: now, Until: q.Until, Asked: q.Asked, Approved: p.ID, ReasonHash: note}
		if len(texts) == 1 {
			e.Reason = texts[0]
		}
		err = a.Store.PutException(ctx, e, now)
	}
	if err != nil {
		return ExceptionRequest{}, err
	}
	return q, a.saveRequests(ctx, p.Tenant, raw, slices.Delete(list, i, i+1))
}

// exceptionID names an exception.
type exceptionID struct {
	Named
	Case string `query:"case" doc:"Its case, for an exception of a case."`
}

// revokeException ends a granted exception, or drops a request.
func (a *App) revokeException(ctx context.Context, p auth.Principal, in *exceptionID) (revoked, error) {
	id := in.ID
	out := revoked{id}
	if caseID := in.Case; caseID != "" {
		c, err := a.Store.Load(ctx, caseID)
		if err == nil && c.Tenant != p.Tenant {
			err = fmt.Errorf("case %s: %w", caseID, record.ErrNotFound)
		}
		if err != nil {
			return out, err
		}
		_, err = a.Engine.Tell(ctx, caseID, remedy.Command{At: a.Store.Now(), By: p.Actor(), Do: remedy.RevokeException{ID: id}})
		return out, err
	}
	list, raw, err := a.requests(ctx, p.Tenant)
	if err != nil {
		return out, err
	}
	if i := slices.IndexFunc(list, func(x ExceptionRequest) bool { return x.ID == id }); i >= 0 {
		return out, a.saveRequests(ctx, p.Tenant, raw, slices.Delete(list, i, i+1))
	}
	return out, a.Store.RevokeException(ctx, p.Tenant, id, p.Actor(), a.Store.Now())
}
