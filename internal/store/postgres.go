package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/casement/casement/internal/record"
)

//go:embed migrations/postgres/*.sql
var pgMigrations embed.FS

const (
	pgUnique   = "23505"
	pgNotNull  = "23502"
	pgDiskFull = "53100"
	// pgDeadlock and pgSerialization end a transaction that another one stood
	// in the way of; it is tried again.
	pgDeadlock      = "40P01"
	pgSerialization = "40001"
	// pgTries bounds that.
	pgTries = 5
	// pgConns is the size of the pool.
	pgConns = 8
	// pgShortConns is the size of that of short statements: one commit at a time,
	// those that send short reads, and one that is being closed.
	pgShortConns = 1 + gatherLeads + 1
	// lockSpace keeps our advisory locks apart from those of others.
	lockSpace = 0x63617365
)

// pgSession are the settings of our sessions. A node that was stopped or cut off
// in a transaction must not keep the others waiting for its locks.
func pgSession() map[string]string {
	return map[string]string{
		"synchronous_commit":                  "on",
		"idle_in_transaction_session_timeout": "5000",                                                           // ms
		"tcp_keepalives_idle":                 "5", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "2", // s, s, tries
	}
}

// pgPlans are the settings of sessions whose statements all look up a few rows
// by a key, or write them. Their plans are made once: with lists as arguments
// the server would make one at each execution, a fifth of its work for a case.
// Such a plan may be made while the tables are empty and must serve when they
// are large, so it may only go row by row through an index.
func pgPlans() map[string]string {
	return map[string]string{"plan_cache_mode": "force_generic_plan",
		"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_material": "off", "jit": "off"}
}

// pgAlive is how often a silent connection is tried.
const pgAlive = 5 * time.Second

// Postgres is the store of several machines: one PostgreSQL database, any
// number of equal processes, each of which may die at any moment. Nothing that
// another process may change is remembered.
type Postgres struct {
	tables
	pool *pgxpool.Pool
	// short has the sessions of group commits and of short reads; see pgPlans.
	short *pgxpool.Pool
	group group
	clock pgClock
	// gather sends the short reads.
	gather gather
	// carriage is nil while nobody carries effects.
	carriage atomic.Pointer[carriage]
	// silent bounds how long a statement may go without an answer.
	silent time.Duration
}

// OpenPostgres connects to a database by its URL or keyword string and brings
// its schema up to date; several processes may do so at once. A password may be
// left to PGPASSWORD or ~/.pgpass. Errors never hold the password.
func OpenPostgres(ctx context.Context, url string) (*Postgres, error) {
	return openPostgres(ctx, url, pgProgram)
}

// pgProgram is the name of the sessions of nodes.
const pgProgram = "casement"

// OpenApart is OpenPostgres for what must tell its own sessions from those of
// nodes.
func OpenApart(ctx context.Context, url string) (*Postgres, error) {
	return openPostgres(ctx, url, pgProgram+" apart")
}

// Nodes counts the sessions that nodes have on this database.
func (s *Postgres) Nodes(ctx context.Context) (int, error) {
	n := 0
	err := s.one(ctx, []any{&n}, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ?", pgProgram)
	if err != nil {
		return 0, fmt.Errorf("look for nodes: %w", err)
	}
	return n, nil
}

func openPostgres(ctx context.Context, url, program string) (*Postgres, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err) // pgx masks the password
	}
	cfg.MaxConns = max(cfg.MaxConns, pgConns)
	for name, value := range pgSession() {
		cfg.ConnConfig.RuntimeParams[name] = value
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = program
	if cfg.ConnConfig.ValidateConnect == nil { // the URL does not ask for another kind
		cfg.ConnConfig.ValidateConnect = new(primary).check
	}
	unheard, err := reachable(cfg)
	if err != nil {
		return nil, err
	}
	pool, err := pgPool(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	cfg = cfg.Copy()
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = pgShortConns, 0, 0
	for name, value := range pgPlans() {
		cfg.ConnConfig.RuntimeParams[name] = value
	}
	short, err := pgPool(ctx, cfg)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	s := &Postgres{pool: pool, short: short, silent: pgSilent * unheard}
	s.tables = tables{db: s}
	s.gather.pool, s.gather.silent = short, s.silent
	s.group.w = &writer{link: &pgLink{pool: short, carriage: &s.carriage, silent: s.silent}}
	if err := s.open(ctx); err != nil {
		s.closePools()
		return nil, err
	}
	return s, nil
}

func (s *Postgres) open(ctx context.Context) error {
	if err := pgMigrate(ctx, s.pool); err != nil {
		return err
	}
	return s.setClock(ctx)
}

// pgSchemaTable is where the version of the schema is kept.
const pgSchemaTable = "casement_schema"

// pgMigrate brings the schema up to date under an advisory lock, so that nodes
// that start together do it once.
func pgMigrate(ctx context.Context, pool *pgxpool.Pool) (err error) {
	dir, err := fs.Sub(pgMigrations, "migrations/postgres")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, dir, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true),
		goose.WithSessionLocker(locker), goose.WithTableName(pgSchemaTable))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if have > want {
		return fmt.Errorf("the database was written by a newer release (schema %d, this one knows %d): use that release", have, want)
	}
	return nil
}

// Name is host:port/database: what people may see of the URL.
func (s *Postgres) Name() string {
	c := s.pool.Config().ConnConfig
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database
}

// Close waits for the commit under way and closes all connections.
func (s *Postgres) Close() error {
	s.group.shut()
	s.closePools()
	return nil
}

func (s *Postgres) closePools() {
	s.short.Close()
	s.pool.Close()
}

// pgClock is the database's clock: what it said last, and how long ago that is
// by the monotonic clock of this process.
type pgClock struct {
	mu    sync.Mutex
	said  time.Time
	heard time.Time
}

func (s *Postgres) setClock(ctx context.Context) error {
	wait := patient(ctx, s.silent)
	defer wait.end()
	asked := time.Now()
	var micros int64
	if err := s.pool.QueryRow(wait, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(&micros); err != nil {
		return fmt.Errorf("read the clock of the database: %w", wait.named(err))
	}
	heard := time.Now()
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.said, s.clock.heard = time.UnixMicro(micros).Add(heard.Sub(asked)/2).UTC(), heard
	return nil
}

// Now is the time of the database, UTC: leases and due times of all nodes are
// told by one clock, whatever their own ones say.
func (s *Postgres) Now() time.Time {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	return s.clock.said.Add(time.Since(s.clock.heard)).Round(0)
}

// pgQuerier is a connection, a pool or a transaction.
type pgQuerier interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
}

func pgEach(ctx context.Context, q pgQuerier, f func(scanner) error, text string, args []any) error {
	rows, err := q.Query(ctx, dialect(text), pgArgs(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(pgRow{rows}); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *Postgres) one(ctx context.Context, dest []any, text string, args ...any) error {
	wait := patient(ctx, s.silent)
	defer wait.end()
	return unreached(wait.named(pgRow{s.pool.QueryRow(wait, dialect(text), pgArgs(args)...)}.Scan(dest...)), false)
}

func (s *Postgres) each(ctx context.Context, f func(scanner) error, text string, args ...any) error {
	wait := patient(ctx, s.silent)
	defer wait.end()
	return unreached(wait.named(pgEach(wait, s.pool, wait.rows(f), text, args)), false)
}

// pgReads runs reads on a connection, a pool or a transaction.
type pgReads struct {
	ctx  context.Context
	wait *patience // nil for none
	q    pgQuerier
}

func (r pgReads) each(f func(scanner) error, text string, args ...any) error {
	if r.wait == nil {
		return pgEach(r.ctx, r.q, f, text, args)
	}
	r.wait.again()
	defer r.wait.rest()
	return pgEach(r.wait, r.q, r.wait.rows(f), text, args)
}

func (s *Postgres) reads(ctx context.Context, f func(q querier) error) error {
	return unreached(f(pgShort{ctx, &s.gather}), false)
}

// pgShort runs reads together with those of others.
type pgShort struct {
	ctx context.Context
	g   *gather
}

func (r pgShort) each(f func(scanner) error, text string, args ...any) error {
	return r.g.each(r.ctx, f, text, args)
}

func (s *Postgres) snapshot(ctx context.Context, f func(q querier) error) error {
	wait := patient(ctx, s.silent)
	defer wait.end()
	err := pgx.BeginTxFunc(wait, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		defer wait.again()
		return f(pgReads{wait: wait, q: tx})
	})
	return unreached(wait.named(err), false)
}

func (s *Postgres) ledgerText() (place, from, order string) {
	// In the row of events of releases before and of a copied install, else by their batch.
	const where = "tree_index, tree_first + array_position(events, pos) - 1"
	return "coalesce(" + where + ", -1)", "event LEFT JOIN event_batch USING (batch)", "coalesce(" + where + ") NULLS LAST, pos"
}

// put writes one part in a transaction of its own: it may wait for locks that a
// group would make everybody wait for.
func (s *Postgres) put(ctx context.Context, p part) error {
	if err := s.group.gaveUp(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		l := &pgLink{pool: s.pool, ctx: ctx, silent: s.silent}
		err := l.named((&writer{link: l}).alone(p))
		anew := pgAgain(err) && try < pgTries || try == 1 && pgLost(err) && !pgGone(err) && !errors.Is(err, record.ErrUnsure)
		if !anew {
			return storageError(err)
		}
	}
}

func (s *Postgres) join(ctx context.Context, p part) error { return s.group.one(ctx, p) }

// alone runs one part in one transaction.
func (w *writer) alone(p part) error {
	if err := w.begin(); err != nil {
		return err
	}
	if err := p(w); err != nil {
		w.rollback()
		return err
	}
	return w.commit()
}

// Findings returns the findings of a case with their counters, by uid.
func (s *Postgres) Findings(ctx context.Context, caseID string) ([]FindingRow, error) {
	return s.findings(ctx, caseID, func(uidKey) repeats { return repeats{} })
}

// Checkpoint sums up the counters and hears the database's clock. Call it every
// few seconds.
func (s *Postgres) Checkpoint(ctx context.Context) error {
	if err := s.setClock(ctx); err != nil {
		return err
	}
	return s.put(ctx, func(w *writer) error {
		_, err := w.exec(`WITH gone AS (DELETE FROM case_count RETURNING tenant, word, n)
			INSERT INTO case_count (tenant, word, n) SELECT tenant, word, sum(n) FROM gone GROUP BY tenant, word HAVING sum(n) <> 0`)
		return err
	})
}

// MoveWAL does nothing: the server does it.
func (s *Postgres) MoveWAL(context.Context) error { return nil }

// Learn has nothing to read: what was never stored can't be told where other nodes
// store as well.
func (s *Postgres) Learn(context.Context) (more bool, err error) { return false, nil }

// Stats returns the figures of the store.
func (s *Postgres) Stats(ctx context.Context) (Stats, error) {
	s.group.mu.Lock()
	st := s.group.stats.snapshot()
	s.group.mu.Unlock()
	if err := s.one(ctx, []any{&st.DatabaseBytes}, "SELECT pg_database_size(current_database())"); err != nil {
		return st, fmt.Errorf("stats: %w", err)
	}
	return st, nil
}
