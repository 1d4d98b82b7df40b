package app

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/trace"
)

// requestHeader tells a caller the id under which the log speaks of its request.
const requestHeader = "X-Request-Id"

type requestKey struct{}

// traced gives each request its id and its place in a trace: the sender's, if it
// sent one, else a new one.
func traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := trace.Parse(r.Header.Get(trace.Header))
		if !ok {
			c = trace.New()
		}
		c = c.Child()
		w.Header().Set(requestHeader, c.SpanID())
		ctx := context.WithValue(trace.With(r.Context(), c), requestKey{}, c.SpanID())
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// ids is a log handler that adds the ids of the context: request and trace.
type ids struct{ slog.Handler }

// Handle implements slog.Handler.
func (h ids) Handle(ctx context.Context, r slog.Record) error {
	if id, ok := ctx.Value(requestKey{}).(string); ok {
		r.AddAttrs(slog.String("request", id))
	}
	if c, ok := trace.From(ctx); ok {
		r.AddAttrs(slog.String("trace", c.TraceID()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h ids) WithAttrs(attrs []slog.Attr) slog.Handler { return ids{h.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (h ids) WithGroup(name string) slog.Handler { return ids{h.Handler.WithGroup(name)} }

// stamp writes into effects the trace of what calls for them, so that it goes on
// when they are done: later, and maybe by another node.
func stamp(ctx context.Context, units []engine.Unit) {
	c, ok := trace.From(ctx)
	if !ok {
		return
	}
	text := c.String()
	for i := range units {
		for k := range units[i].AddEffects {
			units[i].AddEffects[k].Trace = text
		}
	}
}

// watched does effects inside the trace they were called for in, and measures
// them.
type watched struct {
	next    dispatch.Doer
	metrics *metrics
}

// Do implements dispatch.Doer.
func (d watched) Do(ctx context.Context, l record.Lease, now time.Time) error {
	c, ok := trace.Parse(l.Row.Trace)
	if !ok {
		c = trace.New()
	}
	begun := time.Now()
	err := d.next.Do(trace.With(ctx, c.Child()), l, now)
	kind := string(l.Row.Effect.Kind)
	if err != nil {
		d.metrics.faults.WithLabelValues(kind).Inc()
		return err
	}
	d.metrics.effects.WithLabelValues(kind, l.Row.Door).Observe(time.Since(begun).Seconds())
	return nil
}
