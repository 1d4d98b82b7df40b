package connector

import (
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/casement/casement/internal/remedy"
)

// Redactor takes known secrets out of texts: the last line of defence, for
// what a target or a library echoes. The zero value takes nothing out.
type Redactor struct{ secrets []string }

// NewRedactor returns a redactor of these secrets and of their usual encodings
// (URL query and path, base64). Values under six bytes are ignored: they would
// tear ordinary words.
func NewRedactor(secrets ...string) Redactor {
	var r Redactor
	for _, s := range secrets {
		if len(s) < 6 {
			continue
		}
		r.secrets = append(r.secrets, s, url.QueryEscape(s), url.PathEscape(s),
			base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)))
	}
	// Longest first: a secret that contains another goes whole.
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	r.secrets = slices.Compact(r.secrets)
	return r
}

// Clean returns s without the secrets.
func (r Redactor) Clean(s string) string {
	for _, x := range r.secrets {
		s = strings.ReplaceAll(s, x, "[secret]")
	}
	return s
}

// Error returns err as an *Error with a clean message. An error of another
// type becomes an unsure one: nobody said what it means for the world.
func (r Redactor) Error(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Kind: e.Kind, Msg: r.Clean(e.Msg), After: e.After, Err: e.Err}
	}
	return &Error{Kind: KindUnsure, Msg: r.Clean(err.Error()), Err: err}
}

func (r Redactor) reply(a Reply) Reply {
	p := &a.Plan
	for _, s := range []*string{&p.Text, &p.Blast, &p.Undo, &p.LastModifier, &p.Data, &a.Outcome.Detail, &a.Outcome.Ref,
		&a.Outcome.UndoHandle, &a.Observation.Detail, &a.Observation.Place} {
		*s = r.Clean(*s)
	}
	return a
}

// capGrade keeps an observation from claiming more than its probe declares.
func capGrade(o remedy.Observation, g remedy.Grade) remedy.Observation {
	o.Grade = min(o.Grade, g)
	return o
}
