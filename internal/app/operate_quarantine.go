package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/mapping"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/web"
)

// desk is where people work on bodies in quarantine; it implements
// web.Quarantine.
type desk struct{ a *App }

// The events of a person's decision over a quarantined body, in the stream of
// its source.
const (
	eventBodyReleased  = "quarantined_body_released"
	eventBodyReadAgain = "quarantined_body_read_again"
	eventBodyDropped   = "quarantined_body_dropped"
	// eventBodyRead is recorded in the stream of evidence, as for raw records.
	eventBodyRead = "quarantined_body_read"
)

// Quarantined implements web.Quarantine.
func (d desk) Quarantined(ctx context.Context, tenant string) (int, error) {
	_, n, err := d.a.Store.InboxCount(ctx, tenant)
	return n, err
}

func (d desk) bodyOf(it store.InboxItem) web.Body {
	return web.Body{ID: it.ID, Source: it.Source, ReceivedAt: it.ReceivedAt, Bytes: max(0, it.Size-d.a.keys.overhead()), Owner: reminders{d.a}.owner(it.Owner), Why: it.Error, Event: it.Headers["event"]}
}

// Bodies implements web.Quarantine.
func (d desk) Bodies(ctx context.Context, p auth.Principal, source string, after int64, n int) ([]web.Body, error) {
	list, err := d.a.Store.Quarantine(ctx, p.Tenant, source, after, n)
	out := make([]web.Body, len(list))
	for i, it := range list {
		out[i] = d.bodyOf(it)
	}
	return out, err
}

// Body implements web.Quarantine.
func (d desk) Body(ctx context.Context, p auth.Principal, id int64) (web.BodyText, error) {
	it, err := d.a.Store.Quarantined(ctx, p.Tenant, id)
	if err != nil {
		return web.BodyText{}, err
	}
	out := web.BodyText{Body: d.bodyOf(it)}
	if out.Text, out.Size, out.Cut, err = d.a.Intake.Show(it); err != nil {
		return out, err
	}
	return out, d.a.remember(ctx, p.Actor(), eventBodyRead, map[string]any{"id": id, "source": it.Source})
}

// bodyEvent is the record of a decision over a body. It says what went, not
// what was in it.
type bodyEvent struct {
	ID         int64     `json:"id"`
	Source     string    `json:"source"`
	ReceivedAt time.Time `json:"received_at"`
	Bytes      int       `json:"bytes"`
	Why        string    `json:"why"`
	// Mapping is the name of the format of the mapping that was given for this once.
	Mapping string      `json:"mapping,omitempty"`
	Reason  remedy.Note `json:"reason,omitempty"`
}

func (d desk) event(p auth.Principal, it store.InboxItem, what, mapping string, reason remedy.Note) (store.StreamEvent, error) {
	body, err := json.Marshal(bodyEvent{it.ID, it.Source, it.ReceivedAt, it.Size, it.Error, mapping, reason})
	return store.StreamEvent{Tenant: p.Tenant, Stream: store.StreamSource + "/" + it.Source, Type: what, Schema: 1, At: d.a.Store.Now(), By: p.Actor(), Body: body}, err
}

// maxCases bounds the cases that are named of one body.
const maxCases = 50

// Release implements web.Quarantine.
func (d desk) Release(ctx context.Context, p auth.Principal, id int64, text string) (web.Released, error) {
	out := web.Released{ID: id, Cases: []string{}}
	it, err := d.a.Store.Quarantined(ctx, p.Tenant, id)
	if err != nil {
		return out, err
	}
	var with format.Reader
	name := ""
	if text != "" {
		m, err := mapping.Load("mapping", []byte(text))
		if err != nil {
			return out, badInput("%v", err)
		}
		with, name = m, m.Name()
	}
	e, err := d.event(p, it, eventBodyReleased, name, "")
	if err != nil {
		return out, err
	}
	a, err := d.a.Intake.Release(ctx, it, with, e)
	if err != nil {
		return out, err
	}
	out.Stays, out.Later, out.Why, out.Format = a.Quarantine != 0, a.Later != 0, a.Error, a.Format
	out.Read, out.Kept, out.Suppressed, out.Refused, out.Refusal = a.Read, a.Kept, a.Suppressed, a.Refused, a.Refusal
	for _, r := range a.Results {
		switch {
		case r.Error != "":
			continue
		case r.Placement == correlate.Open:
			out.Opened++
		case r.Placement == correlate.Sighting:
			out.Seen++
		default:
			out.Joined++
		}
		if !slices.Contains(out.Cases, r.CaseID) && len(out.Cases) < maxCases {
			out.Cases = append(out.Cases, r.CaseID)
		}
	}
	if out.Stays && len(out.Cases) > 0 { // what it gave is told by whose word
		e.Type = eventBodyReadAgain
		_, err = d.a.Store.AppendEvent(ctx, e)
	}
	d.a.hub.poke(p.Tenant, d.a.Store.Now())
	return out, err
}

// Drop implements web.Quarantine.
func (d desk) Drop(ctx context.Context, p auth.Principal, id int64, reason string) error {
	it, err := d.a.Store.Quarantined(ctx, p.Tenant, id)
	if err != nil {
		return err
	}
	note, texts, err := d.a.Engine.Note(reason)
	if err != nil {
		return err
	}
	e, err := d.event(p, it, eventBodyDropped, "", note)
	if err != nil {
		return err
	}
	if err := d.a.Store.QuarantineDrop(ctx, p.Tenant, id, e, texts...); err != nil {
		return fmt.Errorf("drop body %d: %w", id, err)
	}
	return nil
}
