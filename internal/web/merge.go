package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/remedy"
)

// mergeBody says into which case another one is merged.
type mergeBody struct {
	Into string `json:"into" doc:"The case that goes on with the findings of both."`
	Text string `json:"text" maxLength:"16384" doc:"Why they are one exposure."`
}

// mergeIn is a merge of two cases of one asset.
type mergeIn struct {
	CaseID
	IfMatchHeader
	Body mergeBody
}

// aliasBody is a merge with the evidence of an alias.
type aliasBody struct {
	Into     string `json:"into" doc:"The case that goes on with the findings of both."`
	Text     string `json:"text" maxLength:"16384" doc:"Why they are one exposure."`
	Evidence string `json:"alias_evidence" maxLength:"16384" doc:"What shows that the two assets are one under two names."`
}

// mergeAliasIn is a merge of two cases whose assets are one under two names.
type mergeAliasIn struct {
	CaseID
	IfMatchHeader
	Body aliasBody
}

// splitBody names the findings to split off.
type splitBody struct {
	Findings []string `json:"findings" minItems:"1" doc:"The uids of the findings to split off to a new case."`
	Text     string   `json:"text" maxLength:"16384" doc:"Why they are another exposure."`
}

// splitIn is a split.
type splitIn struct {
	CaseID
	IfMatchHeader
	Body splitBody
}

// unmergeBody names the merge to undo.
type unmergeBody struct {
	Case string `json:"case" doc:"The case that was merged into this one."`
	Text string `json:"text" maxLength:"16384" doc:"Why they are two exposures."`
}

// unmergeIn undoes a merge.
type unmergeIn struct {
	CaseID
	IfMatchHeader
	Body unmergeBody
}

// toldBoth is both cases after a merge or split.
type toldBoth struct {
	Case  told `json:"case" doc:"The case spoken to."`
	Other told `json:"other" doc:"The winner of a merge, the new case of a split, or the case whose merge was undone."`
}

func (t toldBoth) etag() string { return t.Case.etag() }

func (s *server) apiMerge(ctx context.Context, _ auth.Principal, in *mergeIn) (toldBoth, error) {
	return s.both(ctx, in.ID, in.IfMatchHeader, in.Body.Text, in.Body.Into, func(w engine.Word) (remedy.Case, remedy.Case, error) {
		return s.Engine.Merge(ctx, in.ID, in.Body.Into, "", w)
	})
}

func (s *server) apiMergeAlias(ctx context.Context, _ auth.Principal, in *mergeAliasIn) (toldBoth, error) {
	if strings.TrimSpace(in.Body.Evidence) == "" {
		return toldBoth{}, wordsMissing("Say what shows that both assets are one: it goes into the record.")
	}
	return s.both(ctx, in.ID, in.IfMatchHeader, in.Body.Text, in.Body.Into, func(w engine.Word) (remedy.Case, remedy.Case, error) {
		return s.Engine.Merge(ctx, in.ID, in.Body.Into, in.Body.Evidence, w)
	})
}

func (s *server) apiSplit(ctx context.Context, _ auth.Principal, in *splitIn) (toldBoth, error) {
	return s.both(ctx, in.ID, in.IfMatchHeader, in.Body.Text, "", func(w engine.Word) (remedy.Case, remedy.Case, error) {
		return s.Engine.Split(ctx, in.ID, in.Body.Findings, w)
	})
}

func (s *server) apiUnmerge(ctx context.Context, _ auth.Principal, in *unmergeIn) (toldBoth, error) {
	return s.both(ctx, in.ID, in.IfMatchHeader, in.Body.Text, in.Body.Case, func(w engine.Word) (remedy.Case, remedy.Case, error) {
		return s.Engine.Unmerge(ctx, in.ID, in.Body.Case, w)
	})
}

// both gives a command that two cases of the principal's tenant take together.
func (s *server) both(ctx context.Context, id string, m IfMatchHeader, why, other string, give func(engine.Word) (remedy.Case, remedy.Case, error)) (toldBoth, error) {
	p := auth.FromContext(ctx)
	v, err := m.version()
	if err != nil {
		return toldBoth{}, err
	}
	for _, id := range []string{id, other} {
		if err := s.sameTenant(ctx, p.Tenant, id); err != nil {
			return toldBoth{}, err
		}
	}
	switch {
	case strings.TrimSpace(why) == "":
		return toldBoth{}, wordsMissing("Say why: it goes into the record.")
	case len(why) > maxText:
		return toldBoth{}, textTooLong()
	}
	c, o, err := give(engine.Word{By: p.Actor(), At: s.Now().UTC(), Why: why, Version: v})
	if v > 0 && errors.Is(err, engine.ErrConflict) {
		err = &problem{Status: http.StatusPreconditionFailed, Title: "The case changed since you read it", Detail: "Nothing was done. Load it again and look."}
	}
	return toldBoth{toldOf(c), toldOf(o)}, err
}

func toldOf(c remedy.Case) told { return told{c.ID, c.State(), c.Version} }

func wordsMissing(detail string) error {
	return &problem{Status: http.StatusUnprocessableEntity, Title: "Words are missing", Detail: detail}
}

func textTooLong() error {
	return &problem{Status: http.StatusUnprocessableEntity, Title: "The text is too long", Detail: fmt.Sprintf("At most %d bytes are kept.", maxText)}
}
