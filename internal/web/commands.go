package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/remedy"
)

// order is a command of a person to a case, from a form or the API.
type order struct {
	// Verb is the name of the command.
	Verb string
	// Action is the action's id, for undo.
	Action string
	// Step is the manual step that is spoken of, in the words of policy.
	Step string
	// To is the person or team to assign.
	To string
	// Text is the person's words: a comment, reason or evidence.
	Text string
	// Until is the end of a snooze, pause or attestation.
	Until time.Time
	// Reason is why the SLA clock is paused: one of remedy.PauseReasons.
	Reason string
	// Version is the one the person has seen, 0 for any.
	Version uint64
}

// tell gives the order to a case of the principal's tenant.
func (s *server) tell(ctx context.Context, id string, o order) (remedy.Case, error) {
	p := auth.FromContext(ctx)
	c, err := s.Reader.Load(ctx, id)
	if err == nil && c.Tenant != p.Tenant {
		err = fmt.Errorf("case %s: %w", id, engine.ErrNotFound)
	}
	if err != nil {
		return c, err
	}
	if o.Text == "" && (o.Verb == "comment" || o.Verb == "attest" || o.Verb == "undo") {
		return c, wordsMissing("Say why, or what the evidence is: it goes into the record.")
	}
	if len(o.Text) > maxText {
		return c, textTooLong()
	}
	if o.Verb == "step" || o.Verb == "step-undone" {
		if err := s.mayStep(c, o.Step); err != nil {
			return c, err
		}
	}
	note, texts, err := s.Engine.Note(o.Text)
	if err != nil {
		return c, err
	}
	do, err := o.command(p, note)
	if err != nil {
		return c, err
	}
	if o.Verb == "undo" {
		texts = nil // the reason of an undo is part of the action's record
	}
	cmd := remedy.Command{At: s.Now().UTC(), By: p.Actor(), Do: do}
	if o.Version > 0 {
		return s.Engine.TellAt(ctx, id, o.Version, cmd, texts...)
	}
	return s.Engine.Tell(ctx, id, cmd, texts...)
}

// maxText bounds the words of a person, in bytes.
const maxText = 16 << 10

// sameTenant refuses to speak of a case of another tenant.
func (s *server) sameTenant(ctx context.Context, tenant, id string) error {
	if id == "" {
		return nil
	}
	c, err := s.Reader.Load(ctx, id)
	if err == nil && c.Tenant != tenant {
		err = fmt.Errorf("case %s: %w", id, engine.ErrNotFound)
	}
	return err
}

// command is the core's command for the order.
func (o order) command(p auth.Principal, note remedy.Note) (remedy.Do, error) {
	switch o.Verb {
	case "ack":
		return remedy.Ack{}, nil
	case "assign":
		return remedy.Assign{To: o.To}, nil
	case "comment":
		return remedy.Comment{Note: note}, nil
	case "step", "step-undone":
		return remedy.Comment{Note: note, Step: o.Step, Undo: o.Verb == "step-undone"}, nil
	case "verify":
		return remedy.Verify{}, nil
	case "claim":
		return remedy.Claim{From: p.ID}, nil
	case "contain":
		return remedy.ContainNow{}, nil
	case "snooze":
		return remedy.Snooze{Until: o.Until, Note: note}, nil
	case "pause":
		return remedy.PauseClock{Reason: remedy.PauseReason(o.Reason), Until: o.Until, Note: note}, nil
	case "resume":
		return remedy.ResumeClock{}, nil
	case "escalate":
		return remedy.Escalate{Note: note}, nil
	case "reopen":
		return remedy.Reopen{Note: note}, nil
	case "attest":
		return remedy.Attest{Evidence: note, Until: o.Until}, nil
	case "undo":
		return remedy.UndoAction{Action: o.Action, Reason: o.Text}, nil
	}
	return nil, &problem{Status: http.StatusNotFound, Title: "There is no such command", Detail: o.Verb}
}

// formTime is how a form gives an instant: to the minute, in UTC.
const formTime = "2006-01-02T15:04"

// orderOf reads an order from a form.
func (s *server) orderOf(r *http.Request, verb string) (order, error) {
	if err := r.ParseForm(); err != nil {
		return order{}, &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	o := order{Verb: verb, To: r.PostForm.Get("to"), Text: r.PostForm.Get("text"), Reason: r.PostForm.Get("reason")}
	if f := r.PostForm.Get("for"); f != "" {
		d, err := time.ParseDuration(f)
		if err != nil || d <= 0 {
			return o, &problem{Status: http.StatusBadRequest, Title: "The time can't be read", Detail: "Want a length such as 4h."}
		}
		o.Until = s.Now().UTC().Add(d)
	}
	if u := r.PostForm.Get("until"); u != "" {
		t, err := time.Parse(time.DateOnly, u)
		if err != nil {
			t, err = time.Parse(formTime, u)
		}
		if err != nil {
			return o, &problem{Status: http.StatusBadRequest, Title: "The date can't be read", Detail: "Want a date such as 2027-01-31, or with a time, 2027-01-31T17:00, in UTC."}
		}
		o.Until = t
	}
	return o, nil
}

// caseForm handles the form of one verb on the page of a case.
func (s *server) caseForm(verb string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		o, err := s.orderOf(r, verb)
		if err != nil {
			return err
		}
		if _, err := s.tell(r.Context(), r.PathValue("id"), o); err != nil {
			return err
		}
		http.Redirect(w, r, "/cases/"+r.PathValue("id")+"?said="+verb, http.StatusSeeOther)
		return nil
	}
}

// undo handles the confirmed undo of an action.
func (s *server) undo(w http.ResponseWriter, r *http.Request) error {
	o, err := s.orderOf(r, "undo")
	if err != nil {
		return err
	}
	o.Action = r.PathValue("action")
	if _, err := s.tell(r.Context(), r.PathValue("id"), o); err != nil {
		return err
	}
	http.Redirect(w, r, "/cases/"+r.PathValue("id")+"?said=undo", http.StatusSeeOther)
	return nil
}

// approvalForm handles a verb of the case on the approval card.
func (s *server) approvalForm(verb string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		o, err := s.orderOf(r, verb)
		if err != nil {
			return err
		}
		if _, err := s.tell(r.Context(), r.PathValue("id"), o); err != nil {
			return err
		}
		http.Redirect(w, r, "/approvals/"+r.PathValue("id")+"/"+r.PathValue("action")+"?said="+verb, http.StatusSeeOther)
		return nil
	}
}
