package connector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/casement/casement/internal/trace"
)

// HTTPOptions set up an HTTP client. Zero values mean the defaults named.
type HTTPOptions struct {
	Network Network
	// Timeout bounds one exchange, body included; 15 s.
	Timeout time.Duration
	// MaxHeader and MaxBody bound an answer in bytes; 64 KiB and 4 MiB.
	MaxHeader, MaxBody int64
	// RootCAs verify the server's certificate, the system's if nil.
	RootCAs *x509.CertPool
}

// NewHTTPClient returns the only HTTP client connectors use: it dials what
// Network allows, follows no redirect (an answer that sends us elsewhere is
// for the caller to judge), uses no proxy, bounds the answer, keeps no
// cookies, and sends the user agent of the Request in the context (WithRequest)
// and its trace (W3C traceparent).
func NewHTTPClient(o HTTPOptions) *http.Client {
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.MaxHeader <= 0 {
		o.MaxHeader = 64 << 10
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 4 << 20
	}
	t := &http.Transport{
		DialContext:            o.Network.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64, // as many as run effects: a new connection costs more than a call
		IdleConnTimeout:        60 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: o.MaxHeader,
		TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
	}
	return &http.Client{
		Transport:     &transport{next: t, maxBody: o.MaxBody},
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type requestKey struct{}

// WithRequest returns a context whose HTTP requests carry r.UserAgent.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r.UserAgent())
}

// errNotSent marks a failure before anything was sent.
var errNotSent = errors.New("nothing was sent")

// ErrTooLarge is the cause when an answer exceeds its bound.
var ErrTooLarge = errors.New("answer is too large")

type transport struct {
	next    http.RoundTripper
	maxBody int64
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	r = r.Clone(ctx)
	ua := "casement/1"
	if own, ok := ctx.Value(requestKey{}).(string); ok {
		ua = own
	}
	if lib := r.Header.Get("User-Agent"); lib != "" {
		ua += " " + lib
	}
	r.Header.Set("User-Agent", ua)
	// The header is added after any signature: it is not part of what we ask for.
	if c, ok := trace.From(ctx); ok {
		r.Header.Set(trace.Header, c.Child().String())
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		if !sent.Load() {
			err = fmt.Errorf("%w: %w", errNotSent, err)
		}
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: t.maxBody}
	return resp, nil
}

// CloseIdleConnections lets http.Client close what is pooled.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n, ErrTooLarge
	}
	return n, err
}

// TransportError classifies an error of http.Client.Do for a request that
// changes something: KindRetry when nothing was sent, KindConfig when the
// address is blocked or its certificate refused, else KindUnsure. The message
// names the host only: an URL may hold secrets.
func TransportError(what string, err error) *Error {
	kind, why := KindUnsure, "the connection broke before the answer"
	var (
		host string
		ue   *url.Error
		dns  *net.DNSError
	)
	if errors.As(err, &ue) {
		if u, perr := url.Parse(ue.URL); perr == nil {
			host = u.Host
		}
	}
	switch {
	case errors.Is(err, ErrBlocked):
		kind, why = KindConfig, "its address is not public and not in the connector's allow list"
	case CertificateFault(err) != "":
		kind, why = KindConfig, CertificateFault(err)
	case errors.As(err, &dns) && dns.IsNotFound:
		kind, why = KindRetry, "its name does not resolve"
	case errors.Is(err, ErrTooLarge):
		why = "the answer is too large"
	case errors.Is(err, errNotSent):
		kind, why = KindRetry, "no connection"
		if isTimeout(err) {
			why = "no connection in time"
		} else if errors.Is(err, context.Canceled) {
			why = "cancelled before anything was sent"
		}
	case errors.Is(err, context.Canceled):
		why = "cancelled before the answer"
	case isTimeout(err):
		why = "no answer in time"
	}
	if host != "" {
		what += " at " + host
	}
	return &Error{Kind: kind, Msg: what + ": " + why, Err: err}
}

// CertificateFault says why a server's certificate is refused and how to mend
// it, "" where that is not what an error is about.
func CertificateFault(err error) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that is not trusted here; give that authority's certificate as the connector's secret ca"
	case errors.As(err, &name):
		return "its certificate is for another name than the one it was called by; use a name or address that the certificate holds"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate is not valid at this time; mend it at the server, or the clock here"
	case errors.As(err, &invalid):
		return "its certificate is not valid; mend it at the server"
	}
	return ""
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// StatusError classifies the status of an answer to a request that changes
// something; nil for 2xx. now is the time for a Retry-After given as a date.
func StatusError(what string, resp *http.Response, now time.Time) *Error {
	code := resp.StatusCode
	e := &Error{Msg: fmt.Sprintf("%s: the target answered %d %s", what, code, http.StatusText(code)), After: retryAfter(resp.Header, now)}
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		e.Kind = KindRetry
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e.Kind = KindConfig
		e.Msg += ": check the credential and its permissions"
	case code >= 500, code == http.StatusRequestTimeout:
		e.Kind = KindUnsure
	case code >= 300 && code < 400:
		e.Kind = KindConfig
		e.Msg += ": redirects are not followed, set the final address"
	default:
		e.Kind = KindRefused
	}
	return e
}

// retryAfter reads Retry-After (RFC 9110 10.2.3), at most a day.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return min(time.Duration(min(n, 86400))*time.Second, 24*time.Hour)
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return min(at.Sub(now), 24*time.Hour)
	}
	return 0
}

// Finish reads the rest of a small answer and closes it, so that the
// connection can be used again.
func Finish(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // what is left interests nobody
	_ = resp.Body.Close()                                         // a read body has nothing left to fail
}

// ReadOnly turns an unsure error into a retryable one: a request that only
// reads has changed nothing, whatever became of it.
func ReadOnly(err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) && e.Kind != KindUnsure {
		return err
	}
	if e == nil {
		e = &Error{Msg: "the read failed", Err: err}
	}
	return &Error{Kind: KindRetry, Msg: e.Msg, After: e.After, Err: e.Err}
}
