// Package jira opens and follows issues in Jira Cloud and Data Center by REST
// v3. "Done" there is a claim: it starts verification and closes nothing.
//
// It may import connector and its rest kit. Invariants: one issue per once-key
// (found by its label before one is made) and one comment per key (found by
// its property); what came from an alert is plain text in the document, never
// markup; the credential is in no error.
package jira

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/rest"
)

// Config sets up one Jira. URL, Token and Project are required.
type Config struct {
	// Name is the system's name in policy, "jira" if empty.
	Name string
	// URL is the site, https://example.atlassian.net.
	URL string
	// Email belongs to the API token of Jira Cloud; without it Token is sent as
	// a bearer token (a personal access token of Data Center).
	Email, Token string
	// Project is the key of the project where no route names one, Type the issue
	// type ("Task" if empty).
	Project, Type string
	// Reopen names the status an issue is set back to; "" takes the first
	// transition that leads out of the category "done".
	Reopen string
	// Done names the status an issue is set to when its case is proven closed,
	// Leave leaves that to people; "" takes the transition to a status named
	// Done, Resolved, Fixed or Closed, or the only one into the category "done":
	// a workflow may have a "Won't do" there as well, which would be untrue.
	Done string
	// Fields maps field names of the policy's templates to Jira field ids
	// (customfield_10010); the others are written into the description.
	Fields map[string]string
	// Accounts maps our people and teams to Jira account ids for assignment.
	Accounts map[string]string
	// DueField receives the end of the fix clock as a date, "duedate" if the
	// project has that field on its screen; empty: in the description.
	DueField string
	// Settle is how long a new issue may take to be found by search; 10 s if
	// zero. After a lost answer the search is repeated after it.
	Settle time.Duration
	HTTP   connector.HTTPOptions
	// Wrap goes round the transport; tests record and play by it.
	Wrap  func(http.RoundTripper) http.RoundTripper
	Clock connector.Clock
}

// Jira is one site. It is safe for concurrent use.
type Jira struct {
	cfg  Config
	rest *rest.Client
}

var (
	_ connector.Tracker  = (*Jira)(nil)
	_ connector.Reopener = (*Jira)(nil)
	_ connector.Finisher = (*Jira)(nil)
	_ connector.Follower = (*Jira)(nil)
)

// Leave as Config.Done leaves it to people to set an issue to done.
const Leave = "leave"

// The labels of our issues: all of them, the case, the once-key.
const (
	labelAll  = "casement"
	labelCase = "casement-case-"
	labelKey  = "casement-key-"
	// propertyKey marks our comments.
	propertyKey = "casement"
)

// projectKey reports whether a text is a project's key: a capital, then up to 254
// capitals, digits and underscores, at least one.
func projectKey(key string) bool {
	if len(key) < 2 || len(key) > 255 || key[0] < 'A' || key[0] > 'Z' {
		return false
	}
	return strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// Describe is what a Jira can do, by its name.
func Describe(name string) connector.Spec {
	return connector.Spec{Name: name, Title: "Jira issues as tickets", Tickets: true,
		Permissions: []string{"Browse projects", "Create issues", "Assign issues (with accounts)", "Add comments", "Transition issues (back when a claim is refuted; to done when the case is proven closed, unless done is leave)"}}
}

// Spec implements connector.Connector.
func (j *Jira) Spec() connector.Spec { return Describe(j.cfg.Name) }

// New checks the configuration; nothing is dialled. All faults come at once.
func New(cfg Config) (*Jira, error) {
	var errs []error
	if cfg.Name == "" {
		cfg.Name = "jira"
	}
	if cfg.Type == "" {
		cfg.Type = "Task"
	}
	if cfg.Settle <= 0 {
		cfg.Settle = 10 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = connector.WallClock{}
	}
	if cfg.Token == "" {
		errs = append(errs, errors.New("token: is missing (an API token of Jira Cloud with email, or a personal access token)"))
	}
	if !projectKey(cfg.Project) {
		errs = append(errs, fmt.Errorf("project: want the key of a project such as SEC, not %q", cfg.Project))
	}
	auth := rest.Bearer(cfg.Token)
	if cfg.Email != "" {
		auth = rest.Basic(cfg.Email, cfg.Token)
	}
	c, err := rest.New(rest.Options{Base: cfg.URL, Auth: auth, Secrets: []string{cfg.Token}, HTTP: cfg.HTTP, Wrap: cfg.Wrap, Now: cfg.Clock.Now})
	if err != nil {
		errs = append(errs, err)
	}
	return &Jira{cfg: cfg, rest: c}, errors.Join(errs...)
}

// short is a label-sized digest of a key.
func short(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:10])
}

// issue is what we read of an issue.
type issue struct {
	Key    string `json:"key"`
	Fields struct {
		Labels  []string `json:"labels"`
		Updated string   `json:"updated"`
		Status  status   `json:"status"`
	} `json:"fields"`
}

type status struct {
	Name     string `json:"name"`
	Category struct {
		Key string `json:"key"`
	} `json:"statusCategory"`
}

func (s status) done() bool { return s.Category.Key == "done" }

// search returns the issues that match, at most limit pages of 50.
func (j *Jira) search(ctx context.Context, what, jql string, limit int) ([]issue, error) {
	var out []issue
	err := rest.Pages(ctx, what, limit, func(ctx context.Context, cursor string) (string, error) {
		in := map[string]any{"jql": jql, "maxResults": 50, "fields": []string{"status", "labels", "updated"}}
		if cursor != "" {
			in["nextPageToken"] = cursor
		}
		var page struct {
			Issues []issue `json:"issues"`
			Next   string  `json:"nextPageToken"`
		}
		_, err := j.rest.Do(ctx, rest.Call{What: what, Method: http.MethodPost, Path: "/rest/api/3/search/jql", In: in, Out: &page, Reads: true})
		out = append(out, page.Issues...)
		return page.Next, err
	})
	return out, err
}

// find looks for the issue of a once-key.
func (j *Jira) find(ctx context.Context, key string) (string, error) {
	found, err := j.search(ctx, "looking for the issue", `labels = "`+labelKey+short(key)+`" ORDER BY created ASC`, 1)
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].Key, nil // the oldest, should there be two
}

// Open implements connector.Tracker. Jira has no idempotency key: an issue is
// looked for by its label first. Search lags behind creation, so a repeat
// looks again after Settle before it makes one.
func (j *Jira) Open(ctx context.Context, q connector.TicketRequest) (ref, link string, err error) {
	if q.Key == "" || q.Title == "" {
		return "", "", connector.Errorf(connector.KindConfig, "a ticket needs a once-key and a title")
	}
	ref, err = j.find(ctx, q.Key)
	if err == nil && ref == "" && q.Repeat {
		if err = j.cfg.Clock.Sleep(ctx, j.cfg.Settle); err != nil {
			return "", "", &connector.Error{Kind: connector.KindRetry, Msg: "stopped while waiting for Jira's search", Err: err}
		}
		ref, err = j.find(ctx, q.Key)
	}
	if err != nil {
		return "", "", err
	}
	if ref == "" {
		var made struct {
			Key string `json:"key"`
		}
		_, err = j.rest.Do(ctx, rest.Call{What: "creating the issue", Method: http.MethodPost, Path: "/rest/api/3/issue", In: map[string]any{"fields": j.fields(q)}, Out: &made})
		if err != nil {
			return "", "", j.settle(err)
		}
		if ref = made.Key; ref == "" {
			return "", "", &connector.Error{Kind: connector.KindUnsure, After: j.cfg.Settle, Msg: "creating the issue: the answer has no key"}
		}
	}
	link, _ = url.JoinPath(j.cfg.URL, "browse", ref) // the URL was checked in New
	return ref, link, nil
}

// settle keeps a repeat from coming before search can find what may exist.
func (j *Jira) settle(err error) error {
	var e *connector.Error
	if errors.As(err, &e) && e.Kind == connector.KindUnsure && e.After < j.cfg.Settle {
		c := *e
		c.After = j.cfg.Settle
		return &c
	}
	return err
}

// maxSummary is Jira's bound on a summary, in characters.
const maxSummary = 255

func (j *Jira) fields(q connector.TicketRequest) map[string]any {
	project := q.Project
	if !projectKey(project) {
		project = j.cfg.Project
	}
	f := map[string]any{
		"project":   map[string]string{"key": project},
		"issuetype": map[string]string{"name": j.cfg.Type},
		"summary":   cut(strings.Join(strings.Fields(q.Title), " "), maxSummary),
		"labels":    []string{labelAll, labelCase + q.CaseID, labelKey + short(q.Key)},
	}
	var more []string
	for _, name := range slices.Sorted(maps.Keys(q.Fields)) {
		if id := j.cfg.Fields[name]; id != "" {
			f[id] = q.Fields[name]
		} else if q.Fields[name] != "" {
			more = append(more, name+": "+q.Fields[name])
		}
	}
	if q.Assignee != "" {
		if id := j.cfg.Accounts[q.Assignee]; id != "" {
			f["assignee"] = map[string]string{"id": id}
		} else {
			more = append(more, "Owner: "+q.Assignee)
		}
	}
	if !q.Due.IsZero() {
		if j.cfg.DueField != "" {
			f[j.cfg.DueField] = q.Due.UTC().Format(time.DateOnly)
		} else {
			more = append(more, "Due: "+q.Due.UTC().Format("2006-01-02 15:04 UTC"))
		}
	}
	f["description"] = document(q.Body, more, q.Link)
	return f
}

// Say implements connector.Tracker: a comment, found again by its property.
func (j *Jira) Say(ctx context.Context, ref, key, text string) error {
	path, err := issuePath(ref)
	if err != nil {
		return err
	}
	said, err := j.said(ctx, path, short(key))
	if err != nil || said {
		return err
	}
	_, err = j.rest.Do(ctx, rest.Call{What: "commenting on " + ref, Method: http.MethodPost, Path: path + "/comment",
		In: map[string]any{"body": document(text, nil, ""), "properties": []map[string]any{{"key": propertyKey, "value": map[string]string{"key": short(key)}}}}})
	return err
}

// said looks for our comment, newest first.
func (j *Jira) said(ctx context.Context, path, key string) (found bool, err error) {
	const size = 100
	err = rest.Pages(ctx, "reading comments", 20, func(ctx context.Context, cursor string) (string, error) {
		start, _ := strconv.Atoi(cursor) // "" is the first page
		var page struct {
			Total    int `json:"total"`
			Comments []struct {
				Properties []struct {
					Key   string `json:"key"`
					Value struct {
						Key string `json:"key"`
					} `json:"value"`
				} `json:"properties"`
			} `json:"comments"`
		}
		q := url.Values{"startAt": {strconv.Itoa(start)}, "maxResults": {strconv.Itoa(size)}, "orderBy": {"-created"}, "expand": {"properties"}}
		if _, err := j.rest.Do(ctx, rest.Call{What: "reading comments", Method: http.MethodGet, Path: path + "/comment", Query: q, Out: &page}); err != nil {
			return "", err
		}
		for _, c := range page.Comments {
			for _, p := range c.Properties {
				found = found || p.Key == propertyKey && p.Value.Key == key
			}
		}
		if start += len(page.Comments); found || len(page.Comments) == 0 || start >= page.Total {
			return "", nil
		}
		return strconv.Itoa(start), nil
	})
	return found, err
}

// Status implements connector.Tracker.
func (j *Jira) Status(ctx context.Context, ref string) (word string, done bool, err error) {
	path, err := issuePath(ref)
	if err != nil {
		return "", false, err
	}
	var i issue
	_, err = j.rest.Do(ctx, rest.Call{What: "reading " + ref, Method: http.MethodGet, Path: path, Query: url.Values{"fields": {"status,labels,updated"}}, Out: &i})
	return i.Fields.Status.Name, i.Fields.Status.done(), err
}

// Reopen implements connector.Reopener. An issue that is not done stays as it
// is.
func (j *Jira) Reopen(ctx context.Context, ref string) error {
	word, done, err := j.Status(ctx, ref)
	if err != nil || !done {
		return err
	}
	list, err := j.transitions(ctx, ref)
	if err != nil {
		return err
	}
	for _, t := range list {
		if j.cfg.Reopen == "" && !t.To.done() || j.cfg.Reopen != "" && t.named(j.cfg.Reopen) {
			return j.move(ctx, "reopening "+ref, ref, t)
		}
	}
	return connector.Errorf(connector.KindRefused, "%s is %q and its workflow has no way back for us: give the account the transition, or name one as reopen in the configuration", ref, word)
}

// Finish implements connector.Finisher. An issue that is done stays as it is.
func (j *Jira) Finish(ctx context.Context, ref string) error {
	if j.cfg.Done == Leave {
		return nil
	}
	word, done, err := j.Status(ctx, ref)
	if err != nil || done {
		return err
	}
	list, err := j.transitions(ctx, ref)
	if err != nil {
		return err
	}
	var ends []transition
	for _, t := range list {
		if j.cfg.Done != "" && t.named(j.cfg.Done) {
			return j.move(ctx, "finishing "+ref, ref, t)
		}
		if t.To.done() {
			ends = append(ends, t)
		}
	}
	if j.cfg.Done == "" {
		for _, name := range []string{"Done", "Resolved", "Fixed", "Closed"} {
			for _, t := range ends {
				if strings.EqualFold(t.To.Name, name) {
					return j.move(ctx, "finishing "+ref, ref, t)
				}
			}
		}
		if len(ends) == 1 {
			return j.move(ctx, "finishing "+ref, ref, ends[0])
		}
	}
	return connector.Errorf(connector.KindRefused, "%s is %q and we can't tell which transition means that it is done: give the account the transition, or name one as done in the configuration (%s: leave it to people)", ref, word, Leave)
}

// transition is a way out of an issue's status that the account may take.
type transition struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	To   status `json:"to"`
}

func (t transition) named(word string) bool {
	return strings.EqualFold(t.To.Name, word) || strings.EqualFold(t.Name, word)
}

func (j *Jira) transitions(ctx context.Context, ref string) ([]transition, error) {
	path, err := issuePath(ref)
	if err != nil {
		return nil, err
	}
	var list struct {
		Transitions []transition `json:"transitions"`
	}
	_, err = j.rest.Do(ctx, rest.Call{What: "reading the transitions of " + ref, Method: http.MethodGet, Path: path + "/transitions", Out: &list})
	return list.Transitions, err
}

func (j *Jira) move(ctx context.Context, what, ref string, t transition) error {
	path, err := issuePath(ref)
	if err != nil {
		return err
	}
	_, err = j.rest.Do(ctx, rest.Call{What: what, Method: http.MethodPost, Path: path + "/transitions", In: map[string]any{"transition": map[string]string{"id": t.ID}}})
	return err
}

// Changed implements connector.Follower: our issues changed since an instant.
func (j *Jira) Changed(ctx context.Context, since time.Time) ([]connector.TicketState, error) {
	minutes := int(j.cfg.Clock.Now().Sub(since)/time.Minute) + 2 // JQL counts whole minutes; one more for its clock
	found, err := j.search(ctx, "reading changed issues", fmt.Sprintf(`labels = "%s" AND updated >= "-%dm" ORDER BY updated ASC`, labelAll, minutes), 200)
	if err != nil {
		return nil, err
	}
	var out []connector.TicketState
	for _, i := range found {
		for _, l := range i.Fields.Labels {
			if id, ok := strings.CutPrefix(l, labelCase); ok {
				out = append(out, connector.TicketState{Ref: i.Key, CaseID: id, Word: i.Fields.Status.Name, Done: i.Fields.Status.done()})
			}
		}
	}
	return out, nil
}

var issueKey = regexp.MustCompile(`^[A-Z][A-Z0-9_]*-[1-9][0-9]*$`)

func issuePath(ref string) (string, error) {
	if !issueKey.MatchString(ref) {
		return "", connector.Errorf(connector.KindRefused, "%q is no Jira issue (they look like SEC-12)", ref)
	}
	return "/rest/api/3/issue/" + ref, nil
}

func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
