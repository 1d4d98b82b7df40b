package app

import (
	"github.com/casement/casement/internal/connector"
)

// doors lead the engine to connectors, notifiers and trackers by name.
type doors struct {
	connectors map[string]connector.Connector
	notifiers  map[string]connector.Notifier
	trackers   map[string]connector.Tracker
}

// Actor implements engine.Doors.
func (d doors) Actor(name string) (connector.Actor, bool) {
	a, ok := d.connectors[name].(connector.Actor)
	return a, ok
}

// Prober implements engine.Doors.
func (d doors) Prober(name string) (connector.Prober, bool) {
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
	d := doors{connectors: a.cfg.Connectors, notifiers: a.cfg.Notifiers, trackers: map[string]connector.Tracker{}}
	for name, t := range a.cfg.Trackers {
		d.trackers[name] = t
	}
	return d
}
