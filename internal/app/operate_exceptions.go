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
	"github.com/casement/casement/internal/web"
)

// waivers is where people ask for exceptions; it implements web.Exceptions.
type waivers struct{ a *App }

const (
	// requestsKey is the setting that holds the requests that wait.
	requestsKey = "exception-requests"
	// maxRequests bounds them.
	maxRequests = 500
	// maxException is the longest time an exception may last.
	maxException = 366 * 24 * time.Hour
	// These are recorded in the guardrail stream.
	eventExceptionAsked   = "exception_asked"
	eventExceptionDropped = "exception_dropped"
)

// requests returns the requests that wait, and the bytes they were read from.
func (a *App) requests(ctx context.Context, tenant string) (list []web.ExceptionRequest, raw []byte, err error) {
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
func (a *App) saveRequests(ctx context.Context, tenant string, old []byte, list []web.ExceptionRequest) error {
	b, err := json.Marshal(list)
	if err != nil || bytes.Equal(b, old) {
		return err
	}
	return a.Store.CompareAndSetSetting(ctx, tenant, requestsKey, old, b)
}

// Exceptions implements web.Exceptions.
func (v waivers) Exceptions(ctx context.Context, p auth.Principal, over bool) ([]web.StandingException, []web.ExceptionRequest, error) {
	a, now := v.a, v.a.Store.Now()
	after := now
	if over {
		after = time.Time{}
	}
	es, err := a.Store.Exceptions(ctx, p.Tenant, after)
	if err != nil {
		return nil, nil, err
	}
	names, err := a.Auth.Names(ctx, p.Tenant)
	if err != nil {
		return nil, nil, err
	}
	out := make([]web.StandingException, len(es))
	for i, e := range es {
		out[i] = web.StandingException{Exception: e, ReasonText: e.Reason.Text, AskedBy: names[e.Asked], GrantedBy: names[e.Approved], Active: e.Active(now)}
	}
	reqs, _, err := a.requests(ctx, p.Tenant)
	return out, reqs, err
}

// AskException implements web.Exceptions.
func (v waivers) AskException(ctx context.Context, p auth.Principal, ask web.ExceptionAsk) (web.ExceptionRequest, error) {
	a, now := v.a, v.a.Store.Now()
	in := web.ExceptionRequest{ID: "exc_" + strings.ToLower(rand.Text()[:16]), ExceptionAsk: ask, Asked: p.ID, AskedBy: p.Name, AskedAt: now}
	if in.Kind == "" {
		in.Kind = "risk-accepted"
	}
	switch {
	case strings.TrimSpace(in.Reason) == "":
		return web.ExceptionRequest{}, badInput("an exception needs a reason")
	case len(in.Reason) > 4096:
		return web.ExceptionRequest{}, badInput("the reason is longer than 4096 bytes")
	case !in.Until.After(now) || in.Until.Sub(now) > maxException:
		return web.ExceptionRequest{}, badInput("an exception ends in the future, within a year: name a date")
	case in.Case == "" && in.Class == "" && in.Package == "" && in.Project == "" && in.Weakness == "":
		return web.ExceptionRequest{}, badInput("name what is excepted: a case, or a class, package, project or weakness")
	case in.Case != "" && (in.Class != "" || in.Package != "" || in.Project != "" || in.Weakness != ""):
		return web.ExceptionRequest{}, badInput("name either a case, or what passes the gate")
	case in.Class != "" && !finding.KnownClass(finding.Class(in.Class)):
		return web.ExceptionRequest{}, badInput("class %.60q is not known", in.Class)
	}
	if in.Case != "" {
		c, err := a.Store.Load(ctx, in.Case)
		if err == nil && c.Tenant != p.Tenant {
			err = fmt.Errorf("case %s: %w", in.Case, record.ErrNotFound)
		}
		if err != nil {
			return web.ExceptionRequest{}, err
		}
	}
	list, raw, err := a.requests(ctx, p.Tenant)
	if err != nil {
		return web.ExceptionRequest{}, err
	}
	if len(list) >= maxRequests {
		return web.ExceptionRequest{}, badInput("too many requests wait: grant or drop some first")
	}
	if err := a.saveRequests(ctx, p.Tenant, raw, append(list, in)); err != nil {
		return web.ExceptionRequest{}, err
	}
	body, _ := json.Marshal(map[string]any{"id": in.ID, "case": in.Case, "class": in.Class, "package": in.Package, "project": in.Project,
		"weakness": in.Weakness, "until": in.Until}) // plain values: cannot fail; the reason is a person's words and stays out
	_, err = a.Store.AppendEvent(ctx, store.StreamEvent{Tenant: p.Tenant, Stream: store.StreamGuardrail, Type: eventExceptionAsked, Schema: 1, At: now, By: p.Actor(), Body: body})
	return in, err
}

// GrantException implements web.Exceptions. A token never grants.
func (v waivers) GrantException(ctx context.Context, p auth.Principal, id string) (web.ExceptionRequest, error) {
	a := v.a
	list, raw, err := a.requests(ctx, p.Tenant)
	if err != nil {
		return web.ExceptionRequest{}, err
	}
	i := slices.IndexFunc(list, func(x web.ExceptionRequest) bool { return x.ID == id })
	if i < 0 {
		return web.ExceptionRequest{}, fmt.Errorf("no request %s waits: %w", id, record.ErrNotFound)
	}
	q := list[i]
	if q.Asked == p.ID {
		return web.ExceptionRequest{}, &remedy.Refusal{Code: remedy.Forbidden, Msg: "you asked for this exception; somebody else has to grant it"}
	}
	now := a.Store.Now()
	note, texts, err := a.Engine.Note(q.Reason)
	if err != nil {
		return web.ExceptionRequest{}, err
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
		return web.ExceptionRequest{}, err
	}
	return q, a.saveRequests(ctx, p.Tenant, raw, slices.Delete(list, i, i+1))
}

// EndException implements web.Exceptions.
func (v waivers) EndException(ctx context.Context, p auth.Principal, id, caseID string) error {
	a := v.a
	if caseID != "" {
		c, err := a.Store.Load(ctx, caseID)
		if err == nil && c.Tenant != p.Tenant {
			err = fmt.Errorf("case %s: %w", caseID, record.ErrNotFound)
		}
		if err != nil {
			return err
		}
		_, err = a.Engine.Tell(ctx, caseID, remedy.Command{At: a.Store.Now(), By: p.Actor(), Do: remedy.RevokeException{ID: id}})
		return err
	}
	list, raw, err := a.requests(ctx, p.Tenant)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(list, func(x web.ExceptionRequest) bool { return x.ID == id }); i >= 0 {
		body, _ := json.Marshal(map[string]string{"id": id}) // a text: cannot fail
		// First, so that none is dropped without a record.
		if _, err := a.Store.AppendEvent(ctx, store.StreamEvent{Tenant: p.Tenant, Stream: store.StreamGuardrail, Type: eventExceptionDropped, Schema: 1, At: a.Store.Now(), By: p.Actor(), Body: body}); err != nil {
			return err
		}
		return a.saveRequests(ctx, p.Tenant, raw, slices.Delete(list, i, i+1))
	}
	return a.Store.RevokeException(ctx, p.Tenant, id, p.Actor(), a.Store.Now())
}
