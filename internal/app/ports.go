package app

import (
	"context"
	"io"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/web"
)

// Store keeps an install: *store.SQLite on one machine, *store.Postgres on
// several. The rooms below declare what they need of it; what the roof itself
// needs follows.
type Store interface {
	engine.Store
	engine.Effects
	intake.Inbox
	web.Reader
	web.Switches
	web.Tickets
	auth.Values
	userStore
	tokenStore
	ruleStore
	ledgerStore
	auditStore
	copyStore
	upkeep
	deadStore
	guardStore
	rawStore
}

// rawStore keeps raw records as evidence.
type rawStore interface {
	Raw(ctx context.Context, tenant, hash string) (record.Raw, error)
	RawStats(ctx context.Context) (store.RawStats, error)
	PruneRaw(ctx context.Context, p store.RawPrune) (store.RawPruned, error)
	Quarantine(ctx context.Context, tenant, source string, after int64, n int) ([]store.InboxItem, error)
	Quarantined(ctx context.Context, tenant string, id int64) (store.InboxItem, error)
	QuarantineOlder(ctx context.Context, before time.Time, n int) ([]store.InboxItem, error)
}

// guardStore counts what guardrails go by.
type guardStore interface {
	Drawn(ctx context.Context, key string, since time.Time) (int, error)
	Fleet(ctx context.Context, tenant, class string) (int, error)
}

// deadStore keeps what failed too often.
type deadStore interface {
	DeadSummary(ctx context.Context, tenant string) (record.DeadSummary, error)
	RetryDeadLetter(ctx context.Context, tenant, id string, at time.Time, e store.StreamEvent) error
}

// userStore keeps accounts and sessions.
type userStore interface {
	User(ctx context.Context, id string) (store.User, error)
	UserByName(ctx context.Context, tenant, name string) (store.User, error)
	Users(ctx context.Context, tenant string) ([]store.User, error)
	PutUser(ctx context.Context, u store.User) error
	Sessions(now func() time.Time) *store.Sessions
}

// tokenStore keeps bearer tokens.
type tokenStore interface {
	TokenByHash(ctx context.Context, hash string) (store.Token, error)
	PutToken(ctx context.Context, t store.Token) error
	Tokens(ctx context.Context, tenant string) ([]store.Token, error)
	DeleteToken(ctx context.Context, tenant, id string) error
}

// ruleStore keeps exceptions, settings and the facts of decisions.
type ruleStore interface {
	Fact(ctx context.Context, tenant, hash string) ([]byte, error)
	PutException(ctx context.Context, e store.Exception, at time.Time) error
	RevokeException(ctx context.Context, tenant, id string, by remedy.Actor, at time.Time) error
	Exceptions(ctx context.Context, tenant string, after time.Time) ([]store.Exception, error)
	SetSetting(ctx context.Context, tenant, key string, value []byte) error
	ChangeSetting(ctx context.Context, tenant, key string, old, value []byte, events ...store.StreamEvent) error
}

// ledgerStore appends to the ledger and grows its tree.
type ledgerStore interface {
	AppendEvent(ctx context.Context, e store.StreamEvent) (uint64, error)
	// Sequence fails with engine.ErrConflict if another node grew the tree.
	Sequence(ctx context.Context, n int) (int64, ledger.Hash, error)
	Tail(ctx context.Context) (store.Tail, error)
	Checkpoints(ctx context.Context, n int) ([]store.StoredCheckpoint, error)
	SaveCheckpoint(ctx context.Context, c store.StoredCheckpoint) error
}

// auditStore verifies and exports the ledger.
type auditStore interface {
	VerifyLedger(ctx context.Context, checkpoints ...ledger.Checkpoint) (store.AuditReport, error)
	VerifyReplay(ctx context.Context) (int, error)
	ExportLedger(ctx context.Context, w io.Writer) error
}

// copyStore knows whether the store is a copy that nobody took into use yet.
type copyStore interface {
	Mark(ctx context.Context, m store.BackupMark) error
	Marked(ctx context.Context) (store.BackupMark, bool, error)
	Unmark(ctx context.Context) error
	EffectsOf(ctx context.Context, caseID string, n int) ([]store.EffectStatus, error)
	// Touching returns the cases with a change that waits or runs.
	Touching(ctx context.Context) ([]string, error)
}

// upkeep is what the loops and the doctor need.
type upkeep interface {
	// Now is the one clock of due times, leases and commands, UTC.
	Now() time.Time
	// Alone runs f while no other node runs an f of the same name.
	Alone(ctx context.Context, name string, f func(ctx context.Context) error) error
	// Checkpoint is called every few seconds.
	Checkpoint(ctx context.Context) error
	// MoveWAL is called every second.
	MoveWAL(ctx context.Context) error
	// Learn reads a piece of what is stored, until there is no more.
	Learn(ctx context.Context) (more bool, err error)
	Stats(ctx context.Context) (store.Stats, error)
	WatchCommits(f func(store.CommitSample))
	EffectQueues(ctx context.Context, now time.Time) ([]store.EffectQueue, error)
	InboxQueue(ctx context.Context) (store.InboxQueue, error)
	Schema(ctx context.Context) (int64, error)
	// States returns cases in the order of their ids: open ones, and those closed
	// at or after since.
	States(ctx context.Context, tenant string, since time.Time, after string, n int) ([]remedy.Case, error)
	QuarantineOf(ctx context.Context, tenant, source string) (store.QuarantineSummary, error)
	QuarantineReminded(ctx context.Context, l record.Lease, e store.StreamEvent) error
	InboxCount(ctx context.Context, tenant string) (waiting, quarantined int, err error)
	CreateTicket(ctx context.Context, onceKey string, t store.Ticket) (out store.Ticket, created bool, err error)
	Close() error
}

// backups is a store that copies itself to a file; PostgreSQL has better ways.
type backups interface {
	Backup(ctx context.Context, path string, mark store.BackupMark, begun func()) error
}
