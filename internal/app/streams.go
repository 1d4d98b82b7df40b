package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/intake/jetstream"
	"github.com/casement/casement/internal/intake/kafka"
	"github.com/casement/casement/internal/intake/stream"
)

// lookEvery is how often the servers are asked how far the consumers are.
const lookEvery = 10 * time.Second

// streams makes the streams of a configuration.
func (s *setup) streams(cfg *Config) {
	for _, name := range sortedNames(s.l.Streams) {
		before := len(s.issues)
		c, values := s.l.Streams[name], map[string]string{}
		for key, ref := range c.Secrets() {
			values[key] = s.secret("streams."+name+"."+key, ref)
		}
		out := stream.Config{Name: name, Servers: c.Servers, InHand: c.InHand, User: c.User, Password: values["password"], Network: s.network(name)}
		for _, src := range cfg.Sources {
			if src.Name == c.Source {
				out.Source = src
			}
		}
		if len(s.issues) > before {
			continue
		}
		if pem := values["ca"]; pem != "" {
			out.RootCAs = x509.NewCertPool()
			if !out.RootCAs.AppendCertsFromPEM([]byte(pem)) {
				s.fail("streams."+name+".ca", "want certificates in PEM", "streams.%s.ca leads to no certificate", name)
			}
		}
		if values["cert"] != "" {
			pair, err := tls.X509KeyPair([]byte(values["cert"]), []byte(values["key"]))
			if err != nil {
				s.fail("streams."+name+".cert", "want PEM of one certificate chain and its key", "streams.%s.cert: certificate and key do not fit", name)
			}
			out.Certificate = &pair
		}
		var opener stream.Opener = jetstream.Config{Config: out, Stream: c.Stream, Consumers: c.Consumers, Subject: c.Subject,
			Credentials: values["credentials"], Seed: values["nkey"], Token: values["token"]}
		if out.Source.Kind == "kafka" {
			opener = kafka.Config{Config: out, Topics: c.Topics, Group: c.Group, Mechanism: c.Mechanism}
		}
		if _, err := opener.Open(stream.Wiring{}); err != nil {
			s.fail("streams."+name, "", "streams.%s: %v", name, err)
		}
		cfg.Streams = append(cfg.Streams, opener)
	}
}

// network reads the allow list of a stream.
func (s *setup) network(name string) connector.Network {
	n, err := connector.ParseNetwork(s.l.Streams[name].Allow)
	if err != nil {
		s.fail("streams."+name+".allow", "", "streams.%s: %v", name, err)
	}
	return n
}

// openStreams wires the streams; it connects nothing.
func (a *App) openStreams() error {
	for _, c := range a.cfg.Streams {
		s, err := c.Open(stream.Wiring{Intake: a.Intake, MaxBody: a.Intake.MaxBody, Node: a.node, Watch: a.metrics.settled, Log: a.cfg.Log})
		if err != nil {
			return fmt.Errorf("streams: %w", err)
		}
		a.streams = append(a.streams, s)
	}
	if len(a.streams) > 0 {
		a.metrics.registry.MustRegister(newStreamFigures(a.streams))
	}
	return nil
}

// readStreams reads all streams until ctx ends; then what is in hand is finished
// and acknowledged, and what can't be within the time of a stop goes back.
func (a *App) readStreams(ctx context.Context) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(wait, cancel) })
	for _, s := range a.streams {
		name := s.State().Name
		a.goes("stream "+name, func() error {
			if err := s.Connect(); err != nil {
				return err
			}
			var all sync.WaitGroup
			for _, c := range s.Consumers() {
				all.Go(func() { drink(ctx, hard, c) })
			}
			all.Wait()
			return s.Close()
		})
		a.loop(ctx, "state of stream "+name, nil, lookEvery, func(ctx context.Context) (bool, error) { s.Look(ctx); return false, nil })
	}
}

// drink runs the loops of one consumer until ctx ends and its hand is empty, or
// hard ends.
func drink(ctx, hard context.Context, c stream.Consumer) {
	var work, keep sync.WaitGroup
	for i := range stream.Lanes {
		work.Go(func() { c.Work(hard, i) })
	}
	done := make(chan struct{})
	keep.Go(func() { c.Keep(done) })
	c.Fetch(ctx)
	work.Wait()
	close(done)
	keep.Wait()
}

// streamFigures are the states of streams as metrics. Labels are names of the
// configuration.
type streamFigures struct {
	streams []stream.Reader
	descs   map[string]*prometheus.Desc
}

func newStreamFigures(list []stream.Reader) streamFigures {
	f := streamFigures{list, map[string]*prometheus.Desc{
		"stream_connected": prometheus.NewDesc("casement_stream_connected", "1 if a server of the stream is connected.", []string{"stream"}, nil),
	}}
	for name, help := range map[string]string{
		"stream_lag_messages":         "Messages of a consumer that were not delivered to any node yet, or (Kafka) not committed.",
		"stream_unanswered_messages":  "Messages of a consumer that were delivered to a node and not acknowledged yet.",
		"stream_redelivered_messages": "Those of them that were delivered before.",
		"stream_in_hand_messages":     "Messages of a consumer that this process has in hand.",
		"stream_missed_messages":      "Messages that the topic of a consumer (Kafka) deleted before they were read.",
		"stream_held_seconds":         "How long a consumer has been held because nothing can be stored; 0 if it is not.",
	} {
		f.descs[name] = prometheus.NewDesc("casement_"+name, help, []string{"stream", "consumer"}, nil)
	}
	return f
}

// Describe implements prometheus.Collector.
func (f streamFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range f.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (f streamFigures) Collect(ch chan<- prometheus.Metric) {
	tell := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(f.descs[name], prometheus.GaugeValue, v, labels...)
	}
	for _, s := range f.streams {
		st := s.State()
		up := 0.0
		if st.Server != "" {
			up = 1
		}
		tell("stream_connected", up, st.Name)
		for _, c := range st.Consumers {
			if !c.Looked.IsZero() {
				tell("stream_lag_messages", float64(c.Waiting), st.Name, c.Name)
				tell("stream_unanswered_messages", float64(c.Unanswered), st.Name, c.Name)
				tell("stream_redelivered_messages", float64(c.Redelivered), st.Name, c.Name)
			}
			tell("stream_in_hand_messages", float64(c.InHand), st.Name, c.Name)
			tell("stream_missed_messages", float64(c.Missed), st.Name, c.Name)
			held := 0.0
			if !c.HeldSince.IsZero() {
				held = time.Since(c.HeldSince).Seconds()
			}
			tell("stream_held_seconds", held, st.Name, c.Name)
		}
	}
}

// settled is told of every message of a stream.
func (m *metrics) settled(s stream.Settled) {
	m.messages.WithLabelValues(s.Stream, string(s.Outcome)).Inc()
	if s.Again {
		m.redelivered.WithLabelValues(s.Stream).Inc()
	}
	if s.Outcome == stream.Stored {
		m.streamAge.WithLabelValues(s.Stream).Observe(max(0, s.Age.Seconds()))
	}
}
