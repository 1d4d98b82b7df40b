package sim

import (
	"net/http"
	"strings"
	"sync"
)

// apps are applications that may stop working when something they need is cut.
type apps struct {
	w     *World
	mu    sync.Mutex
	works map[string]func() bool
}

func newApps(w *World) *apps { return &apps{w: w, works: map[string]func() bool{}} }

// App adds an application and returns its health address: 200 while works
// says true, else 503. An example of what it may need: an object that it reads
// without a credential.
func (w *World) App(name string, works func() bool) string {
	w.apps.mu.Lock()
	defer w.apps.mu.Unlock()
	w.apps.works[name] = works
	return w.URL(ServiceApp) + "/" + name + "/health"
}

// ServeHTTP implements http.Handler.
func (a *apps) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	v, ok := a.w.enter(rw, r, ServiceApp, name)
	if !ok {
		return
	}
	a.mu.Lock()
	works := a.works[name]
	a.mu.Unlock()
	switch {
	case works == nil || rest != "health":
		v.json(http.StatusNotFound, map[string]string{"error": "no such application"})
	case works():
		v.entry.State = "up"
		v.json(http.StatusOK, map[string]string{"status": "works"})
	default:
		v.entry.State = "down"
		v.json(http.StatusServiceUnavailable, map[string]string{"status": "something it needs is cut"})
	}
}
