package app

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/store"
)

// metrics are the figures of this process that are counted as they happen. What
// can be read from the store is read when it is asked for (queues).
//
// Labels are bounded by code or configuration: kinds, states, statuses, names of
// connectors and routes. Tenants, cases, sources and people are never labels.
// docs/operate.md names each with the alert rule to put on it.
type metrics struct {
	registry  *prometheus.Registry
	bodies    *prometheus.CounterVec
	alerts    *prometheus.CounterVec
	taken     *prometheus.HistogramVec
	commit    prometheus.Histogram
	sync      prometheus.Histogram
	group     prometheus.Histogram
	conflicts prometheus.Counter
	late      prometheus.Histogram
	effects   *prometheus.HistogramVec
	faults    *prometheus.CounterVec
	// Of streams.
	messages, redelivered *prometheus.CounterVec
	streamAge             *prometheus.HistogramVec
}

// Buckets in seconds: those of the disk begin where a good one lies (0.1 ms).
func diskBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}
}

func waitBuckets() []float64 {
	return []float64{.001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

func newMetrics(version string) *metrics {
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts{Name: name, Help: help} }
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
	}
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		bodies:    prometheus.NewCounterVec(counter("casement_intake_bodies_total", "Bodies that came in, by how the sender proves itself and the HTTP status of the answer."), []string{"kind", "status"}),
		alerts:    prometheus.NewCounterVec(counter("casement_intake_alerts_total", "Alerts in those bodies by outcome: stored, repeat, suppressed or refused."), []string{"kind", "outcome"}),
		taken:     prometheus.NewHistogramVec(histogram("casement_intake_seconds", "Time from a body read to its answer: decoded, judged, on disk.", waitBuckets()), []string{"kind"}),
		commit:    prometheus.NewHistogram(histogram("casement_commit_seconds", "Time of a transaction of the group commit.", diskBuckets())),
		sync:      prometheus.NewHistogram(histogram("casement_commit_sync_seconds", "Time of its COMMIT: write and fsync on SQLite, the server's answer on PostgreSQL.", diskBuckets())),
		group:     prometheus.NewHistogram(histogram("casement_commit_group_size", "Steps that shared one transaction.", []float64{1, 2, 4, 8, 16, 32, 64, 128, 256})),
		conflicts: prometheus.NewCounter(counter("casement_step_conflicts_total", "Steps that were judged anew because their case moved on meanwhile.")),
		late:      prometheus.NewHistogram(histogram("casement_timer_lateness_seconds", "How long after its instant a clock of a case was served.", waitBuckets())),
		effects:   prometheus.NewHistogramVec(histogram("casement_effect_seconds", "Time of an effect from its start to its outcome on disk, by kind and connector.", waitBuckets()), []string{"kind", "connector"}),
		faults:    prometheus.NewCounterVec(counter("casement_effect_faults_total", "Effects that ended by a fault of ours and are tried again, by kind."), []string{"kind"}),

		messages:    prometheus.NewCounterVec(counter("casement_stream_messages_total", "Messages of streams by outcome: stored, quarantined, later (the quarantine is full) or returned (a stop)."), []string{"stream", "outcome"}),
		redelivered: prometheus.NewCounterVec(counter("casement_stream_redeliveries_total", "Those that had been delivered before."), []string{"stream"}),
		streamAge:   prometheus.NewHistogramVec(histogram("casement_stream_age_seconds", "Time from a message stored in the stream to its alerts on disk here.", waitBuckets()), []string{"stream"}),
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "casement_build_info", Help: "Always 1; the label names the release."}, []string{"version"})
	info.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.bodies, m.alerts, m.taken, m.commit, m.sync, m.group, m.conflicts, m.late, m.effects, m.faults, m.messages, m.redelivered, m.streamAge, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// committed is told of every transaction of the store.
func (m *metrics) committed(s store.CommitSample) {
	m.commit.Observe(s.Whole.Seconds())
	m.sync.Observe(s.Sync.Seconds())
	m.group.Observe(float64(s.Parts))
}

// stepped counts the conflicts of a commit.
func (m *metrics) stepped(errs []error, err error) {
	if errors.Is(err, engine.ErrConflict) {
		m.conflicts.Inc()
	}
	for _, err := range errs {
		if errors.Is(err, engine.ErrConflict) {
			m.conflicts.Inc()
		}
	}
}

// took is told of every body; took is 0 for one that was not read.
func (m *metrics) took(kind string, a intake.Answer, took time.Duration) {
	m.bodies.WithLabelValues(kind, strconv.Itoa(a.Status)).Inc()
	if took == 0 {
		return
	}
	m.taken.WithLabelValues(kind).Observe(took.Seconds())
	repeats, stored := 0, 0
	for _, r := range a.Results {
		switch {
		case r.Error != "":
		case r.Placement == correlate.Sighting:
			repeats++
		default:
			stored++
		}
	}
	for outcome, n := range map[string]int{"repeat": repeats, "stored": stored, "suppressed": a.Suppressed, "refused": a.Refused} {
		if n > 0 {
			m.alerts.WithLabelValues(kind, outcome).Add(float64(n))
		}
	}
}

// queues are figures read from the store when they are asked for.
type queues struct {
	store Store
	raw   func(context.Context) (store.RawStats, error)
	// descs by short name.
	descs map[string]*prometheus.Desc
}

func newQueues(s Store, raw func(context.Context) (store.RawStats, error)) queues {
	q := queues{s, raw, map[string]*prometheus.Desc{}}
	for name, help := range map[string]string{
		"inbox_bodies":                    "Bodies answered with 202 that are not worked on yet.",
		"inbox_oldest_age_seconds":        "Age of the oldest of them: how far intake lags behind.",
		"quarantine_bodies":               "Bodies that could not be read and wait for a person.",
		"quarantine_bytes":                "Size of the quarantine; intake answers 507 when it is full.",
		"quarantine_oldest_age_seconds":   "Age of the oldest body in quarantine.",
		"raw_records":                     "Raw records that are kept as evidence; counted at most once a minute.",
		"raw_bytes":                       "Their size as redacted.",
		"raw_stored_bytes":                "Their size as stored, compressed and sealed.",
		"raw_oldest_age_seconds":          "Age of the oldest of them.",
		"ledger_tail_events":              "Events that are not in the ledger's tree yet.",
		"ledger_tail_age_seconds":         "Age of the oldest of them.",
		"database_bytes":                  "Size of the database.",
		"wal_bytes":                       "Size of SQLite's write-ahead log.",
		"dead_letters":                    "Dead letters of the default tenant: what failed too often and waits for a person.",
		"dead_letters_oldest_age_seconds": "Age of the oldest dead letter.",
		"kill_switches":                   "Kill switches that are thrown.",
	} {
		q.descs[name] = prometheus.NewDesc("casement_"+name, help, nil, nil)
	}
	for name, help := range map[string]string{
		"effects_due":                    "Effects that could start now, by connector.",
		"effects_due_oldest_age_seconds": "How long the oldest of them could have started.",
		"effects_running":                "Effects under way on any node, by connector.",
		"effects_later":                  "Effects that start by themselves later, those tried again included, by connector.",
		"effects_failing":                "Effects whose last try failed, by connector.",
		"effects_stuck":                  "Effects that failed at least " + strconv.Itoa(store.StuckAfter) + " times, by connector.",
	} {
		q.descs[name] = prometheus.NewDesc("casement_"+name, help, []string{"connector"}, nil)
	}
	return q
}

// Describe implements prometheus.Collector.
func (q queues) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range q.descs {
		ch <- d
	}
}

// readTime bounds the reads of one scrape.
const readTime = 5 * time.Second

// Collect implements prometheus.Collector. What can't be read is left out and
// makes the scrape say so.
func (q queues) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	now := q.store.Now()
	tell := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(q.descs[name], prometheus.GaugeValue, v, labels...)
	}
	age := func(since time.Time) float64 {
		if since.IsZero() {
			return 0
		}
		return max(0, now.Sub(since).Seconds())
	}
	failed := func(name string, err error) {
		ch <- prometheus.NewInvalidMetric(q.descs[name], err)
	}
	if in, err := q.store.InboxQueue(ctx); err != nil {
		failed("inbox_bodies", err)
	} else {
		tell("inbox_bodies", float64(in.Waiting))
		tell("inbox_oldest_age_seconds", age(in.Oldest))
		tell("quarantine_bodies", float64(in.Quarantined))
		tell("quarantine_bytes", float64(in.Bytes))
		tell("quarantine_oldest_age_seconds", age(in.OldestUnread))
	}
	if list, err := q.store.EffectQueues(ctx, now); err != nil {
		failed("effects_due", err)
	} else {
		for _, e := range list {
			tell("effects_due", float64(e.Due), e.Door)
			tell("effects_due_oldest_age_seconds", age(e.Oldest), e.Door)
			tell("effects_running", float64(e.Running), e.Door)
			tell("effects_later", float64(e.Later), e.Door)
			tell("effects_failing", float64(e.Failing), e.Door)
			tell("effects_stuck", float64(e.Stuck), e.Door)
		}
	}
	if r, err := q.raw(ctx); err != nil {
		failed("raw_records", err)
	} else {
		tell("raw_records", float64(r.Records))
		tell("raw_bytes", float64(r.Size))
		tell("raw_stored_bytes", float64(r.Stored))
		tell("raw_oldest_age_seconds", age(r.Oldest))
	}
	if t, err := q.store.Tail(ctx); err != nil {
		failed("ledger_tail_events", err)
	} else {
		tell("ledger_tail_events", float64(t.Events))
		tell("ledger_tail_age_seconds", age(t.Oldest))
	}
	if st, err := q.store.Stats(ctx); err != nil {
		failed("database_bytes", err)
	} else {
		tell("database_bytes", float64(st.DatabaseBytes))
		tell("wal_bytes", float64(st.WALBytes))
	}
	if d, err := q.store.DeadSummary(ctx, finding.DefaultTenant); err != nil {
		failed("dead_letters", err)
	} else {
		tell("dead_letters", float64(d.N))
		tell("dead_letters_oldest_age_seconds", age(d.Oldest))
	}
	if ps, err := q.store.Pauses(ctx); err != nil {
		failed("kill_switches", err)
	} else {
		tell("kill_switches", float64(len(ps)))
	}
}
