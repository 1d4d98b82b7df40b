package web

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/casement/casement/internal/finding"
)

// observeRoutes registers our metrics. Labels are bounded: patterns and states.
func (s *server) observeRoutes() {
	if s.Metrics == nil {
		return
	}
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "casement_http_request_seconds",
		Help: "Time of HTTP requests by route and status.", Buckets: []float64{.001, .005, .025, .1, .5, 2.5}}, []string{"route", "status"})
	s.Metrics.MustRegister(took, caseCounts{s})
	s.measure = func(pattern string, status int, d time.Duration) {
		took.WithLabelValues(pattern, strconv.Itoa(status)).Observe(d.Seconds())
	}
}

// metrics serves all of the registry to peers on the loopback interface.
func (s *server) metrics(w http.ResponseWriter, r *http.Request) error {
	if ip := net.ParseIP(address(r)); s.Metrics == nil || ip == nil || !ip.IsLoopback() {
		return s.notFound(w, r)
	}
	promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
	return nil
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
