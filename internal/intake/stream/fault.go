package stream

import (
	"strings"
	"sync"
	"time"

	"github.com/casement/casement/internal/connector"
)

// Fault is what is wrong with a connection.
type Fault struct {
	mu   sync.Mutex
	text string
	at   time.Time
}

// Set notes what is wrong, "" for nothing, and reports whether that is new. A
// vague fault does not take the place of one that says more.
func (f *Fault) Set(text string, vague bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if vague && f.text != "" {
		text = f.text
	}
	same := f.text == text
	f.text, f.at = text, time.Now()
	return !same
}

// Forget what came before then.
func (f *Fault) Forget(then time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at.Before(then) {
		f.text = ""
	}
}

func (f *Fault) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text
}

// Certificate words a fault of certificates for the operator; "" if err is
// none.
func Certificate(err error) string {
	text := connector.CertificateFault(err)
	if text == "" {
		return ""
	}
	return "TLS: " + strings.Replace(text, "the connector's secret ca", "the stream's ca", 1)
}

// Blocked is the fault of a server that the stream's network does not allow.
const Blocked = "the server's address is not public and not in the stream's allow list"
