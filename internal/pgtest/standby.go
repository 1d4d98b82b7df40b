package pgtest

import (
	"strings"
	"testing"
)

// Standby makes a second server that follows this one. From then on this one
// answers a commit only when the other has it on disk, as docs/operate.md says.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	return s.StandbyIn(t, "")
}

// StandbyIn is Standby with the cluster in a folder, as of StartIn.
func (s *Server) StandbyIn(t testing.TB, parent string) *Server {
	t.Helper()
	to := &Server{bin: s.bin, Addr: freeAddr(t, s.Addr[:strings.LastIndex(s.Addr, ":")])}
	to.folder(t, parent)
	if out, err := s.command("pg_basebackup", "-d", s.URL("postgres"), "-D", to.data(), "-c", "fast", "-R").CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	to.Run(t)
	for _, text := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := s.Admin(text); err != nil {
			t.Fatal(err)
		}
	}
	s.until(t, "the standby is waited for", "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
	return to
}

// Promote makes a standby the server that takes commits.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	if err := s.Admin("SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
	s.until(t, "the standby takes commits", "SELECT NOT pg_is_in_recovery()")
}

// With is the URL of a database that this server and another one may serve.
func (s *Server) With(other *Server, url string) string {
	return strings.Replace(url, s.Addr, s.Addr+","+other.Addr, 1)
}
