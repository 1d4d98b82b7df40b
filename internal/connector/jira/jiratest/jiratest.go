// Package jiratest is a Jira for tests: issues, search with its lag, comments
// with properties, a workflow, faults. It is held to Atlassian's document where
// that is at hand.
//
// It is imported by tests only and may import resttest.
package jiratest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector/rest/resttest"
)

// Issue is one issue as the server holds it.
type Issue struct {
	Key      string
	Fields   map[string]any
	Labels   []string
	Status   string
	Comments []Comment
	Created  time.Time
	Updated  time.Time
}

// Comment is one comment.
type Comment struct {
	Body       json.RawMessage
	Properties []map[string]any
}

// Server is a Jira. Its fields are set before it is used, its methods are safe
// for concurrent use.
type Server struct {
	URL   string
	Token string
	// Lag is how long a new issue is not found by search.
	Lag time.Duration
	// Ways are the statuses an issue can be set to; nil for all, in the order
	// Won't Do, Done, In Progress, To Do.
	Ways []string
	Now  func() time.Time

	mu     sync.Mutex
	issues []*Issue
	// drop counts creations that are made and not answered; refuse are statuses
	// to answer the next requests with.
	drop     int
	refuse   []int
	creates  int
	searches int
}

// New starts a server, ended with the test.
func New(t testing.TB, now func() time.Time) *Server {
	s := &Server{Token: "jira-token-3f9a2c", Now: now}
	srv := httptest.NewServer(resttest.Hold(t, resttest.Document(t, "jira.json"), s))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

// DropNext makes the next n creations happen and breaks their answers.
func (s *Server) DropNext(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.drop = n }

// Refuse answers the next requests with these statuses.
func (s *Server) Refuse(status ...int) { s.mu.Lock(); defer s.mu.Unlock(); s.refuse = status }

// Creates is how many creations reached the server, whatever was answered.
func (s *Server) Creates() int { s.mu.Lock(); defer s.mu.Unlock(); return s.creates }

// Issues returns copies of all issues.
func (s *Server) Issues() []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Issue, len(s.issues))
	for i, x := range s.issues {
		out[i] = *x
		out[i].Comments = slices.Clone(x.Comments)
	}
	return out
}

// Move sets the status of an issue, as a person would.
func (s *Server) Move(key, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.issue(key); i != nil {
		i.Status, i.Updated = status, s.Now()
	}
}

func (s *Server) issue(key string) *Issue {
	for _, i := range s.issues {
		if i.Key == key {
			return i
		}
	}
	return nil
}

// The workflow: its statuses, with their categories.
const (
	ToDo = "To Do"
	Work = "In Progress"
	Done = "Done"
	Wont = "Won't Do"
)

func statusDoc(name string) map[string]any {
	cat := map[string]map[string]any{
		ToDo: {"id": 2, "key": "new", "name": "To Do"},
		Work: {"id": 4, "key": "indeterminate", "name": "In Progress"},
		Done: {"id": 3, "key": "done", "name": "Done"},
		Wont: {"id": 3, "key": "done", "name": "Done"},
	}[name]
	return map[string]any{"name": name, "statusCategory": cat}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

func refusal(w http.ResponseWriter, status int, msg string) {
	answer(w, status, map[string]any{"errorMessages": []string{msg}, "errors": map[string]string{}})
}

var pathOf = regexp.MustCompile(`^/rest/api/3/issue/([A-Z]+-\d+)(/comment|/transitions)?$`)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, password, _ := r.BasicAuth()
	if password != s.Token && r.Header.Get("Authorization") != "Bearer "+s.Token {
		refusal(w, http.StatusUnauthorized, "Client must be authenticated to access this resource.")
		return
	}
	if len(s.refuse) > 0 {
		code := s.refuse[0]
		s.refuse = s.refuse[1:]
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "7")
		}
		w.WriteHeader(code)
		return
	}
	switch m := pathOf.FindStringSubmatch(r.URL.Path); {
	case r.URL.Path == "/rest/api/3/issue" && r.Method == http.MethodPost:
		s.create(w, r)
	case r.URL.Path == "/rest/api/3/search/jql" && r.Method == http.MethodPost:
		s.search(w, r)
	case m == nil || s.issue(m[1]) == nil:
		refusal(w, http.StatusNotFound, "Issue does not exist or you do not have permission to see it.")
	case m[2] == "" && r.Method == http.MethodGet:
		answer(w, http.StatusOK, s.show(s.issue(m[1])))
	case m[2] == "/comment":
		s.comment(w, r, s.issue(m[1]))
	case m[2] == "/transitions":
		s.transition(w, r, s.issue(m[1]))
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var in struct{ Fields map[string]any }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refusal(w, http.StatusBadRequest, err.Error())
		return
	}
	summary, _ := in.Fields["summary"].(string)
	if n := len([]rune(summary)); n == 0 || n > 255 || strings.Contains(summary, "\n") {
		answer(w, http.StatusBadRequest, map[string]any{"errorMessages": []string{}, "errors": map[string]string{"summary": "You must specify a summary of the issue."}})
		return
	}
	project := in.Fields["project"].(map[string]any)["key"].(string)
	i := &Issue{Key: fmt.Sprintf("%s-%d", project, len(s.issues)+1), Fields: in.Fields, Status: ToDo, Created: s.Now(), Updated: s.Now()}
	if ls, ok := in.Fields["labels"].([]any); ok {
		for _, l := range ls {
			i.Labels = append(i.Labels, l.(string))
		}
	}
	s.issues = append(s.issues, i)
	s.creates++
	if s.drop > 0 {
		s.drop--
		panic(http.ErrAbortHandler)
	}
	n := strconv.Itoa(10000 + len(s.issues))
	answer(w, http.StatusCreated, map[string]any{"id": n, "key": i.Key, "self": s.URL + "/rest/api/3/issue/" + n})
}

var clause = regexp.MustCompile(`labels = "([^"]+)"|updated >= "-(\d+)m"`)

func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	s.searches++
	var in struct {
		JQL           string `json:"jql"`
		MaxResults    int    `json:"maxResults"`
		NextPageToken string `json:"nextPageToken"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refusal(w, http.StatusBadRequest, err.Error())
		return
	}
	var hits []any
	for _, i := range s.issues {
		fits := !i.Created.Add(s.Lag).After(s.Now())
		for _, m := range clause.FindAllStringSubmatch(in.JQL, -1) {
			if m[1] != "" {
				fits = fits && slices.Contains(i.Labels, m[1])
				continue
			}
			n, _ := strconv.Atoi(m[2])
			fits = fits && !i.Updated.Before(s.Now().Add(-time.Duration(n)*time.Minute))
		}
		if fits {
			hits = append(hits, s.show(i))
		}
	}
	from, _ := strconv.Atoi(in.NextPageToken)
	to := min(from+in.MaxResults, len(hits))
	out := map[string]any{"issues": append([]any{}, hits[from:to]...), "isLast": to == len(hits)}
	if to < len(hits) {
		out["nextPageToken"] = strconv.Itoa(to)
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) show(i *Issue) map[string]any {
	return map[string]any{"id": "1", "key": i.Key, "fields": map[string]any{"labels": i.Labels, "status": statusDoc(i.Status),
		"updated": i.Updated.Format("2006-01-02T15:04:05.000-0700"), "summary": i.Fields["summary"]}}
}

func (s *Server) comment(w http.ResponseWriter, r *http.Request, i *Issue) {
	if r.Method == http.MethodGet {
		from, _ := strconv.Atoi(r.URL.Query().Get("startAt"))
		size, _ := strconv.Atoi(r.URL.Query().Get("maxResults"))
		list := []any{}
		for n := len(i.Comments) - 1 - from; n >= 0 && len(list) < size; n-- {
			list = append(list, map[string]any{"id": strconv.Itoa(n), "body": i.Comments[n].Body, "properties": i.Comments[n].Properties})
		}
		answer(w, http.StatusOK, map[string]any{"comments": list, "startAt": from, "maxResults": size, "total": len(i.Comments)})
		return
	}
	var in struct {
		Body       json.RawMessage  `json:"body"`
		Properties []map[string]any `json:"properties"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refusal(w, http.StatusBadRequest, err.Error())
		return
	}
	i.Comments = append(i.Comments, Comment{in.Body, in.Properties})
	i.Updated = s.Now()
	answer(w, http.StatusCreated, map[string]any{"id": strconv.Itoa(len(i.Comments)), "body": in.Body})
}

func (s *Server) transition(w http.ResponseWriter, r *http.Request, i *Issue) {
	names := s.Ways
	if names == nil {
		names = []string{Wont, Done, Work, ToDo}
	}
	if r.Method == http.MethodGet {
		list := []any{}
		for n, name := range names {
			list = append(list, map[string]any{"id": strconv.Itoa(n), "name": "Set to " + name, "to": statusDoc(name)})
		}
		answer(w, http.StatusOK, map[string]any{"transitions": list})
		return
	}
	var in struct{ Transition struct{ ID string } }
	err := json.NewDecoder(r.Body).Decode(&in)
	n, aerr := strconv.Atoi(in.Transition.ID)
	if err != nil || aerr != nil || n >= len(names) {
		refusal(w, http.StatusBadRequest, "no such transition")
		return
	}
	i.Status, i.Updated = names[n], s.Now()
	w.WriteHeader(http.StatusNoContent)
}
