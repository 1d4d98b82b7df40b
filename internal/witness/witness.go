// Package witness holds what the demo claimed against what others wrote down:
// the exported ledger and the targets' own logs. Its verdict is the demo's exit
// code.
//
// It is pure: bytes in, a report out. It may import ledger, to verify the
// chains, and nothing of the demo: the two share file formats (docs/demo.md),
// not code. Invariants: a claim counts only if it is as promised and every
// record that can speak of it agrees; a promise of the story that nobody
// claimed is a fault; a change at a target without an intent in the ledger
// before it is a fault.
package witness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/casement/casement/internal/ledger"
)

// Evidence are the files of a run.
type Evidence struct {
	// Claims, Ledger and Targets are JSON lines.
	Claims, Ledger, Targets []byte
	// Verifier is the public key of the ledger's checkpoints.
	Verifier string
	// Files are other files that claims name.
	Files map[string][]byte
}

// Report is the verdict.
type Report struct {
	Claims, Held           int
	Events, Chains, Signed int
	Requests, Changes      int
	Parts                  int
	Faults                 []string
}

// OK reports whether everything holds.
func (r Report) OK() bool { return len(r.Faults) == 0 }

// claim is a line of the claims file.
type claim struct {
	N         int       `json:"n"`
	At        time.Time `json:"at"`
	Scene     int       `json:"scene"`
	Kind      string    `json:"kind"`
	Case      string    `json:"case"`
	Action    string    `json:"action"`
	Subject   string    `json:"subject"`
	Want      string    `json:"want"`
	Saw       string    `json:"saw"`
	State     string    `json:"state"`
	Detail    string    `json:"detail"`
	File      string    `json:"file"`
	Opened    time.Time `json:"opened"`
	Contained time.Time `json:"contained"`
	Closed    time.Time `json:"closed"`
}

// entry is a line of the targets' log.
type entry struct {
	At        time.Time `json:"at"`
	Service   string    `json:"service"`
	Scope     string    `json:"scope"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Status    int       `json:"status"`
	Agent     string    `json:"user_agent"`
	Case      string    `json:"case"`
	Anonymous bool      `json:"anonymous"`
	Changed   bool      `json:"changed"`
	State     string    `json:"state"`
}

func (e entry) subject() string { return e.Service + "/" + e.Scope }

// by reports whether a request was made for an action of a case.
func (e entry) by(caseID, action string) bool {
	return e.Case == caseID && strings.Contains(e.Agent+" ", " action/"+action+" ")
}

// event is one record of the ledger.
type event struct {
	at     time.Time
	typ    string
	person bool
	body   map[string]any
}

// word returns the text at a path of the body, "" if there is none.
func (e event) word(path ...string) string {
	var v any = e.body
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[p]
	}
	switch x := v.(type) {
	case string:
		return x
	case bool:
		return fmt.Sprint(x)
	}
	return ""
}

// court is the evidence, read.
type court struct {
	claims  []claim
	streams map[string][]event
	log     []entry
	files   map[string][]byte
	rep     *Report
}

// Check reads the evidence and judges every claim.
func Check(e Evidence) Report {
	var rep Report
	c := &court{streams: map[string][]event{}, files: e.Files, rep: &rep}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"claims", func() error {
			return lines(e.Claims, func(x claim) error { c.claims = append(c.claims, x); return nil })
		}},
		{"targets' log", func() error { return lines(e.Targets, func(x entry) error { c.log = append(c.log, x); return nil }) }},
		{"ledger", func() error { return c.readLedger(e.Ledger, e.Verifier) }},
	} {
		if err := step.do(); err != nil {
			rep.Faults = append(rep.Faults, step.what+": "+err.Error())
		}
	}
	rep.Claims, rep.Requests = len(c.claims), len(c.log)
	for _, x := range c.claims {
		if why := c.judge(x); why != "" {
			rep.Faults = append(rep.Faults, fmt.Sprintf("part %d, %s of %s: %s", x.Scene, x.Kind, x.Subject, why))
			continue
		}
		rep.Held++
	}
	c.changes()
	c.story()
	return rep
}

// lines decodes JSON lines.
func lines[T any](b []byte, each func(T) error) error {
	n := 0
	for l := range bytes.Lines(b) {
		n++
		if len(bytes.TrimSpace(l)) == 0 {
			continue
		}
		var v T
		if err := json.Unmarshal(l, &v); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := each(v); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if n == 0 {
		return fmt.Errorf("is empty")
	}
	return nil
}

// exported is a line of a ledger export.
type exported struct {
	Index      int64          `json:"index"`
	Record     *ledger.Record `json:"record"`
	Checkpoint string         `json:"checkpoint"`
}

// readLedger verifies chains, tree and checkpoints, and keeps the events.
func (c *court) readLedger(b []byte, key string) error {
	known, err := note.NewVerifier(strings.TrimSpace(key))
	if err != nil {
		return fmt.Errorf("its public key: %w", err)
	}
	var checks []ledger.Checkpoint
	var all []exported
	err = lines(b, func(x exported) error {
		if x.Record != nil {
			all = append(all, x)
			return nil
		}
		cp, err := ledger.Open([]byte(x.Checkpoint), note.VerifierList(known))
		checks = append(checks, cp)
		return err
	})
	if err != nil {
		return err
	}
	a, err := ledger.NewAuditor(checks...)
	if err != nil {
		return err
	}
	for _, x := range all {
		if x.Index >= 0 {
			err = a.Add(x.Index, *x.Record)
		} else {
			err = a.AddUnsequenced(*x.Record)
		}
		if err != nil {
			return err
		}
		ev, err := eventOf(*x.Record)
		if err != nil {
			return err
		}
		c.streams[x.Record.Stream] = append(c.streams[x.Record.Stream], ev)
	}
	c.rep.Events, c.rep.Chains, c.rep.Signed = len(all), a.Streams(), len(checks)
	return a.Finish()
}

// eventOf reads a record: a line with who did it, a line with what.
func eventOf(r ledger.Record) (event, error) {
	who, what, ok := bytes.Cut(r.Body, []byte("\n"))
	e := event{at: r.At, typ: r.Type}
	if !ok || json.Unmarshal(what, &e.body) != nil {
		return e, fmt.Errorf("record %d of %s can't be read", r.Seq, r.Stream)
	}
	var actor struct {
		Kind string `json:"kind"`
	}
	e.person = json.Unmarshal(who, &actor) == nil && actor.Kind == "person"
	return e, nil
}

// changes holds every change at a target against an intent before it.
func (c *court) changes() {
	for _, e := range c.log {
		if !e.Changed {
			continue
		}
		c.rep.Changes++
		intended := false
		for _, ev := range c.streams["case/"+e.Case] {
			if (ev.typ == "intended" || ev.typ == "undo_intended") && !ev.at.After(e.At) && e.by(e.Case, ev.word("action")) {
				intended = true
			}
		}
		if !intended {
			c.rep.Faults = append(c.rep.Faults, fmt.Sprintf("%s was changed (%s %s) without an intent in the ledger", e.subject(), e.Method, e.Path))
		}
	}
}
