package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Archive has the server keep its write-ahead log from now on, and takes a copy
// of its folder, as docs/operate.md says; Recover needs both.
func (s *Server) Archive(t testing.TB) {
	t.Helper()
	logs := filepath.Join(s.Dir, "archive")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	s.own(t, logs)
	for _, text := range []string{"ALTER SYSTEM SET archive_mode = on", "ALTER SYSTEM SET archive_command = 'test ! -f " + logs + "/%f && cp %p " + logs + "/%f'"} {
		if err := s.Admin(text); err != nil {
			t.Fatal(err)
		}
	}
	s.Stop(t)
	s.Run(t)
	if out, err := s.command("pg_basebackup", "-d", s.URL("postgres"), "-D", filepath.Join(s.Dir, "base"), "-c", "fast").CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
}

// Recover ends the server and serves the copy of Archive as it was at an instant.
func (s *Server) Recover(t testing.TB, at time.Time) {
	t.Helper()
	if err := s.Admin("SELECT pg_switch_wal()"); err != nil {
		t.Fatal(err)
	}
	s.until(t, "the log is archived", "SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) FROM pg_stat_archiver")
	s.Stop(t)
	if err := os.RemoveAll(s.data()); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(s.Dir, "base")
	f, err := os.OpenFile(filepath.Join(base, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "restore_command = 'cp %s/%%f %%p'\nrecovery_target_time = '%s'\nrecovery_target_action = 'promote'\n",
		filepath.Join(s.Dir, "archive"), at.UTC().Format("2006-01-02 15:04:05.999999+00"))
	signal := filepath.Join(base, "recovery.signal")
	if err = errors.Join(err, f.Close(), os.WriteFile(signal, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.own(t, signal)
	if err := os.Rename(base, s.data()); err != nil {
		t.Fatal(err)
	}
	s.Run(t)
	s.until(t, "the recovery ends", "SELECT NOT pg_is_in_recovery()")
}

// own gives a file to the user of the server.
func (s *Server) own(t testing.TB, file string) {
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(file, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

// until asks until the answer is yes: nothing tells.
func (s *Server) until(t testing.TB, what, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		var yes bool
		err = c.QueryRow(ctx, text).Scan(&yes)
		_ = c.Close(ctx)
		if yes {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not seen: %s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Now is the instant by the server's clock.
func (s *Server) Now(t testing.TB) (now time.Time) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(context.Background(), "SELECT clock_timestamp()").Scan(&now); err != nil {
		t.Fatal(err)
	}
	return now
}
