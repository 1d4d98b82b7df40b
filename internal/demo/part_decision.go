package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// decision is part 3: a person decides, and decides on exactly what was shown.
func (s *stage) decision(ctx context.Context) error {
	s.out.title(3, "You decide", "Customers read the next bucket through the shop: policy wants a person's yes. Anna is asked; today that is you.")
	b := s.world.Bucket("acme-shop-images")
	b.Put("logo.png", "PNG")
	b.MakePublic()
	a, err := s.server.alert(ctx, sample("securityhub.json", "@BUCKET@", "acme-shop-images"))
	if err != nil {
		return err
	}
	id, subject := a.cases()[0], "s3/acme-shop-images"
	s.cast = append(s.cast, member{name: "acme-shop-images", id: id})
	s.out.line("", "alert", "Security Hub reports acme-shop-images (ASFF)")
	asked := func(c remedy.Case) bool { return c.State() == remedy.StateApproval || ended(c) }
	c, _, err := s.follow(ctx, id, 15*time.Second, asked, nil)
	if err != nil {
		return err
	}
	act, ok := current(c)
	if !ok {
		return fmt.Errorf("nobody was asked: %s", whyOpen(c))
	}
	s.card(c, act)
	// A colleague changes the bucket while the card is being read.
	b.SetPolicy(drifted("acme-shop-images"))
	if c, err = s.answer(ctx, c, act); err != nil {
		return err
	}
	if rejected(c, act.ID) {
		return s.said(c, act.ID, subject)
	}
	c, evs, err := s.follow(ctx, id, 20*time.Second, func(c remedy.Case) bool {
		now, ok := c.Action(act.ID)
		return ended(c) || ok && now.Status == remedy.ActionAsking && now.Approval.PlanHash != act.Approval.PlanHash
	}, nil)
	if err != nil {
		return err
	}
	if err := s.void(c, evs, act, subject); err != nil {
		return err
	}
	act, _ = c.Action(act.ID)
	s.out.line("", "asked", "anew, for the plan as it is now; %s left", took(act.Approval.ExpiresAt.Sub(c.At)))
	if c, err = s.answer(ctx, c, act); err != nil {
		return err
	}
	if rejected(c, act.ID) {
		return s.said(c, act.ID, subject)
	}
	if c, evs, err = s.follow(ctx, id, 20*time.Second, ended, nil); err != nil {
		return err
	}
	if err := s.claims.put(claim{Kind: "approved", Case: id, Action: act.ID, Subject: subject, Want: s.anna.id, Saw: approver(c, act.ID)}); err != nil {
		return err
	}
	return s.claimFix(c, evs, subject, "private")
}

// current is the action that waits for approval.
func current(c remedy.Case) (remedy.Action, bool) {
	for _, a := range c.Actions {
		if a.Status == remedy.ActionAsking {
			return a, true
		}
	}
	return remedy.Action{}, false
}

// card shows what is to be approved.
func (s *stage) card(c remedy.Case, a remedy.Action) {
	rows := [][2]string{
		{"plan", s.short(a.Plan.Text)},
		{"why now", fmt.Sprintf("%s. %s %s", c.RiskClass(), c.Judgement.Decision.Why, s.short(a.Before.Detail))},
		{"blast", a.Plan.Blast},
		{"undo", a.Plan.Undo},
		{"time left", fmt.Sprintf("%s to answer; fix due %s UTC", took(time.Until(a.Approval.ExpiresAt).Round(time.Second)), c.Clocks().Fix.Format("2 Jan 15:04"))},
		{"page", fmt.Sprintf("%s/approvals/%s/%s", s.server.url, c.ID, a.ID)},
	}
	s.out.print("")
	for _, r := range rows {
		label := r[0]
		for _, l := range fold(r[1], 64) {
			s.out.print("      %s %s", s.Paint(bold, fmt.Sprintf("%-10s│", label)), l)
			label = ""
		}
	}
	s.out.print("")
}

// answer gets the decision on a plan: by the demo user under Once, else by a
// click on the page or a key here, whatever comes first.
func (s *stage) answer(ctx context.Context, c remedy.Case, a remedy.Action) (remedy.Case, error) {
	path := "/approvals/" + c.ID + "/" + a.ID
	approve := func() error {
		return s.anna.post(ctx, s.server.url, path+"/approve", map[string]string{"plan_hash": a.Approval.PlanHash, "text": "seen on the card"})
	}
	if s.Once {
		if err := approve(); err != nil {
			return c, err
		}
		s.out.line(green, "approved", "by anna, the demo's user, signed in with her password")
		return s.server.load(ctx, c.ID)
	}
	s.out.print("   Approve on the page (sign in: anna / %s), or here: Enter approves, r rejects.", s.anna.password)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case k := <-s.keys:
			var err error
			if k == "r" || k == "reject" {
				err = s.anna.post(ctx, s.server.url, path+"/reject", map[string]string{"text": "rejected in the demo"})
			} else {
				err = approve()
			}
			if err != nil {
				return c, err
			}
		case <-tick.C:
		}
		evs, err := s.server.events(ctx, c.ID)
		if err != nil {
			return c, err
		}
		for _, e := range evs {
			if e.At.Before(a.Approval.AskedAt) {
				continue
			}
			switch {
			case e.Type == (remedy.Approved{}).Type() && strings.Contains(string(e.Body), a.Approval.PlanHash):
				s.out.line(green, "approved", "by you, as anna")
				return s.server.load(ctx, c.ID)
			case e.Type == (remedy.Rejected{}).Type():
				s.out.line(yellow, "rejected", "by you, as anna")
				return s.server.load(ctx, c.ID)
			}
		}
	}
}

func rejected(c remedy.Case, action string) bool {
	a, _ := c.Action(action)
	return a.Status == remedy.ActionDropped
}

// said ends the part after a no: nothing is touched.
func (s *stage) said(c remedy.Case, action, subject string) error {
	s.out.line("", "nothing", "was touched. The case stays open with %s.", c.Owner())
	s.note(c.ID, "rejected, stays with "+c.Owner())
	return s.claims.put(claim{Kind: "rejected", Case: c.ID, Action: action, Subject: subject, Want: "untouched", Saw: "untouched", State: "open"})
}

// void shows that the approval did not cover the changed plan.
func (s *stage) void(c remedy.Case, evs []event, old remedy.Action, subject string) error {
	v, ok := newest[remedy.ApprovalVoided](evs)
	saw := "void"
	if !ok || !c.Open() {
		saw = "kept"
	}
	err := s.claims.put(claim{Kind: "void", Case: c.ID, Action: old.ID, Subject: subject, Want: "void", Saw: saw, State: "open"})
	if err != nil {
		return err
	}
	if saw != "void" {
		return errors.New("the approval of the old plan was not voided")
	}
	s.out.line(yellow, "void", "%s. A colleague changed the bucket while the card was read; nothing was touched. The difference:", v.Why)
	s.out.print("")
	for l := range strings.SplitSeq(s.short(difference(v.Diff)), "\n") {
		style := ""
		if strings.HasPrefix(l, "+") {
			style = yellow
		}
		s.out.block(style, l)
	}
	s.out.print("")
	return nil
}

// difference shows the lines of a "was … now …" text that differ.
func difference(diff string) string {
	was, now, ok := strings.Cut(strings.TrimPrefix(diff, "was: "), "\nnow: ")
	if !ok {
		return diff
	}
	old, cur := strings.Split(was, "\n"), strings.Split(now, "\n")
	var out []string
	for _, l := range old {
		mark := "  "
		if !slices.Contains(cur, l) {
			mark = "- "
		}
		out = append(out, mark+l)
	}
	for _, l := range cur {
		if !slices.Contains(old, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// approver is who approved the action last.
func approver(c remedy.Case, action string) string {
	a, _ := c.Action(action)
	if n := len(a.Approval.Grants); n > 0 {
		return a.Approval.Grants[n-1].By
	}
	return "nobody"
}

// drifted is the policy of a bucket after a colleague added a grant.
func drifted(bucket string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[`+
		`{"Sid":"PublicRead","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%[1]s/*"},`+
		`{"Sid":"PartnerFeed","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%[1]s/feed/*"}]}`, bucket)
}
