package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/oauth"
	"github.com/casement/casement/internal/connector/s3"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/sim"
)

// setup is what the parent leaves for its child in setup.json: where the
// targets are, and the secrets of both sides. Only the owner can read it.
type setup struct {
	Listen   string `json:"listen"`
	S3       string `json:"s3"`
	OAuth    string `json:"oauth"`
	Sink     string `json:"sink"`
	Health   string `json:"health"`
	CRMToken string `json:"crm_token"`
	Secret   string `json:"secret"`
}

const setupFile = "setup.json"

func (x setup) save(dir string) error {
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, setupFile), b, 0o600)
}

// owners are the people of the demo.
const owners = `people:
  - {id: olga, name: Olga Owner, team: platform, manager: mia}
  - {id: anna, name: Anna Approver, team: platform}
  - {id: mia, name: Mia Manager, team: platform}
teams:
  - {id: platform, lead: anna, members: [olga, anna, mia]}
fallback: platform
operations_lead: mia
`

// policyFiles is the demo's pack with the address of the demo's application.
func policyFiles(health string) []policy.File {
	files := pack.Demo()
	for i, f := range files {
		files[i].Data = []byte(strings.ReplaceAll(string(f.Data), "http://storefront.invalid/health", health))
	}
	return files
}

// config wires Casement to the targets of the demo.
func (x setup) config(dir string) (app.Config, error) {
	network, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		return app.Config{}, err
	}
	client := connector.HTTPOptions{Network: network, Timeout: 10 * time.Second}
	var errs []error
	buckets, err := s3.New(s3.Config{Endpoint: x.S3, AccessKey: sim.S3AccessKey, SecretKey: sim.S3SecretKey, HTTP: client})
	errs = append(errs, err)
	grants, err := oauth.New(oauth.Config{IntrospectURL: x.OAuth + "/introspect", RevokeURL: x.OAuth + "/revoke", GrantsURL: x.OAuth + "/grants/",
		ClientID: sim.OAuthClientID, ClientSecret: sim.OAuthClientSecret, AdminToken: sim.OAuthAdminToken, HTTP: client,
		Integrations: map[string]oauth.Integration{"crm-sync": {Grant: crmGrant, Token: x.CRMToken, Keep: []string{crmKeep}, ResourceURL: x.OAuth + "/resource?scope=" + crmKeep}}})
	errs = append(errs, err)
	notices, err := webhook.New(webhook.Config{NotifyURL: x.Sink + "/notice", Secrets: []string{x.Secret}, HTTP: client})
	if err := errors.Join(append(errs, err)...); err != nil {
		return app.Config{}, err
	}
	door := func(c connector.Connector, secrets []string) *connector.Door {
		return connector.Stack(c, connector.Options{Timeout: 20 * time.Second, Attempts: 2, Redact: connector.NewRedactor(secrets...)})
	}
	return app.Config{DataDir: filepath.Join(dir, "data"), Listen: x.Listen, Version: "demo",
		Policy: policyFiles(x.Health), Authors: []string{"paula"}, Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(owners)}},
		Sources: []intake.Source{{Name: "github", Tenant: finding.DefaultTenant, Kind: "github", Secrets: []string{x.Secret}}},
		Connectors: map[string]connector.Connector{
			"s3":    door(buckets, []string{sim.S3SecretKey}),
			"oauth": door(grants, grants.Secrets())},
		Notifiers: map[string]connector.Notifier{"webhook": door(notices, notices.Secrets())},
		Log:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))}, nil
}

// Serve is the child: it serves what dir/setup.json says until its input ends.
func Serve(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	say := &speaker{w: out}
	err := serve(ctx, dir, in, say)
	if err != nil {
		say.say(reply{Is: "failed", Error: err.Error()})
	}
	return err
}

func serve(ctx context.Context, dir string, in io.Reader, say *speaker) error {
	b, err := os.ReadFile(filepath.Join(dir, setupFile))
	if err != nil {
		return err
	}
	var x setup
	if err := json.Unmarshal(b, &x); err != nil {
		return fmt.Errorf("%s: %w", setupFile, err)
	}
	cfg, err := x.config(dir)
	if err != nil {
		return err
	}
	stop := &stopper{say: say}
	cfg.Failpoint = stop.reached
	// The signal that ends the parent's context reaches this process too: the
	// end of its input is what counts.
	ctx = context.WithoutCancel(ctx)
	a, err := app.New(ctx, cfg)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return errors.Join(err, a.Stop(ctx))
	}
	say.say(reply{Is: "ready", URL: a.URL, Verifier: a.Verifier()})
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		err := json.Unmarshal(lines.Bytes(), &o)
		switch {
		case err != nil:
		case o.Do == "hold":
			stop.arm(o.At)
		default:
			err = fmt.Errorf("unknown order %q", o.Do)
		}
		if err != nil {
			say.say(reply{Is: "failed", Error: err.Error()})
			continue
		}
		say.say(reply{Is: "done"})
	}
	return a.Stop(ctx)
}

// speaker writes replies, one at a time.
type speaker struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *speaker) say(r reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = json.NewEncoder(s.w).Encode(r) // a parent that is gone hears nothing
}

// stopper holds the server at a failpoint, so that it can be killed exactly
// there. It never lets go: only SIGKILL ends a server that is held.
type stopper struct {
	say *speaker
	mu  sync.Mutex
	at  string
}

func (s *stopper) arm(at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = at
}

func (s *stopper) reached(at string) {
	s.mu.Lock()
	hit := s.at != "" && s.at == at
	s.mu.Unlock()
	if hit {
		s.say.say(reply{Is: "holding"})
		select {}
	}
}
