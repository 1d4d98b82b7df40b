package simulation

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/casement/casement/internal/need"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/store"
)

var stores = flag.Uint64("stores", 2, "number of seeds on each real store")

// TestOnSQLite lives seeds on a real database file of a small disk, which fills
// up, while another connection takes the write lock. The schedule is seeded,
// what the database makes of it is not.
func TestOnSQLite(t *testing.T) {
	sum := map[string]int{}
	for seed := *from; seed < *from+*stores && !(*first && t.Failed()); seed++ {
		d := newDisk(t)
		s, err := store.Open(t.Context(), d.dir)
		if err != nil {
			t.Fatal(err)
		}
		d.checkpoint, d.long = s.Checkpoint, seed == *from
		lifeOn(t, seed, s, d.trouble, sum)
		if _, err := s.VerifyLedger(t.Context()); err != nil {
			t.Errorf("seed %d: law 10: %v", seed, err)
		}
		if err := errors.Join(s.Close(), d.other.Close()); err != nil {
			t.Error(err)
		}
		for k, n := range d.made {
			sum[k] += n
		}
		d.wait.Wait()
	}
	t.Log(counted(sum))
	if sum["locks"] == 0 || sum["locks past the wait"] == 0 || sum["intents"] == 0 {
		t.Errorf("no trouble was made: %v", sum)
	}
}

// TestOnPostgres lives seeds on a real server whose connections are cut at any
// moment, whose disk fills up, with or without room for its log, which is crashed
// and started anew, or is lost and replaced by the one that follows it.
func TestOnPostgres(t *testing.T) {
	c := newCuts(t)
	sum := c.made
	for seed := *from; seed < *from+max(1, *stores/2); seed++ { // a tenth of the speed
		if c.spare == nil {
			c.spare = c.follow()
		}
		url := c.srv.Database(t)
		s, err := store.OpenPostgres(t.Context(), c.srv.With(c.spare, url))
		if err != nil {
			t.Fatal(err)
		}
		c.name = url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
		lifeOn(t, seed, s, c.trouble, sum)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		c.srv.Drop(t, c.srv.URL(c.name))
	}
	t.Log(counted(sum))
	if sum["cuts"] == 0 || sum["intents"] == 0 || c.small != "" && sum["disks filled"] == 0 {
		t.Errorf("no trouble was made: %v", sum)
	}
}

func lifeOn(t *testing.T, seed uint64, s Store, trouble func(Op, bool), sum map[string]int) {
	t.Helper()
	r := Run(Life{Seed: seed, Store: s, Trouble: trouble, Log: true})
	for k, n := range r.Counts {
		sum[k] += n
	}
	if r.Broken != nil {
		t.Error(Report(seed, r))
	}
}

// disk is a small file system of its own, with the database on it.
type disk struct {
	t     *testing.T
	dir   string
	small bool // it may be filled
	// long: one lock is held longer than the store waits for it.
	long bool
	// other is a second connection to the database.
	other      *sql.DB
	checkpoint func(context.Context) error
	made       map[string]int
	wait       sync.WaitGroup
}

func newDisk(t *testing.T) *disk {
	d := &disk{t: t, dir: t.TempDir(), made: map[string]int{}}
	if err := need.Mount(t, d.dir, "64m"); err == nil {
		d.small = true
	} else {
		need.Part(t, "full disk", "a small disk needs the right to mount: %v", err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(d.dir, store.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	d.other = db
	return d
}

// trouble ends what was made before and makes some, by the seed of the
// operation.
func (d *disk) trouble(op Op, heal bool) {
	d.wait.Wait()
	if err := os.RemoveAll(filepath.Join(d.dir, "ballast")); err != nil {
		d.t.Error(err)
	}
	switch {
	case heal:
	case d.small && op.Seed%12 == 0:
		d.fill()
	case op.Seed%6 == 1 && d.long && d.made["locks"] == 5:
		d.long = false
		d.made["locks past the wait"]++
		d.lock(pastWait)
	case op.Seed%6 == 1:
		d.lock(20 * time.Millisecond)
	default: // as the server does every few seconds; where it can't, the next one will
		if err := d.checkpoint(context.Background()); err != nil {
			d.t.Logf("checkpoint: %v", err)
		}
	}
}

// fill leaves no room on the disk until the next operation.
func (d *disk) fill() {
	f, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	d.made["disks filled"]++
}

// pastWait is longer than the store waits for SQLite's lock (10 s): what wants to
// write meanwhile is refused, and nothing of it may be there afterwards.
const pastWait = 11 * time.Second

// lock takes SQLite's write lock by another connection, for a while.
func (d *disk) lock(held time.Duration) {
	ctx := context.Background()
	conn, err := d.other.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.made["locks"]++
	d.wait.Add(1)
	time.AfterFunc(held, func() {
		defer d.wait.Done()
		_, err := conn.ExecContext(ctx, "ROLLBACK")
		if err = errors.Join(err, conn.Close()); err != nil {
			d.t.Error(err)
		}
	})
}

// cuts ends connections to a server, and the server.
type cuts struct {
	t   *testing.T
	srv *pgtest.Server
	// spare follows srv, until it replaces it.
	spare *pgtest.Server
	// small is a small disk, "" for none, and cramped the server on it; free
	// makes room there.
	small   string
	cramped *pgtest.Server
	free    func()
	name    string
	made    map[string]int
	wait    sync.WaitGroup
}

func newCuts(t *testing.T) *cuts {
	c := &cuts{t: t, made: map[string]int{}}
	disk, err := os.MkdirTemp("", "casement-small") // not t.TempDir: its parent is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(disk) })
	if err := need.Mount(t, disk, "512m"); err != nil {
		need.Part(t, "full disk", "a small disk needs the right to mount: %v", err)
		c.srv = pgtest.Start(t)
		return c
	}
	if err := os.Chmod(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	c.small, c.srv = disk, pgtest.StartIn(t, disk) // ends before the disk does
	c.cramped = c.srv
	return c
}

// follow makes a server that follows srv, on the small disk if nobody is there.
func (c *cuts) follow() *pgtest.Server {
	if c.small == "" || c.cramped != nil {
		return c.srv.Standby(c.t)
	}
	c.cramped = c.srv.StandbyIn(c.t, c.small)
	return c.cramped
}

// trouble ends what was made before, and then all connections while the life goes
// on, takes the room on the disk until the next operation, crashes the server, or loses it for good.
func (c *cuts) trouble(op Op, heal bool) {
	c.wait.Wait()
	if c.free != nil {
		c.free()
		c.free = nil
		if c.srv.Revive(c.t) {
			c.made["servers ended by a full disk"]++
		}
	}
	switch {
	case heal:
	case op.Seed%12 == 3 && c.cramped == c.srv:
		c.made["disks filled"]++
		c.free = need.Fill(c.t, c.small, 0)
		if op.Seed%24 == 3 {
			c.endLog()
		}
	case op.Seed%6 == 0:
		c.made["cuts"]++
		c.wait.Go(func() {
			if err := c.srv.Admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + c.name + "'"); err != nil {
				c.t.Error(err)
			}
		})
	case op.Seed%50 == 1:
		c.made["server crashes"]++
		c.srv.Stop(c.t)
		c.srv.Run(c.t)
	case op.Seed%50 == 2 && c.spare != nil:
		c.made["failovers"]++
		c.srv.Stop(c.t)
		c.spare.Promote(c.t)
		if c.cramped == c.srv {
			if err := os.RemoveAll(c.srv.Dir); err != nil {
				c.t.Error(err)
			}
			c.cramped = nil
		}
		c.srv, c.spare = c.spare, nil
	}
}

// endLog uses up the files of the log that are there. The server may end of it.
func (c *cuts) endLog() {
	for range 20 {
		if c.srv.Admin("SELECT pg_logical_emit_message(true, 'x', 'y'), pg_switch_wal()") != nil {
			return
		}
	}
}
