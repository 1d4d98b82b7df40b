package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/casement/casement/internal/connector/webhook"
)

// Sink receives signed webhooks, acts once per webhook-id and stamps every
// arrival. POST /act takes an asset out of the state "open" into "isolated",
// POST /undo puts it back, POST /notice keeps a message, and GET
// /state?asset=… tells the state.
type Sink struct {
	w       *World
	secrets []webhook.Secret
	mu      sync.Mutex
	state   map[string]string
	seen    map[string]bool
	arrived []Arrival
}

// Arrival is one message at the sink.
type Arrival struct {
	At   time.Time `json:"at"`
	ID   string    `json:"id"`
	Path string    `json:"path"`
	Type string    `json:"type"`
	Case string    `json:"case"`
	// Repeat: the id was seen before, nothing was done.
	Repeat bool `json:"repeat"`
	// Body as it arrived.
	Body string `json:"body"`
}

func newSink(w *World, secrets []string) (*Sink, error) {
	s := &Sink{w: w, state: map[string]string{}, seen: map[string]bool{}}
	for i, text := range secrets {
		x, err := webhook.ParseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("secret %d of the sink: %w", i, err)
		}
		s.secrets = append(s.secrets, x)
	}
	return s, nil
}

// Sink returns the receiver of webhooks.
func (w *World) Sink() *Sink { return w.sink }

// Arrivals returns every message that arrived, repeats too.
func (s *Sink) Arrivals() []Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Arrival(nil), s.arrived...)
}

// State returns the state of an asset; an unknown one is "open".
func (s *Sink) State(asset string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateOf(asset)
}

func (s *Sink) stateOf(asset string) string {
	if v := s.state[asset]; v != "" {
		return v
	}
	return "open"
}

// Set changes the state of an asset as somebody else would.
func (s *Sink) Set(asset, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state[asset] = state
}

// ServeHTTP implements http.Handler.
func (s *Sink) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(rw, "the body broke off", http.StatusBadRequest)
		return
	}
	var m struct {
		Type string `json:"type"`
		Data struct {
			Case  string `json:"case"`
			Asset struct {
				UID string `json:"uid"`
			} `json:"asset"`
		} `json:"data"`
	}
	parsed := json.Unmarshal(body, &m) == nil
	asset := m.Data.Asset.UID
	if r.Method == http.MethodGet {
		asset = r.URL.Query().Get("asset")
	}
	v, ok := s.w.enter(rw, r, ServiceSink, asset)
	if !ok {
		return
	}
	if r.Method == http.MethodGet && r.URL.Path == "/state" {
		state := s.State(asset)
		if v.fault.ProbeLies {
			state = "isolated"
		}
		v.json(http.StatusOK, map[string]string{"asset": asset, "status": state})
		return
	}
	id, err := webhook.Verify(r.Header, s.secrets, s.w.opts.Now(), body)
	v.entry.Key = r.Header.Get(webhook.HeaderID)
	switch {
	case r.Method != http.MethodPost:
		v.json(http.StatusMethodNotAllowed, map[string]string{"error": "POST only"})
	case err != nil:
		v.json(http.StatusUnauthorized, map[string]string{"error": err.Error()})
	case !parsed:
		v.json(http.StatusBadRequest, map[string]string{"error": "not JSON"})
	default:
		s.take(v, Arrival{At: v.entry.At, ID: id, Path: r.URL.Path, Type: m.Type, Case: m.Data.Case, Body: string(body)}, asset)
	}
}

func (s *Sink) take(v *visit, a Arrival, asset string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Repeat = s.seen[a.ID]
	if v.fault.UndoFails && strings.HasPrefix(a.Path, "/undo") {
		v.json(http.StatusInternalServerError, map[string]string{"error": "internal"})
		return
	}
	s.arrived = append(s.arrived, a)
	if a.Repeat {
		v.json(http.StatusOK, map[string]string{"result": "seen before"})
		return
	}
	s.seen[a.ID] = true
	to := map[string]string{"/act": "isolated", "/undo": "open"}[a.Path]
	if to != "" && !v.fault.Lie {
		s.state[asset] = to
		v.changed()
	}
	v.entry.State = s.stateOf(asset)
	v.json(http.StatusOK, map[string]string{"result": "taken"})
}
