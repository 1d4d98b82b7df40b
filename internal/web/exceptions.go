package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// Exceptions is where people ask for exceptions, grant and end them.
type Exceptions interface {
	// Exceptions are the standing ones in force, with over also those that ended,
	// and the requests that wait.
	Exceptions(ctx context.Context, p auth.Principal, over bool) ([]StandingException, []ExceptionRequest, error)
	// AskException stores a request; *auth.InputError if it is none.
	AskException(ctx context.Context, p auth.Principal, ask ExceptionAsk) (ExceptionRequest, error)
	// GrantException grants what somebody else asked for.
	GrantException(ctx context.Context, p auth.Principal, id string) (ExceptionRequest, error)
	// EndException ends a granted one, of a case if caseID is not "", or drops a
	// request.
	EndException(ctx context.Context, p auth.Principal, id, caseID string) error
}

// ExceptionAsk is what somebody asks to except, until when and why.
type ExceptionAsk struct {
	Kind string `json:"kind,omitempty" doc:"risk-accepted if missing."`
	// Case is set for an exception of one case; else the next four name what
	// passes the gate.
	Case     string    `json:"case,omitempty" doc:"One case; or name by the next four what passes the gate."`
	Class    string    `json:"class,omitempty"`
	Package  string    `json:"package,omitempty"`
	Project  string    `json:"project,omitempty"`
	Weakness string    `json:"weakness,omitempty" doc:"CVE or advisory id."`
	Until    time.Time `json:"until"`
	Reason   string    `json:"reason"`
}

// ExceptionRequest is an exception somebody asked for and nobody granted yet.
type ExceptionRequest struct {
	ID string `json:"id"`
	ExceptionAsk
	// Asked is the principal's id, AskedBy the name for people.
	Asked   string    `json:"asked"`
	AskedBy string    `json:"asked_by"`
	AskedAt time.Time `json:"asked_at"`
}

// StandingException is a granted exception as lists show it.
type StandingException struct {
	store.Exception
	ReasonText string `json:"reason_text,omitempty"`
	// AskedBy and GrantedBy are the names for people.
	AskedBy   string `json:"asked_by,omitempty"`
	GrantedBy string `json:"granted_by,omitempty"`
	Active    bool   `json:"active"`
}

// exceptionsQuery selects exceptions.
type exceptionsQuery struct {
	All string `query:"all" doc:"1: also those that are over."`
}

// exceptionList is what waits and what stands.
type exceptionList struct {
	Exceptions []StandingException `json:"exceptions" nullable:"false"`
	Requests   []ExceptionRequest  `json:"requests" nullable:"false"`
}

func (s *server) apiExceptions(ctx context.Context, p auth.Principal, in *exceptionsQuery) (exceptionList, error) {
	es, reqs, err := s.Exceptions.Exceptions(ctx, p, in.All != "")
	return exceptionList{append([]StandingException{}, es...), append([]ExceptionRequest{}, reqs...)}, err
}

// exceptionIn is a request for an exception.
type exceptionIn struct{ Body ExceptionAsk }

func (s *server) apiAskException(ctx context.Context, p auth.Principal, in *exceptionIn) (ExceptionRequest, error) {
	return s.Exceptions.AskException(ctx, p, in.Body)
}

// Named names the object of an operation.
type Named struct {
	ID string `path:"id"`
}

func (s *server) apiGrantException(ctx context.Context, p auth.Principal, in *Named) (ExceptionRequest, error) {
	return s.Exceptions.GrantException(ctx, p, in.ID)
}

// exceptionID names an exception.
type exceptionID struct {
	Named
	Case string `query:"case" doc:"Its case, for an exception of a case."`
}

// Revoked is what was ended.
type Revoked struct {
	Revoked string `json:"revoked"`
}

func (s *server) apiEndException(ctx context.Context, p auth.Principal, in *exceptionID) (Revoked, error) {
	return Revoked{in.ID}, s.Exceptions.EndException(ctx, p, in.ID, in.Case)
}

// exceptionKinds are the reasons that the form offers; the API takes any word.
func exceptionKinds() [][2]string {
	return [][2]string{{"risk-accepted", "The risk is accepted"}, {"fix-planned", "The fix has a date"},
		{"compensating-control", "Another control holds it"}, {"false-positive", "It is a false positive"}}
}

// asideRow is a case that an exception sets aside.
type asideRow struct {
	summary
	Exception remedy.Exception
}

// exceptionsData is what the page of exceptions shows.
type exceptionsData struct {
	frame
	Requests []ExceptionRequest
	Standing []StandingException
	Aside    []asideRow
	// MoreAside: there are more cases set aside than are shown.
	MoreAside bool
	// All: those that are over are shown too.
	All        bool
	Names      people
	MayRespond bool
	MayDecide  bool
}

func (s *server) exceptionsPage(w http.ResponseWriter, r *http.Request) error {
	ctx, p := r.Context(), auth.FromContext(r.Context())
	d := exceptionsData{frame: s.frame(r, "Exceptions", "exceptions"), All: r.URL.Query().Get("all") == "1", Names: s.names(ctx),
		MayRespond: p.Can(auth.Respond), MayDecide: p.Can(auth.Decide)}
	var err error
	if d.Standing, d.Requests, err = s.Exceptions.Exceptions(ctx, p, d.All); err != nil {
		return err
	}
	if !d.All {
		d.Standing = slices.DeleteFunc(d.Standing, func(e StandingException) bool { return !e.Active })
	}
	list, err := s.Reader.ListCases(ctx, store.CaseFilter{Tenant: p.Tenant, State: string(remedy.StateExcepted)}, "", pageSize)
	if err != nil {
		return err
	}
	for _, row := range list.Cases {
		c, err := s.Reader.Load(ctx, row.ID)
		if err != nil {
			return err
		}
		if c.Exception != nil { // it may have ended between the two reads
			d.Aside = append(d.Aside, asideRow{s.summarize(c, d.Names), *c.Exception})
		}
	}
	slices.SortStableFunc(d.Aside, func(a, b asideRow) int { return a.Exception.Until.Compare(b.Exception.Until) })
	d.MoreAside = list.Next != ""
	s.render(w, r, http.StatusOK, exceptionsList(d))
	return nil
}

// askForm asks for an exception: of a case, or of what passes the gate.
func (s *server) askForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	f := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	until, err := time.Parse(formTime, f("until"))
	if err != nil {
		return &problem{Status: http.StatusUnprocessableEntity, Title: "The end can't be read", Detail: "An exception ends by itself: name a date and a time in UTC."}
	}
	ask := ExceptionAsk{Kind: f("kind"), Case: f("case"), Class: f("class"), Package: f("package"), Project: f("project"), Weakness: f("weakness"), Until: until.UTC(), Reason: f("reason")}
	if _, err := s.Exceptions.AskException(r.Context(), auth.FromContext(r.Context()), ask); err != nil {
		return err
	}
	to := "/exceptions"
	if ask.Case != "" {
		to = "/cases/" + ask.Case
	}
	http.Redirect(w, r, to+"?said=except", http.StatusSeeOther)
	return nil
}

func (s *server) grantForm(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Exceptions.GrantException(r.Context(), auth.FromContext(r.Context()), r.PathValue("id")); err != nil {
		return err
	}
	http.Redirect(w, r, "/exceptions?said=grant", http.StatusSeeOther)
	return nil
}

func (s *server) endForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	if err := s.Exceptions.EndException(r.Context(), auth.FromContext(r.Context()), r.PathValue("id"), r.PostForm.Get("case")); err != nil {
		return err
	}
	said := "end-exception"
	if r.PostForm.Get("asked") != "" {
		said = "drop-exception"
	}
	http.Redirect(w, r, "/exceptions?said="+said, http.StatusSeeOther)
	return nil
}

// ExceptionScope says in words what passes the gate by an exception.
func ExceptionScope(class, pkg, project, weakness string) string {
	var parts []string
	for _, x := range [][2]string{{"weakness", weakness}, {"package", pkg}, {"project", project}, {"class", class}} {
		if x[1] != "" {
			parts = append(parts, x[0]+" "+x[1])
		}
	}
	return strings.Join(parts, ", ")
}

// standingMark says where a standing exception is in its life.
func standingMark(e StandingException) mark {
	switch {
	case e.Active:
		return mark{"In force", "check", toneGood, "what it names passes the gate"}
	case !e.RevokedAt.IsZero():
		return mark{"Revoked", "cross", toneQuiet, "somebody ended it before its time"}
	}
	return mark{"Over", "clock", toneQuiet, "it came to its end"}
}

// kindWords is a kind of exception in words.
func kindWords(kind string) string {
	for _, k := range exceptionKinds() {
		if k[0] == kind {
			return k[1]
		}
	}
	return cmp.Or(kind, "No kind is named")
}
