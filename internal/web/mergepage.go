package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// mergeData is what the page shows before a case is merged into another one.
type mergeData struct {
	frame
	summary
	// Others are open cases of the same asset, to choose from.
	Others []summary
	// Into is the case that goes on, once one was named.
	Into  summary
	Named bool
	// Asked is what the reader named.
	Asked string
	// Wrong is why it can't be, "" if it can.
	Wrong string
	// Alias: the assets differ, so that evidence is needed; MayAlias: the reader
	// may say that they are one.
	Alias, MayAlias bool
}

// maxOthers bounds the cases offered to merge into.
const maxOthers = 20

// mergePage shows what a merge would do, and whether it may be done.
func (s *server) mergePage(w http.ResponseWriter, r *http.Request) error {
	c, err := s.load(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	ctx, names, p := r.Context(), s.names(r.Context()), auth.FromContext(r.Context())
	d := mergeData{frame: s.frame(r, "Merge "+c.Title, "cases"), summary: s.summarize(c, names), Asked: strings.TrimSpace(r.URL.Query().Get("case"))}
	if d.Others, err = s.sameAsset(ctx, c, names); err != nil {
		return err
	}
	if d.Asked == "" {
		s.render(w, r, http.StatusOK, mergeConfirm(d))
		return nil
	}
	into, err := s.load(r, d.Asked)
	if errors.Is(err, engine.ErrNotFound) {
		d.Wrong = "There is no case " + d.Asked + " here."
		s.render(w, r, http.StatusNotFound, mergeConfirm(d))
		return nil
	}
	if err != nil {
		return err
	}
	d.Into, d.Named = s.summarize(into, names), true
	d.Alias = finding.CanonicalAsset(c.Asset) != finding.CanonicalAsset(into.Asset)
	d.MayAlias = p.Can(auth.Decide) && p.Kind == auth.Human
	try := remedy.Merge{Into: into, Note: "asked"}
	if d.Alias {
		try.Alias = "asked"
	}
	d.Wrong = names.text(refusalOf(c, p.Actor(), s.Now().UTC(), try))
	s.render(w, r, http.StatusOK, mergeConfirm(d))
	return nil
}

// refusalOf says why a case would not take a command now, "" if it would.
func refusalOf(c remedy.Case, by remedy.Actor, at time.Time, do remedy.Do) string {
	if _, err := remedy.Handle(c, remedy.Command{At: at, By: by, Do: do}); err != nil {
		return err.Error()
	}
	return ""
}

// sameAsset lists other open cases of the asset of a case.
func (s *server) sameAsset(ctx context.Context, c remedy.Case, names people) ([]summary, error) {
	f := store.CaseFilter{Tenant: c.Tenant, Open: finding.Yes, Text: c.Asset.UID}
	if f.Text == "" {
		return nil, nil
	}
	list, err := s.Reader.ListCases(ctx, f, "", maxOthers)
	if err != nil {
		return nil, err
	}
	rows, err := s.summaries(ctx, list.Cases, names)
	return slices.DeleteFunc(rows, func(v summary) bool {
		return v.Case.ID == c.ID || finding.CanonicalAsset(v.Case.Asset) != finding.CanonicalAsset(c.Asset)
	}), err
}

// mergeForm handles the forms that merge a case away (merge, merge-alias) and
// undo a merge into it (undo-merge); all name the other case in the field
// "case".
func (s *server) mergeForm(verb string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		o, err := s.orderOf(r, verb)
		if err != nil {
			return err
		}
		ctx, id, other := r.Context(), r.PathValue("id"), strings.TrimSpace(r.PostForm.Get("case"))
		p := auth.FromContext(ctx)
		switch verb {
		case "merge":
			_, err = s.apiMerge(ctx, p, &mergeIn{CaseID: CaseID{id}, Body: mergeBody{other, o.Text}})
		case "merge-alias":
			_, err = s.apiMergeAlias(ctx, p, &mergeAliasIn{CaseID: CaseID{id}, Body: aliasBody{other, o.Text, r.PostForm.Get("evidence")}})
		default:
			_, err = s.apiUnmerge(ctx, p, &unmergeIn{CaseID: CaseID{id}, Body: unmergeBody{other, o.Text}})
		}
		if err != nil {
			return err
		}
		http.Redirect(w, r, "/cases/"+id+"?said="+verb, http.StatusSeeOther)
		return nil
	}
}

// splitData is what the page shows before findings are split off.
type splitData struct {
	frame
	summary
	Rows []splitRow
	// Wrong is why nothing can be split off now, "" if something can.
	Wrong string
}

// splitRow is one finding that may be split off.
type splitRow struct {
	store.FindingRow
	Why string
	// From is the case whose merge it came with: then that merge is to be undone
	// instead. "" if it is the case's own.
	From string
}

// splitPage shows the findings to choose from and what a split does.
func (s *server) splitPage(w http.ResponseWriter, r *http.Request) error {
	c, err := s.load(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	found, err := s.Reader.Findings(r.Context(), c.ID)
	if err != nil {
		return err
	}
	names := s.names(r.Context())
	d := splitData{frame: s.frame(r, "Split "+c.Title, "cases"), summary: s.summarize(c, names)}
	for _, f := range found {
		row := splitRow{FindingRow: f, Why: whyJoined(c, f.Finding.UID)}
		for _, a := range c.Absorbed {
			if slices.Contains(a.UIDs, f.Finding.UID) {
				row.From = a.From
			}
		}
		if row.From == "" && d.Wrong == "" {
			d.Wrong = names.text(refusalOf(c, auth.FromContext(r.Context()).Actor(), s.Now().UTC(),
				remedy.Split{UIDs: []string{f.Finding.UID}, To: "asked", Note: "asked"}))
		}
		d.Rows = append(d.Rows, row)
	}
	s.render(w, r, http.StatusOK, splitConfirm(d))
	return nil
}

// splitForm splits the chosen findings off and leads to the new case.
func (s *server) splitForm(w http.ResponseWriter, r *http.Request) error {
	o, err := s.orderOf(r, "split")
	if err != nil {
		return err
	}
	uids := r.PostForm["finding"]
	if len(uids) == 0 {
		return &problem{Status: http.StatusUnprocessableEntity, Title: "No finding was chosen", Detail: "Choose at least one finding that is another exposure. Nothing was done."}
	}
	t, err := s.apiSplit(r.Context(), auth.FromContext(r.Context()), &splitIn{CaseID: CaseID{r.PathValue("id")}, Body: splitBody{uids, o.Text}})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/cases/"+t.Other.ID+"?said=split", http.StatusSeeOther)
	return nil
}
