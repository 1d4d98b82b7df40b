package app

import (
	"encoding/json"
	"net/http"
)

// pages joins intake, pages and API under one handler.
func (a *App) pages() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/alerts", a.Intake.ServeAlerts)
	mux.HandleFunc("POST /hooks/{source}", a.Intake.ServeHook)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"status": "ok"})
	})
	return mux, nil
}
