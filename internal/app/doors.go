package app

import (
	"context"
	"errors"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/tracker"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// doors lead the engine to connectors, notifiers and trackers by name.
type doors struct {
	connectors map[string]connector.Connector
	notifiers  map[string]connector.Notifier
	trackers   map[string]connector.Tracker
}

// Actor implements engine.Doors. A door hands out what its connector offers.
func (d doors) Actor(name string) (connector.Actor, bool) {
	if door, ok := d.connectors[name].(*connector.Door); ok {
		return door.Actor()
	}
	a, ok := d.connectors[name].(connector.Actor)
	return a, ok
}

// Prober implements engine.Doors.
func (d doors) Prober(name string) (connector.Prober, bool) {
	if door, ok := d.connectors[name].(*connector.Door); ok {
		return door.Prober()
	}
	p, ok := d.connectors[name].(connector.Prober)
	return p, ok
}

// Notifier implements engine.Doors.
func (d doors) Notifier(route string) (connector.Notifier, bool) {
	n, ok := d.notifiers[route]
	return n, ok
}

// Tracker implements engine.Doors.
func (d doors) Tracker(system string) (connector.Tracker, bool) {
	t, ok := d.trackers[system]
	return t, ok
}

// doors joins what the configuration names and the built-in tracker.
func (a *App) doors() doors {
	builtin := tracker.Tracker{Store: ticketStore{a.Store}, BaseURL: a.cfg.BaseURL, Now: a.Store.Now}
	d := doors{connectors: a.cfg.Connectors, notifiers: a.cfg.Notifiers, trackers: map[string]connector.Tracker{"tracker": builtin}}
	for name, t := range a.cfg.Trackers {
		d.trackers[name] = t
	}
	return d
}

// ticketStore keeps the built-in tracker's tickets in the store.
type ticketStore struct{ s Store }

// Create implements tracker.Store.
func (t ticketStore) Create(ctx context.Context, key string, x tracker.Ticket) (int64, error) {
	out, _, err := t.s.CreateTicket(ctx, key, store.Ticket{Tenant: finding.DefaultTenant, Project: x.Project, CaseID: x.CaseID, Title: x.Title,
		Body: x.Body, Fields: x.Fields, Status: x.Status, Assignee: x.Assignee, CreatedAt: x.CreatedAt, UpdatedAt: x.CreatedAt})
	return out.ID, err
}

// Comment implements tracker.Store.
func (t ticketStore) Comment(ctx context.Context, id int64, key, text string, at time.Time) error {
	return missing(t.s.AddTicketComment(ctx, finding.DefaultTenant, key, store.TicketComment{TicketID: id, By: "casement", At: at, Text: text}))
}

// Status implements tracker.Store.
func (t ticketStore) Status(ctx context.Context, id int64) (string, error) {
	x, err := t.s.Ticket(ctx, finding.DefaultTenant, id)
	return x.Status, missing(err)
}

// SetStatus implements tracker.Store.
func (t ticketStore) SetStatus(ctx context.Context, id int64, status string, at time.Time) error {
	x, err := t.s.Ticket(ctx, finding.DefaultTenant, id)
	if err != nil {
		return missing(err)
	}
	x.Status, x.UpdatedAt = status, at
	return t.s.UpdateTicket(ctx, x)
}

func missing(err error) error {
	if errors.Is(err, record.ErrNotFound) {
		return tracker.ErrNotFound
	}
	return err
}
