package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// keepMore stores what happened to a case that is stored already.
func (l *life) keepMore(was remedy.Case) {
	l.w.t.Helper()
	unit := record.Unit{Before: was.Version, Case: l.c, Events: l.events, Notes: l.notes, WakeAt: remedy.WakeAt(l.c)}
	if errs, err := l.w.model.Commit(context.Background(), []record.Unit{unit}, nil); err != nil || errs[0] != nil {
		l.w.t.Fatal(err, errs)
	}
}

// TestLateLink: who comes late by the link of a message is told what became of
// the request, the difference of the plans, and what there is to do.
func TestLateLink(t *testing.T) {
	const link = "/approvals/c-invoices/e1.1"
	start := func(t *testing.T) (*world, *life, string) {
		w := newWorld(t)
		l := &life{w: w, c: w.storyApproval()}
		a, _ := l.c.Action("e1.1")
		return w, l, link + "?plan=" + a.Plan.Hash[:12]
	}
	expire := func(l *life) {
		l.w.advance(2 * time.Hour)
		l.at(-2*hour, system(), remedy.Tick{})
	}
	t.Run("in time", func(t *testing.T) {
		w, _, at := start(t)
		body := text(w.status(200, "dana", "GET", at, ""))
		for _, no := range []string{"changed since", "It is asked again", "void,"} {
			if strings.Contains(body, no) {
				t.Errorf("a request in time says %q", no)
			}
		}
	})
	t.Run("expired", func(t *testing.T) {
		w, l, at := start(t)
		was := l.c
		expire(l)
		l.keepMore(was)
		body := w.status(200, "dana", "GET", at, "")
		contains(t, text(body), "This request is void: expired without an answer", "The plan is being made anew", "Nothing was changed at the target so far.", "Open the case", "What waits for an answer")
		if strings.Contains(body, `id="approve"`) {
			t.Error("what expired can be approved")
		}
		late := w.status(http.StatusConflict, "dana", "POST", link+"/approve", "plan_hash=x")
		contains(t, text(late), "Your answer came too late and changed nothing.")
	})
	t.Run("expired and asked again", func(t *testing.T) {
		w, l, at := start(t)
		was := l.c
		expire(l)
		l.planned(-2*hour-minute, "e1.1", 2, planFor("acme-invoices-archive", "u-lee"), "GET without credentials answered 200")
		l.keepMore(was)
		w.advance(2 * time.Minute)
		contains(t, text(w.status(200, "dana", "GET", at, "")), "It is asked again: the request before it is void, expired without an answer", "The plan is the same.")
	})
	t.Run("drifted", func(t *testing.T) {
		w, l, at := start(t)
		was := l.c
		expire(l)
		p := planFor("acme-invoices-archive", "u-lee")
		p.Text = strings.Replace(p.Text, "- IgnorePublicAcls      false\n+ IgnorePublicAcls      true\n", "", 1)
		l.planned(-2*hour-minute, "e1.1", 2, p, "GET without credentials answered 200")
		l.keepMore(was)
		w.advance(2 * time.Minute)
		contains(t, text(w.status(200, "dana", "GET", at, "")), "The plan changed since you were told of it.", "An answer counts for the plan below", "- + IgnorePublicAcls true")
		contains(t, text(w.status(200, "dana", "GET", link, "")), "The plan is another one.", "- + IgnorePublicAcls true")
	})
	t.Run("used", func(t *testing.T) {
		w, _, at := start(t)
		if _, err := w.approve("c-invoices", "e1.1", "u-dana"); err != nil {
			t.Fatal(err)
		}
		contains(t, text(w.status(200, "mara", "GET", at, "")), "Approved by dana as approver", "It is being done at the target now.", "Open the case")
	})
	t.Run("rejected", func(t *testing.T) {
		w, _, at := start(t)
		w.status(http.StatusSeeOther, "dana", "POST", link+"/reject", "text=after+the+audit")
		contains(t, text(w.status(200, "mara", "GET", at, "")), "Rejected by dana", "after the audit", "Nothing was changed at the target.")
	})
	t.Run("nowhere", func(t *testing.T) {
		w, _, _ := start(t)
		for _, p := range []string{"/approvals/none/e1.1", "/approvals/c-invoices/e9.9?plan=zz"} {
			contains(t, text(w.status(http.StatusNotFound, "dana", "GET", p, "")), "This link leads to no request for approval", "Approvals")
		}
	})
}
