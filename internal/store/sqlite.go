package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/casement/casement/internal/recent"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

const (
	// DatabaseFile is the name of the database in the data folder.
	DatabaseFile = "casement.db"
	lockFile     = "lock"
	// readers is the size of the read-only pool; one of them is the engine's.
	readers = 5
	// busyMillis bounds the wait for SQLite's locks; only checkpoints and
	// backups compete with the writer.
	busyMillis = 10_000
	// What each connection's page cache may hold, in KiB. In memory it is twice as
	// much: a page with its header is 4.3 KiB, and the allocator of modernc.org/memory
	// has slots of powers of two. So 24 MiB for the writer, 4 MiB for each of the rest;
	// what is not in there is in the system's page cache.
	writerCache, readerCache = 12 << 10, 2 << 10
	// bigWAL is the size in bytes above which a checkpoint holds writers up for
	// a moment, so that the WAL can begin anew; it is cut to this size then.
	bigWAL = 64 << 20
)

// SQLite is the store of one machine: one file, one process, one writer.
type SQLite struct {
	tables
	path  string
	lock  *os.File
	write *sql.DB
	group group
	read  *sql.DB
	check *sql.DB
	// backing is held while a backup is made.
	backing sync.Mutex
	// short serves the engine's short reads.
	short readGroup

	stmtsMu sync.RWMutex
	stmts   map[string]*sql.Stmt
}

// Open opens the data folder, creates it if it is missing, locks it, brings
// its schema up to date and frees what a process that died had leased. It returns ErrLocked if another process holds the
// folder, and *MovedError if its install moved to another database. Folder and
// files are readable by their owner only.
func Open(ctx context.Context, folder string) (*SQLite, error) { return open(ctx, folder, false) }

// open opens a folder, with moved also one whose install moved away.
func open(ctx context.Context, folder string, moved bool) (*SQLite, error) {
	lock, err := LockFolder(folder)
	if err != nil {
		return nil, err
	}
	s := &SQLite{path: filepath.Join(folder, DatabaseFile), lock: lock, stmts: map[string]*sql.Stmt{}}
	s.short.stmts = map[string]*sql.Stmt{}
	s.tables = tables{db: s, memory: newMemory(), logins: &logins{users: recent.New[string, User](rememberedLogins), tokens: recent.New[string, Token](rememberedLogins)}}
	if err := s.open(ctx, moved); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// LockFolder creates a data folder, readable by its owner only, if it is
// missing, and holds it until the file is closed or the process ends; ErrLocked
// if another process holds it.
func LockFolder(folder string) (*os.File, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, &FolderError{folder, err}
	}
	f, err := lockFolder(filepath.Join(folder, lockFile))
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, &FolderError{folder, err}
	}
	return f, err
}

// FolderError says that a data folder can't be written: for want of rights or
// room, or because its disk is for reading only.
type FolderError struct {
	Folder string
	Err    error
}

// Error says which folder, and what was tried.
func (e *FolderError) Error() string {
	return fmt.Sprintf("the data folder %s can't be written: %v", e.Folder, e.Err)
}

// Unwrap returns what the system said.
func (e *FolderError) Unwrap() error { return e.Err }

func (s *SQLite) open(ctx context.Context, moved bool) error {
	// SQLite gives its side files the mode of the database file.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &FolderError{filepath.Dir(s.path), err}
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if s.write, err = s.connect("rw", 1, "journal_mode(wal)", "synchronous(full)", "wal_autocheckpoint(0)", "foreign_keys(1)", fmt.Sprintf("journal_size_limit(%d)", bigWAL), cacheSize(writerCache), "temp_store(memory)"); err != nil {
		return err
	}
	if err := migrate(ctx, s.write); err != nil {
		return err
	}
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("open database %s: %w", s.path, err)
	}
	s.group.w = &writer{link: &liteLink{conn, map[string]*sql.Stmt{}}, memory: s.memory}
	if s.check, err = s.connect("rw", 1, "wal_autocheckpoint(0)", "synchronous(full)", cacheSize(readerCache)); err != nil {
		return err
	}
	if s.read, err = s.connect("ro", readers, "query_only(1)", cacheSize(readerCache), "temp_store(memory)"); err != nil {
		return err
	}
	if s.short.conn, err = s.read.Conn(ctx); err != nil {
		return fmt.Errorf("open database %s: %w", s.path, err)
	}
	if !moved {
		if err := s.stayed(ctx); err != nil {
			return err
		}
	}
	if err := s.loadSightings(ctx); err != nil {
		return fmt.Errorf("open database %s: %w", s.path, err)
	}
	return s.takeOver(ctx)
}

// cacheSize is the pragma of a page cache of so many KiB.
func cacheSize(kib int) string { return fmt.Sprintf("cache_size(-%d)", kib) }

// connect opens a pool on the database file.
func (s *SQLite) connect(mode string, conns int, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"mode": {mode}, "_dqs": {"0"}, "_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busyMillis)}, pragmas...)}
	abs, err := filepath.Abs(s.path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// migrate brings the schema up to date.
func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if have > want {
		return fmt.Errorf("the data folder was written by a newer release (schema %d, this one knows %d): use that release", have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// Close waits for the commit under way, closes the files and frees the folder.
func (s *SQLite) Close() error {
	s.group.shut()
	errs := []error{s.short.shut()}
	s.stmtsMu.Lock()
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	clear(s.stmts)
	s.stmtsMu.Unlock()
	if w := s.group.w; w != nil {
		errs = append(errs, w.link.(*liteLink).close())
		s.group.w = nil
	}
	// The writer last: closing the last connection checkpoints the WAL.
	for _, db := range []*sql.DB{s.read, s.check, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// Now is this machine's time, UTC: the one clock of a store of one process.
func (s *SQLite) Now() time.Time { return time.Now().UTC() }

// Alone runs f: the folder is ours alone.
func (s *SQLite) Alone(ctx context.Context, _ string, f func(ctx context.Context) error) error {
	return f(ctx)
}

// put writes one part through the group commit and returns its error.
func (s *SQLite) put(ctx context.Context, p part) error {
	return s.group.one(ctx, p)
}

func (s *SQLite) join(ctx context.Context, p part) error { return s.put(ctx, p) }

// stmt returns the read statement of this text, prepared once.
func (s *SQLite) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	s.stmtsMu.RLock()
	st, ok := s.stmts[text]
	s.stmtsMu.RUnlock()
	if ok {
		return st, nil
	}
	s.stmtsMu.Lock()
	defer s.stmtsMu.Unlock()
	if st, ok := s.stmts[text]; ok {
		return st, nil
	}
	st, err := s.read.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	s.stmts[text] = st
	return st, nil
}

func (s *SQLite) reads(ctx context.Context, f func(q querier) error) error { return s.short.do(ctx, f) }

// snapshot implements database.
func (s *SQLite) snapshot(ctx context.Context, f func(q querier) error) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // only read
	return f(liteSnapshot{ctx, tx})
}

type liteSnapshot struct {
	ctx context.Context
	tx  *sql.Tx
}

func (q liteSnapshot) each(f func(scanner) error, text string, args ...any) error {
	rows, err := q.tx.QueryContext(q.ctx, text, args...)
	return eachRow(rows, err, f)
}

// ledgerText implements database: pos counts the commits without gaps.
func (s *SQLite) ledgerText() (place, from, order string) {
	return "CASE WHEN pos <= coalesce((SELECT n FROM counter WHERE tenant = '' AND name = '" + treeSize + "'), 0) THEN pos - 1 ELSE -1 END", "event", "pos"
}

// scanner is what a row offers, single or one of many.
type scanner interface{ Scan(dest ...any) error }

// one reads one row; sql.ErrNoRows if there is none.
func (s *SQLite) one(ctx context.Context, dest []any, text string, args ...any) error {
	st, err := s.stmt(ctx, text)
	if err != nil {
		return err
	}
	return st.QueryRowContext(ctx, args...).Scan(dest...)
}

// each calls f for every row of a read.
func (s *SQLite) each(ctx context.Context, f func(scanner) error, text string, args ...any) error {
	st, err := s.stmt(ctx, text)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, args...)
	return eachRow(rows, err, f)
}

// eachRow calls f for every row and closes them.
func eachRow(rows *sql.Rows, err error, f func(scanner) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Checkpoint counts the repeats logged so far, and then does what MoveWAL does.
// Call it every few seconds.
func (s *SQLite) Checkpoint(ctx context.Context) error {
	if err := s.CountSightings(ctx); err != nil {
		return err
	}
	return s.MoveWAL(ctx)
}

// MoveWAL moves committed pages from the WAL into the database. It does not hold
// up writers unless the WAL has grown large. Call it every second: a commit may wait
// behind the sync of what it moves, so that should be little.
func (s *SQLite) MoveWAL(ctx context.Context) error {
	if err := s.checkpoint(ctx); err != nil || fileSize(s.path+"-wal") < bigWAL {
		return err
	}
	// With no writer at work the checkpoint reaches the end, and the writer
	// begins the WAL anew by itself: truncating it here would make the writer
	// throw its page cache away.
	s.group.tx.Lock()
	defer s.group.tx.Unlock()
	return s.checkpoint(ctx)
}

func (s *SQLite) checkpoint(ctx context.Context) error {
	if _, err := s.check.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Stats returns the figures of the store.
func (s *SQLite) Stats(ctx context.Context) (Stats, error) {
	s.group.mu.Lock()
	st := s.group.stats.snapshot()
	s.group.mu.Unlock()
	var page, free int64
	if err := s.one(ctx, []any{&page, &free}, "SELECT page_size, freelist_count FROM pragma_page_size, pragma_freelist_count"); err != nil {
		return st, fmt.Errorf("stats: %w", err)
	}
	st.DatabaseBytes, st.WALBytes, st.FreeBytes = fileSize(s.path), fileSize(s.path+"-wal"), page*free
	return st, nil
}

// fileSize is 0 for a file that is not there.
func fileSize(path string) int64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return fi.Size()
}
