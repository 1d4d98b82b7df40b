package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/dispatch/dispatchtest"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// running runs a River until the test ends.
func running(t *testing.T, r dispatchtest.Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// count asks the database for a number.
func (c carried) count(t *testing.T, sql string) (n int) {
	t.Helper()
	if err := c.pool.QueryRow(context.Background(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (c carried) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := c.pool.Exec(context.Background(), sql); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a database says so, half a minute at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// held is a doer that finishes effects once it may, and counts them.
type held struct {
	r     dispatchtest.Rig
	may   chan bool
	mu    sync.Mutex
	times map[string]int
}

// Do implements dispatch.Doer.
func (h *held) Do(ctx context.Context, l record.Lease, _ time.Time) error {
	select {
	case <-h.may:
	case <-ctx.Done():
		return ctx.Err()
	}
	h.mu.Lock()
	h.times[l.Row.ID]++
	h.mu.Unlock()
	return h.r.Finish(l)
}

// done waits until n effects are gone and says which were done how often.
func (h *held) done(t *testing.T, c carried, n int) {
	t.Helper()
	eventually(t, "all effects are done", func() bool { return c.count(t, "SELECT count(*) FROM effect") == 0 })
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.times) != n {
		t.Errorf("%d effects were done, want %d", len(h.times), n)
	}
	for id, n := range h.times {
		if n != 1 {
			t.Errorf("%s was done %d times", id, n)
		}
	}
}

const jobs = "SELECT count(*) FROM river_job WHERE kind = 'casement_effect'"

// TestCommitSendsTheCourier: while this node has no worker for an effect its job is
// there with it, in one transaction; nobody has to look for it.
func TestCommitSendsTheCourier(t *testing.T) {
	t.Parallel()
	c := openCarried(t, pgtest.Start(t).Database(t))
	r := riverRig(t, c)
	h := &held{r: r, may: make(chan bool), times: map[string]int{}}
	x := r.Runner(h).(*dispatch.River)
	x.Poll = time.Hour
	stop := running(t, x)
	eventually(t, "River runs and all workers are busy", func() bool {
		r.Add(fmt.Sprint("before ", time.Now().UnixNano()), "", 1)
		return c.count(t, jobs) > 0 && c.count(t, "SELECT count(*) FROM effect WHERE lease_until > 0") >= r.Workers
	})
	before := c.count(t, jobs)
	r.Add("case", "", 3)
	if n := c.count(t, jobs) - before; n != 1 {
		t.Errorf("%d couriers for a new case with three effects, want the one for the first", n)
	}
	c.exec(t, "ALTER TABLE river_job RENAME TO river_gone") // commits must not need it
	r.Add("more", "", 1)
	c.exec(t, "ALTER TABLE river_gone RENAME TO river_job")
	close(h.may)
	x.Wake()
	h.done(t, c, c.count(t, "SELECT count(*) FROM case_state")+2)
	stop()
	r.Add("late", "", 1)
	if n := c.count(t, "SELECT count(*) FROM effect WHERE sent_at >= 0"); n != 0 {
		t.Error("a node that stopped sent a courier")
	}
}

// TestCouriersLostAndDoubled: what happens to River's jobs decides only when an
// effect is done: lost ones are sent again, of doubled ones one finds work, and
// what waits is not sent again. The jobs are bounded.
func TestCouriersLostAndDoubled(t *testing.T) {
	t.Parallel()
	const effects, most = 40, 16
	c := openCarried(t, pgtest.Start(t).Database(t))
	r := riverRig(t, c)
	h := &held{r: r, may: make(chan bool), times: map[string]int{}}
	x := r.Runner(h).(*dispatch.River)
	x.Most = most
	running(t, x)
	for i := range effects {
		r.Add(fmt.Sprint("case", i), "", 1)
	}
	eventually(t, "all workers are busy and couriers wait", func() bool {
		return c.count(t, "SELECT count(*) FROM effect WHERE lease_until > 0") == r.Workers && c.count(t, jobs+" AND state = 'available'") > 0
	})
	r.Pass(4 * r.Lease) // they are given up and looked for several times
	if n := c.count(t, jobs); n > r.Workers+2*most {
		t.Errorf("%d jobs for %d couriers at most and %d workers", n, most, r.Workers)
	}
	c.exec(t, `DELETE FROM river_job WHERE state = 'available' AND id % 3 = 0`)
	c.exec(t, `INSERT INTO river_job (args, kind, max_attempts, queue, priority, state) SELECT args, kind, max_attempts, queue, priority, state FROM river_job WHERE state = 'available' AND id % 3 = 1`)
	close(h.may)
	h.done(t, c, effects)
}

// TestRestoredWithoutJobs: after going back in time, or when River's tables were
// emptied, our rows send all couriers anew.
func TestRestoredWithoutJobs(t *testing.T) {
	t.Parallel()
	c := openCarried(t, pgtest.Start(t).Database(t))
	r := riverRig(t, c)
	h := &held{r: r, may: make(chan bool), times: map[string]int{}}
	stop := running(t, r.Runner(h))
	for i := range 20 {
		r.Add(fmt.Sprint("case", i), "", 2)
	}
	eventually(t, "all workers are busy", func() bool { return c.count(t, "SELECT count(*) FROM effect WHERE lease_until > 0") == r.Workers })
	stop() // what was under way is given back
	c.exec(t, "TRUNCATE river_job, river_queue, river_leader")
	close(h.may)
	began := r.Now()
	running(t, r.Runner(h))
	h.done(t, c, 40)
	if took := r.Now().Sub(began); took > 2*r.Lease+r.Slack {
		t.Errorf("all was done %v after River's tables were emptied", took)
	}
}

// TestRiverMigratesFromSeveralNodes: nodes that start at once bring its tables
// up once, as an owner of one schema and nothing else; the log stays quiet.
func TestRiverMigratesFromSeveralNodes(t *testing.T) {
	t.Parallel()
	srv := pgtest.Start(t)
	admin, err := pgx.Connect(t.Context(), srv.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	cfg := admin.Config()
	for _, sql := range []string{"CREATE ROLE small LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT", "REVOKE ALL ON DATABASE " + cfg.Database + " FROM PUBLIC",
		"GRANT CONNECT ON DATABASE " + cfg.Database + " TO small", "REVOKE ALL ON SCHEMA public FROM PUBLIC", "CREATE SCHEMA AUTHORIZATION small"} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	url := fmt.Sprintf("postgres://small@%s/%s", srv.Addr, cfg.Database)
	var wg sync.WaitGroup
	nodes, errs := make([]carried, 4), make([]error, 4)
	for i := range nodes {
		wg.Go(func() {
			nodes[i].Postgres, errs[i] = store.OpenPostgres(t.Context(), url)
			if errs[i] != nil {
				return
			}
			if nodes[i].pool, errs[i] = nodes[i].Pool(t.Context(), 4); errs[i] != nil {
				return
			}
			errs[i] = nodes[i].Alone(t.Context(), "river", func(ctx context.Context) error { return dispatch.MigrateRiver(ctx, nodes[i].pool) })
		})
	}
	wg.Wait()
	for _, c := range nodes {
		if c.Postgres != nil {
			defer c.Close()
		}
		if c.pool != nil {
			defer c.pool.Close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	log := &safeLog{}
	r := riverRig(t, nodes[0])
	h := &held{r: r, may: make(chan bool), times: map[string]int{}}
	close(h.may)
	for _, c := range nodes {
		x := riverRig(t, c).Runner(h).(*dispatch.River)
		x.Log, x.Clock = slog.New(slog.NewTextHandler(log, nil)), r.Now
		running(t, x)
	}
	for i := range 30 {
		r.Add(fmt.Sprint("case", i), "", 2)
	}
	h.done(t, nodes[0], 60)
	eventually(t, "one node leads River's upkeep", func() bool { return nodes[0].count(t, "SELECT count(*) FROM river_leader") == 1 })
	if text := log.String(); text != "" {
		t.Errorf("the log has\n%s", text)
	}
}

// safeLog is a buffer that several write into.
type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written.
func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
