package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// sink is the target of all actions: it stamps arrivals, deduplicates by key,
// and compares what arrives with what was sent.
type sink struct {
	Addr string
	// down makes it answer 503.
	down atomic.Bool

	mu sync.Mutex
	// sent is when each finding's alert was sent first.
	sent map[int]time.Time
	// first is the first arrival of each finding's number, raw counts all.
	first map[int]time.Time
	raw   int
	// keys holds the idempotency keys and the number each stood for.
	keys map[string]int
	// cases holds the case of each number.
	cases map[int]string
	wrong []string
}

func newSink() (*sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{Addr: ln.Addr().String()}
	s.reset()
	go func() { _ = http.Serve(ln, s) }() // ends with the process
	return s, nil
}

func (s *sink) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent, s.first, s.raw, s.keys, s.cases, s.wrong = map[int]time.Time{}, map[int]time.Time{}, 0, map[string]int{}, map[int]string{}, nil
}

// message is what of the product's webhook is looked at.
type message struct {
	Data struct {
		Case   string            `json:"case"`
		Title  string            `json:"title"`
		Fields map[string]string `json:"fields"`
		Asset  struct {
			UID string `json:"uid"`
		} `json:"asset"`
	} `json:"data"`
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	at := time.Now()
	if err != nil || s.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if n, ok := numberOf([]byte(r.URL.Path)); ok && r.Method == http.MethodGet {
		s.state(w, n)
		return
	}
	n, ok := numberOf(body)
	key := r.Header.Get("Webhook-Id")
	var m message
	if key != "" {
		_ = json.Unmarshal(body, &m) // what is not ours has no case
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw++
	if !ok {
		s.wrong = append(s.wrong, "a message without an asset: "+string(body[:min(len(body), 200)]))
		return
	}
	if _, again := s.first[n]; !again {
		s.first[n] = at
	}
	if key == "" {
		return
	}
	if other, again := s.keys[key]; again && other != n {
		s.wrong = append(s.wrong, fmt.Sprintf("key %s stood for finding %d and for %d", key, other, n))
	}
	s.keys[key] = n
	if c, again := s.cases[n]; again && c != m.Data.Case {
		s.wrong = append(s.wrong, fmt.Sprintf("finding %d arrived as case %s and as case %s", n, c, m.Data.Case))
	}
	s.cases[n] = m.Data.Case
}

// state answers a probe: 200 as long as the change did not arrive, 403 then.
func (s *sink) state(w http.ResponseWriter, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, changed := s.first[n]; changed {
		w.WriteHeader(http.StatusForbidden)
	}
}

// arrived returns how many findings arrived, effective actions (distinct keys)
// and raw messages.
func (s *sink) arrived() (findings, keys, raw int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.first), len(s.keys), s.raw
}

// settle waits until nothing arrived for quiet, or until want findings are
// there (0: not known), at most limit.
func (s *sink) settle(want int, quiet, limit time.Duration) {
	end := time.Now().Add(limit)
	last, since := -1, time.Now()
	for time.Now().Before(end) {
		n, _, raw := s.arrived()
		if raw != last {
			last, since = raw, time.Now()
		}
		if want > 0 && n >= want || time.Since(since) > quiet {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// send notes when an alert was sent.
func (s *sink) send(n int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.sent[n]; !again {
		s.sent[n] = at
	}
}

// sentAndArrived is how long each finding took from sending to arrival.
func (s *sink) sentAndArrived() map[int]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[int]time.Duration{}
	for n, at := range s.first {
		if from, ok := s.sent[n]; ok {
			out[n] = at.Sub(from)
		}
	}
	return out
}

// latest is the last first arrival.
func (s *sink) latest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last time.Time
	for _, at := range s.first {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// has says whether a finding's action arrived.
func (s *sink) has(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.first[n]
	return ok
}

// compare returns what does not fit the cases the senders were told.
func (s *sink) compare(cases map[int]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := s.wrong
	for n, c := range s.cases {
		if cases[n] != c {
			wrong = append(wrong, fmt.Sprintf("finding %d was told case %s, its action names %s", n, cases[n], c))
		}
	}
	return wrong
}
