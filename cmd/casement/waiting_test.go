package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/pgtest"
)

// TestMoveWaiting moves an install whose server was killed while its target was
// down. Actions were under way, or wait in their cases for another try; messages
// wait in the queue, most of them for later than the move takes. On PostgreSQL
// River brings what waits to one of two nodes: each action, and what no commit of
// its case takes along. Nothing is brought before its time, and each action and
// each message arrives once.
func TestMoveWaiting(t *testing.T) {
	const (
		alerts, held, people = 60, 4, 12
		soon, later          = 2, 40 // seconds
	)
	srv := pgtest.Start(t)
	c := newClusterOn(t, oneMachine(), srv, "", 1, 5) // SQLite
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c.sink.mu.Lock()
	c.sink.mute = later
	c.sink.down = func(uid string) int {
		n, err := strconv.Atoi(strings.TrimPrefix(uid, "doc"))
		switch {
		case err != nil || n >= alerts:
			return 0
		case n%3 == 0:
			return later
		}
		return soon
	}
	c.sink.mu.Unlock()
	var release []func()
	for n := alerts; n < alerts+held; n++ {
		release = append(release, c.sink.keepBack(fmt.Sprint("doc", n)))
	}
	for n := range people {
		if !c.send(ctx, 0, -n-1) {
			t.Fatal("an alert was not taken")
		}
	}
	c.load(ctx, 0, alerts+held, nil)
	for range held {
		select {
		case <-c.sink.began:
		case <-ctx.Done():
			t.Fatal("what is kept back did not begin")
		}
	}
	c.await("a try of each action and of some messages", func() bool {
		c.sink.mu.Lock()
		defer c.sink.mu.Unlock()
		return len(c.sink.away) == alerts+1 && c.sink.away["message"] >= people
	})
	c.kill(0)

	url := srv.Database(t)
	move := exec.CommandContext(ctx, c.exe, "db", "copy", "--to", url, "--yes", "--config", c.conf, "--data", c.nodes[0].dir)
	move.Env = append(os.Environ(), "CLUSTER_SIGNING=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "NO_COLOR=1")
	out, err := move.CombinedOutput()
	if err != nil {
		t.Fatalf("db copy: %v\n%s", err, out)
	}
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(ctx))
	now, moved := time.Now(), 0
	if err := db.QueryRow(ctx, "SELECT max(pos) FROM event").Scan(&moved); err != nil {
		t.Fatal(err)
	}
	queue, err := waitingEffects(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	ahead, kinds := 0, map[string]int{}
	for _, e := range queue {
		kinds[e.kind]++
		if e.next.After(now) {
			ahead++
		}
	}
	if kinds["act"] < held || kinds["message"] < people || ahead < people {
		t.Fatalf("%v wait, %d for later, want at least %d acts and %d messages:\n%s", kinds, ahead, held, people, out)
	}

	c.sink.mu.Lock()
	c.sink.down, c.sink.mute = nil, 0
	c.sink.mu.Unlock()
	for _, r := range release {
		r()
	}
	c.url = url
	second := &clusterNode{dir: filepath.Join(filepath.Dir(c.nodes[0].dir), "node1")}
	if err := errors.Join(os.Mkdir(second.dir, 0o700), os.WriteFile(filepath.Join(second.dir, "install.key"), []byte(strings.Repeat("5c", 32)), 0o600)); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, second)
	c.mu.Unlock()
	c.start(0)
	c.start(1)
	s := c.store()
	c.settle(s, people, 2*time.Minute)
	c.await("the end of what waited", func() bool {
		left, err := waitingEffects(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		for id := range left {
			if _, waited := queue[id]; waited {
				return false
			}
		}
		return true
	})
	brought := map[string]int{}
	var along []string
	for id, e := range queue { // River keeps its finished jobs for minutes
		var began *time.Time
		err := db.QueryRow(ctx, "SELECT min(attempted_at) FROM river_job WHERE kind = 'casement_effect' AND args->>'effect' = $1", id).Scan(&began)
		switch {
		case err != nil:
			t.Fatal(err)
		case began == nil && e.kind != "act":
			along = append(along, id)
		case began == nil:
			t.Errorf("River did not bring the %s %s", e.kind, id)
		case began.Before(e.next.Truncate(time.Microsecond)):
			t.Errorf("the %s %s was brought %s before its time", e.kind, id, e.next.Sub(*began))
		default:
			brought[e.kind]++
		}
	}
	for _, id := range along {
		before := false // a commit of the case, be it made by a clock, before that of its outcome
		outcome := map[string]string{"message": "message_sent", "ticket": "ticket_linked"}[queue[id].kind]
		if err := db.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM event o JOIN event e ON e.stream = o.stream AND e.pos > $1 AND e.at < o.at
			WHERE o.stream = 'case/' || $2 AND o.pos > $1 AND o.type = $3 AND convert_from(o.body, 'UTF8')::json->>'n' = $4)`,
			moved, caseOf(id), outcome, id[strings.LastIndex(id, "/")+1:]).Scan(&before); err != nil {
			t.Fatal(err)
		}
		if !before {
			t.Errorf("River did not bring %s, and no commit of its case can have taken it along", id)
		}
	}
	c.sink.mu.Lock()
	for n := range alerts + held {
		if uid := fmt.Sprint("doc", n); c.sink.effective[uid] != 1 || n < alerts && c.sink.raw[uid] != 1 {
			t.Errorf("%s was changed %d times by %d requests", uid, c.sink.effective[uid], c.sink.raw[uid])
		}
	}
	if len(c.sink.notices) < kinds["message"] {
		t.Errorf("%d messages arrived, %d waited", len(c.sink.notices), kinds["message"])
	}
	for id, n := range c.sink.notices {
		if n != 1 {
			t.Errorf("message %s arrived %d times", id, n)
		}
	}
	c.sink.mu.Unlock()
	t.Logf("in the queue when it moved: %v, %d of them for later; River brought %v", kinds, ahead, brought)
	t.Log(c.tally(s))
}

// caseOf is the case of an effect.
func caseOf(id string) string {
	of, _, _ := strings.Cut(id, "/")
	return of
}

// waitingEffect is an effect in the queue and when it is next due.
type waitingEffect struct {
	kind string
	next time.Time
}

// waitingEffects is the queue, by the ids of its effects.
func waitingEffects(ctx context.Context, db *pgx.Conn) (map[string]waitingEffect, error) {
	rows, err := db.Query(ctx, "SELECT id, kind, next_at FROM effect WHERE dropped = 0")
	if err != nil {
		return nil, err
	}
	all := map[string]waitingEffect{}
	var id, kind string
	var next int64
	_, err = pgx.ForEachRow(rows, []any{&id, &kind, &next}, func() error {
		all[id] = waitingEffect{kind, time.Unix(0, next)}
		return nil
	})
	return all, err
}
