package app

import (
	"context"
	"net/http"
	"strings"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/web"
)

// site is the configuration of pages, API and intake under one handler. Intake
// stands raw: its senders have signatures and tokens, not sessions.
func (a *App) site() web.Config {
	return web.Config{Reader: a.Store, Engine: a.Engine, Auth: a.Auth, Switches: notifying{a.Store, a.hub, a.metrics}, Tickets: a.Store, Quarantine: desk{a}, Exceptions: waivers{a}, Report: a.Report, Hints: a.hub, More: a.operations(),
		Steps: func(playbook string) []string { pack, _ := a.Policy(); return pack.ManualSteps(playbook) },
		HTTPS: strings.HasPrefix(a.cfg.BaseURL, "https://"), Version: a.cfg.Version, Now: a.Store.Now, Log: a.cfg.Log,
		RawRecord: func(ctx context.Context, p auth.Principal, caseID, hash string) (string, error) {
			r, err := a.ReadRaw(ctx, p, caseID, hash)
			return r.Record, err
		},
		Ready: func(ctx context.Context) error { _, err := a.Store.Tail(ctx); return err },
		Raw: []web.RawRoute{
			{Method: "POST", Pattern: "/api/v1/alerts", Need: auth.Ingest, ID: "sendAlerts", Summary: "Send alerts in any known format",
				Proof: "The sender is known by a token whose role may send alerts.", Handler: http.HandlerFunc(a.Intake.ServeAlerts)},
			{Method: "POST", Pattern: "/hooks/{source}", Need: auth.Public, ID: "sendHook", Summary: "Receive a webhook of a configured source",
				Proof: "The sender is known by its signature over the raw body.", Handler: http.HandlerFunc(a.Intake.ServeHook)},
		}}
}

func (a *App) pages() http.Handler {
	cfg := a.site()
	if a.cfg.Metrics {
		cfg.Metrics = a.metrics.registry
		cfg.Metrics.MustRegister(newQueues(a.Store, a.rawStats))
	}
	return web.New(cfg)
}

// Routes is the table of all that the handler serves.
func (a *App) Routes() []web.Route { return web.Routes(a.site()) }

// LocalToken is the token of the data folder's address file: by it commands on
// this machine speak to the handler of an app that was not started.
func (a *App) LocalToken() string { return a.local }
