package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// Step is one step of the playbook that a person does, and what was said of it
// since the case was opened last. By is empty where nobody said that it is done.
type Step struct {
	Text string    `json:"text" doc:"What to do, as policy words it."`
	Done bool      `json:"done" doc:"Somebody says that it is done; nothing follows from it."`
	By   string    `json:"by,omitempty" doc:"Who said so."`
	At   time.Time `json:"at,omitzero" doc:"When, UTC."`
}

// stepsOf lists the steps of a playbook in their order, with what the events say
// of them. A word about a step that policy words otherwise by now stays in the
// timeline only.
func stepsOf(texts []string, evs []store.StoredEvent, names people) []Step {
	said := map[string]Step{}
	for _, ev := range evs {
		switch b := ev.Decoded.(type) {
		case remedy.EpisodeStarted:
			clear(said)
		case remedy.Commented:
			if b.Step != "" {
				said[b.Step] = Step{b.Step, !b.Undo, names.actor(ev.By), ev.At}
			}
		}
	}
	var out []Step
	for _, t := range texts {
		v := said[t]
		if v.Text = t; !v.Done {
			v.By, v.At = "", time.Time{}
		}
		out = append(out, v)
	}
	return out
}

// stepTexts are the manual steps of the playbook that the case has now.
func (s *server) stepTexts(c remedy.Case) []string {
	if s.Steps == nil || c.Judgement.Decision.Playbook == "" {
		return nil
	}
	return s.Steps(c.Judgement.Decision.Playbook)
}

// mayStep refuses words about a step that the playbook does not have.
func (s *server) mayStep(c remedy.Case, step string) error {
	texts := s.stepTexts(c)
	if slices.Contains(texts, step) {
		return nil
	}
	p := &problem{Status: http.StatusConflict, Title: "The playbook has no such step", Detail: "Policy may word it otherwise by now. Nothing was recorded; read the steps again."}
	if len(texts) == 0 {
		p.Detail = "The playbook of this case leaves no steps to a person."
	}
	return p
}

// claimed says how it stands with the newest word that the exposure is gone.
type claimed struct {
	By string
	At time.Time
	// Saw is what the probe saw after it, its Word is empty while that is not known.
	Saw mark
}

// claimOf finds the newest claim of the episode; ok is false if there is none.
func claimOf(evs []store.StoredEvent, names people) (c claimed, ok bool) {
	for _, ev := range evs {
		switch b := ev.Decoded.(type) {
		case remedy.EpisodeStarted:
			c, ok = claimed{}, false
		case remedy.TicketMoved:
			if b.Done {
				c, ok = claimed{By: "A ticket", At: ev.At}, true
			}
		case remedy.ProbeAsked:
			if b.Run.Purpose == remedy.ProbeClaim && ev.By.Kind == remedy.Person {
				c, ok = claimed{By: names.actor(ev.By), At: ev.At}, true
			}
		case remedy.ProbeSaw:
			if b.Purpose != remedy.ProbeContinuity {
				c.Saw = resultMark(b.Observation.Result)
			}
		}
	}
	return c, ok
}

// stepForm handles the button beside a manual step.
func (s *server) stepForm(w http.ResponseWriter, r *http.Request) error {
	o, err := s.orderOf(r, "step")
	if err != nil {
		return err
	}
	o.Step = strings.TrimSpace(r.PostForm.Get("step"))
	if r.PostForm.Get("done") == "no" {
		o.Verb = "step-undone"
	}
	if _, err := s.tell(r.Context(), r.PathValue("id"), o); err != nil {
		return err
	}
	http.Redirect(w, r, "/cases/"+r.PathValue("id")+"?said="+o.Verb+"#steps", http.StatusSeeOther)
	return nil
}

// steps reads the manual steps of a case and what was said of them.
func (s *server) steps(ctx context.Context, c remedy.Case) ([]Step, error) {
	texts := s.stepTexts(c)
	if len(texts) == 0 {
		return nil, nil
	}
	evs, err := s.Reader.Events(ctx, auth.FromContext(ctx).Tenant, c.ID)
	if err != nil {
		return nil, err
	}
	return stepsOf(texts, evs, s.names(ctx)), nil
}
