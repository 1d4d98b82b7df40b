package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// callers is how many give commands at a time.
const callers = 64

// steps measures commands on cases through the engine, load to committed,
// beside the least such a step can be in SQLite (a hand-made step).
func steps(b *bench) ([]row, error) {
	var got, base []float64
	for range b.repeats {
		h, err := handMade(b)
		if err != nil {
			return nil, err
		}
		s, err := caseSteps(b)
		if err != nil {
			return nil, err
		}
		got, base = append(got, s), append(base, h)
		b.sayf("  hand-made step %.0f/s, product %.0f/s", h, s)
	}
	return []row{{ID: "–", What: "case steps, command to committed, 64 callers", Got: median(got), Unit: "/s", Floor: "hand-made step", FloorAt: median(base),
		Ratio: median(got) / median(base), Target: "≥ 12,000/s", Met: median(got) >= 12_000}}, nil
}

func caseSteps(b *bench) (rate float64, err error) {
	dir, err := b.folder()
	if err != nil {
		return 0, err
	}
	database, err := b.databaseOf(dir)
	if err != nil {
		return 0, err
	}
	a, err := app.New(b.ctx, app.Config{DataDir: dir, Listen: "127.0.0.1:0", Database: database})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.dropDatabase(dir)) }()
	defer func() { _ = a.Stop(context.WithoutCancel(b.ctx)) }() // the folder goes away
	ids := make([]string, callers)
	for i := range ids {
		f, err := finding.Normalize(finding.Finding{Source: "bench", NativeID: strconv.Itoa(i), Title: "a bucket is public", Class: finding.StoragePublic,
			Severity: finding.SeverityHigh, Asset: finding.Asset{UID: "arn:aws:s3:::steps-" + strconv.Itoa(i), Type: "bucket", Provider: "aws"}})
		if err != nil {
			return 0, err
		}
		placed, err := a.Engine.Observe(b.ctx, finding.DefaultTenant, []finding.Finding{f}, nil, time.Now().UTC())
		if err != nil {
			return 0, err
		}
		ids[i] = placed[0].CaseID
	}
	return timed(b.dur, func(caller, n int) error {
		_, err := a.Engine.Tell(b.ctx, ids[caller], remedy.Command{At: time.Now().UTC(), By: remedy.Actor{Kind: remedy.Person, ID: "u-bench"},
			Do: remedy.Assign{To: "team-" + strconv.Itoa(n%2)}})
		return err
	})
}

// timed calls f from all callers for dur and returns the calls a second.
func timed(dur time.Duration, f func(caller, n int) error) (float64, error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, callers)
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			for n := 0; time.Since(start) < dur; n++ {
				if errs[c] = f(c, n); errs[c] != nil {
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}

// handMade is a step written by hand: two events, a row with a version check, a
// timer, the job that caused it done; all who wait share one commit.
func handMade(b *bench) (float64, error) {
	dir, err := b.folder()
	if err != nil {
		return 0, err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "floor.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, t := range []string{"CREATE TABLE event (pos INTEGER PRIMARY KEY, id TEXT, seq INTEGER, body BLOB)", "CREATE UNIQUE INDEX event_id ON event (id, seq)",
		"CREATE TABLE row (id TEXT PRIMARY KEY, version INTEGER, state BLOB)", "CREATE TABLE job (id INTEGER PRIMARY KEY, case_id TEXT, due INTEGER)", "CREATE INDEX job_due ON job (due)"} {
		if _, err := db.Exec(t); err != nil {
			return 0, err
		}
	}
	h := &handStep{db: db, stmts: map[string]*sql.Stmt{}}
	return timed(b.dur, func(caller, n int) error { return h.do(step{strconv.Itoa(caller), n}) })
}

type step struct {
	id string
	n  int
}

type handStep struct {
	db      *sql.DB
	stmts   map[string]*sql.Stmt
	mu      sync.Mutex
	queue   []handWait
	leading bool
}

type handWait struct {
	step step
	done chan error
	lead chan struct{}
}

func (h *handStep) do(s step) error {
	w := handWait{s, make(chan error, 1), make(chan struct{}, 1)}
	h.mu.Lock()
	h.queue = append(h.queue, w)
	wait := h.leading
	h.leading = true
	h.mu.Unlock()
	if wait {
		select {
		case err := <-w.done:
			return err
		case <-w.lead:
		}
	}
	h.mu.Lock()
	batch := h.queue
	h.queue = nil
	h.mu.Unlock()
	err := h.write(batch)
	for _, x := range batch {
		x.done <- err
	}
	h.mu.Lock()
	if len(h.queue) > 0 {
		h.queue[0].lead <- struct{}{}
	} else {
		h.leading = false
	}
	h.mu.Unlock()
	return <-w.done
}

func (h *handStep) write(batch []handWait) error {
	if err := h.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	body := make([]byte, 300)
	for _, w := range batch {
		s := w.step
		for k := range 2 {
			if err := h.exec("INSERT INTO event (id, seq, body) VALUES (?, ?, ?)", s.id, 2*s.n+k, body); err != nil {
				return err
			}
		}
		if err := h.exec("INSERT INTO row (id, version, state) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state WHERE version = excluded.version - 1", s.id, s.n, body); err != nil {
			return err
		}
		if err := h.exec("INSERT INTO job (case_id, due) VALUES (?, ?)", s.id, time.Now().Add(time.Hour).UnixNano()); err != nil {
			return err
		}
		if err := h.exec("DELETE FROM job WHERE id = (SELECT min(id) FROM job)"); err != nil {
			return err
		}
	}
	return h.exec("COMMIT")
}

func (h *handStep) exec(text string, args ...any) error {
	st, ok := h.stmts[text]
	if !ok {
		var err error
		if st, err = h.db.Prepare(text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		h.stmts[text] = st
	}
	_, err := st.Exec(args...)
	return err
}
