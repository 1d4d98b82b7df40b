package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// unit is an record.Unit made ready to be written: everything that costs time
// (encoding, digests, projections) is done before the writer is asked for, in
// the goroutine of the caller.
type unit struct {
	record.Unit
	state     []byte // nil: it is not written; see states.go
	row       CaseRow
	risk      deadline.RiskClass
	urgency   int64
	created   time.Time
	quiet     bool
	records   []row
	findings  []preparedFinding
	rawHashes [][]byte // of Raws
	// moved are the findings of MoveFindings as they were found.
	moved []preparedFinding
}

type preparedFinding struct {
	uid, digest string
	body        []byte
	was         string // the case that had it, "" for none
}

// row is an event encoded, before it has its place in the chain.
type row struct {
	typ    string
	schema int
	at     time.Time
	by     string
	body   []byte
}

// prepare checks a unit for sense and encodes it, its state as well if whole.
func prepare(u record.Unit, whole bool) (unit, error) {
	c := u.Case
	p := unit{Unit: u}
	switch {
	case c.ID == "" || c.Tenant == "":
		return p, fmt.Errorf("%w unit: a case needs an id and a tenant", ErrInvalid)
	case c.Version != u.Before+uint64(len(u.Events)):
		return p, fmt.Errorf("%w unit of case %s: version %d is not %d + %d events", ErrInvalid, c.ID, c.Version, u.Before, len(u.Events))
	case c.Version == 0:
		return p, fmt.Errorf("%w unit of case %s: a case begins with an event", ErrInvalid, c.ID)
	}
	for _, k := range append(append([]record.CaseKey(nil), u.AddKey...), u.DropKey...) {
		if k.Tenant != c.Tenant {
			return p, fmt.Errorf("%w unit of case %s: key of tenant %q in a case of tenant %q", ErrInvalid, c.ID, k.Tenant, c.Tenant)
		}
	}
	for _, e := range u.AddEffects {
		if e.ID == "" || e.CaseID != c.ID || e.Tenant != c.Tenant {
			return p, fmt.Errorf("%w unit of case %s: effect %q belongs to case %q of tenant %q", ErrInvalid, c.ID, e.ID, e.CaseID, e.Tenant)
		}
	}
	if u.Done != nil && u.Done.Row.CaseID != c.ID {
		return p, fmt.Errorf("%w unit of case %s: the lease is of case %q", ErrInvalid, c.ID, u.Done.Row.CaseID)
	}
	var err error
	if whole || wantsState(u) {
		if p.state, err = json.Marshal(c); err != nil {
			return p, fmt.Errorf("encode case %s: %w", c.ID, err)
		}
	}
	for _, e := range u.Events {
		body, err := remedy.EncodeBody(e.Body)
		if err != nil {
			return p, fmt.Errorf("encode event of case %s: %w", c.ID, err)
		}
		p.records = append(p.records, row{e.Body.Type(), remedy.SchemaVersion, utc(e.At), actorText(e.By), body})
	}
	if len(u.Was) > len(u.Findings) {
		return p, fmt.Errorf("%w unit of case %s: %d former cases of %d findings", ErrInvalid, c.ID, len(u.Was), len(u.Findings))
	}
	for i, f := range u.Findings {
		if f.Tenant != c.Tenant || f.UID == "" {
			return p, fmt.Errorf("%w unit of case %s: finding %q of tenant %q", ErrInvalid, c.ID, f.UID, f.Tenant)
		}
		body, err := json.Marshal(f)
		if err != nil {
			return p, fmt.Errorf("encode finding %s: %w", f.UID, err)
		}
		was := ""
		if i < len(u.Was) {
			was = u.Was[i]
		}
		p.findings = append(p.findings, preparedFinding{f.UID, finding.DecisionDigest(f), body, was})
	}
	if err = p.prepareRaws(); err != nil {
		return p, err
	}
	p.row = rowOf(c, u.WakeAt)
	p.risk = c.RiskClass()
	p.urgency = urgencyOf(p.row, p.risk)
	p.quiet = c.Quiet()
	p.created = c.At
	if len(c.Episodes) > 0 {
		p.created = c.Episodes[0].OpenedAt
	}
	return p, nil
}

// rowOf projects a case to its line in lists.
func rowOf(c remedy.Case, wake time.Time) CaseRow {
	ep := c.Episode()
	r := CaseRow{
		ID: c.ID, Tenant: c.Tenant, Version: c.Version, State: string(c.State()), Open: c.Open(),
		Title: c.Title, Class: c.Class, Domain: c.Domain, Path: c.Judgement.Decision.Path(),
		Risk: c.RiskClass().String(), Severity: c.Severity, Owner: c.Owner(),
		Asset: c.Asset.Name, Environment: c.Asset.Environment, Bottleneck: c.Bottleneck,
		FixDue: utc(c.Clocks().Fix), OpenedAt: utc(ep.OpenedAt), UpdatedAt: utc(c.At), WakeAt: utc(wake),
	}
	r.Bottleneck.Since = utc(r.Bottleneck.Since)
	if r.Asset == "" {
		r.Asset = c.Asset.UID
	}
	if !r.Open {
		r.ClosedAt, r.How = utc(ep.ClosedAt), c.Closed
		return r
	}
	clocks := c.Clocks()
	for _, duty := range []struct{ due, met time.Time }{
		{clocks.Ack, ep.AckAt}, {clocks.Contain, ep.ContainedAt}, {clocks.Fix, ep.ClosedAt},
	} {
		if !duty.due.IsZero() && duty.met.IsZero() && (r.NextDue.IsZero() || duty.due.Before(r.NextDue)) {
			r.NextDue = utc(duty.due)
		}
	}
	return r
}

// urgencyOf orders lists in one number: open cases before closed ones, by risk
// class and the next duty; closed ones newest first. An unclassified case
// stands before all others: unknown is never harmless.
func urgencyOf(r CaseRow, risk deadline.RiskClass) int64 {
	const second = 34 // bits of a Unix time in seconds, until the year 2514
	const never = int64(1)<<second - 1
	if r.Open {
		due := never
		if !r.NextDue.IsZero() {
			due = min(max(r.NextDue.Unix(), 0), never)
		}
		return int64(risk)<<second | due
	}
	return int64(1)<<(second+8) | (never - min(max(r.ClosedAt.Unix(), 0), never))
}

// utc strips zone and monotonic reading, and what nanoseconds cannot hold.
func utc(t time.Time) time.Time { return instant(nanos(t)) }

// actorText is the stored form of an actor; it is part of what is hashed.
func actorText(a remedy.Actor) string {
	b, _ := json.Marshal(a) // two strings: cannot fail
	return string(b)
}

// parseActor reads actorText.
func parseActor(s string) (remedy.Actor, error) {
	var a remedy.Actor
	if err := json.Unmarshal([]byte(s), &a); err != nil {
		return a, fmt.Errorf("actor of a stored event: %w", err)
	}
	return a, nil
}

// matches reports whether the row passes the filter; the SQL of ListCases says
// the same.
func (f CaseFilter) matches(r CaseRow) bool {
	switch {
	case r.Tenant != f.Tenant,
		f.State != "" && r.State != f.State,
		f.Class != "" && r.Class != f.Class,
		f.Path != "" && r.Path != f.Path,
		f.Owner != "" && r.Owner != f.Owner,
		f.Risk != "" && riskNumber(r.Risk) != riskNumber(f.Risk),
		f.Open == finding.Yes && !r.Open,
		f.Open == finding.No && r.Open:
		return false
	}
	text := asciiLower(f.Text)
	return text == "" || strings.Contains(asciiLower(r.ID), text) ||
		strings.Contains(asciiLower(r.Title), text) || strings.Contains(asciiLower(r.Asset), text)
}

// asciiLower folds case the way SQLite's lower() does.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// riskNumber and riskText convert a risk class as it is stored; a word that is
// none matches no case.
func riskNumber(word string) int {
	c, err := deadline.ParseRiskClass(word)
	if err != nil {
		return -1
	}
	return int(c)
}

func riskText(n int) string { return deadline.RiskClass(n).String() }
