package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/format"
)

// Quarantine is where people work on bodies that could not be read.
type Quarantine interface {
	// Quarantined counts the bodies that wait.
	Quarantined(ctx context.Context, tenant string) (int, error)
	// Bodies lists them after an id, 0 for the beginning, of one source or of
	// all with "", oldest first.
	Bodies(ctx context.Context, p auth.Principal, source string, after int64, n int) ([]Body, error)
	// Body shows one with what may be secret taken out; the ledger holds who
	// looked. engine.ErrNotFound if it is not there.
	Body(ctx context.Context, p auth.Principal, id int64) (BodyText, error)
	// Release reads one again, by the mapping of a file or by what is known with "".
	Release(ctx context.Context, p auth.Principal, id int64, mapping string) (Released, error)
	// Drop ends one for a reason.
	Drop(ctx context.Context, p auth.Principal, id int64, reason string) error
}

// Body is one quarantined body, without what is in it.
type Body struct {
	ID         int64     `json:"id"`
	Source     string    `json:"source"`
	ReceivedAt time.Time `json:"received_at"`
	Bytes      int       `json:"bytes" doc:"Bytes of the body as it was received."`
	Owner      string    `json:"owner" doc:"Whom it waits for."`
	Why        string    `json:"why" doc:"Why it could not be read."`
	Event      string    `json:"event,omitempty" doc:"The sender's event name."`
}

// BodyText is a quarantined body with its text.
type BodyText struct {
	Body
	Size int    `json:"size" doc:"Bytes of the body as it was received."`
	Cut  bool   `json:"cut,omitempty" doc:"There is more than is shown."`
	Text string `json:"text" doc:"What may be secret is taken out."`
}

// Released is what became of a body that was read again.
type Released struct {
	ID     int64  `json:"id"`
	Stays  bool   `json:"stays" doc:"It is still in quarantine: why says the reason."`
	Later  bool   `json:"later,omitempty" doc:"It left the quarantine and is worked on as soon as it can be stored."`
	Why    string `json:"why,omitempty"`
	Format string `json:"format,omitempty"`
	// Read, Kept, Suppressed and Refused count records.
	Read       int `json:"read"`
	Kept       int `json:"kept"`
	Suppressed int `json:"suppressed"`
	Refused    int `json:"refused"`
	// Opened, Joined and Seen say where the kept ones went.
	Opened  int           `json:"opened"`
	Joined  int           `json:"joined"`
	Seen    int           `json:"seen"`
	Cases   []string      `json:"cases" nullable:"false"`
	Refusal []format.Note `json:"refusals,omitempty"`
}

// bodiesQuery selects quarantined bodies.
type bodiesQuery struct {
	Source string `query:"source"`
	After  int64  `query:"after" minimum:"0" doc:"next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// bodiesBody is one page of quarantined bodies.
type bodiesBody struct {
	Bodies []Body `json:"bodies" nullable:"false"`
	Next   int64  `json:"next,omitempty" doc:"For after; missing on the last page."`
}

// bodies returns up to limit bodies, and the id to go on after, 0 at the end.
func (s *server) bodies(ctx context.Context, p auth.Principal, source string, after int64, limit int) (list []Body, next int64, err error) {
	list, err = s.Quarantine.Bodies(ctx, p, source, after, limit+1)
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	return list, next, err
}

func (s *server) apiBodies(ctx context.Context, p auth.Principal, in *bodiesQuery) (bodiesBody, error) {
	list, next, err := s.bodies(ctx, p, in.Source, in.After, in.Limit)
	return bodiesBody{append([]Body{}, list...), next}, err
}

// BodyID names the quarantined body of an operation.
type BodyID struct {
	ID int64 `path:"id" minimum:"1" doc:"The number of the body."`
}

func (s *server) apiBody(ctx context.Context, p auth.Principal, in *BodyID) (BodyText, error) {
	return s.Quarantine.Body(ctx, p, in.ID)
}

// releaseIn asks for a body to be read again.
type releaseIn struct {
	BodyID
	Body *struct {
		Mapping string `json:"mapping,omitempty" doc:"A mapping file that reads it, for this once."`
	} `required:"false"`
}

func (s *server) apiRelease(ctx context.Context, p auth.Principal, in *releaseIn) (Released, error) {
	mapping := ""
	if in.Body != nil {
		mapping = in.Body.Mapping
	}
	return s.Quarantine.Release(ctx, p, in.ID, mapping)
}

// dropIn says why a body is dropped.
type dropIn struct {
	BodyID
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"16384"`
	}
}

// dropped is what was dropped.
type dropped struct {
	Dropped int64 `json:"dropped"`
}

func (s *server) apiDrop(ctx context.Context, p auth.Principal, in *dropIn) (dropped, error) {
	return dropped{in.ID}, s.dropBody(ctx, p, in.ID, in.Body.Reason)
}

func (s *server) dropBody(ctx context.Context, p auth.Principal, id int64, reason string) error {
	switch reason = strings.TrimSpace(reason); {
	case reason == "":
		return wordsMissing("Say why it is dropped: it goes into the record.")
	case len(reason) > maxText:
		return textTooLong()
	}
	return s.Quarantine.Drop(ctx, p, id, reason)
}

// quarantineData is what the list of quarantined bodies shows.
type quarantineData struct {
	frame
	Rows        []Body
	Source      string
	First, Next string
}

// bodyHref leads to a quarantined body.
func bodyHref(id int64) string { return "/quarantine/" + strconv.FormatInt(id, 10) }

func (s *server) quarantinePage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	d := quarantineData{frame: s.frame(r, "Quarantine", "quarantine"), Source: q.Get("source")}
	after, err := strconv.ParseInt(cmp.Or(q.Get("after"), "0"), 10, 64)
	if err != nil || after < 0 {
		return &problem{Status: http.StatusBadRequest, Title: "The page can't be read", Detail: "after: want the number of a body."}
	}
	var next int64
	if d.Rows, next, err = s.bodies(r.Context(), auth.FromContext(r.Context()), d.Source, after, pageSize); err != nil {
		return err
	}
	link := func(after int64) string {
		v := url.Values{}
		if d.Source != "" {
			v.Set("source", d.Source)
		}
		if after > 0 {
			v.Set("after", strconv.FormatInt(after, 10))
		}
		return strings.TrimSuffix("/quarantine?"+v.Encode(), "?")
	}
	if next > 0 {
		d.Next = link(next)
	}
	if after > 0 {
		d.First = link(0)
	}
	s.render(w, r, http.StatusOK, quarantineList(d))
	return nil
}

// bodyData is what the page of one quarantined body shows.
type bodyData struct {
	frame
	Body BodyText
	// Tried is what became of it when it was read again just now.
	Tried         *Released
	MayAdminister bool
}

// bodyNumber reads the id of the path; a wrong one is a body that is not there.
func bodyNumber(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("quarantined body: %w", engine.ErrNotFound)
	}
	return id, nil
}

func (s *server) bodyPage(w http.ResponseWriter, r *http.Request) error { return s.showBody(w, r, nil) }

func (s *server) showBody(w http.ResponseWriter, r *http.Request, tried *Released) error {
	id, err := bodyNumber(r)
	if err != nil {
		return err
	}
	p := auth.FromContext(r.Context())
	d := bodyData{frame: s.frame(r, "Body "+strconv.FormatInt(id, 10), "quarantine"), Tried: tried, MayAdminister: p.Can(auth.Administer)}
	if d.Body, err = s.Quarantine.Body(r.Context(), p, id); err != nil {
		return err
	}
	status := http.StatusOK
	if tried != nil {
		status = http.StatusUnprocessableEntity
	}
	s.render(w, r, status, bodyView(d))
	return nil
}

func (s *server) releaseForm(w http.ResponseWriter, r *http.Request) error {
	id, err := bodyNumber(r)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	out, err := s.Quarantine.Release(r.Context(), auth.FromContext(r.Context()), id, r.PostForm.Get("mapping"))
	switch {
	case err != nil:
		return err
	case out.Stays:
		return s.showBody(w, r, &out)
	}
	d := releasedData{s.frame(r, "Body "+strconv.FormatInt(id, 10), "quarantine"), out}
	s.render(w, r, http.StatusOK, releasedView(d))
	return nil
}

// releasedData is what the page shows after a body left the quarantine.
type releasedData struct {
	frame
	Out Released
}

func (s *server) dropForm(w http.ResponseWriter, r *http.Request) error {
	id, err := bodyNumber(r)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	if err := s.dropBody(r.Context(), auth.FromContext(r.Context()), id, r.PostForm.Get("reason")); err != nil {
		return err
	}
	http.Redirect(w, r, "/quarantine?said=dropped", http.StatusSeeOther)
	return nil
}

// wentWords says in a sentence where the records of a released body went.
func wentWords(o Released) string {
	out := fmt.Sprintf("%s read as %s: %s opened, %d joined, %d seen before", plural(o.Read, "record", "records"), o.Format, plural(o.Opened, "case", "cases"), o.Joined, o.Seen)
	if o.Suppressed > 0 {
		out += fmt.Sprintf(", %d no findings by their source's own word", o.Suppressed)
	}
	if o.Refused > 0 {
		out += fmt.Sprintf(", %d can't be read", o.Refused)
	}
	return out + "."
}
