package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
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

// asked is a request as it is kept.
type asked struct {
	web.ExceptionRequest
	// Granting is when somebody last began to grant it (UTC): its exception may
	// exist, as a crash can come between it and taking the request off the list.
	Granting time.Time `json:"granting,omitzero"`
}

// grantTime is how long a request that is being granted can't be dropped.
const grantTime = time.Minute

// requests returns the requests that are kept, and the bytes they were read from.
func (a *App) requests(ctx context.Context, tenant string) (list []asked, raw []byte, err error) {
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

// changeTries bounds how often a change of the requests begins anew because
// somebody else changed them meanwhile.
const changeTries = 10

// changeRequests replaces the requests by what change makes of them, with the
// event it returns in the same commit unless that is nil. change may be called
// several times.
func (a *App) changeRequests(ctx context.Context, tenant string, change func([]asked) ([]asked, *store.StreamEvent, error)) error {
	for try := 1; ; try++ {
		list, raw, err := a.requests(ctx, tenant)
		if err != nil {
			return err
		}
		list, event, err := change(list)
		if err != nil {
			return err
		}
		b, err := json.Marshal(list)
		if err != nil {
			return err
		}
		var events []store.StreamEvent
		if event != nil {
			events = append(events, *event)
		} else if bytes.Equal(b, raw) || len(list) == 0 && raw == nil {
			return nil
		}
		if err = a.Store.ChangeSetting(ctx, tenant, requestsKey, raw, b, events...); !errors.Is(err, record.ErrConflict) || try == changeTries {
			return err
		}
	}
}

func requestOf(list []asked, id string) int {
	return slices.IndexFunc(list, func(x asked) bool { return x.ID == id })
}

// granted reports whether the exception that q asks for was granted; it may be
// over.
func (a *App) granted(ctx context.Context, tenant string, q asked) (bool, error) {
	if q.Granting.IsZero() {
		return false, nil
	}
	if q.Case == "" {
		es, err := a.Store.Exceptions(ctx, tenant, time.Time{})
		return slices.ContainsFunc(es, func(e store.Exception) bool { return e.ID == q.ID }), err
	}
	events, err := a.Store.Events(ctx, tenant, q.Case)
	return slices.ContainsFunc(events, func(e store.StoredEvent) bool {
		g, ok := e.Decoded.(remedy.ExceptionGranted)
		return ok && g.Exception.ID == q.ID
	}), err
}

// waiting leaves out what was granted by somebody who did not come to take it
// off the list.
func (a *App) waiting(ctx context.Context, tenant string, list []asked) ([]asked, error) {
	var out []asked
	for _, q := range list {
		done, err := a.granted(ctx, tenant, q)
		if err != nil {
			return nil, err
		}
		if !done {
			out = append(out, q)
		}
	}
	return out, nil
}

// takeOff ends a request that was granted.
func (a *App) takeOff(ctx context.Context, tenant, id string) error {
	return a.changeRequests(ctx, tenant, func(list []asked) ([]asked, *store.StreamEvent, error) {
		return slices.DeleteFunc(list, func(x asked) bool { return x.ID == id }), nil, nil
	})
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
	list, _, err := a.requests(ctx, p.Tenant)
	if err != nil {
		return nil, nil, err
	}
	if list, err = a.waiting(ctx, p.Tenant, list); err != nil {
		return nil, nil, err
	}
	reqs := make([]web.ExceptionRequest, len(list))
	for i, q := range list {
		reqs[i] = q.ExceptionRequest
	}
	return out, reqs, nil
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
	body, _ := json.Marshal(map[string]any{"id": in.ID, "case": in.Case, "class": in.Class, "package": in.Package, "project": in.Project,
		"weakness": in.Weakness, "until": in.Until}) // plain values: cannot fail; the reason is a person's words and stays out
	event := guardrailEvent(p, eventExceptionAsked, now, body)
	err := a.changeRequests(ctx, p.Tenant, func(list []asked) ([]asked, *store.StreamEvent, error) {
		list, err := a.waiting(ctx, p.Tenant, list)
		if err == nil && len(list) >= maxRequests {
			err = badInput("too many requests wait: grant or drop some first")
		}
		return append(list, asked{ExceptionRequest: in}), event, err
	})
	if err != nil {
		return web.ExceptionRequest{}, err
	}
	return in, nil
}

func guardrailEvent(p auth.Principal, typ string, at time.Time, body []byte) *store.StreamEvent {
	return &store.StreamEvent{Tenant: p.Tenant, Stream: store.StreamGuardrail, Type: typ, Schema: 1, At: at, By: p.Actor(), Body: body}
}

// GrantException implements web.Exceptions. A token never grants. The request is
// marked before its exception is made and taken off the list after, so that
// whoever comes after a crash between them finds out what was done.
func (v waivers) GrantException(ctx context.Context, p auth.Principal, id string) (web.ExceptionRequest, error) {
	a, now := v.a, v.a.Store.Now()
	var q asked
	err := a.changeRequests(ctx, p.Tenant, func(list []asked) ([]asked, *store.StreamEvent, error) {
		i := requestOf(list, id)
		if i < 0 {
			return nil, nil, fmt.Errorf("no request %s waits: %w", id, record.ErrNotFound)
		}
		if q = list[i]; q.Asked == p.ID {
			return nil, nil, &remedy.Refusal{Code: remedy.Forbidden, Msg: "you asked for this exception; somebody else has to grant it"}
		}
		list[i].Granting = now
		return list, nil, nil
	})
	if err != nil {
		return web.ExceptionRequest{}, err
	}
	done, err := a.granted(ctx, p.Tenant, q)
	if err != nil {
		return web.ExceptionRequest{}, err
	}
	if !done {
		if err := a.grant(ctx, p, q, now); err != nil {
			return web.ExceptionRequest{}, a.notGranted(ctx, p, q, now, err)
		}
	}
	return q.ExceptionRequest, a.takeOff(ctx, p.Tenant, id)
}

// grant makes the exception that was asked for.
func (a *App) grant(ctx context.Context, p auth.Principal, q asked, now time.Time) error {
	note, texts, err := a.Engine.Note(q.Reason)
	if err != nil {
		return err
	}
	if q.Case != "" {
		_, err = a.Engine.Tell(ctx, q.Case, remedy.Command{At: now, By: p.Actor(), Do: remedy.GrantException{Exception: remedy.Exception{
			ID: q.ID, Kind: q.Kind, By: p.ID, Asked: q.Asked, Until: q.Until, Reason: note}}}, texts...)
		return err
	}
	e := store.Exception{ID: q.ID, Tenant: p.Tenant, Kind: q.Kind, Class: q.Class, Package: q.Package, Project: q.Project, Weakness: q.Weakness,
		From: now, Until: q.Until, Asked: q.Asked, Approved: p.ID, ReasonHash: note}
	if len(texts) == 1 {
		e.Reason = texts[0]
	}
	return a.Store.PutException(ctx, e, now)
}

// notGranted takes the mark of now away from a request whose exception was
// refused; after another fault it may exist, so the mark stays.
func (a *App) notGranted(ctx context.Context, p auth.Principal, q asked, now time.Time, why error) error {
	if remedy.CodeOf(why) == "" {
		return why
	}
	err := a.changeRequests(ctx, p.Tenant, func(list []asked) ([]asked, *store.StreamEvent, error) {
		if i := requestOf(list, q.ID); i >= 0 && list[i].Granting.Equal(now) {
			list[i].Granting = q.Granting
		}
		return list, nil, nil
	})
	if err != nil {
		return errors.Join(why, err)
	}
	return why
}

// EndException implements web.Exceptions.
func (v waivers) EndException(ctx context.Context, p auth.Principal, id, caseID string) error {
	a, now := v.a, v.a.Store.Now()
	if caseID == "" {
		q, dropped, err := a.drop(ctx, p, id, now)
		if err != nil || dropped {
			return err
		}
		caseID = q.Case
	}
	if caseID == "" {
		return a.Store.RevokeException(ctx, p.Tenant, id, p.Actor(), now)
	}
	c, err := a.Store.Load(ctx, caseID)
	if err == nil && c.Tenant != p.Tenant {
		err = fmt.Errorf("case %s: %w", caseID, record.ErrNotFound)
	}
	if err != nil {
		return err
	}
	_, err = a.Engine.Tell(ctx, caseID, remedy.Command{At: now, By: p.Actor(), Do: remedy.RevokeException{ID: id}})
	return err
}

// drop drops a request. One that was granted is none: it comes back, and its
// exception is to be ended.
func (a *App) drop(ctx context.Context, p auth.Principal, id string, now time.Time) (q asked, dropped bool, err error) {
	body, _ := json.Marshal(map[string]string{"id": id}) // a text: cannot fail
	event := guardrailEvent(p, eventExceptionDropped, now, body)
	err = a.changeRequests(ctx, p.Tenant, func(list []asked) ([]asked, *store.StreamEvent, error) {
		q, dropped = asked{}, false
		i := requestOf(list, id)
		if i < 0 {
			return list, nil, nil
		}
		q = list[i]
		done, err := a.granted(ctx, p.Tenant, q)
		switch {
		case err != nil:
			return nil, nil, err
		case done:
			return slices.Delete(list, i, i+1), nil, nil
		case now.Sub(q.Granting) < grantTime:
			return nil, nil, &remedy.Refusal{Code: remedy.NotNow, Msg: "somebody is granting this request right now; look at the list again in a minute"}
		}
		dropped = true
		return slices.Delete(list, i, i+1), event, nil
	})
	return q, dropped, err
}
