package web

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/finding"
)

// mountMetrics registers our metrics and serves all of the registry to peers
// on the loopback interface. Labels are bounded: patterns and states.
func (s *server) mountMetrics(mux *http.ServeMux) func(pattern string, status int, took time.Duration) {
	if s.Metrics == nil {
		return nil
	}
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "casement_http_request_seconds",
		Help: "Time of HTTP requests by route and status.", Buckets: []float64{.001, .005, .025, .1, .5, 2.5}}, []string{"route", "status"})
	s.Metrics.MustRegister(took, caseCounts{s})
	inner := promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{})
	mux.Handle("GET /metrics", s.guard(route{"GET", "/metrics", auth.Public, func(w http.ResponseWriter, r *http.Request) error {
		if ip := net.ParseIP(address(r)); ip == nil || !ip.IsLoopback() {
			return s.notFound(w, r)
		}
		inner.ServeHTTP(w, r)
		return nil
	}}))
	return func(pattern string, status int, d time.Duration) {
		took.WithLabelValues(pattern, strconv.Itoa(status)).Observe(d.Seconds())
	}
}

// caseCounts are the numbers of cases by state, read when asked for.
type caseCounts struct{ s *server }

func caseCountDesc() *prometheus.Desc {
	return prometheus.NewDesc("casement_cases", "Cases of the default tenant by state.", []string{"state"}, nil)
}

// Describe tells the registry what there is.
func (c caseCounts) Describe(ch chan<- *prometheus.Desc) { ch <- caseCountDesc() }

// Collect reads the counts.
func (c caseCounts) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	counts, err := c.s.Reader.Counts(ctx, finding.DefaultTenant)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(caseCountDesc(), err)
		return
	}
	for state, n := range counts {
		ch <- prometheus.MustNewConstMetric(caseCountDesc(), prometheus.GaugeValue, float64(n), state)
	}
}
