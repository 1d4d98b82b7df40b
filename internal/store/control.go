package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// The types of events in the guardrail stream.
const (
	EventPaused           = "paused"
	EventResumed          = "resumed"
	EventExceptionGranted = "exception_granted"
	EventExceptionRevoked = "exception_revoked"
	// EventRestored begins a new epoch of the ledger.
	EventRestored = "restored"
)

// pauseBody is the body of paused and resumed events.
type pauseBody struct {
	// Tenant is "" for all tenants.
	Tenant string      `json:"tenant"`
	Scope  string      `json:"scope"`
	Reason remedy.Note `json:"reason,omitempty"`
}

// systemTenant is the tenant of streams that concern the whole install.
const systemTenant = finding.DefaultTenant

// pauseEvent is the record of a pause or its end. A pause for all tenants lies
// in the stream of the default tenant.
func pauseEvent(p Pause, typ string) StreamEvent {
	tenant := p.Tenant
	if tenant == "" {
		tenant = systemTenant
	}
	body, _ := json.Marshal(pauseBody{p.Tenant, p.Scope, p.Reason.Hash}) // strings cannot fail
	return StreamEvent{Tenant: tenant, Stream: StreamGuardrail, Type: typ, Schema: 1, At: p.At, By: p.By, Body: body}
}

func checkPause(p Pause) error {
	if p.Scope == "" || p.By.ID == "" || p.At.IsZero() {
		return fmt.Errorf("%w pause: scope, person and time are needed", ErrInvalid)
	}
	return nil
}

// SetPause throws the kill switch for a scope and records it in the guardrail
// stream, in one commit. A scope that is paused already keeps its first entry.
func (s *tables) SetPause(ctx context.Context, p Pause) error {
	if err := checkPause(p); err != nil {
		return err
	}
	return s.db.put(ctx, func(w *writer) error {
		if err := w.lock(lockPauses, false); err != nil {
			return err
		}
		n, err := w.exec("INSERT INTO pause (tenant, scope, by, at, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", p.Tenant, p.Scope, actorText(p.By), nanos(p.At), string(p.Reason.Hash))
		if err != nil || n == 0 {
			return err
		}
		return w.guardrail(p, EventPaused)
	})
}

// ClearPause ends the pause of p's tenant and scope and records by whom and
// why; ErrNotFound if it is not paused.
func (s *tables) ClearPause(ctx context.Context, p Pause) error {
	if err := checkPause(p); err != nil {
		return err
	}
	return s.db.put(ctx, func(w *writer) error {
		n, err := w.exec("DELETE FROM pause WHERE tenant = ? AND scope = ?", p.Tenant, p.Scope)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("pause %q: %w", p.Scope, record.ErrNotFound)
		}
		return w.guardrail(p, EventResumed)
	})
}

func (w *writer) guardrail(p Pause, typ string) error {
	e := pauseEvent(p, typ)
	if _, err := w.appendEvent(e); err != nil || p.Reason.Hash == "" {
		return err
	}
	return w.note(e.Tenant, p.Reason)
}

// Pauses returns all thrown kill switches, by tenant and scope.
func (s *tables) Pauses(ctx context.Context) ([]Pause, error) {
	var list []Pause
	err := s.db.each(ctx, func(row scanner) error {
		var p Pause
		var by string
		var at int64
		err := row.Scan(&p.Tenant, &p.Scope, &by, &at, &p.Reason.Hash, &p.Reason.Salt, &p.Reason.Text)
		if err != nil {
			return err
		}
		p.At = instant(at)
		p.By, err = parseActor(by)
		list = append(list, p)
		return err
	}, `SELECT p.tenant, scope, by, at, reason, coalesce(n.salt, ''), coalesce(n.text, '') FROM pause p
		LEFT JOIN note n ON n.tenant = CASE WHEN p.tenant = '' THEN '`+systemTenant+`' ELSE p.tenant END AND n.hash = p.reason ORDER BY p.tenant, scope`)
	if err != nil {
		return nil, fmt.Errorf("read pauses: %w", err)
	}
	return list, nil
}

// Setting returns the value of a key, or ErrNotFound.
func (s *tables) Setting(ctx context.Context, tenant, key string) ([]byte, error) {
	var b []byte
	err := s.db.one(ctx, []any{&b}, "SELECT value FROM setting WHERE tenant = ? AND key = ?", tenant, key)
	return b, notFound(err, "setting", key)
}

// SetSetting stores the value of a key.
func (s *tables) SetSetting(ctx context.Context, tenant, key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return s.db.put(ctx, func(w *writer) error {
		_, err := w.exec("INSERT INTO setting (tenant, key, value) VALUES (?, ?, ?) ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value", tenant, key, value)
		return err
	})
}

// CompareAndSetSetting stores the value if the stored one equals old (nil: is
// missing); otherwise record.ErrConflict. It serves leases and one-time links.
func (s *tables) CompareAndSetSetting(ctx context.Context, tenant, key string, old, value []byte) error {
	return s.ChangeSetting(ctx, tenant, key, old, value)
}

// ChangeSetting is CompareAndSetSetting that records events in the same commit.
// Of several that change the same value at once, one succeeds. old and value are
// not both nil.
func (s *tables) ChangeSetting(ctx context.Context, tenant, key string, old, value []byte, events ...StreamEvent) error {
	for _, e := range events {
		if err := checkStream(e); err != nil {
			return err
		}
	}
	return s.db.put(ctx, func(w *writer) error {
		var n int64
		var err error
		switch {
		case old == nil:
			n, err = w.exec("INSERT INTO setting (tenant, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", tenant, key, value)
		case value == nil:
			n, err = w.exec("DELETE FROM setting WHERE tenant = ? AND key = ? AND value = ?", tenant, key, old)
		default:
			n, err = w.exec("UPDATE setting SET value = ? WHERE tenant = ? AND key = ? AND value = ?", value, tenant, key, old)
		}
		if err == nil && n == 0 {
			err = fmt.Errorf("setting %s: %w", key, record.ErrConflict)
		}
		for i := 0; err == nil && i < len(events); i++ {
			_, err = w.appendEvent(events[i])
		}
		return err
	})
}

// Exception is a standing exception: findings of the class, package, project
// and weakness it names pass the gate until its date. Empty fields match all.
type Exception struct {
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Kind    string `json:"kind"`
	Class   string `json:"class,omitempty"`
	Package string `json:"package,omitempty"`
	Project string `json:"project,omitempty"`
	// Weakness is a CVE or advisory id.
	Weakness string          `json:"weakness,omitempty"`
	From     time.Time       `json:"from"`
	Until    time.Time       `json:"until"`
	Asked    string          `json:"asked_by"`
	Approved string          `json:"approved_by"`
	Reason   record.NoteText `json:"-"`
	// ReasonHash is Reason.Hash, as the event holds it.
	ReasonHash remedy.Note `json:"reason,omitempty"`
	RevokedAt  time.Time   `json:"revoked_at,omitzero"`
}

// Active reports whether the exception holds at an instant.
func (e Exception) Active(at time.Time) bool {
	return !at.Before(e.From) && at.Before(e.Until) && (e.RevokedAt.IsZero() || at.Before(e.RevokedAt))
}

// PutException stores a new standing exception and records it in the guardrail
// stream. It must be bounded in time, name what it is for, and be approved by
// somebody other than who asked.
func (s *tables) PutException(ctx context.Context, e Exception, at time.Time) error {
	switch {
	case e.ID == "" || e.Tenant == "" || at.IsZero():
		return fmt.Errorf("%w exception: id, tenant and time are needed", ErrInvalid)
	case !e.Until.After(e.From):
		return fmt.Errorf("%w exception %s: it must end after it begins", ErrInvalid, e.ID)
	case e.Class == "" && e.Package == "" && e.Project == "" && e.Weakness == "":
		return fmt.Errorf("%w exception %s: name a class, package, project or weakness; an exception for everything is none", ErrInvalid, e.ID)
	case e.Asked == "" || e.Approved == "" || e.Asked == e.Approved:
		return fmt.Errorf("%w exception %s: somebody other than who asked has to approve it", ErrInvalid, e.ID)
	}
	e.ReasonHash = e.Reason.Hash
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("exception %s: %w", e.ID, err)
	}
	event := StreamEvent{Tenant: e.Tenant, Stream: StreamGuardrail, Type: EventExceptionGranted, Schema: 1, At: at, By: remedy.Actor{Kind: remedy.Person, ID: e.Approved}, Body: body}
	return s.db.put(ctx, func(w *writer) error {
		_, err := w.exec(`INSERT INTO exception (id, tenant, kind, class, package, project, weakness, from_at, until_at, asked_by, approved_by, reason, revoked_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`, e.ID, e.Tenant, e.Kind, e.Class, e.Package, e.Project, e.Weakness, nanos(e.From), nanos(e.Until), e.Asked, e.Approved, string(e.Reason.Hash))
		if isUnique(err) {
			return fmt.Errorf("exception %s %w", e.ID, ErrExists)
		}
		if err != nil {
			return err
		}
		if _, err := w.appendEvent(event); err != nil || e.Reason.Hash == "" {
			return err
		}
		return w.note(e.Tenant, e.Reason)
	})
}

// RevokeException ends a standing exception at once and records by whom.
func (s *tables) RevokeException(ctx context.Context, tenant, id string, by remedy.Actor, at time.Time) error {
	body, _ := json.Marshal(map[string]string{"id": id}) // strings cannot fail
	return s.db.put(ctx, func(w *writer) error {
		n, err := w.exec("UPDATE exception SET revoked_at = ? WHERE tenant = ? AND id = ? AND revoked_at = 0", nanos(at), tenant, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("exception %s: %w", id, record.ErrNotFound)
		}
		_, err = w.appendEvent(StreamEvent{Tenant: tenant, Stream: StreamGuardrail, Type: EventExceptionRevoked, Schema: 1, At: at, By: by, Body: body})
		return err
	})
}

// Exceptions returns the standing exceptions of a tenant that end after an
// instant, revoked ones included, by end.
func (s *tables) Exceptions(ctx context.Context, tenant string, after time.Time) ([]Exception, error) {
	var list []Exception
	err := s.db.each(ctx, func(row scanner) error {
		var e Exception
		var from, until, revoked int64
		err := row.Scan(&e.ID, &e.Tenant, &e.Kind, &e.Class, &e.Package, &e.Project, &e.Weakness, &from, &until, &e.Asked, &e.Approved, &e.ReasonHash, &revoked, &e.Reason.Salt, &e.Reason.Text)
		e.From, e.Until, e.RevokedAt, e.Reason.Hash = instant(from), instant(until), instant(revoked), e.ReasonHash
		list = append(list, e)
		return err
	}, `SELECT id, x.tenant, kind, class, package, project, weakness, from_at, until_at, asked_by, approved_by, reason, revoked_at, coalesce(salt, ''), coalesce(text, '')
		FROM exception x LEFT JOIN note n ON n.tenant = x.tenant AND n.hash = x.reason WHERE x.tenant = ? AND until_at > ? ORDER BY until_at, id`, tenant, nanos(after))
	if err != nil {
		return nil, fmt.Errorf("read exceptions: %w", err)
	}
	return list, nil
}
