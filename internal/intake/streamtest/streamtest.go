// Package streamtest is what tests of readers of streams share: an intake whose
// answers the test decides, and a reader that is run as app runs it. It is
// imported by tests only.
package streamtest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/intake/stream"
)

// MaxBody of messages that are read.
const MaxBody = 1000

// most bounds what is remembered of a test.
const most = 100_000

// Desk is an intake whose answers the test decides.
type Desk struct {
	mu     sync.Mutex
	answer func(body string) intake.Answer
	taken  []string
	refuse []string
	// Tries has each body that was answered.
	Tries chan string
}

// NewDesk returns a desk that stores everything.
func NewDesk() *Desk { return &Desk{Tries: make(chan string, most), answer: OK} }

// Set decides the answers from now on.
func (d *Desk) Set(f func(body string) intake.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = f
}

// Taken has the bodies that were stored, in the order of their last answer.
func (d *Desk) Taken() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.taken...)
}

// Refused has the reasons of bodies that were kept without being read.
func (d *Desk) Refused() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.refuse...)
}

// Take implements stream.Taker.
func (d *Desk) Take(_ context.Context, _ intake.Source, _ string, body []byte) intake.Answer {
	d.mu.Lock()
	f := d.answer
	d.mu.Unlock()
	a := f(string(body))
	d.mu.Lock()
	if a.Stored {
		d.taken = append(d.taken, string(body))
	}
	d.mu.Unlock()
	d.Tries <- string(body)
	return a
}

// Refuse implements stream.Taker.
func (d *Desk) Refuse(_ context.Context, _ intake.Source, _ string, _ []byte, why string) intake.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = append(d.refuse, why)
	return intake.Answer{Stored: true, Status: http.StatusUnprocessableEntity, Quarantine: 7, Error: why}
}

// OK stores.
func OK(string) intake.Answer { return intake.Answer{Stored: true, Status: http.StatusOK} }

// Down can't store now.
func Down(string) intake.Answer {
	return intake.Answer{Status: http.StatusServiceUnavailable, Error: "the store is down"}
}

// Odd answers as OK, but to the body "odd": that can't be read, and the
// quarantine is full or not.
func Odd(full bool) func(string) intake.Answer {
	return func(body string) intake.Answer {
		switch {
		case body != "odd":
			return OK(body)
		case full:
			return intake.Answer{Status: http.StatusInsufficientStorage, Error: "nothing was stored: the quarantine is full"}
		}
		return intake.Answer{Stored: true, Status: http.StatusUnprocessableEntity, Quarantine: 4, Error: "no reader knows it"}
	}
}

// Config of a stream named main of a source of the kind.
func Config(t testing.TB, kind string, servers ...string) stream.Config {
	t.Helper()
	n, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return stream.Config{Name: "main", Source: intake.Source{Name: "scanner", Tenant: finding.DefaultTenant, Kind: kind}, Servers: servers, Network: n}
}

// Reader is a stream that is read as app does it.
type Reader struct {
	stream.Reader
	// Settled has what was settled.
	Settled chan stream.Settled
	Log     *Log
	cancel  context.CancelFunc
	done    chan struct{}
}

// Stop reading, as app does it when it stops.
func (r *Reader) Stop() {
	r.cancel()
	<-r.done
}

// Read reads until Stop is called or the test ends.
func Read(t testing.TB, c stream.Opener, d *Desk) *Reader {
	t.Helper()
	r := &Reader{Settled: make(chan stream.Settled, most), done: make(chan struct{}), Log: &Log{}}
	var err error
	r.Reader, err = c.Open(stream.Wiring{Intake: d, MaxBody: MaxBody, Node: "test", Watch: func(s stream.Settled) { r.Settled <- s }, Log: slog.New(slog.NewTextHandler(r.Log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Connect(); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, c := range r.Consumers() {
		all.Go(func() { drink(ctx, c) })
	}
	go func() {
		all.Wait()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		close(r.done)
	}()
	t.Cleanup(func() {
		r.Stop()
		if t.Failed() {
			t.Logf("log:\n%s", r.Log)
		}
	})
	return r
}

// drink runs the loops of one consumer until ctx ends and its hand is empty.
func drink(ctx context.Context, c stream.Consumer) {
	var work, keep sync.WaitGroup
	for i := range stream.Lanes {
		work.Go(func() { c.Work(context.Background(), i) })
	}
	done := make(chan struct{})
	keep.Go(func() { c.Keep(done) })
	c.Fetch(ctx)
	work.Wait()
	close(done)
	keep.Wait()
}

// Await takes n values of a channel, and fails after a minute.
func Await[T any](t testing.TB, ch <-chan T, n int, what string) []T {
	t.Helper()
	var out []T
	for range n {
		select {
		case v := <-ch:
			out = append(out, v)
		case <-time.After(time.Minute):
			t.Fatalf("%s: %d of %d", what, len(out), n)
		}
	}
	return out
}

// Until looks until so holds, a minute at most: for what another process or
// library does, and gives no signal of.
func Until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// Log collects a log.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
