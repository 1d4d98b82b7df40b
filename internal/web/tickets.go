package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/connector/tracker"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// Tickets are those of the built-in tracker.
type Tickets interface {
	Ticket(ctx context.Context, tenant string, id int64) (store.Ticket, error)
	Tickets(ctx context.Context, f store.TicketFilter, n int) ([]store.Ticket, error)
	TicketComments(ctx context.Context, tenant string, id int64) ([]store.TicketComment, error)
	AddTicketComment(ctx context.Context, tenant, onceKey string, c store.TicketComment) error
	// UpdateTicket fails with engine.ErrConflict if the ticket is not at its Rev.
	UpdateTicket(ctx context.Context, t store.Ticket) error
}

// trackerSystem is how policy and cases name the built-in tracker.
const trackerSystem = "tracker"

// ticketStatuses are the words a person may set.
func ticketStatuses() []string {
	return []string{tracker.StatusOpen, tracker.StatusWork, tracker.StatusDone}
}

// Ticket is a ticket as the API shows it.
type Ticket struct {
	ID        int64             `json:"id"`
	Ref       string            `json:"ref" doc:"How people name it, such as T-12."`
	Case      string            `json:"case,omitempty"`
	Project   string            `json:"project,omitempty"`
	Title     string            `json:"title"`
	Body      string            `json:"body"`
	Fields    map[string]string `json:"fields,omitempty"`
	Status    string            `json:"status" enum:"open,in progress,done"`
	Assignee  string            `json:"assignee,omitempty"`
	Version   int               `json:"version"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
	Comments  []TicketComment   `json:"comments,omitempty"`
}

// TicketComment is one comment on a ticket.
type TicketComment struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

func (t Ticket) etag() string { return `"` + strconv.Itoa(t.Version) + `"` }

func ticketRef(id int64) string { return "T-" + strconv.FormatInt(id, 10) }

func ticketOf(t store.Ticket) Ticket {
	return Ticket{ID: t.ID, Ref: ticketRef(t.ID), Case: t.CaseID, Project: t.Project, Title: t.Title, Body: t.Body, Fields: t.Fields,
		Status: t.Status, Assignee: t.Assignee, Version: t.Rev, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt}
}

// ticket reads a ticket with its comments.
func (s *server) ticket(ctx context.Context, tenant string, id int64) (Ticket, error) {
	t, err := s.Tickets.Ticket(ctx, tenant, id)
	if err != nil {
		return Ticket{}, err
	}
	out := ticketOf(t)
	comments, err := s.Tickets.TicketComments(ctx, tenant, id)
	for _, c := range comments {
		out.Comments = append(out.Comments, TicketComment{c.By, c.At, c.Text})
	}
	return out, err
}

// commentTicket adds a person's words to a ticket.
func (s *server) commentTicket(ctx context.Context, p auth.Principal, id int64, text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return wordsMissing("Write what you want to say.")
	case len(text) > maxText:
		return textTooLong()
	}
	if _, err := s.Tickets.Ticket(ctx, p.Tenant, id); err != nil {
		return err
	}
	return s.Tickets.AddTicketComment(ctx, p.Tenant, p.ID+"/"+rand.Text(), store.TicketComment{TicketID: id, By: p.ID, At: s.Now().UTC(), Text: text})
}

// maxMerges bounds how far a ticket's case is followed through merges.
const maxMerges = 16

// moveTicket sets a ticket's status; version 0 is whatever it is at. Done is a
// claim: the case starts to verify, and only a probe closes it. A claim that
// could not be given leaves the ticket as it was.
func (s *server) moveTicket(ctx context.Context, p auth.Principal, id int64, status string, version int) error {
	t, err := s.Tickets.Ticket(ctx, p.Tenant, id)
	switch {
	case err != nil:
		return err
	case !slices.Contains(ticketStatuses(), status):
		return &problem{Status: http.StatusUnprocessableEntity, Title: "There is no such status", Detail: "Want " + strings.Join(ticketStatuses(), ", ") + "."}
	case version > 0 && version != t.Rev:
		return fmt.Errorf("ticket %s: %w", ticketRef(id), engine.ErrConflict)
	}
	was := t.Status
	t.Status, t.UpdatedAt = status, s.Now().UTC()
	if err := s.Tickets.UpdateTicket(ctx, t); err != nil {
		return err
	}
	if status != tracker.StatusDone || t.CaseID == "" {
		return nil
	}
	if err := s.claim(ctx, p, t); err != nil {
		t.Status, t.Rev = was, t.Rev+1
		return errors.Join(err, s.Tickets.UpdateTicket(ctx, t))
	}
	return nil
}

// claim tells the ticket's case that somebody says it is done.
func (s *server) claim(ctx context.Context, p auth.Principal, t store.Ticket) error {
	ref, id := ticketRef(t.ID), t.CaseID
	for range maxMerges {
		c, err := s.own(ctx, p, id)
		if err != nil {
			return err
		}
		if c.MergedInto != "" {
			id = c.MergedInto
			continue
		}
		do := remedy.Claim{From: "ticket " + ref, Status: t.Status}
		for _, x := range c.Tickets {
			if x.System == trackerSystem && x.Ref == ref {
				do.Ticket = x.N
			}
		}
		_, err = s.Engine.Tell(ctx, id, remedy.Command{At: s.Now().UTC(), By: p.Actor(), Do: do})
		return err
	}
	return fmt.Errorf("case %s: merged more than %d times: %w", t.CaseID, maxMerges, engine.ErrNotFound)
}

// ticketsQuery selects tickets.
type ticketsQuery struct {
	Status   string `query:"status" enum:"open,in progress,done"`
	Project  string `query:"project"`
	Case     string `query:"case"`
	Assignee string `query:"assignee"`
	After    int64  `query:"after" minimum:"0" doc:"next of the page before."`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// ticketsBody is one page of tickets, without comments.
type ticketsBody struct {
	Tickets []Ticket `json:"tickets" nullable:"false"`
	Next    int64    `json:"next,omitempty" doc:"For after; missing on the last page."`
}

// listTickets returns up to limit tickets, and the id to go on after, 0 at the
// end.
func (s *server) listTickets(ctx context.Context, f store.TicketFilter, limit int) (rows []store.Ticket, next int64, err error) {
	rows, err = s.Tickets.Tickets(ctx, f, limit+1)
	if len(rows) > limit {
		rows = rows[:limit]
		next = rows[limit-1].ID
	}
	return rows, next, err
}

func (s *server) apiTickets(ctx context.Context, p auth.Principal, in *ticketsQuery) (ticketsBody, error) {
	rows, next, err := s.listTickets(ctx, store.TicketFilter{Tenant: p.Tenant, Project: in.Project, CaseID: in.Case, Status: in.Status,
		Assignee: in.Assignee, After: in.After}, in.Limit)
	out := ticketsBody{make([]Ticket, len(rows)), next}
	for i, t := range rows {
		out.Tickets[i] = ticketOf(t)
	}
	return out, err
}

// TicketID names the ticket of an operation.
type TicketID struct {
	ID int64 `path:"id" minimum:"1" doc:"The number of the ticket."`
}

func (s *server) apiTicket(ctx context.Context, p auth.Principal, in *TicketID) (Ticket, error) {
	return s.ticket(ctx, p.Tenant, in.ID)
}

// ticketCommentIn is a comment on a ticket.
type ticketCommentIn struct {
	TicketID
	Body struct {
		Text string `json:"text" minLength:"1" maxLength:"16384"`
	}
}

func (s *server) apiTicketComment(ctx context.Context, p auth.Principal, in *ticketCommentIn) (Ticket, error) {
	if err := s.commentTicket(ctx, p, in.ID, in.Body.Text); err != nil {
		return Ticket{}, err
	}
	return s.ticket(ctx, p.Tenant, in.ID)
}

// ticketStatusIn is a new status of a ticket.
type ticketStatusIn struct {
	TicketID
	IfMatchHeader
	Body struct {
		Status string `json:"status" enum:"open,in progress,done"`
	}
}

func (s *server) apiTicketStatus(ctx context.Context, p auth.Principal, in *ticketStatusIn) (Ticket, error) {
	v, err := in.version()
	if err != nil {
		return Ticket{}, err
	}
	if err := s.moveTicket(ctx, p, in.ID, in.Body.Status, int(v)); err != nil {
		if v > 0 && errors.Is(err, engine.ErrConflict) {
			err = &problem{Status: http.StatusPreconditionFailed, Title: "The ticket changed since you read it", Detail: "Nothing was done. Load it again and look."}
		}
		return Ticket{}, err
	}
	return s.ticket(ctx, p.Tenant, in.ID)
}

// ticketsData is what the list of tickets shows.
type ticketsData struct {
	frame
	Rows   []store.Ticket
	Names  people
	Status string
	First  string
	Next   string
}

func (s *server) ticketsPage(w http.ResponseWriter, r *http.Request) error {
	q, p := r.URL.Query(), auth.FromContext(r.Context())
	d := ticketsData{frame: s.frame(r, "Tickets", "tickets"), Names: s.names(r.Context()), Status: q.Get("status")}
	if d.Status != "" && !slices.Contains(ticketStatuses(), d.Status) {
		return &problem{Status: http.StatusBadRequest, Title: "The filter can't be read", Detail: "status: want " + strings.Join(ticketStatuses(), ", ") + "."}
	}
	after, err := strconv.ParseInt(cmp.Or(q.Get("after"), "0"), 10, 64)
	if err != nil || after < 0 {
		return &problem{Status: http.StatusBadRequest, Title: "The page can't be read", Detail: "after: want the number of a ticket."}
	}
	var next int64
	if d.Rows, next, err = s.listTickets(r.Context(), store.TicketFilter{Tenant: p.Tenant, Status: d.Status, After: after}, pageSize); err != nil {
		return err
	}
	link := func(after int64) string {
		v := url.Values{}
		if d.Status != "" {
			v.Set("status", d.Status)
		}
		if after > 0 {
			v.Set("after", strconv.FormatInt(after, 10))
		}
		return strings.TrimSuffix("/tickets?"+v.Encode(), "?")
	}
	if next > 0 {
		d.Next = link(next)
	}
	if after > 0 {
		d.First = link(0)
	}
	s.render(w, r, http.StatusOK, ticketsList(d))
	return nil
}

// ticketData is what the page of one ticket shows.
type ticketData struct {
	frame
	Ticket Ticket
	Names  people
	// Case is the ticket's case; HasCase is false if it has none.
	Case    summary
	Verdict mark
	HasCase bool
	// Fields are those of the template in the order of their names.
	Fields     [][2]string
	MayRespond bool
}

// ticketNumber reads the id of the path; a wrong one is a ticket that is not
// there.
func ticketNumber(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(r.PathValue("id"), "T-"), 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("ticket: %w", engine.ErrNotFound)
	}
	return id, nil
}

func (s *server) ticketPage(w http.ResponseWriter, r *http.Request) error {
	id, err := ticketNumber(r)
	if err != nil {
		return err
	}
	ctx, p := r.Context(), auth.FromContext(r.Context())
	t, err := s.ticket(ctx, p.Tenant, id)
	if err != nil {
		return err
	}
	d := ticketData{frame: s.frame(r, t.Ref+" "+t.Title, "tickets"), Ticket: t, Names: s.names(ctx), MayRespond: p.Can(auth.Respond)}
	for k, v := range t.Fields {
		if v != "" {
			d.Fields = append(d.Fields, [2]string{k, v})
		}
	}
	slices.SortFunc(d.Fields, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	if t.Case != "" {
		switch c, err := s.own(ctx, p, t.Case); {
		case err == nil:
			d.Case, d.Verdict, d.HasCase = s.summarize(c, d.Names), verdictOf(c, s.Now().UTC()), true
		case !errors.Is(err, engine.ErrNotFound):
			return err
		}
	}
	s.render(w, r, http.StatusOK, ticketView(d))
	return nil
}

// ticketForm handles the forms on the page of a ticket: "comment" or "status".
func (s *server) ticketForm(verb string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := ticketNumber(r)
		if err != nil {
			return err
		}
		if err := r.ParseForm(); err != nil {
			return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
		}
		p, said := auth.FromContext(r.Context()), "comment-ticket"
		if verb == "comment" {
			err = s.commentTicket(r.Context(), p, id, r.PostForm.Get("text"))
		} else {
			status := r.PostForm.Get("status")
			version, _ := strconv.Atoi(r.PostForm.Get("version")) // missing or wrong: whatever it is at
			said = "ticket-" + strings.ReplaceAll(status, " ", "-")
			err = s.moveTicket(r.Context(), p, id, status, version)
			if errors.Is(err, engine.ErrConflict) {
				err = &problem{Status: http.StatusConflict, Title: "The ticket changed meanwhile", Detail: "Nothing was done. Load it again and look."}
			}
		}
		if err != nil {
			return err
		}
		http.Redirect(w, r, "/tickets/"+strconv.FormatInt(id, 10)+"?said="+said, http.StatusSeeOther)
		return nil
	}
}

// statusMark shows a ticket's status; a word that is none of ours as it is.
func statusMark(status string) mark {
	switch status {
	case tracker.StatusOpen:
		return mark{"Open", "circle", toneWarn, "nobody has begun"}
	case tracker.StatusWork:
		return mark{"In progress", "pen", toneInfo, "somebody works on it"}
	case tracker.StatusDone:
		return mark{"Done", "check", toneGood, "somebody says it is done"}
	}
	return mark{status, "question", toneQuiet, ""}
}

// toStatus is what the button says that sets a status.
func toStatus(status string) string {
	switch status {
	case tracker.StatusOpen:
		return "Back to open"
	case tracker.StatusWork:
		return "Start work"
	}
	return "Set to done"
}

// commentBy names who wrote a comment.
func commentBy(id string, names people) string {
	if id == "casement" {
		return "Casement"
	}
	return names.of(id)
}
