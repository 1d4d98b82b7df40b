package remedy

import (
	"slices"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
)

// Absorption is a merge into the case that was not undone: what came with it
// and goes with it when it is.
type Absorption struct {
	From string    `json:"from"`
	At   time.Time `json:"at"`
	Keys []string  `json:"keys,omitempty"`
	// UIDs are the findings that came with it, and those that its keys have led
	// here since.
	UIDs []string `json:"uids,omitempty"`
	// Episode is the one it came into, Detected the detection of what came, Own
	// that of the episode without any merge.
	Episode  int       `json:"episode"`
	Detected time.Time `json:"detected"`
	Own      time.Time `json:"own"`
	// Alias is the evidence that both assets are one, "" if they have one name.
	Alias Note `json:"alias,omitempty"`
}

// KeysBound are the exposure keys that lead to the case.
func (c Case) KeysBound() []string {
	if c.Keys == nil && c.Key != "" {
		return []string{c.Key}
	}
	return c.Keys
}

// KeyOf is the exposure key by which a member was placed.
func (c Case) KeyOf(m Member) string {
	if m.Key == "" {
		return c.Key
	}
	return m.Key
}

// Member returns the member with a uid.
func (c Case) Member(uid string) (Member, bool) {
	for _, m := range c.Members {
		if m.UID == uid {
			return m, true
		}
	}
	return Member{}, false
}

// cameWith returns the merge that a member came with.
func (c Case) cameWith(uid string) (Absorption, bool) {
	for _, a := range c.Absorbed {
		if slices.Contains(a.UIDs, uid) {
			return a, true
		}
	}
	return Absorption{}, false
}

// mayMerge says whether from may be merged into another case: one exposure of
// one asset, both open, nothing of from half done (law 2).
func mayMerge(from, into Case, note, alias Note, by Actor) error {
	same := finding.CanonicalAsset(from.Asset) == finding.CanonicalAsset(into.Asset)
	switch {
	case into.ID == "" || into.ID == from.ID:
		return refuse(Invalid, "name another case to merge into")
	case from.Tenant != into.Tenant:
		return refuse(Forbidden, "cases of two tenants are never merged")
	case note == "":
		return refuse(Invalid, "say why they are one exposure: it goes into the record")
	case into.MergedInto != "":
		return refuse(NotNow, "case %s was merged into %s itself: merge into that one", into.ID, into.MergedInto)
	case !from.Open():
		return refuse(NotNow, "case %s is closed: there is nothing left to merge; should it come back, merge it then", from.ID)
	case !into.Open():
		return refuse(NotNow, "case %s is closed: reopen it first, or merge it into %s", into.ID, from.ID)
	case from.Exception != nil || into.Exception != nil:
		return refuse(NotNow, "an exception covers only the case it was granted for: revoke it first")
	case same && alias != "":
		return refuse(Invalid, "both cases are of the same asset: no evidence of an alias is needed")
	case !same && alias == "":
		return refuse(Forbidden, "different assets are never merged: %s is of %s, %s of %s; if these are two names of one asset, an approver can say so and give the evidence",
			from.ID, finding.CanonicalAsset(from.Asset), into.ID, finding.CanonicalAsset(into.Asset))
	case !same && by.Kind != Person:
		return refuse(Forbidden, "only a person can say that two assets are one")
	}
	for _, a := range from.Actions {
		if a.busy() {
			return refuse(NotNow, "action %s (%s) of case %s is %s and has to come to its end there: merge when it has, or merge the other way round", a.ID, a.Spec.Name, from.ID, a.Status)
		}
	}
	return nil
}

// merge ends the case in favour of another.
func (s *step) merge(d Merge) error {
	if err := mayMerge(s.c, d.Into, d.Note, d.Alias, s.by); err != nil {
		return err
	}
	s.dropIdle(mergedAway)
	s.say("merged", "Merged into "+d.Into.ID+": "+s.c.Title, "", s.c.Owner())
	s.tell("Merged into case " + d.Into.ID + ", which goes on with it")
	s.emit(MergedInto{Into: d.Into.ID, Note: d.Note, Alias: d.Alias, Keys: s.c.KeysBound(), UIDs: uidsOf(s.c.Members)})
	return nil
}

// mergedAway is the reason of actions that a merge dropped: undoing it brings
// them back.
const mergedAway = "merged into another case"

func uidsOf(ms []Member) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.UID
	}
	return out
}

// absorb takes over the findings and keys of a case that is merged into this
// one. The stricter class, deadlines and grade and the earlier detection hold.
func (s *step) absorb(d Absorb) error {
	from := d.From
	if err := mayMerge(from, s.c, d.Note, d.Alias, s.by); err != nil {
		return err
	}
	var moved []Member
	for _, m := range from.Members {
		if _, here := s.c.Member(m.UID); !here {
			m.Key, m.Why, m.JoinedAt, m.ProvenAt = from.KeyOf(m), "merged from "+from.ID+": "+m.Why, s.at, time.Time{}
			moved = append(moved, m)
		}
	}
	detected := from.Episode().DetectedAt
	if n := len(s.c.Episodes); n > 1 && detected.Before(s.c.Episodes[n-2].ClosedAt) {
		detected = s.c.Episodes[n-2].ClosedAt // episodes do not overlap
	}
	s.emit(Absorbed{From: from.ID, Note: d.Note, Alias: d.Alias, Keys: from.KeysBound(), UIDs: uidsOf(moved), Detected: detected})
	for _, m := range moved {
		s.emit(Joined{Member: m})
	}
	j, was := from.Judgement, s.c.Judgement
	next := was
	next.Clocks = was.Clocks.Tighten(j.Clocks)
	next.Decision.Class = deadline.Stricter(was.Decision.Class, j.Decision.Class)
	next.Decision.Grade = max(was.Decision.Grade, j.Decision.Grade)
	if !sameJudgement(was, next) {
		s.putInForce(next, "merged")
	}
	s.emit(JudgeAsked{Why: "merged"})
	s.tell("Case " + from.ID + " was merged into this one")
	return nil
}

// parting is what a split takes off a case.
type parting struct {
	members  []Member
	keys     []string
	detected time.Time
}

// parting returns what a split takes off the case, or why it can't be.
func (c Case) parting(d Split) (parting, error) {
	for _, a := range c.Actions {
		if a.busy() {
			return parting{}, refuse(NotNow, "action %s (%s) is %s: split when that has come to its end", a.ID, a.Spec.Name, a.Status)
		}
	}
	switch {
	case d.To == "" || d.To == c.ID:
		return parting{}, refuse(Invalid, "name the case to split to")
	case d.Note == "":
		return parting{}, refuse(Invalid, "say why: it goes into the record")
	case d.Undo:
		return c.partingOfMerge(d.To)
	}
	var p parting
	for _, m := range c.Members {
		if slices.Contains(d.UIDs, m.UID) {
			p.members = append(p.members, m)
		}
	}
	for _, uid := range d.UIDs {
		if _, ok := c.Member(uid); !ok {
			return p, refuse(Invalid, "finding %s is not on this case", uid)
		}
		if a, ok := c.cameWith(uid); ok {
			return p, refuse(NotNow, "finding %s came with the merge of case %s: undo that merge, then split there", uid, a.From)
		}
	}
	stays := map[string]bool{} // keys of findings of its own that stay
	left := 0
	for _, m := range c.Members {
		if _, came := c.cameWith(m.UID); !came && !slices.Contains(d.UIDs, m.UID) {
			stays[c.KeyOf(m)] = true
			left++
		}
	}
	if left < 1 || len(p.members) == 0 {
		return p, refuse(Invalid, "a split moves at least one finding to another case and leaves at least one of its own")
	}
	for _, m := range p.members {
		k := c.KeyOf(m)
		if slices.Contains(c.KeysBound(), k) && !stays[k] && !slices.Contains(p.keys, k) && !c.keyCame(k) {
			p.keys = append(p.keys, k)
		}
	}
	p.detected = c.Episode().DetectedAt
	return p, nil
}

func (c Case) keyCame(k string) bool {
	return slices.ContainsFunc(c.Absorbed, func(a Absorption) bool { return slices.Contains(a.Keys, k) })
}

// partingOfMerge is what goes when the merge of a case is undone: what came
// with it, and what its keys have led here since.
func (c Case) partingOfMerge(from string) (parting, error) {
	i := slices.IndexFunc(c.Absorbed, func(a Absorption) bool { return a.From == from })
	if i < 0 {
		return parting{}, refuse(Invalid, "case %s was not merged into this one, or that was undone already", from)
	}
	p := parting{keys: c.Absorbed[i].Keys, detected: c.Episode().DetectedAt}
	for _, m := range c.Members {
		if slices.Contains(c.Absorbed[i].UIDs, m.UID) {
			p.members = append(p.members, m)
		}
	}
	if n := c.Episode().N; c.Absorbed[i].Episode == n {
		p.detected = c.Absorbed[i].Own
		for k, a := range c.Absorbed {
			if a.Episode == n && k != i {
				p.detected = earliest(p.detected, a.Detected)
			}
		}
	}
	return p, nil
}

// split takes findings off the case, with the keys that lead to them alone.
func (s *step) split(d Split) error {
	p, err := s.c.parting(d)
	if err != nil {
		return err
	}
	s.emit(MembersSplit{UIDs: uidsOf(p.members), To: d.To, Note: d.Note, Keys: p.keys, Undo: d.Undo, Detected: p.detected})
	if d.Undo {
		s.tell("The merge of case " + d.To + " was undone: it goes on by itself")
	} else {
		s.tell("Findings were split off to case " + d.To)
	}
	if s.c.Open() {
		s.emit(JudgeAsked{Why: "split"})
	}
	return nil
}

// letGo takes a finding off whose source names another exposure now. That is a
// fact, so nothing holds it up. The exposure the case is of does not end with
// it: a case that nothing speaks of any more is verified.
func (s *step) letGo(d Leave) error {
	m, ok := s.c.Member(d.UID)
	if !ok || d.To == "" || d.To == s.c.ID {
		return refuse(Invalid, "finding %s does not go from this case to %q", d.UID, d.To)
	}
	s.emit(MembersSplit{UIDs: []string{d.UID}, To: d.To, Why: "its source names another exposure now"})
	switch {
	case !s.c.Open():
	case len(s.c.Members) == 0:
		s.claim("source " + m.Source + " names another exposure now, in case " + d.To)
	default:
		s.emit(JudgeAsked{Why: "split"})
	}
	return nil
}

// unmerge takes back what a merge took. The episode goes on as if it had never
// ended: its deadlines and its detection stay, because the exposure was there
// all the time.
func (s *step) unmerge(d Unmerge) error {
	if s.c.MergedInto == "" || s.c.MergedInto != d.From.ID {
		return refuse(NotNow, "the case is not merged into %s", d.From.ID)
	}
	p, err := d.From.parting(Split{To: s.c.ID, Undo: true, Note: d.Note})
	if err != nil {
		return err
	}
	s.emit(Unmerged{From: d.From.ID, Note: d.Note, Keys: p.keys})
	back := uidsOf(p.members)
	stale := slices.DeleteFunc(uidsOf(s.c.Members), func(uid string) bool { return slices.Contains(back, uid) })
	if len(stale) > 0 { // the other had them before the merge
		s.emit(MembersSplit{UIDs: stale, To: d.From.ID, Why: "they were there before the merge"})
	}
	for _, m := range p.members {
		m.Key, m.ProvenAt = d.From.KeyOf(m), time.Time{}
		old, known := s.c.Member(m.UID)
		key := ""
		if s.c.KeyOf(old) != m.Key {
			key = m.Key
		}
		switch {
		case !known:
			m.Why = "placed by a key of this case while it was merged into " + d.From.ID
			s.emit(Joined{Member: m})
		case old.Digest != m.Digest || old.Status != m.Status || key != "":
			s.emit(MemberChanged{UID: m.UID, Digest: m.Digest, Severity: m.Severity, Status: m.Status, Key: key})
		}
	}
	s.emit(JudgeAsked{Why: "merge undone"})
	s.say("unmerged", "The merge into "+d.From.ID+" was undone: "+s.c.Title, "", s.c.Owner())
	s.tell("The merge into case " + d.From.ID + " was undone")
	return nil
}

// applyMerge applies the events of merge and split.
func applyMerge(c Case, e Event) Case {
	switch b := e.Body.(type) {
	case MergedInto:
		if c.Open() { // an episode that ended keeps its end
			c = withEpisode(resumed(c, e.At), func(ep *Episode) { ep.ClosedAt, ep.How = e.At, ClosedMerged })
		}
		c.Closed, c.MergedInto, c.Settled = ClosedMerged, b.Into, true
		c.Probe, c.NextProbe, c.Exception = ProbeRun{}, time.Time{}, nil
		c.Keys = []string{}
	case Absorbed:
		own, n := c.Episode().DetectedAt, c.Episode().N
		for _, a := range c.Absorbed {
			if a.Episode == n {
				own = a.Own
			}
		}
		c = withEpisode(c, func(ep *Episode) { ep.DetectedAt = earliest(ep.DetectedAt, b.Detected) })
		c.Keys = append(slices.Clone(c.KeysBound()), b.Keys...)
		c.Absorbed = append(slices.Clip(c.Absorbed), Absorption{From: b.From, At: e.At, Keys: b.Keys, UIDs: b.UIDs,
			Episode: n, Detected: b.Detected, Own: own, Alias: b.Alias})
	case Unmerged:
		c.Closed, c.MergedInto, c.Settled = "", "", false
		c = withEpisode(c, func(ep *Episode) { ep.ClosedAt, ep.How = time.Time{}, "" })
		c.Keys, c.NextProbe = append([]string{}, b.Keys...), e.At
		c = uncontain(c)
	case MembersSplit:
		c.Members = slices.DeleteFunc(slices.Clone(c.Members), func(m Member) bool { return slices.Contains(b.UIDs, m.UID) })
		if len(b.Keys) > 0 {
			c.Keys = slices.DeleteFunc(append([]string{}, c.KeysBound()...), func(k string) bool { return slices.Contains(b.Keys, k) })
		}
		if b.Undo {
			c.Absorbed = slices.DeleteFunc(slices.Clone(c.Absorbed), func(a Absorption) bool { return a.From == b.To })
			if len(c.Absorbed) == 0 {
				c.Absorbed = nil
			}
		}
		if c.Open() && !b.Detected.IsZero() {
			c = withEpisode(c, func(ep *Episode) { ep.DetectedAt = b.Detected })
		}
	}
	return c
}

// withMember adds a member. What the key of a merged case leads here belongs to
// that merge.
func withMember(c Case, m Member) Case {
	c.Members = append(slices.Clip(c.Members), m)
	c.Severity = max(c.Severity, m.Severity)
	return attributed(c, m.UID)
}

// attributed counts a finding to the merge whose key led it here, unless it is
// counted already.
func attributed(c Case, uid string) Case {
	if len(c.Absorbed) == 0 {
		return c
	}
	m, _ := c.Member(uid)
	if _, ok := c.cameWith(uid); ok {
		return c
	}
	for i, a := range c.Absorbed {
		if slices.Contains(a.Keys, c.KeyOf(m)) {
			c.Absorbed = slices.Clone(c.Absorbed)
			c.Absorbed[i].UIDs = append(slices.Clip(a.UIDs), uid)
			return c
		}
	}
	return c
}
