package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/all"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format/mapping"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
)

// Setup turns a configuration into what New needs: it resolves secrets, makes
// connectors and routes, and reads the files that are named. What is wrong with
// the configuration comes back whole, as config.Issues; what is wrong inside
// policy and owner files is told by New. Log and Version are the caller's.
func Setup(ctx context.Context, l *config.Loaded) (Config, error) {
	cfg := Config{
		DataDir: l.Data.Dir, Listen: l.Server.Listen, BaseURL: strings.TrimSuffix(l.Server.BaseURL, "/"), Metrics: l.Server.Metrics, Pprof: l.Server.Pprof,
		MaxBody: int64(l.Intake.MaxBody), Quarantine: int64(l.Intake.Quarantine), Inflight: l.Intake.Inflight,
		Retention:  Retention{Raw: days(l.Retention.RawDays), RawBytes: int64(l.Retention.RawSize), Quarantine: days(l.Retention.QuarantineDays)},
		Budgets:    Budgets{PerHour: l.Budgets.ChangesPerHour, PerDay: l.Budgets.ChangesPerDay},
		Connectors: map[string]connector.Connector{}, Notifiers: map[string]connector.Notifier{}, Trackers: map[string]connector.Tracker{},
	}
	s := &setup{l: l, ctx: ctx}
	s.database(&cfg)
	s.tls(&cfg)
	s.connectors(&cfg)
	s.routes(&cfg)
	s.sources(&cfg)
	s.streams(&cfg)
	r, err := files(l)
	if err != nil {
		return Config{}, errors.Join(s.issues.Sorted().Err(), err)
	}
	cfg.Policy, cfg.Authors, cfg.Owners, cfg.KEV = r.Policy, r.Authors, r.Owners, r.KEV
	if err := s.issues.Sorted().Err(); err != nil {
		return Config{}, err
	}
	cfg.Reload = func() (Rules, error) { return files(l) }
	return cfg, nil
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// Check tells what is wrong with a configuration beyond what its keys show,
// without resolving a secret: settings of connectors and the files of mappings.
func Check(l *config.Loaded) config.Issues {
	s := &setup{l: l}
	for _, name := range sortedNames(l.Connectors) {
		s.faults(name, all.Check(s.entry(name)))
	}
	for _, name := range sortedNames(l.Sources) {
		s.mapping(name, &intake.Source{})
	}
	for _, name := range sortedNames(l.Streams) {
		s.network(name)
	}
	return s.issues.Sorted()
}

// PolicyEnvironment is what policy may name under a configuration, without its
// secrets: for commands that judge and check without a server.
func PolicyEnvironment(l *config.Loaded) policy.Environment {
	s := &setup{l: l}
	var specs []connector.Spec
	for _, name := range sortedNames(l.Connectors) {
		specs = append(specs, all.SpecOf(s.entry(name)))
	}
	return Environment(all.Specs(specs...), sortedNames(l.Routes))
}

// setup collects what is wrong on the way.
type setup struct {
	l      *config.Loaded
	ctx    context.Context
	issues config.Issues
}

func (s *setup) fail(key, mend, format string, a ...any) {
	s.issues = append(s.issues, s.l.Issue(key, mend, fmt.Sprintf(format, a...)))
}

// secret resolves a reference; a failure is an issue of the key.
func (s *setup) secret(key string, ref config.Secret) string {
	v, err := ref.Resolve(s.ctx)
	if err != nil {
		s.fail(key, "", "%s: %v", key, err)
	}
	return v
}

func (s *setup) database(cfg *Config) {
	d := s.l.Database
	cfg.Takeover = time.Duration(d.Takeover) * time.Second
	var err error
	if cfg.Database, err = d.ConnString(s.ctx); err != nil {
		s.fail("database", "", "database: %v", err)
	}
	if k := s.l.Data.Key; !k.IsZero() {
		cfg.InstallKey = s.secret("data.key", k)
	}
}

// Shared fills in what a command needs to open the store of a configuration.
func (c *Config) Shared(ctx context.Context, l *config.Loaded) error {
	s := &setup{l: l, ctx: ctx}
	s.database(c)
	return s.issues.Err()
}

// Senders fills in the sources of a configuration with their mappings and
// owners, without the secrets by which they sign: for a command that reads again
// what they sent.
func (c *Config) Senders(l *config.Loaded) error {
	s := &setup{l: l}
	for _, name := range sortedNames(l.Sources) {
		src := s.source(name)
		s.mapping(name, &src)
		c.Sources = append(c.Sources, src)
	}
	return s.issues.Err()
}

func (s *setup) source(name string) intake.Source {
	return intake.Source{Name: name, Tenant: finding.DefaultTenant, Kind: s.l.Sources[name].Kind, Owner: s.l.Sources[name].Owner}
}

func (s *setup) tls(cfg *Config) {
	t := s.l.Server.TLS
	if t.CertFile == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		s.fail("server.tls", "name PEM files of one certificate chain and its key", "server.tls: %v", err)
		return
	}
	cfg.TLS = &pair
}

// entry is a connector of the configuration; its secrets have no values yet.
func (s *setup) entry(name string) all.Entry {
	c := s.l.Connectors[name]
	e := all.Entry{Name: name, Kind: s.l.KindOf(name), Params: c.Params, Secrets: map[string]string{}, Allow: c.Allow}
	for k := range c.Secrets {
		e.Secrets[k] = ""
	}
	return e
}

func (s *setup) faults(name string, faults []all.Fault) {
	for _, f := range faults {
		key := "connectors." + name
		if f.Key != "" {
			key += "." + f.Key
		}
		s.fail(key, f.Mend, "connector %s: %s", name, f.Message)
	}
}

func (s *setup) connectors(cfg *Config) {
	for _, name := range sortedNames(s.l.Connectors) {
		e, before := s.entry(name), len(s.issues)
		if s.faults(name, all.Check(e)); len(s.issues) > before {
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(e.Secrets)) {
			e.Secrets[k] = s.secret("connectors."+name+".secrets."+k, s.l.Connectors[name].Secrets[k])
		}
		if len(s.issues) > before {
			continue
		}
		door, faults := all.Make(e)
		if s.faults(name, faults); door != nil {
			cfg.Connectors[name] = door
			if t, ok := door.Tracker(); ok {
				cfg.Trackers[name] = t
			}
		}
	}
}

func (s *setup) routes(cfg *Config) {
	for _, name := range sortedNames(s.l.Routes) {
		r := s.l.Routes[name]
		door, ok := cfg.Connectors[r.Connector].(*connector.Door)
		if !ok {
			continue // told where the connector is
		}
		n, ok := door.Notifier()
		if !ok {
			s.fail("routes."+name+".connector", "name a slack connector, or a webhook connector with notify_url", "route %s: connector %s delivers no messages", name, r.Connector)
			continue
		}
		cfg.Notifiers[name] = routed{n, r.Params}
	}
}

// routed adds the settings of a route to its messages.
type routed struct {
	next   connector.Notifier
	fields map[string]string
}

// Notify implements connector.Notifier.
func (r routed) Notify(ctx context.Context, n connector.Notice) error {
	fields := maps.Clone(n.Fields)
	if fields == nil {
		fields = map[string]string{}
	}
	maps.Copy(fields, r.fields)
	n.Fields = fields
	return r.next.Notify(ctx, n)
}

func (s *setup) sources(cfg *Config) {
	for _, name := range sortedNames(s.l.Sources) {
		src := s.source(name)
		for _, ref := range s.l.Sources[name].Secret {
			src.Secrets = append(src.Secrets, s.secret("sources."+name+".secret", ref))
		}
		s.mapping(name, &src)
		cfg.Sources = append(cfg.Sources, src)
	}
}

func (s *setup) mapping(name string, src *intake.Source) {
	file := s.l.Sources[name].Mapping
	if file == "" {
		return
	}
	b, err := os.ReadFile(file)
	if err == nil {
		src.Mapping, err = mapping.Load(file, b)
	}
	if err != nil {
		s.fail("sources."+name+".mapping", "docs/mapping.md describes mapping files", "source %s: %v", name, err)
	}
}

// files reads the policy and owner files of a configuration.
func files(l *config.Loaded) (r Rules, err error) {
	r.Policy, r.Authors = pack.Default(), []string{"casement"}
	if l.Policy.Dir != "" {
		r.Authors = nil // the documents name them
		if r.Policy, err = ReadPolicy(l.Policy.Dir); err != nil {
			return r, err
		}
	}
	if r.KEV, err = ReadKEV(l.Policy.KEV); err != nil {
		return r, err
	}
	for _, name := range l.Owners.Files {
		f := catalog.File{Name: name}
		if repo, path, ok := strings.Cut(name, "="); ok && strings.Count(repo, "/") == 1 {
			f.Repository, f.Name = repo, path
		}
		if f.Data, err = os.ReadFile(f.Name); err != nil {
			return r, fmt.Errorf("owners.files: %w", err)
		}
		r.Owners = append(r.Owners, f)
	}
	return r, nil
}

// ReadKEV reads a copy of CISA's list; no path is no copy.
func ReadKEV(path string) (judge.KEV, error) {
	if path == "" {
		return judge.KEV{}, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return judge.KEV{}, fmt.Errorf("policy.kev: %w", err)
	}
	k, err := judge.ReadKEV(b)
	if err != nil {
		return k, fmt.Errorf("policy.kev: %s: %w", path, err)
	}
	return k, nil
}

// ErrNoPolicy is the cause when a policy directory holds no policy files.
var ErrNoPolicy = errors.New("holds no policy files")

// ReadPolicy reads the YAML files of a policy directory and of those below it
// (or one file), without hidden ones.
func ReadPolicy(dir string) ([]policy.File, error) {
	var out []policy.File
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		if ext := filepath.Ext(p); ext != ".yaml" && ext != ".yml" || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil || name == "." {
			name = filepath.Base(p)
		}
		out = append(out, policy.File{Name: filepath.ToSlash(name), Data: b})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s %w", dir, ErrNoPolicy)
	}
	return out, err
}

// NewLog is the log that a configuration asks for, written to w.
func NewLog(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // an enum of the configuration: can't happen
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
