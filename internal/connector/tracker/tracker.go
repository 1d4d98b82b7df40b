// Package tracker is the built-in system of record for tickets: enough for
// teams without one, and for the demo. A ticket set to done is a claim like in
// any other tracker; only a probe closes the case.
//
// It may import connector. Invariants: one ticket per key, one comment per key
// and ticket, whoever asks how often; nothing of it survives outside the
// Store.
package tracker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
)

// The words of a ticket's status.
const (
	StatusOpen = "open"
	StatusWork = "in progress"
	StatusDone = "done"
)

// Ticket is one ticket as it is stored.
type Ticket struct {
	ID                           int64
	Project, CaseID, Title, Body string
	Assignee, Status             string
	Fields                       map[string]string
	// Due and CreatedAt are UTC; Due may be zero.
	Due, CreatedAt time.Time
}

// ErrNotFound: there is no such ticket.
var ErrNotFound = errors.New("no such ticket")

// Store keeps tickets. All methods may be called concurrently.
type Store interface {
	// Create stores a ticket under a once-key and returns its id; a second
	// call with the key returns the id of the first and changes nothing.
	Create(ctx context.Context, key string, t Ticket) (id int64, err error)
	// Comment adds a comment once per ticket and key, or returns ErrNotFound.
	Comment(ctx context.Context, id int64, key, text string, at time.Time) error
	// Status returns the status, or ErrNotFound.
	Status(ctx context.Context, id int64) (string, error)
	// SetStatus changes the status, or returns ErrNotFound.
	SetStatus(ctx context.Context, id int64, status string, at time.Time) error
}

// Tracker implements connector.Tracker, Reopener and Finisher over a Store.
type Tracker struct {
	Store Store
	// BaseURL of the pages, without a slash at the end; a ticket is under
	// /tickets/ and its number. Without it tickets have no address.
	BaseURL string
	// Now is the clock, UTC.
	Now func() time.Time
}

var (
	_ connector.Tracker  = Tracker{}
	_ connector.Reopener = Tracker{}
	_ connector.Finisher = Tracker{}
)

// prefix of a reference: T-12.
const prefix = "T-"

// Open implements connector.Tracker.
func (t Tracker) Open(ctx context.Context, q connector.TicketRequest) (ref, url string, err error) {
	if q.Key == "" || q.Title == "" {
		return "", "", connector.Errorf(connector.KindConfig, "a ticket needs a once-key and a title")
	}
	body := q.Body
	if q.Link != "" && !strings.Contains(body, q.Link) {
		body = strings.TrimRight(body, "\n") + "\n\nCase: " + q.Link
	}
	id, err := t.Store.Create(ctx, q.Key, Ticket{Project: q.Project, CaseID: q.CaseID, Title: q.Title, Body: body, Assignee: q.Assignee,
		Status: StatusOpen, Fields: q.Fields, Due: q.Due, CreatedAt: t.Now()})
	if err != nil {
		return "", "", failed("opening the ticket", err)
	}
	n := strconv.FormatInt(id, 10)
	if t.BaseURL != "" {
		url = t.BaseURL + "/tickets/" + n
	}
	return prefix + n, url, nil
}

// Say implements connector.Tracker.
func (t Tracker) Say(ctx context.Context, ref, key, text string) error {
	id, err := parseRef(ref)
	if err != nil {
		return err
	}
	return failed("writing to ticket "+ref, t.Store.Comment(ctx, id, key, text, t.Now()))
}

// Status implements connector.Tracker.
func (t Tracker) Status(ctx context.Context, ref string) (word string, done bool, err error) {
	id, err := parseRef(ref)
	if err != nil {
		return "", false, err
	}
	word, err = t.Store.Status(ctx, id)
	return word, word == StatusDone, failed("reading ticket "+ref, err)
}

// Reopen implements connector.Reopener.
func (t Tracker) Reopen(ctx context.Context, ref string) error {
	return t.set(ctx, ref, StatusOpen, "reopening")
}

// Finish implements connector.Finisher.
func (t Tracker) Finish(ctx context.Context, ref string) error {
	return t.set(ctx, ref, StatusDone, "finishing")
}

func (t Tracker) set(ctx context.Context, ref, status, doing string) error {
	id, err := parseRef(ref)
	if err != nil {
		return err
	}
	return failed(doing+" ticket "+ref, t.Store.SetStatus(ctx, id, status, t.Now()))
}

func parseRef(ref string) (int64, error) {
	n, ok := strings.CutPrefix(ref, prefix)
	id, err := strconv.ParseInt(n, 10, 64)
	if !ok || err != nil || id <= 0 {
		return 0, connector.Errorf(connector.KindRefused, "%q is no ticket of the built-in tracker (they look like T-12)", ref)
	}
	return id, nil
}

// failed classifies an error of the store: all of its methods may be repeated.
func failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return &connector.Error{Kind: connector.KindRefused, Msg: what + ": there is no such ticket", Err: err}
	}
	return &connector.Error{Kind: connector.KindRetry, Msg: what + ": " + err.Error(), Err: err}
}
