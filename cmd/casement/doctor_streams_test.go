package main

import (
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/intake/stream"
)

// TestStreamChecks: what the doctor says about each way a stream can fare.
func TestStreamChecks(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	up := func(c stream.ConsumerState) stream.State {
		c.Name = "all"
		return stream.State{Name: "main", Server: "n1:4222", Consumers: []stream.ConsumerState{c}}
	}
	for want, s := range map[string]stream.State{
		"bad main is not connected: no server answers":                                                {Name: "main", Fault: "no server answers"},
		"bad main/all is not read: no such consumer":                                                  up(stream.ConsumerState{Fault: "no such consumer"}),
		"bad main/all is held (the disk is full): what came first waits for 20m0s":                    up(stream.ConsumerState{HeldSince: now.Add(-20 * time.Minute), HeldWhy: "the disk is full"}),
		"warn main/all: 1,000 messages delivered and not answered, as many as the server delivers":    up(stream.ConsumerState{Unanswered: 1000, MostUnanswered: 1000}),
		"bad main/all: 5 messages deleted by the topic's retention before they were read":             up(stream.ConsumerState{Missed: 5}),
		"ok main/all at n1:4222: lag of 1,200 messages, 3 in hand, 4 not answered, 1 delivered again": up(stream.ConsumerState{Waiting: 1200, InHand: 3, Unanswered: 4, MostUnanswered: 1000, Redelivered: 1, Looked: now}),
		"warn main/all at n1:4222: connected; not known yet whether it can be read, nor its lag":      up(stream.ConsumerState{}),
	} {
		p := &patient{}
		p.streams([]stream.State{s}, now)
		if len(p.checks) != 1 || p.checks[0].Result+" "+p.checks[0].Detail != want || p.checks[0].What != "streams" {
			t.Errorf("want %s, got %+v", want, p.checks)
		}
		if c := p.checks[0]; (c.Mend == "") != strings.HasPrefix(want, "ok") {
			t.Errorf("%s: mend %q", want, c.Mend)
		}
	}
}
