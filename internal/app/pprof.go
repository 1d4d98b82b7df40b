package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// listenPprof opens the port of the profiler. Profiles show memory, and with it
// secrets: the configuration takes loopback addresses only, and none by default.
func (a *App) listenPprof() (err error) {
	if a.cfg.Pprof == "" {
		return nil
	}
	if a.pprof, err = net.Listen("tcp", a.cfg.Pprof); err != nil {
		return fmt.Errorf("listen on %s for profiles: %w; name another port with server.pprof", a.cfg.Pprof, err)
	}
	a.PprofURL = "http://" + a.pprof.Addr().String() + "/debug/pprof/"
	a.close = append(a.close, func() error { return ignoreClosed(a.pprof.Close()) })
	return nil
}

// profiles serves the profiler until ctx ends.
func (a *App) profiles(ctx context.Context) {
	if a.pprof == nil {
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	a.goes("pprof", func() error {
		if err := srv.Serve(a.pprof); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	a.goes("pprof shutdown", func() error {
		<-ctx.Done()
		return srv.Close()
	})
}
