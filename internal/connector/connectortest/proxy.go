package connectortest

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Fault is what stands between connector and target.
type Fault int

// The faults.
const (
	// None: the target answers.
	None Fault = iota
	// Down: connections break without an answer.
	Down
	// NotFound, Busy and Broken: everything is answered 404, 429 or 500.
	NotFound
	Busy
	Broken
	// LostAnswer: changes reach the target, their answers don't come back.
	LostAnswer
	// Hang: nothing is answered until the caller gives up.
	Hang
)

// String names the fault.
func (f Fault) String() string {
	return [...]string{"none", "down", "404", "429", "500", "lost answer", "hang"}[f]
}

// Proxy is an HTTP server before a target that plays faults and writes down
// what arrives.
type Proxy struct {
	// URL of the proxy, without a slash at the end.
	URL string

	server  *httptest.Server
	next    http.Handler
	mu      sync.Mutex
	fault   Fault
	arrived chan struct{}
	log     strings.Builder
}

// NewProxy starts a proxy before a handler; it stops with the test.
func NewProxy(t testing.TB, target http.Handler) *Proxy {
	p := &Proxy{next: target}
	p.server = httptest.NewServer(p)
	p.URL = p.server.URL
	t.Cleanup(p.server.Close)
	return p
}

// NewProxyTo starts a proxy before a server.
func NewProxyTo(t testing.TB, target string) *Proxy { return NewProxy(t, Forward(t, target)) }

// Forward hands requests on to a server. The Host header is kept, as signatures
// cover it.
func Forward(t testing.TB, target string) http.Handler {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		// A test's own server shows a certificate that it made itself.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		Rewrite: func(r *httputil.ProxyRequest) {
			host := r.In.Host
			r.SetURL(u)
			r.Out.Host = host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
}

// Set plays a fault from now on. The channel receives when a request hangs.
func (p *Proxy) Set(f Fault) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.arrived = f, make(chan struct{}, 16)
	return p.arrived
}

// Log returns one line per request: method, path, user agent.
func (p *Proxy) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	fault, arrived := p.fault, p.arrived
	fmt.Fprintf(&p.log, "%s %s %q\n", r.Method, r.URL.Path, r.UserAgent())
	p.mu.Unlock()
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case fault == Down:
		panic(http.ErrAbortHandler)
	case fault == NotFound:
		http.Error(w, "no such page", http.StatusNotFound)
	case fault == Busy:
		w.Header().Set("Retry-After", "7")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case fault == Broken:
		http.Error(w, "broken", http.StatusInternalServerError)
	case fault == LostAnswer && !read:
		p.next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case fault == Hang:
		select {
		case arrived <- struct{}{}:
		default:
		}
		// The server sees the caller leave only once the body is read.
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-r.Context().Done()
		}
	default:
		p.next.ServeHTTP(w, r)
	}
}
