package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// maxTries is how often a unit is loaded and judged anew after a conflict.
const maxTries = 7

// CaseFacts are the facts of a judgement that the case knows and a finding
// does not.
type CaseFacts struct {
	// Recurrence: the exposure was closed before and is back.
	Recurrence bool
	// Opened is when the episode began; zero for a new case.
	Opened time.Time
}

// Judge says what policy, ownership and calendars make of a finding. snapshot
// is the canonical form of the facts, stored under Judgement.Facts.
type Judge interface {
	Judge(f finding.Finding, c CaseFacts, at time.Time) (j remedy.Judgement, snapshot []byte)
}

// Guards say whether an action may run now.
type Guards interface {
	// Check returns the verdict, the budgets to reserve with the intent, and
	// the kill-switch scopes that cover the action.
	Check(ctx context.Context, c remedy.Case, a remedy.Action, at time.Time) (remedy.Guard, []Reservation, []string)
	// Paused names the first scope that the kill switch holds, "" for none.
	Paused(ctx context.Context, scopes []string) (string, error)
}

// Doors lead to the outside systems by connector, route and system name.
type Doors interface {
	Actor(name string) (connector.Actor, bool)
	Prober(name string) (connector.Prober, bool)
	Notifier(route string) (connector.Notifier, bool)
	Tracker(system string) (connector.Tracker, bool)
}

// Principals know who may approve.
type Principals interface {
	// Entitled returns by which right the person may approve the action ("" if
	// by none): approver, backup, delegate or admin.
	Entitled(ctx context.Context, person string, c remedy.Case, a remedy.Action) (as string, err error)
}

// Tickets render a ticket from its template.
type Tickets interface {
	Ticket(ctx context.Context, c remedy.Case, t remedy.Ticket, f finding.Finding) connector.TicketRequest
}

// Config wires an engine. All fields but Rand and Log are required.
type Config struct {
	Store      Store
	Effects    Effects
	Judge      func() Judge // the active one; may change between calls
	Guards     Guards
	Doors      Doors
	Principals Principals
	Tickets    Tickets
	// Reminders are told of what waits outside cases; nil where nothing can.
	Reminders Reminders
	// BaseURL is the address of the pages, for links in messages.
	BaseURL string
	// Rand is the source of ids and salts; nil for crypto/rand.
	Rand io.Reader
	Log  *slog.Logger
	// Late, if set, is told how late each clock of a case was that Sweep served.
	Late func(by time.Duration)
	// Failpoint, if set, is called with the name of each step between two
	// writes; tests crash there.
	Failpoint func(name string)
}

// Engine runs the loop. It has no state of its own: everything is in the store.
type Engine struct{ Config }

// New returns an engine; it starts nothing.
func New(c Config) *Engine {
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Late == nil {
		c.Late = func(time.Duration) {}
	}
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
	return &Engine{c}
}

// newID returns prefix and 26 characters that sort by time: 48 bits of
// milliseconds, 80 random bits.
func (e *Engine) newID(prefix string, at time.Time) (string, error) {
	var b [16]byte
	ms := at.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	if _, err := io.ReadFull(e.Rand, b[6:]); err != nil {
		return "", fmt.Errorf("no randomness for an id: %w", err)
	}
	return prefix + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])), nil
}

// Note salts and hashes a person's words: the hash goes into the event, the
// words into the side table.
func (e *Engine) Note(text string) (remedy.Note, []NoteText, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil, nil
	}
	var salt [16]byte
	if _, err := io.ReadFull(e.Rand, salt[:]); err != nil {
		return "", nil, fmt.Errorf("no randomness for a salt: %w", err)
	}
	h := sha256.Sum256(append(salt[:], text...))
	n := remedy.Note(hex.EncodeToString(h[:]))
	return n, []NoteText{{Hash: n, Salt: hex.EncodeToString(salt[:]), Text: text}}, nil
}

// Tell gives one command to a case: load, handle, commit, again on conflict.
// It returns the case after it. A *remedy.Refusal means that nothing happened.
func (e *Engine) Tell(ctx context.Context, id string, cmd remedy.Command, notes ...NoteText) (remedy.Case, error) {
	return e.tell(ctx, id, func(remedy.Case) (remedy.Command, error) { return cmd, nil }, func(u *Unit) { u.Notes = notes })
}

// TellAt gives the command only to the case at that version, which its sender
// has seen; else ErrConflict, and nothing happens.
func (e *Engine) TellAt(ctx context.Context, id string, version uint64, cmd remedy.Command, notes ...NoteText) (remedy.Case, error) {
	return e.tell(ctx, id, func(c remedy.Case) (remedy.Command, error) {
		if c.Version != version {
			return cmd, atOther(c, version)
		}
		return cmd, nil
	}, func(u *Unit) { u.Notes = notes })
}

func atOther(c remedy.Case, version uint64) error {
	return fmt.Errorf("case %s is at version %d, not %d: %w", c.ID, c.Version, version, ErrConflict)
}

// tell builds the command from the case as loaded and lets extra add to the
// unit before it is committed.
func (e *Engine) tell(ctx context.Context, id string, build func(remedy.Case) (remedy.Command, error), extra func(*Unit)) (remedy.Case, error) {
	return e.tellAs(ctx, id, nil, build, extra)
}

// tellAs is tell with the case as it was when it was loaded before, or nil. What
// comes of an old one never counts: a commit refuses it, and so do we when the
// case refuses the command.
func (e *Engine) tellAs(ctx context.Context, id string, as *remedy.Case, build func(remedy.Case) (remedy.Command, error), extra func(*Unit)) (remedy.Case, error) {
	for try := 1; ; try++ {
		var c remedy.Case
		var err error
		old := as != nil
		if old {
			c, as = *as, nil
		} else if c, err = e.Store.Load(ctx, id); err != nil {
			return c, err
		}
		cmd, err := build(c)
		if err != nil {
			return c, err
		}
		events, err := remedy.Handle(c, cmd)
		if err != nil && old {
			continue
		}
		if err != nil {
			return c, err
		}
		u := unitOf(c, events)
		if extra != nil {
			extra(&u)
		}
		err = e.commit(ctx, u)
		if err == nil {
			return u.Case, nil
		}
		if !errors.Is(err, ErrConflict) || try == maxTries {
			return c, err
		}
	}
}

// commit stores one unit.
func (e *Engine) commit(ctx context.Context, u Unit) error {
	e.Failpoint("before commit")
	errs, err := e.Store.Commit(ctx, []Unit{u}, nil)
	e.Failpoint("after commit")
	if err != nil {
		return err
	}
	return errs[0]
}

// unitOf applies events to c and works out what changes around the case.
func unitOf(c remedy.Case, events []remedy.Event) Unit {
	after := c
	for _, ev := range events {
		after = remedy.Apply(after, ev)
	}
	return unitTo(c, after, events)
}

// unitTo is unitOf for a caller who has applied the events already: a case of
// thousands of members is expensive to build twice.
func unitTo(c, after remedy.Case, events []remedy.Event) Unit {
	u := Unit{Before: c.Version, Case: after, Events: events, WakeAt: remedy.WakeAt(after)}
	was := map[string]bool{}
	for _, ef := range remedy.Pending(c) {
		was[ef.ID] = true
	}
	for _, ef := range remedy.Pending(after) {
		if was[ef.ID] {
			delete(was, ef.ID)
			continue
		}
		u.AddEffects = append(u.AddEffects, EffectRow{ID: after.ID + "/" + ef.ID, CaseID: after.ID, Tenant: after.Tenant,
			Effect: ef, Object: objectOf(after, ef), Door: doorOf(after, ef)})
	}
	for _, ef := range remedy.Pending(c) { // in order, for determinism
		if was[ef.ID] {
			u.DropEffects = append(u.DropEffects, c.ID+"/"+ef.ID)
		}
	}
	return u
}

// doorOf names where an effect leads to: a connector, a route of messages or a
// system of tickets; "" for nowhere.
func doorOf(c remedy.Case, ef remedy.Effect) string {
	switch ef.Kind {
	case remedy.EffectMessage:
		for _, m := range c.Messages {
			if m.N == ef.N {
				return m.Route
			}
		}
	case remedy.EffectTicket, remedy.EffectSay:
		for _, t := range c.Tickets {
			if t.N == ef.N {
				return t.System
			}
		}
	case remedy.EffectProbe:
		if a, ok := c.Action(ef.Action); ok && c.Probe.Purpose == remedy.ProbeContinuity {
			return a.Spec.Continuity.Connector
		}
		return c.Judgement.Decision.Probe.Connector
	default:
		if a, ok := c.Action(ef.Action); ok {
			return a.Spec.Connector
		}
	}
	return ""
}

// objectOf names the outside object an effect changes, "" if it changes none.
func objectOf(c remedy.Case, ef remedy.Effect) string {
	if ef.Kind != remedy.EffectAct && ef.Kind != remedy.EffectUndo {
		return ""
	}
	a, _ := c.Action(ef.Action)
	return a.Spec.Connector + "|" + finding.CanonicalAsset(c.Asset)
}

// Approve is a person's yes to the plan with the hash she was shown.
func (e *Engine) Approve(ctx context.Context, id, action, planHash, person, note string, at time.Time) (remedy.Case, error) {
	n, texts, err := e.Note(note)
	if err != nil {
		return remedy.Case{}, err
	}
	return e.answer(ctx, id, action, person, texts, func(as string) remedy.Command {
		return remedy.Command{At: at, By: remedy.Actor{Kind: remedy.Person, ID: person},
			Do: remedy.Approve{Action: action, PlanHash: planHash, As: as, Note: n}}
	})
}

// Reject is a person's no, with the reason.
func (e *Engine) Reject(ctx context.Context, id, action, person, reason string, at time.Time) (remedy.Case, error) {
	n, texts, err := e.Note(reason)
	if err != nil {
		return remedy.Case{}, err
	}
	return e.answer(ctx, id, action, person, texts, func(as string) remedy.Command {
		return remedy.Command{At: at, By: remedy.Actor{Kind: remedy.Person, ID: person},
			Do: remedy.Reject{Action: action, As: as, Note: n}}
	})
}

func (e *Engine) answer(ctx context.Context, id, action, person string, notes []NoteText, cmd func(as string) remedy.Command) (remedy.Case, error) {
	return e.tell(ctx, id, func(c remedy.Case) (remedy.Command, error) {
		a, ok := c.Action(action)
		if !ok {
			return remedy.Command{}, fmt.Errorf("case %s has no action %s: %w", id, action, ErrNotFound)
		}
		as, err := e.Principals.Entitled(ctx, person, c, a)
		return cmd(as), err
	}, func(u *Unit) { u.Notes = notes })
}

// Step does everything that is due at now, one thing after the other, and
// returns how much it did. A simulation drives the engine by it alone.
func (e *Engine) Step(ctx context.Context, now time.Time) (int, error) {
	n, err := e.Sweep(ctx, now, 64)
	if err != nil {
		return n, err
	}
	leases, err := e.Effects.Claim(ctx, now, time.Minute, 16)
	if err != nil {
		return n, err
	}
	for _, l := range leases {
		if err := e.Do(ctx, l, now); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
