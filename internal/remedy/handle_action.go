package remedy

import (
	"slices"
	"strconv"
	"time"
)

// Defaults where a playbook does not say.
const (
	defaultApproveWithin = 4 * 3600 // seconds an approval request lives
	defaultTries         = 3        // after-probes that may say "exposed"
	defaultInterval      = 30       // seconds between after-probes
	defaultWatchEvery    = 30       // seconds between continuity probes
	maxInconclusive      = 5        // inconclusive probes in a row before a person is called
	maxLooks             = 5        // look-ups before a person is called
)

func (s *step) handleAction(do Do) error {
	switch d := do.(type) {
	case PlanMade:
		return s.planMade(d)
	case PlanFailed:
		a, err := s.at1(d.Action, d.Gen, ActionPlanning, ActionReady)
		if err != nil {
			return err
		}
		s.noPlan(a, d)
	case Approve:
		return s.approve(d)
	case Reject:
		return s.reject(d)
	case Intend:
		return s.intend(d)
	case Hold:
		a, err := s.at1(d.Action, d.Gen, ActionReady)
		if err != nil {
			return err
		}
		s.hold(a, d.Reason, d.RetryAt)
	case Done:
		a, err := s.at1(d.Action, d.Gen, ActionIntended, ActionUnsure)
		if err != nil {
			return err
		}
		s.acted(a, ActedOn{Action: a.ID, UndoHandle: d.UndoHandle, Ref: d.Ref, Detail: d.Detail, Nothing: d.Nothing})
	case Refused:
		a, err := s.at1(d.Action, d.Gen, ActionIntended, ActionUnsure)
		if err != nil {
			return err
		}
		s.refused(a, d)
	case Unsure:
		a, err := s.at1(d.Action, d.Gen, ActionIntended)
		if err != nil {
			return err
		}
		s.unsure(a, d.Reason, d.Forgotten)
	case Looked:
		return s.looked(d)
	}
	return nil
}

// unsure records an unknown outcome. What tells is a look-up by the once-key,
// else the probe, else a person.
func (s *step) unsure(a Action, reason string, forgotten bool) {
	s.emit(OutcomeUnknown{Action: a.ID, Reason: reason, Forgotten: forgotten})
	if !a.Spec.lookable() {
		s.askUnsure(a, s.at)
		s.escalate("it is not known whether " + a.Spec.Name + " happened, and the target can't be asked")
	}
}

// askUnsure lets the probe tell from at on what became of an action.
func (s *step) askUnsure(a Action, at time.Time) {
	if s.c.Judgement.Decision.Probe.Name() == "" {
		s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: "not known whether it happened, and no probe can tell"})
		return
	}
	s.emit(ProbeDue{Action: a.ID, At: at, Why: "the target can't be asked what happened: the probe has to tell"})
}

// lookable: the target can be asked what became of a once-key.
func (a ActionSpec) lookable() bool { return a.Once == OnceKey || a.Once == OnceLookup }

// at1 returns the action if it has the generation and one of the statuses.
func (s *step) at1(id string, gen int, statuses ...ActionStatus) (Action, error) {
	a, ok := s.c.Action(id)
	if !ok {
		return a, refuse(Invalid, "case %s has no action %s", s.c.ID, id)
	}
	if gen != 0 && a.Gen != gen || !slices.Contains(statuses, a.Status) {
		return a, refuse(Stale, "action %s is %s (attempt %d), not %s (attempt %d)", id, a.Status, a.Gen, statuses[0], gen)
	}
	return a, nil
}

// planMade decides what becomes of a plan: act, ask, hold, or nothing to do.
func (s *step) planMade(d PlanMade) error {
	a, err := s.at1(d.Action, d.Gen, ActionPlanning, ActionReady)
	if err != nil {
		return err
	}
	if !s.c.Open() || s.c.Exception != nil {
		return refuse(NotNow, "the case is not open for actions")
	}
	old := a
	d.Before = d.Before.known()
	s.emit(Planned{Action: a.ID, Plan: d.Plan, Before: d.Before})
	s.refute(ProbeSchedule, d.Before)
	a, _ = s.c.Action(a.ID)
	switch d.Before.Result {
	case Gone:
		s.close(ClosedGone, "the asset is proven deleted", "", time.Time{})
		return nil
	case NotExposed:
		if s.c.Reproduced(a, a.Before) {
			break
		}
		if s.provesClosed(d.Before, s.c.Judgement.Decision.Grade) && !s.onlyContained(ProbeSchedule) {
			s.close(ClosedProven, "fixed before we acted: "+d.Before.Detail, "", time.Time{})
			return nil
		}
		s.hold(a, "not reproduced: the probe does not see the risky state", time.Time{})
		s.escalate("not reproduced: the alert says exposed, the probe says not")
		return nil
	case Exposed:
		s.uncontained(d.Before)
	default:
		s.hold(a, "the probe could not tell: "+d.Before.Detail, s.at.Add(backoff(s.c.Inconclusive)))
		if s.c.Inconclusive >= maxInconclusive {
			s.escalate("the probe can't tell whether the risky state exists")
		}
		return nil
	}
	if d.Plan.Hash == "" {
		return refuse(Invalid, "the plan of %s has no hash: nothing could be approved by it", a.ID)
	}
	if d.Guard.Deny != "" {
		s.hold(a, d.Guard.Deny, d.Guard.RetryAt)
		s.say("held", a.Spec.Name+" is held: "+d.Guard.Deny, a.ID, s.c.Owner())
		return nil
	}
	samePlan := old.Approval.PlanHash == d.Plan.Hash && old.Plan.BeforeDigest == d.Plan.BeforeDigest
	needsPerson := a.Spec.Auth != AuthEnforce || d.Guard.Ask != "" || !s.mayEnforce(a)
	if !needsPerson {
		if old.Approval.PlanHash != "" && !samePlan {
			s.emit(ApprovalVoided{Action: a.ID, Why: "the plan is not the one that was shown; as it is now none is needed", Diff: d.Diff})
		}
		if a.Status != ActionReady {
			s.emit(ActionMoved{Action: a.ID, To: ActionReady, Reason: "enforced by rule " + s.c.Judgement.Decision.Rule})
		}
		return nil
	}
	granted := old.Approval.Needed > 0 && len(old.Approval.Grants) >= old.Approval.Needed
	if granted && samePlan && old.Plan.LastModifier == d.Plan.LastModifier { // still the approved one
		if a.Status != ActionReady {
			s.emit(ActionMoved{Action: a.ID, To: ActionReady, Reason: "approved already, and not done yet"})
		}
		return nil
	}
	diff := ""
	switch {
	case old.Approval.PlanHash == "":
	case samePlan:
		s.emit(ApprovalVoided{Action: a.ID, Why: "the target was changed by somebody else meanwhile"})
	default:
		diff = d.Diff
		s.emit(ApprovalVoided{Action: a.ID, Why: "the plan is not the one that was shown", Diff: diff})
	}
	s.ask(a, d.Guard.Ask, diff)
	return nil
}

// Reproduced reports whether an action may go on after what the probe saw
// before it: the risky state. Behind a containment that is in force the probe
// saw it before that, in the same episode.
func (c Case) Reproduced(a Action, before Observation) bool {
	return before.Result == Exposed ||
		before.Result == NotExposed && a.Spec.Phase == Fix && c.contained() && c.sawExposed(before)
}

// mayEnforce holds law 5 whatever policy said: unknown owner, unknown facts or
// an irreversible action without opt-in need a person.
func (s *step) mayEnforce(a Action) bool {
	j := s.c.Judgement
	return j.Routing.Known && len(j.Decision.Unknown) == 0 && j.Decision.Mode == ModeEnforce && j.Decision.Error == "" &&
		(a.Spec.Reversibility < 3 || a.Spec.OptIn)
}

// ask requests approval of the action's plan.
func (s *step) ask(a Action, why, diff string) {
	needed := max(1, a.Spec.Quorum)
	if a.Plan.LastModifier == "" && !a.Spec.UnknownModifierOK {
		needed = max(needed, 2)
	}
	within := a.Spec.ApproveWithin
	if within <= 0 {
		within = defaultApproveWithin
	}
	r := s.c.Judgement.Routing
	ap := Approval{ID: s.c.ID + "-" + a.ID + "-" + strconv.Itoa(a.Gen), AskedAt: s.at, ExpiresAt: s.at.Add(time.Duration(within) * time.Second),
		Needed: needed, From: r.Approvers, PlanHash: a.Plan.Hash, Diff: diff}
	s.emit(ApprovalAsked{Action: a.ID, Approval: ap})
	text := a.Plan.Text
	if why != "" {
		text += " (asked because of " + why + ")"
	}
	if diff != "" {
		text = "The plan changed, the earlier approval is void. " + text
	}
	s.say("approval", text, a.ID, r.Approvers...)
}

func (s *step) approve(d Approve) error {
	a, err := s.at1(d.Action, 0, ActionAsking)
	if err != nil {
		return refuse(NotNow, "there is nothing to approve: the action is %s", a.Status)
	}
	if s.by.Kind != Person {
		return refuse(Forbidden, "only a person can approve")
	}
	if d.As == "" {
		return refuse(Forbidden, "%s is not entitled to approve this: asked are %v", s.by.ID, a.Approval.From)
	}
	if d.PlanHash != a.Approval.PlanHash {
		return refuse(Drifted, "the plan was changed since it was shown: review it again")
	}
	if !s.at.Before(a.Approval.ExpiresAt) {
		return refuse(NotNow, "the request expired at %s: it will be asked again", a.Approval.ExpiresAt.Format(time.RFC3339))
	}
	if err := s.fourEyes(a, s.by.ID); err != nil {
		return err
	}
	for _, g := range a.Approval.Grants {
		if g.By == s.by.ID {
			return refuse(NotNow, "%s approved this already; another person has to", g.By)
		}
	}
	s.emit(Approved{Action: a.ID, Grant: Grant{By: s.by.ID, At: s.at, As: d.As, PlanHash: d.PlanHash, Note: d.Note}})
	if !s.c.Episode().acked() {
		s.emit(Acked{})
	}
	a, _ = s.c.Action(a.ID)
	if len(a.Approval.Grants) >= a.Approval.Needed {
		s.emit(ActionMoved{Action: a.ID, To: ActionReady, Reason: "approved by " + s.by.ID})
	}
	return nil
}

func (e Episode) acked() bool { return !e.AckAt.IsZero() }

// fourEyes: requester, last modifier, sole author of the policy and every
// approver are different people (law 4).
func (s *step) fourEyes(a Action, who string) error {
	switch {
	case a.Requester == who:
		return refuse(Forbidden, "%s asked for this action and can't approve it", who)
	case a.Plan.LastModifier != "" && a.Plan.LastModifier == who:
		return refuse(Forbidden, "%s changed the target last and can't approve this action", who)
	case len(s.c.Judgement.Versions.Authors) == 1 && s.c.Judgement.Versions.Authors[0] == who && !isPerson(a.Requester):
		return refuse(Forbidden, "%s is the only author of the active policy and can't approve its action", who)
	}
	return nil
}

func (s *step) reject(d Reject) error {
	a, err := s.at1(d.Action, 0, ActionAsking)
	if err != nil {
		return refuse(NotNow, "there is nothing to reject: the action is %s", a.Status)
	}
	if s.by.Kind != Person || d.As == "" {
		return refuse(Forbidden, "%s is not entitled to reject this: asked are %v", s.by.ID, a.Approval.From)
	}
	s.emit(Rejected{Action: a.ID, Note: d.Note})
	if !s.c.Episode().acked() {
		s.emit(Acked{})
	}
	s.say("rejected", a.Spec.Name+" was rejected", a.ID, s.c.Owner())
	if next, ok := s.c.current(); !ok || next.Status != ActionWaiting {
		s.escalate("the action was rejected and no other is left: the owner has to fix it")
	}
	return nil
}

// intend is the last gate before the world is touched.
func (s *step) intend(d Intend) error {
	a, err := s.at1(d.Action, d.Gen, ActionReady, ActionIntended)
	if err != nil {
		return err
	}
	if !s.c.Open() || s.c.Exception != nil || s.c.NeedJudge != "" {
		return refuse(NotNow, "the case is not open for actions")
	}
	if a.Status == ActionIntended {
		if !d.Repeat {
			return refuse(Stale, "action %s was intended at %s", a.ID, a.IntentAt.Format(time.RFC3339))
		}
		if !a.Spec.lookable() && (a.Repeats >= 1 || a.Spec.Reversibility >= 2) {
			s.unsure(a, "the runner died; the connector can't tell what happened and must not repeat it", false)
			return nil
		}
		s.emit(Intended{Action: a.ID, Key: a.Key, PlanHash: a.Plan.Hash, Repeat: true})
		return nil
	}
	if s.c.busy() {
		return refuse(NotNow, "another action of the case is under way")
	}
	if d.PlanHash != a.Plan.Hash {
		return refuse(Drifted, "the plan made just now is not the one that was authorized")
	}
	if !s.c.Reproduced(a, a.Before) {
		return refuse(NotNow, "the probe has not seen the risky state")
	}
	if why := s.lapsed(a, d.Entitled); why != "" {
		s.emit(ApprovalVoided{Action: a.ID, Why: why})
		s.ask(a, why, "")
		return nil
	}
	authorized := a.Spec.Auth == AuthEnforce && s.mayEnforce(a) || len(a.Approval.Grants) >= max(1, a.Approval.Needed)
	if !authorized {
		return refuse(Forbidden, "action %s is not authorized", a.ID)
	}
	s.emit(Intended{Action: a.ID, Key: s.c.ID + "." + a.ID + "." + strconv.Itoa(a.Gen), PlanHash: a.Plan.Hash})
	return nil
}

// lapsed says why the approval of an action no longer holds when it is about
// to begin, "" if it does.
func (s *step) lapsed(a Action, entitled bool) string {
	if len(a.Approval.Grants) == 0 {
		return ""
	}
	if !entitled {
		return "an approver who is no longer entitled"
	}
	if !s.at.Before(a.Approval.ExpiresAt) {
		return "an approval that expired before the action began"
	}
	for _, g := range a.Approval.Grants {
		if err := s.fourEyes(a, g.By); err != nil {
			return err.Error()
		}
	}
	return ""
}

// acted records the outcome and asks for proof.
func (s *step) acted(a Action, e ActedOn) {
	if a.Spec.Expires > 0 {
		e.ExpiresAt = s.at.Add(time.Duration(a.Spec.Expires) * time.Second)
	}
	probe := s.c.Judgement.Decision.Probe.Name() != ""
	if probe {
		e.ProbeAt = s.at.Add(time.Duration(a.Spec.Settle) * time.Second)
	}
	s.emit(e)
	s.tell("Done at the target, not yet proven: " + a.Spec.Name)
	if !probe {
		s.emit(ActionMoved{Action: a.ID, To: ActionDone, Reason: "no probe: not proven"})
		s.escalate(a.Spec.Name + " was done, and no probe can prove it: " + s.otherProof())
		return
	}
	if a.Spec.Settle <= 0 {
		s.askProbe(ProbeAfter, a.ID)
	}
}

func (s *step) refused(a Action, d Refused) {
	if !d.RetryAt.IsZero() {
		s.hold(a, d.Reason, d.RetryAt)
		return
	}
	s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: d.Reason})
	s.say("failed", a.Spec.Name+" was refused: "+d.Reason, a.ID, s.c.Owner())
}

func (s *step) looked(d Looked) error {
	a, err := s.at1(d.Action, d.Gen, ActionUnsure, ActionIntended)
	if err != nil {
		return err
	}
	s.emit(LookedFor{Action: a.ID, Found: d.Found})
	if d.Found {
		s.acted(a, ActedOn{Action: a.ID, UndoHandle: d.UndoHandle, Ref: d.Ref, Detail: "found by its key"})
		return nil
	}
	if a.Looks+1 >= maxLooks {
		s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: "the target never took the change"})
		s.escalate(a.Spec.Name + " never arrived at the target")
		return nil
	}
	// It did not happen: plan anew, under a new key.
	s.again(a, "looked: it did not happen")
	return nil
}

func (s *step) noPlan(a Action, d PlanFailed) {
	if d.Final {
		s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: d.Reason})
		s.say("failed", a.Spec.Name+" can't be planned: "+d.Reason, a.ID, s.c.Owner())
		return
	}
	s.hold(a, d.Reason, s.at.Add(backoff(a.Gen)))
	if a.Gen >= maxInconclusive {
		s.escalate(a.Spec.Name + " can't be planned: " + d.Reason)
	}
}

func (s *step) hold(a Action, why string, retry time.Time) {
	if !retry.IsZero() && !retry.After(s.at) {
		retry = s.at.Add(time.Minute)
	}
	if a.Approval.PlanHash != "" {
		s.emit(ApprovalVoided{Action: a.ID, Why: why})
	}
	s.emit(ActionMoved{Action: a.ID, To: ActionHeld, Reason: why, RetryAt: retry})
}

// backoff grows from 30 seconds to one hour.
func backoff(n int) time.Duration {
	d := 30 * time.Second
	for range min(n, 8) {
		d *= 2
	}
	return min(d, time.Hour)
}
