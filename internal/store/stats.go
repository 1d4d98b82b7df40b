package store

import (
	"slices"
	"time"
)

// Stats are the figures of the store, for metrics and the doctor.
type Stats struct {
	// Commits and Parts since start; Parts/Commits is the mean group size.
	Commits uint64 `json:"commits"`
	Parts   uint64 `json:"parts"`
	// SyncP50 and SyncP99 are quantiles of the time of COMMIT (write and sync)
	// over the last commits, GroupP99 of the whole transaction.
	SyncP50  time.Duration `json:"sync_p50_ns"`
	SyncP99  time.Duration `json:"sync_p99_ns"`
	GroupP99 time.Duration `json:"group_p99_ns"`
	// DatabaseBytes and WALBytes are file sizes; FreeBytes is what the file
	// holds unused.
	DatabaseBytes int64 `json:"database_bytes"`
	WALBytes      int64 `json:"wal_bytes"`
	FreeBytes     int64 `json:"free_bytes"`
}

// CommitSample is one transaction of the group commit.
type CommitSample struct {
	// Parts is the size of the group.
	Parts int
	// Sync is the time of COMMIT (write and sync, or the server's answer), Whole
	// that of the transaction.
	Sync, Whole time.Duration
}

// WatchCommits has f called after every commit, by whoever leads the group: f
// must be quick. Call it before the store is used.
func (s *SQLite) WatchCommits(f func(CommitSample)) { s.group.watch = f }

// WatchCommits is SQLite.WatchCommits.
func (s *Postgres) WatchCommits(f func(CommitSample)) { s.group.watch = f }

// window is the number of commits the quantiles look back.
const window = 1024

// commitStats keeps the last commits; guarded by group.mu.
type commitStats struct {
	commits, parts uint64
	sync, whole    []time.Duration
}

func (s *commitStats) add(sync, whole time.Duration, parts int) {
	i := int(s.commits % window)
	if len(s.sync) < window {
		s.sync, s.whole = append(s.sync, sync), append(s.whole, whole)
	} else {
		s.sync[i], s.whole[i] = sync, whole
	}
	s.commits++
	s.parts += uint64(parts)
}

func (s *commitStats) snapshot() Stats {
	return Stats{
		Commits: s.commits, Parts: s.parts,
		SyncP50: quantile(s.sync, 50), SyncP99: quantile(s.sync, 99), GroupP99: quantile(s.whole, 99),
	}
}

func quantile(d []time.Duration, percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[(len(sorted)-1)*percent/100]
}
