package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/casement/casement/internal/record"
)

// Ticket is an item of the built-in tracker.
type Ticket struct {
	ID      int64
	Tenant  string
	Project string
	CaseID  string
	Title   string
	Body    string
	// Fields are those of the ticket's template.
	Fields   map[string]string
	Status   string
	Assignee string
	// Rev counts changes; UpdateTicket compares it.
	Rev                  int
	CreatedAt, UpdatedAt time.Time
}

// TicketComment is one comment on a ticket.
type TicketComment struct {
	ID       int64
	TicketID int64
	By       string
	At       time.Time
	Text     string
}

// TicketFilter selects tickets of a tenant; empty fields select all. After is
// the id of the last ticket seen, in descending order (0: from the newest).
type TicketFilter struct {
	Tenant, Project, CaseID, Status, Assignee string
	After                                     int64
}

const ticketColumns = "id, tenant, project, case_id, title, body, fields, status, assignee, rev, created_at, updated_at"

// CreateTicket stores a new ticket under a once-key: a second call with the
// same key returns the ticket of the first, created is false.
func (s *tables) CreateTicket(ctx context.Context, onceKey string, t Ticket) (out Ticket, created bool, err error) {
	if t.Tenant == "" || t.Title == "" || t.Status == "" || t.CreatedAt.IsZero() {
		return Ticket{}, false, fmt.Errorf("%w ticket: tenant, title, status and time are needed", ErrInvalid)
	}
	fields, err := json.Marshal(t.Fields)
	if err != nil {
		return Ticket{}, false, fmt.Errorf("ticket: %w", err)
	}
	var id int64
	err = s.db.join(ctx, func(w *writer) error {
		return w.shareGet(sharedTicket, t.Tenant, onceKey, []any{&id}, &created, `INSERT INTO ticket (tenant, once_key, project, case_id, title, body, fields, status, assignee, rev, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (tenant, once_key) WHERE once_key <> '' DO NOTHING RETURNING id`,
			t.Tenant, onceKey, t.Project, t.CaseID, t.Title, t.Body, string(fields), t.Status, t.Assignee, nanos(t.CreatedAt), nanos(t.CreatedAt))
	})
	if err != nil {
		return Ticket{}, false, err
	}
	if !created { // the other one is on disk
		out, err = s.TicketByKey(ctx, t.Tenant, onceKey)
		return out, false, err
	}
	t.ID, t.Rev, t.CreatedAt, t.UpdatedAt = id, 1, utc(t.CreatedAt), utc(t.CreatedAt)
	return t, true, nil
}

// TicketByKey returns the ticket created under a once-key, or ErrNotFound.
func (s *tables) TicketByKey(ctx context.Context, tenant, onceKey string) (Ticket, error) {
	return s.ticket(ctx, onceKey, "SELECT "+ticketColumns+" FROM ticket WHERE tenant = ? AND once_key = ? AND once_key <> ''", tenant, onceKey)
}

// Ticket returns a ticket by id, or ErrNotFound.
func (s *tables) Ticket(ctx context.Context, tenant string, id int64) (Ticket, error) {
	return s.ticket(ctx, fmt.Sprint(id), "SELECT "+ticketColumns+" FROM ticket WHERE tenant = ? AND id = ?", tenant, id)
}

func (s *tables) ticket(ctx context.Context, what, text string, args ...any) (Ticket, error) {
	var list []Ticket
	err := s.db.each(ctx, func(row scanner) error { return scanTicket(row, &list) }, text, args...)
	if err == nil && len(list) == 0 {
		err = record.ErrNotFound
	}
	if err != nil {
		return Ticket{}, fmt.Errorf("ticket %s: %w", what, err)
	}
	return list[0], nil
}

// Tickets returns up to n tickets, newest first.
func (s *tables) Tickets(ctx context.Context, f TicketFilter, n int) ([]Ticket, error) {
	var list []Ticket
	err := s.db.each(ctx, func(row scanner) error { return scanTicket(row, &list) }, "SELECT "+ticketColumns+` FROM ticket WHERE tenant = ?1 AND (id < ?2 OR ?2 = 0)
		AND (?3 = '' OR project = ?3) AND (?4 = '' OR case_id = ?4) AND (?5 = '' OR status = ?5) AND (?6 = '' OR assignee = ?6) ORDER BY id DESC LIMIT ?7`,
		f.Tenant, f.After, f.Project, f.CaseID, f.Status, f.Assignee, n)
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	return list, nil
}

func scanTicket(row scanner, list *[]Ticket) error {
	var t Ticket
	var fields string
	var created, updated int64
	if err := row.Scan(&t.ID, &t.Tenant, &t.Project, &t.CaseID, &t.Title, &t.Body, &fields, &t.Status, &t.Assignee, &t.Rev, &created, &updated); err != nil {
		return err
	}
	t.CreatedAt, t.UpdatedAt = instant(created), instant(updated)
	*list = append(*list, t)
	return json.Unmarshal([]byte(fields), &(*list)[len(*list)-1].Fields)
}

// UpdateTicket stores a changed ticket if it is still at t.Rev, otherwise
// record.ErrConflict. UpdatedAt is taken from t.
func (s *tables) UpdateTicket(ctx context.Context, t Ticket) error {
	fields, err := json.Marshal(t.Fields)
	if err != nil {
		return fmt.Errorf("ticket %d: %w", t.ID, err)
	}
	return s.db.put(ctx, func(w *writer) error {
		n, err := w.exec("UPDATE ticket SET project = ?, title = ?, body = ?, fields = ?, status = ?, assignee = ?, updated_at = ?, rev = rev + 1 WHERE tenant = ? AND id = ? AND rev = ?",
			t.Project, t.Title, t.Body, string(fields), t.Status, t.Assignee, nanos(t.UpdatedAt), t.Tenant, t.ID, t.Rev)
		if err == nil && n == 0 {
			err = fmt.Errorf("ticket %d: %w", t.ID, record.ErrConflict)
		}
		return err
	})
}

// AddTicketComment adds a comment under a once-key: a second call with the
// same key of the ticket changes nothing.
func (s *tables) AddTicketComment(ctx context.Context, tenant, onceKey string, c TicketComment) error {
	return s.db.put(ctx, func(w *writer) error {
		if err := w.must(fmt.Sprintf("ticket %d", c.TicketID), "UPDATE ticket SET updated_at = CASE WHEN updated_at < ?1 THEN ?1 ELSE updated_at END WHERE tenant = ?2 AND id = ?3", nanos(c.At), tenant, c.TicketID); err != nil {
			return err
		}
		_, err := w.exec("INSERT INTO ticket_comment (tenant, ticket_id, once_key, by, at, text) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", tenant, c.TicketID, onceKey, c.By, nanos(c.At), c.Text)
		return err
	})
}

// TicketComments returns the comments of a ticket, oldest first.
func (s *tables) TicketComments(ctx context.Context, tenant string, id int64) ([]TicketComment, error) {
	var list []TicketComment
	err := s.db.each(ctx, func(row scanner) error {
		var c TicketComment
		var at int64
		err := row.Scan(&c.ID, &c.TicketID, &c.By, &at, &c.Text)
		c.At = instant(at)
		list = append(list, c)
		return err
	}, "SELECT id, ticket_id, by, at, text FROM ticket_comment WHERE tenant = ? AND ticket_id = ? ORDER BY id", tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read comments of ticket %d: %w", id, err)
	}
	return list, nil
}
