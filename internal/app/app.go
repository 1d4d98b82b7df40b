// Package app is wiring and life cycle: New builds everything in one visible
// order, Start begins the loops, Stop ends them in the reverse order. It is the
// only room that sees all and, with the runners of dispatch, the only one that
// starts goroutines.
//
// It may import everything. Invariants: a failed New leaves nothing open; a
// change of policy or owners is parsed and checked whole before it takes
// effect, and the old one stays in force otherwise; Stop drains what was begun.
package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/all"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/intake/stream"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
)

// DefaultListen is where the pages are served without configuration: this
// machine only.
const DefaultListen = "127.0.0.1:7410"

// Config is everything an install is made of. The zero value with a DataDir
// works: default policy, no connectors, pages on this machine only.
type Config struct {
	// DataDir holds the database, the install key and the address file.
	DataDir string
	// Database is the URL of a PostgreSQL database that several nodes share; ""
	// keeps everything in DataDir. It may hold a password: it is shown nowhere.
	Database string
	// InstallKey is the key as 64 hex digits; "" is the file in DataDir.
	InstallKey string
	// Takeover is how long the effects of a process that died wait; 0 is
	// DefaultTakeover.
	Takeover time.Duration
	// Listen is host:port; "" is DefaultListen, port 0 picks a free one.
	Listen string
	// BaseURL is the address people reach the pages under; "" follows Listen.
	BaseURL string
	// Policy, Authors, Owners and KEV are the first Rules.
	Policy  []policy.File
	Authors []string
	Owners  []catalog.File
	KEV     judge.KEV
	// Sources that may send alerts, by signature.
	Sources []intake.Source
	// Streams that alerts of some of them are read from.
	Streams []stream.Opener
	// Connectors by name, already wrapped in their decorators.
	Connectors map[string]connector.Connector
	// Notifiers by route and trackers by system; the built-in tracker is added
	// under "tracker".
	Notifiers map[string]connector.Notifier
	Trackers  map[string]connector.Tracker
	// Environment is what policy may name; nil: the Connectors, every other kind
	// under its own name (an action on one that is not set up is held for a
	// person), and the Notifiers as channels.
	Environment *policy.Environment
	// Workers run effects; 64 if zero: they wait for targets, not for the CPU.
	Workers int
	// MaxBody of one intake request and Quarantine of a tenant, in bytes, and
	// Inflight requests; 0 is the default.
	MaxBody, Quarantine int64
	Inflight            int
	// Retention says how long raw records and quarantined bodies are kept.
	Retention Retention
	// Budgets are ceilings over all changes, on top of the policy's.
	Budgets Budgets
	// TLS is the server's certificate; nil serves plain HTTP.
	TLS *tls.Certificate
	// Reload reads what judges anew; nil: it stays as given.
	Reload func() (Rules, error)
	// OwnProcess says that the process runs nothing else, so that the garbage
	// collector may be set by what the app does.
	OwnProcess bool
	// Metrics serves /metrics to this machine.
	Metrics bool
	// Pprof is a loopback host:port that serves profiles; "" serves none.
	Pprof string
	// Version of the program, shown on pages.
	Version string
	Log     *slog.Logger
	// Failpoint is called between any two writes of the engine; tests only.
	Failpoint func(string)
	Rand      io.Reader
}

// Budgets bound the changes to outside systems of the whole install; 0 is no
// bound.
type Budgets struct{ PerHour, PerDay int }

// Rules are what judges: files of the operator, read anew by Reload.
type Rules struct {
	// Policy files and the principals who wrote them; nil is the default pack.
	Policy  []policy.File
	Authors []string
	// Owners are catalog files.
	Owners []catalog.File
	// KEV is a copy of CISA's list, zero if there is none.
	KEV judge.KEV
}

// App is one install.
type App struct {
	Store  Store
	Engine *engine.Engine
	Intake *intake.Intake
	Auth   *auth.Service
	// Handler serves pages, API and intake.
	Handler http.Handler
	// URL is where the pages are, known after New, and PprofURL the profiles.
	URL, PprofURL string

	cfg    Config
	keys   *keys
	packer *intake.Packer
	// collector is nil in a process that is not ours alone.
	collector *collector
	// rawCount is the last count of raw records.
	rawCount rawCount
	// lastReport is the report that was made last.
	lastReport lastReport
	live       atomic.Pointer[live]
	runner     runner
	// streams are read while the app runs.
	streams []stream.Reader
	ln      net.Listener
	pprof   net.Listener
	// node names this process in logs and between nodes.
	node    string
	metrics *metrics
	hub     *hub
	local   string
	// reloading guards Reload, rejudge hints that it changed something.
	reloading sync.Mutex
	rejudge   chan struct{}
	// backing is held while a backup is made.
	backing sync.Mutex

	// held is true after a restore until somebody resumes.
	held atomic.Bool

	stop  context.CancelFunc
	wg    sync.WaitGroup
	close []func() error
}

// runner does effects; *dispatch.Local and *dispatch.River are.
type runner interface {
	// Run does effects until ctx ends, and waits for those under way.
	Run(ctx context.Context) error
	// Wake hints that effects may be due.
	Wake()
}

// New opens the data folder and wires everything; it starts nothing. On an
// error everything it opened is closed again.
func New(ctx context.Context, cfg Config) (a *App, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.Takeover == 0 {
		cfg.Takeover = DefaultTakeover
	}
	if cfg.Workers == 0 {
		cfg.Workers = 64
	}
	node := rand.Text()[:8]
	cfg.Log = slog.New(ids{cfg.Log.Handler()}).With("node", node)
	a = &App{cfg: cfg, node: node, metrics: newMetrics(cfg.Version), hub: newHub(), rejudge: make(chan struct{}, 1)}
	if cfg.OwnProcess {
		a.collector = newCollector()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.closeAll())
			a = nil
		}
	}()
	l, err := a.load(Rules{cfg.Policy, cfg.Authors, cfg.Owners, cfg.KEV})
	if err != nil {
		return a, err
	}
	a.live.Store(l)
	if err = a.openStore(ctx); err != nil {
		return a, err
	}
	if a.ln, err = net.Listen("tcp", cfg.Listen); err != nil {
		return a, fmt.Errorf("no pages and API: %w", err)
	}
	a.close = append(a.close, func() error { return ignoreClosed(a.ln.Close()) })
	if err = a.listenPprof(); err != nil {
		return a, err
	}
	a.URL = "http://" + a.ln.Addr().String()
	if cfg.TLS != nil {
		a.URL = "https://" + a.ln.Addr().String()
		a.ln = tls.NewListener(a.ln, &tls.Config{Certificates: []tls.Certificate{*cfg.TLS}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	if a.cfg.BaseURL == "" {
		a.cfg.BaseURL = a.URL
	}
	if a.local, err = auth.NewToken(); err != nil {
		return a, err
	}
	a.Engine = engine.New(engine.Config{
		Store: notifying{a.Store, a.hub, a.metrics}, Effects: a.Store, Judge: func() engine.Judge { return a.live.Load() },
		Guards: newGuards(func() *policy.Pack { return a.live.Load().judge.Pack }, a.Store, cfg.Budgets),
		Doors:  a.doors(), Principals: lazyPrincipals{a}, Tickets: tickets{a.live.Load, a.Store, a.cfg.BaseURL}, Reminders: reminders{a},
		BaseURL: a.cfg.BaseURL, Rand: cfg.Rand, Log: cfg.Log, Failpoint: cfg.Failpoint,
		Late: func(by time.Duration) { a.metrics.late.Observe(by.Seconds()) },
	})
	if err = a.people(); err != nil {
		return a, err
	}
	if err = a.takeIn(); err != nil {
		return a, err
	}
	if err = a.openStreams(); err != nil {
		return a, err
	}
	if a.runner, err = a.newRunner(ctx); err != nil {
		return a, err
	}
	a.hub.runner = a.runner.Wake
	a.Handler = traced(a.pages())
	return a, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// load parses policy and owners and checks them whole.
func (a *App) load(r Rules) (*live, error) {
	files, authors, owners := r.Policy, r.Authors, r.Owners
	if files == nil {
		files, authors = pack.Default(), []string{"casement"}
	}
	env := a.cfg.Environment
	if env == nil {
		var specs []connector.Spec
		for _, name := range sortedNames(a.cfg.Connectors) {
			specs = append(specs, a.cfg.Connectors[name].Spec())
		}
		e := Environment(all.Specs(specs...), sortedNames(a.cfg.Notifiers))
		env = &e
	}
	p, issues := policy.Load(files, *env, authors...)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	for _, f := range p.OwnerFiles() {
		owners = append(owners, catalog.File{Name: f.Name, Data: f.Data})
	}
	data, notes, err := catalog.Read(owners...)
	if err != nil {
		return nil, err
	}
	for _, n := range notes {
		a.cfg.Log.Info("owners: left out", "what", n)
	}
	dir, err := owner.New(data)
	if err != nil {
		return nil, err
	}
	return &live{judge: judge.Judge{Pack: p, Directory: dir, KEV: r.KEV}, files: files}, nil
}

// people wires accounts, sessions and entitlement.
func (a *App) people() (err error) {
	acc := accounts{a.Store}
	a.Auth, err = auth.New(auth.Config{Accounts: acc, Sessions: acc, Values: a.Store, Audit: acc, Directory: people{a.live.Load},
		Tenant: finding.DefaultTenant, Secure: strings.HasPrefix(a.cfg.BaseURL, "https://"), Now: a.Store.Now, Local: a.local})
	return err
}

// takeIn wires the intake.
func (a *App) takeIn() (err error) {
	if a.packer, err = intake.NewPacker(a.keys); err != nil {
		return err
	}
	byName := make(map[string]intake.Source, len(a.cfg.Sources))
	for _, s := range a.cfg.Sources {
		if s.Tenant == "" {
			s.Tenant = finding.DefaultTenant
		}
		byName[s.Name] = s
	}
	a.Intake = intake.New(intake.Config{Engine: a.Engine, Inbox: a.Store, Seal: a.keys, Pack: a.packer, HashSecret: a.keys.HashSecret, Now: a.Store.Now,
		Source: func(name string) (intake.Source, bool) { s, ok := byName[name]; return s, ok },
		Token: func(ctx context.Context, token string) (intake.Source, error) {
			p, err := a.Auth.Bearer(ctx, token)
			switch {
			case errors.Is(err, auth.ErrToken):
				err = fmt.Errorf("%w: %w", err, intake.ErrDenied)
			case err == nil && !p.Can(auth.Ingest):
				err = fmt.Errorf("the token's role may not send alerts: %w", intake.ErrDenied)
			}
			if s, ok := byName[p.TokenName]; ok && s.Kind == "token" && s.Tenant == p.Tenant {
				return s, err
			}
			return intake.Source{Name: "token/" + p.ID, Tenant: p.Tenant, Kind: "token"}, err
		},
		Routes:  reminders{a}.routes,
		MaxBody: a.cfg.MaxBody, Quota: a.cfg.Quarantine, Inflight: a.cfg.Inflight, Watch: a.metrics.took, Log: a.cfg.Log})
	return nil
}

// Policy returns the active policy and the files it was made of.
func (a *App) Policy() (*policy.Pack, []policy.File) {
	l := a.live.Load()
	return l.judge.Pack, l.files
}

// Judge returns what judges now, for commands that judge without storing.
func (a *App) Judge() judge.Judge { return a.live.Load().judge }

// lazyPrincipals breaks the circle between engine and auth at wiring time.
type lazyPrincipals struct{ a *App }

// closeAll closes in the reverse order of opening.
func (a *App) closeAll() error {
	var errs []error
	for i := len(a.close) - 1; i >= 0; i-- {
		errs = append(errs, a.close[i]())
	}
	a.close = nil
	return errors.Join(errs...)
}

// wait is how long Stop lets requests and effects under way finish.
const wait = 20 * time.Second
