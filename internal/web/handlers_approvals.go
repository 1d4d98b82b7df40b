package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// maxApprovals bounds the list of approvals that wait.
const maxApprovals = 200

// ask is one request for approval as lists and the card show it.
type ask struct {
	summary
	Action    remedy.Action
	AskedText string
	Left      clock
	// As is the right by which the reader may answer, "" if she may not.
	As string
}

// approvalsData is what the list of approvals shows.
type approvalsData struct {
	frame
	Rows []ask
}

func (s *server) askOf(ctx context.Context, c remedy.Case, a remedy.Action, names people) (ask, error) {
	v := ask{summary: s.summarize(c, names), Action: a, AskedText: cmp.Or(namesText(a.Approval.From, names), names.of(c.Judgement.Routing.OpsLead), "nobody")}
	v.Left = clockOf("Answer", a.Approval.AskedAt, a.Approval.ExpiresAt, time.Time{}, s.Now().UTC(), 75)
	p := auth.FromContext(ctx)
	if !p.Can(auth.Decide) {
		return v, nil
	}
	var err error
	v.As, err = s.Auth.Entitled(ctx, p.ID, c, a)
	return v, err
}

// asks lists the requests that wait, the one that runs out first first.
func (s *server) asks(ctx context.Context, names people) ([]ask, error) {
	f := store.CaseFilter{Tenant: auth.FromContext(ctx).Tenant, State: string(remedy.StateApproval), Open: finding.Yes}
	list, err := s.Reader.ListCases(ctx, f, "", maxApprovals)
	if err != nil {
		return nil, err
	}
	var out []ask
	for _, row := range list.Cases {
		c, err := s.Reader.Load(ctx, row.ID)
		if err != nil {
			return nil, err
		}
		for _, a := range c.Actions {
			if a.Status != remedy.ActionAsking {
				continue
			}
			v, err := s.askOf(ctx, c, a, names)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, func(a, b ask) int { return a.Action.Approval.ExpiresAt.Compare(b.Action.Approval.ExpiresAt) })
	return out, nil
}

func (s *server) approvalsPage(w http.ResponseWriter, r *http.Request) error {
	rows, err := s.asks(r.Context(), s.names(r.Context()))
	if err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, approvalsList(approvalsData{s.frame(r, "Approvals", "approvals"), rows}))
	return nil
}

// approvalData is what the approval card shows.
type approvalData struct {
	frame
	ask
	Names people
	// Base is the address of the card.
	Base       string
	BackupText string
	Why        []mark
	// Open: the request still waits for answers.
	Open bool
	// Past is what became of the request, or of an earlier one.
	Past past
	// WhyNot says why the reader can't answer, "" if she can.
	WhyNot     string
	MayRespond bool
	// Refused is what the core said to the reader's answer.
	Refused string
}

func (s *server) approvalPage(w http.ResponseWriter, r *http.Request) error {
	d, err := s.approvalOf(r, r.URL.Query().Get("plan"))
	if errors.Is(err, engine.ErrNotFound) {
		return &problem{Status: http.StatusNotFound, Title: "This link leads to no request for approval", Detail: "It may have been cut off on its way, or belong to another organisation. Nothing was approved by opening it. What waits for an answer stands under Approvals.",
			link: "/approvals", linkText: "See what waits for an answer"}
	}
	if err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, approvalCard(d))
	return nil
}

// approvalOf reads what the card shows. shown is the hash of the plan that the
// reader was told of, or its beginning, "" if not known.
func (s *server) approvalOf(r *http.Request, shown string) (approvalData, error) {
	ctx := r.Context()
	c, err := s.load(r, r.PathValue("id"))
	if err != nil {
		return approvalData{}, err
	}
	a, ok := c.Action(r.PathValue("action"))
	if !ok {
		return approvalData{}, fmt.Errorf("action %s: %w", strconv.Quote(r.PathValue("action")), engine.ErrNotFound)
	}
	names := s.names(ctx)
	v, err := s.askOf(ctx, c, a, names)
	if err != nil {
		return approvalData{}, err
	}
	found, err := s.Reader.Findings(ctx, c.ID)
	if err != nil {
		return approvalData{}, err
	}
	p, now := auth.FromContext(ctx), s.Now().UTC()
	d := approvalData{frame: s.frame(r, a.Spec.Name, "approvals"), ask: v, Names: names, Base: "/approvals/" + c.ID + "/" + a.ID,
		Why: whyNow(c, a, found, now), Open: a.Status == remedy.ActionAsking, MayRespond: p.Can(auth.Respond)}
	d.BackupText = cmp.Or(names.of(c.Judgement.Routing.Backup), "none")
	switch {
	case c.Judgement.Routing.Backup == "":
	case !a.Approval.RemindedAt.IsZero():
		d.BackupText += ", asked " + ago(now, a.Approval.RemindedAt)
	case d.Open:
		d.BackupText += ", asked " + ago(now, a.Approval.AskedAt.Add(a.Approval.ExpiresAt.Sub(a.Approval.AskedAt)/2))
	}
	if d.Open {
		d.WhyNot = whyNot(p, v, c, names)
	}
	d.Past, err = s.pastOf(ctx, c, a, names, shown)
	return d, err
}

// whyNot says why the reader can't answer, "" if she can. The core decides
// again when she does.
func whyNot(p auth.Principal, v ask, c remedy.Case, names people) string {
	a := v.Action
	switch {
	case !p.Can(auth.Decide):
		return "Your role (" + rolesText(p.Roles) + ") does not decide."
	case v.As == "":
		return "You are not among those asked."
	case a.Requester == p.ID:
		return "You asked for this action; somebody else has to approve it."
	case a.Plan.LastModifier != "" && a.Plan.LastModifier == p.ID:
		return "You changed the target last; somebody else has to approve it."
	case len(c.Judgement.Versions.Authors) == 1 && c.Judgement.Versions.Authors[0] == p.ID && strings.HasPrefix(a.Requester, "policy:"):
		return "You are the only author of the active policy; somebody else has to approve its action."
	}
	for _, g := range a.Approval.Grants {
		if g.By == p.ID {
			return "You approved this " + g.At.Format("15:04") + " UTC; another person has to as well."
		}
	}
	return ""
}

// whyNow collects what speaks for the action: the risk class and the few facts
// of context that weigh most.
func whyNow(c remedy.Case, a remedy.Action, found []store.FindingRow, now time.Time) []mark {
	k := c.RiskClass()
	class := string(c.Class)
	if info, ok := finding.InfoOf(c.Class); ok {
		class = info.Description
	}
	out := []mark{{k.String() + " " + riskHint(k) + ":", "siren", toneBad, cmp.Or(c.Judgement.Decision.Why, class)}}
	if !a.Before.At.IsZero() {
		m := resultMark(a.Before.Result)
		out = append(out, mark{m.Word + ", seen " + ago(now, a.Before.At) + ":", m.Icon, m.Tone, a.Before.Detail + " (" + a.Before.Probe + ", " + a.Before.Grade.String() + placeText(a.Before.Place) + ")"})
	}
	out = append(out, contextFacts(c, found)...)
	if next, ok := nextClock(clocksOf(c, now)); ok {
		out = append(out, mark{next.Name + ":", "clock", next.Tone, next.Text})
	}
	return out
}

// contextFacts are the facts of the findings that outrank severity.
func contextFacts(c remedy.Case, found []store.FindingRow) []mark {
	var facts []string
	yes := func(t finding.Tri, word string) {
		if t == finding.Yes && !slices.Contains(facts, word) {
			facts = append(facts, word)
		}
	}
	confidence := 0
	for _, row := range found {
		f := row.Finding
		yes(f.Weakness.KEV, "known to be exploited (KEV)")
		yes(f.Exposure.Exploited, "seen exploited")
		yes(f.Exposure.InternetFacing, "internet-facing")
		yes(f.Asset.CustomerFacing, "customer-facing")
		yes(f.Asset.Regulated, "regulated")
		yes(f.Identity.Privileged, "privileged identity")
		confidence = max(confidence, f.Confidence)
	}
	if c.Asset.DataClass != "" {
		facts = append(facts, c.Asset.DataClass+" data")
	}
	if c.Asset.Criticality != "" {
		facts = append(facts, c.Asset.Criticality+" criticality")
	}
	var out []mark
	if len(facts) > 0 {
		out = append(out, mark{"Context:", "link", toneInfo, strings.Join(facts, ", ")})
	}
	if confidence > 0 {
		out = append(out, mark{"Confidence of the source:", "scale", toneQuiet, strconv.Itoa(confidence) + " %"})
	}
	return out
}

func (s *server) approve(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	id, action, hash := r.PathValue("id"), r.PathValue("action"), r.PostForm.Get("plan_hash")
	err := s.decide(r.Context(), id, action, func(p auth.Principal) error {
		_, err := s.Engine.Approve(r.Context(), id, action, hash, p.ID, r.PostForm.Get("text"), s.Now().UTC())
		return err
	})
	return s.answered(w, r, "approve", hash, err)
}

func (s *server) reject(w http.ResponseWriter, r *http.Request) error {
	o, err := s.orderOf(r, "reject")
	if err != nil {
		return err
	}
	id, action := r.PathValue("id"), r.PathValue("action")
	err = s.decide(r.Context(), id, action, func(p auth.Principal) error {
		if strings.TrimSpace(o.Text) == "" {
			return &problem{Status: http.StatusUnprocessableEntity, Title: "A reason is needed", Detail: "Say why you reject it: the owner has to know what to do instead."}
		}
		_, err := s.Engine.Reject(r.Context(), id, action, p.ID, o.Text, s.Now().UTC())
		return err
	})
	return s.answered(w, r, "reject", "", err)
}

// decide lets a human of the case's tenant answer. The route's permission was
// checked; this holds the law a second time where it matters most.
func (s *server) decide(ctx context.Context, id, action string, answer func(auth.Principal) error) error {
	p := auth.FromContext(ctx)
	if !p.Can(auth.Decide) || p.Kind != auth.Human {
		return &problem{Status: http.StatusForbidden, Title: "Only a person who signed in decides"}
	}
	c, err := s.Reader.Load(ctx, id)
	if err == nil && c.Tenant != p.Tenant {
		err = fmt.Errorf("case %s: %w", id, engine.ErrNotFound)
	}
	if err != nil {
		return err
	}
	if _, ok := c.Action(action); !ok {
		return fmt.Errorf("action %s: %w", strconv.Quote(action), engine.ErrNotFound)
	}
	return answer(p)
}

// answered shows what came of an answer: the card again with the reason if it
// was not taken, with the difference if the plan is another one.
func (s *server) answered(w http.ResponseWriter, r *http.Request, verb, hash string, err error) error {
	base := "/approvals/" + r.PathValue("id") + "/" + r.PathValue("action")
	if err == nil {
		http.Redirect(w, r, base+"?said="+verb, http.StatusSeeOther)
		return nil
	}
	code := remedy.CodeOf(err)
	if code == "" || wantsJSON(r) {
		return err
	}
	d, derr := s.approvalOf(r, hash)
	if derr != nil {
		return derr
	}
	switch {
	case code == remedy.Drifted && d.Open:
		d.Past.Head = "The plan changed since it was shown to you. Nothing was approved; review it again."
	case d.Open:
		d.Refused = d.Names.text(err.Error())
	default: // what became of the request is shown already
		d.Past.Text = append([]string{"Your answer came too late and changed nothing."}, d.Past.Text...)
	}
	s.render(w, r, statusOf(code), approvalCard(d))
	return nil
}

// diffLines shows two texts as one, removed lines with "- ", added with "+ ",
// common ones with two blanks, by their longest common subsequence. Texts that
// are too long are shown one after the other.
func diffLines(a, b []string) []string {
	const most = 400
	var out []string
	if len(a) > most || len(b) > most {
		for _, l := range a {
			out = append(out, "- "+l)
		}
		for _, l := range b {
			out = append(out, "+ "+l)
		}
		return out
	}
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, "  "+a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || table[i+1][j] >= table[i][j+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}
