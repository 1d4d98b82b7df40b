package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/rest"
	"github.com/casement/casement/internal/remedy"
)

// access is one thing an identity may do.
type access struct {
	Verb      string `json:"verb"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

func (a access) String() string {
	s := a.Verb + " " + a.Resource
	if a.Group != "" {
		s += "." + a.Group
	}
	if a.Name != "" {
		s += "/" + a.Name
	}
	return strings.TrimSpace(s + " " + a.Namespace)
}

// parseAccess reads "verb resource[.group][/name] [namespace]", with commas
// between several.
func parseAccess(text string) ([]access, error) {
	var out []access
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) < 2 || len(words) > 3 {
			return nil, fmt.Errorf("%q: want \"verb resource[.group][/name] [namespace]\"", strings.TrimSpace(part))
		}
		a := access{Verb: words[0]}
		a.Resource, a.Name, _ = strings.Cut(words[1], "/")
		a.Resource, a.Group, _ = strings.Cut(a.Resource, ".")
		if len(words) == 3 {
			a.Namespace = words[2]
		}
		for _, w := range []string{a.Resource, a.Name, a.Namespace} {
			if w != "" && !nameForm().MatchString(w) {
				return nil, fmt.Errorf("%q is not a name", w)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// reads returns the path that tries the access; ok is false where trying it
// would change something or needs a name.
func (a access) reads() (path string, ok bool) {
	if a.Verb != "list" && (a.Verb != "get" || a.Name == "") {
		return "", false
	}
	// The version is that of the groups we know; others are asked of the
	// authorizer only.
	switch a.Group {
	case "":
		path = "/api/v1"
	case "apps", "batch", rbacGroup, "networking.k8s.io":
		path = "/apis/" + a.Group + "/v1"
	default:
		return "", false
	}
	if a.Namespace != "" {
		path += "/namespaces/" + url.PathEscape(a.Namespace)
	}
	path += "/" + a.Resource
	if a.Verb == "get" {
		path += "/" + url.PathEscape(a.Name)
	}
	return path, true
}

// review asks for each access of a parameter. For "risky" one that is allowed
// is exposed; for "needs" one that is not is broken (exposed).
func (c *Connector) review(ctx context.Context, r connector.Request, param string) (remedy.Result, remedy.Grade, string, error) {
	s, err := subjectOf(r)
	if err != nil {
		return "", 0, "", err
	}
	all, err := parseAccess(r.Params[param])
	if err != nil {
		return "", 0, "", connector.Errorf(connector.KindConfig, "parameter %q: %v", param, err)
	}
	token := c.as[s.String()]
	grade, tried := remedy.P2, 0
	for _, a := range all {
		allowed, err := c.authorized(ctx, s, a)
		if err != nil {
			return remedy.Inconclusive, grade, connector.ReadOnly(err).Error(), nil
		}
		said := fmt.Sprintf("the authorizer says %s may %s", s, a)
		if !allowed {
			said = fmt.Sprintf("the authorizer says %s may not %s", s, a)
		}
		if path, ok := a.reads(); ok && token != nil {
			status, err := tryAs(ctx, token, path)
			switch {
			case status == http.StatusForbidden && !allowed, status == http.StatusOK && allowed:
				tried++
				said += fmt.Sprintf(", its own call is answered %d", status)
			case status == http.StatusOK: // what works is the truth
				allowed, said = true, fmt.Sprintf("the call of %s to %s works though the authorizer denies it", s, a)
				tried++
			case status == http.StatusForbidden:
				return remedy.Inconclusive, grade, said + ", but its own call is answered 403", nil
			default:
				return remedy.Inconclusive, grade, fmt.Sprintf("%s, but its own call tells nothing: %v", said, err), nil
			}
		}
		if allowed == (param == "risky") {
			if tried > 0 {
				grade = remedy.P3
			}
			return remedy.Exposed, grade, said, nil
		}
	}
	if tried > 0 {
		grade = remedy.P3
	}
	word := "may not"
	if param == "needs" {
		word = "still may"
	}
	return remedy.NotExposed, grade, fmt.Sprintf("%s %s: %s (authorizer, and %d tried with its own token)", s, word, r.Params[param], tried), nil
}

// tryAs makes one reading call as the identity.
func tryAs(ctx context.Context, as *rest.Client, path string) (int, error) {
	a, err := as.Do(ctx, rest.Call{What: "calling as the identity", Method: http.MethodGet, Path: path, Query: url.Values{"limit": {"1"}}})
	return a.Status, err
}

// authorized asks the server's authorizer (SubjectAccessReview).
func (c *Connector) authorized(ctx context.Context, s subject, a access) (bool, error) {
	user, groups := s.Name, []string{"system:authenticated"}
	switch s.Kind {
	case "ServiceAccount":
		user = "system:serviceaccount:" + s.Namespace + ":" + s.Name
		groups = append(groups, "system:serviceaccounts", "system:serviceaccounts:"+s.Namespace)
	case "Group":
		user, groups = "", []string{s.Name}
	}
	spec := map[string]any{"groups": groups, "resourceAttributes": a}
	if user != "" {
		spec["user"] = user
	}
	var out struct {
		Status struct {
			Allowed         *bool  `json:"allowed"`
			EvaluationError string `json:"evaluationError"`
		} `json:"status"`
	}
	_, err := c.api.Do(ctx, rest.Call{What: "asking the authorizer", Method: http.MethodPost, Path: "/apis/authorization.k8s.io/v1/subjectaccessreviews", Reads: true,
		In: map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}, Out: &out})
	switch {
	case err != nil:
		return false, err
	case out.Status.Allowed == nil:
		return false, connector.Errorf(connector.KindRetry, "asking the authorizer: the answer does not say allowed")
	case out.Status.EvaluationError != "" && !*out.Status.Allowed:
		return false, connector.Errorf(connector.KindRetry, "asking the authorizer: it could not tell: %s", out.Status.EvaluationError)
	}
	return *out.Status.Allowed, nil
}
