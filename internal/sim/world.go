// Package sim is a world of targets behind real HTTP on loopback that needs no
// installation: an object store, an OAuth server, a receiver of webhooks and
// applications with a health address. Each can be in a risky state, keeps its
// own log, and can be told to fail or to lie.
//
// It may import the lower floors; only tests, rehearsal and the demo use it.
// Invariants: it listens on loopback only; the log of a target is written by
// the target, never by Casement; a lying target shows one state to its control
// plane and keeps another; time comes from the Options.
package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Services of a world, the first part of a scope.
const (
	ServiceS3    = "s3"
	ServiceOAuth = "oauth"
	ServiceSink  = "sink"
	ServiceApp   = "app"
)

// Options set up a world.
type Options struct {
	// Now is the clock of the targets; the machine's if nil.
	Now func() time.Time
	// Log receives each log entry as a line of JSON when it happens, may be nil.
	Log io.Writer
	// SinkSecrets are the whsec_ secrets the webhook receiver accepts.
	SinkSecrets []string
}

// Fault is what is wrong with a target. The zero value is nothing.
type Fault struct {
	// Down breaks every connection without an answer.
	Down bool
	// Lie answers changes with success, shows them in the control plane, and
	// does not make them: what outsiders see stays.
	Lie bool
	// LieAbout is a Lie about one part of the control plane only: "policy" or
	// "block" of a bucket.
	LieAbout string
	// ProbeLies answers outsiders as if the target were safe.
	ProbeLies bool
	// ProbeShows answers outsiders by what the control plane shows. Together
	// with Lie nobody but the target's own log tells that a change was not made.
	ProbeShows bool
	// UndoFails answers 500 to a change that brings the risk back.
	UndoFails bool
	// FailAfter makes changes and breaks the connection before the answer.
	FailAfter bool
	// Status answers everything with this status, if not 0.
	Status int
	// Hold keeps every answer back until it is closed, or the caller leaves.
	Hold <-chan struct{}
}

// Entry is one line of a target's own log.
type Entry struct {
	// N numbers the entries of the world from 1.
	N       int       `json:"n"`
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	// Scope is the object asked about: a bucket, a grant, an asset.
	Scope  string `json:"scope,omitempty"`
	Method string `json:"method"`
	Path   string `json:"path"`
	// Status answered; 0 if the connection was broken instead.
	Status    int    `json:"status"`
	UserAgent string `json:"user_agent,omitempty"`
	// Case is the case id in the user agent, "" if there is none.
	Case string `json:"case,omitempty"`
	// Key is the webhook-id of a message.
	Key string `json:"key,omitempty"`
	// Anonymous: the caller showed no credential.
	Anonymous bool `json:"anonymous,omitempty"`
	// Changed: the target made a change, whatever it answered.
	Changed bool `json:"changed,omitempty"`
	// State is what is really so after the request, whatever was answered:
	// "open" or "private" for a bucket, the scopes of a grant in order, the
	// state of an asset at the sink, "up" or "down" for an application.
	State string `json:"state,omitempty"`
}

// World holds the targets. It is safe for concurrent use.
type World struct {
	opts Options

	mu     sync.Mutex
	faults map[string]Fault
	log    []Entry

	s3    *objectStore
	oauth *oauthServer
	sink  *Sink
	apps  *apps

	urls    map[string]string
	servers []*http.Server
	done    sync.WaitGroup
}

// NewWorld starts the targets on free loopback ports.
func NewWorld(o Options) (*World, error) {
	if o.Now == nil {
		o.Now = func() time.Time { return time.Now().UTC() }
	}
	w := &World{opts: o, faults: map[string]Fault{}, urls: map[string]string{}}
	sink, err := newSink(w, o.SinkSecrets)
	if err != nil {
		return nil, err
	}
	w.s3, w.oauth, w.sink, w.apps = newObjectStore(w), newOAuth(w), sink, newApps(w)
	for _, s := range []struct {
		name string
		h    http.Handler
	}{{ServiceS3, w.s3}, {ServiceOAuth, w.oauth}, {ServiceSink, w.sink}, {ServiceApp, w.apps}} {
		if err := w.serve(s.name, s.h); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

func (w *World) serve(name string, h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("simulated %s: %w", name, err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	w.urls[name] = "http://" + l.Addr().String()
	w.servers = append(w.servers, srv)
	w.done.Go(func() {
		_ = srv.Serve(l) // ends with ErrServerClosed, by Close
	})
	return nil
}

// Close stops all targets.
func (w *World) Close() error {
	var errs []error
	for _, s := range w.servers {
		errs = append(errs, s.Close())
	}
	w.done.Wait()
	return errors.Join(errs...)
}

// URL returns the address of a service, without a slash at the end.
func (w *World) URL(service string) string { return w.urls[service] }

// SetFault makes a target fail from now on. The scope is a service ("s3") or
// one object of it ("s3/customer-files", "oauth/grant-1", "app/shop"); the
// narrower one wins.
func (w *World) SetFault(scope string, f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[scope] = f
}

func (w *World) fault(service, object string) Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f, ok := w.faults[service+"/"+object]; ok {
		return f
	}
	return w.faults[service]
}

// Log returns what the targets have written down so far.
func (w *World) Log() []Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Entry(nil), w.log...)
}

// Changes counts the changes made to a scope ("s3/customer-files") over HTTP,
// whoever asked for them.
func (w *World) Changes(scope string) int {
	n := 0
	for _, e := range w.Log() {
		if e.Changed && (e.Service == scope || e.Service+"/"+e.Scope == scope) {
			n++
		}
	}
	return n
}

func (w *World) write(e Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.N = len(w.log) + 1
	w.log = append(w.log, e)
	if w.opts.Log != nil {
		if b, err := json.Marshal(e); err == nil {
			_, _ = w.opts.Log.Write(append(b, '\n')) // the log in memory is complete without it
		}
	}
}

// visit is one request at a target.
type visit struct {
	w     *World
	rw    http.ResponseWriter
	r     *http.Request
	fault Fault
	entry Entry
	wrote bool
}

// enter begins a request: it plays faults that come before the target. False
// means that the request is answered. The body must be read before, or the
// server can't see a caller leave.
func (w *World) enter(rw http.ResponseWriter, r *http.Request, service, object string) (*visit, bool) {
	_, tail, _ := strings.Cut(r.UserAgent(), "case/")
	caseID, _, _ := strings.Cut(tail, " ")
	v := &visit{w: w, rw: rw, r: r, fault: w.fault(service, object), entry: Entry{At: w.opts.Now(), Service: service, Scope: object,
		Method: r.Method, Path: r.URL.Path, UserAgent: r.UserAgent(), Case: caseID, Anonymous: r.Header.Get("Authorization") == ""}}
	if r.URL.RawQuery != "" && service == ServiceS3 {
		v.entry.Path += "?" + r.URL.RawQuery
	}
	if v.fault.Down || v.fault.Hold != nil && !hold(r.Context(), v.fault.Hold) {
		w.write(v.entry)
		panic(http.ErrAbortHandler)
	}
	if s := v.fault.Status; s != 0 {
		v.answer(s, "text/plain", http.StatusText(s))
		return v, false
	}
	return v, true
}

func hold(ctx context.Context, until <-chan struct{}) bool {
	select {
	case <-until:
		return true
	case <-ctx.Done():
		return false
	}
}

// changed marks that the target made a change.
func (v *visit) changed() { v.entry.Changed = true }

// answer writes the log entry, then the answer.
func (v *visit) answer(status int, kind, body string) {
	if v.wrote {
		return
	}
	v.wrote = true
	broken := v.entry.Changed && v.fault.FailAfter
	if !broken {
		v.entry.Status = status
	}
	v.w.write(v.entry)
	if broken {
		panic(http.ErrAbortHandler)
	}
	if kind != "" {
		v.rw.Header().Set("Content-Type", kind)
	}
	v.rw.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = io.WriteString(v.rw, body) // a caller who left needs no answer
	}
}

func (v *visit) json(status int, doc any) {
	b, err := json.Marshal(doc)
	if err != nil { // documents of this package: cannot fail
		b = []byte(err.Error())
	}
	v.answer(status, "application/json", string(b))
}
