package app

import (
	"context"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/casement/casement/internal/web"
)

// pages joins intake, pages and API under one handler. Intake stands outside
// the pages' handler: its senders have signatures and tokens, not sessions.
func (a *App) pages() (http.Handler, error) {
	cfg := web.Config{Reader: a.Store, Engine: a.Engine, Auth: a.Auth, Switches: a.Store, Exceptions: a.Store, Hints: a.hub,
		HTTPS: strings.HasPrefix(a.cfg.BaseURL, "https://"), Version: a.cfg.Version, Now: utcNow, Log: a.cfg.Log,
		Ready: func(ctx context.Context) error { _, err := a.Store.Tail(ctx); return err }}
	if a.cfg.Metrics {
		cfg.Metrics = prometheus.NewRegistry()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/alerts", a.Intake.ServeAlerts)
	mux.HandleFunc("POST /hooks/{source}", a.Intake.ServeHook)
	a.operate(mux)
	mux.Handle("/", web.New(cfg))
	return mux, nil
}
