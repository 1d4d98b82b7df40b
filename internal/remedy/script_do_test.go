package remedy

import (
	"maps"
	"slices"
	"strings"
)

// scriptDo reads one command of a story; nil for a word that changes the story
// itself. An action is named by a=, and is the one whose turn it is otherwise.
func (s *script) scriptDo(word string) Do {
	switch word {
	case "policy":
		maps.Copy(s.policy, s.args)
		return nil
	case "wake": // sleep until the case wakes up by itself
		if at := WakeAt(s.c); at.After(s.now) {
			s.now = at
		}
		return Tick{}
	case "tick":
		return Tick{}
	case "observe":
		o := observe(s.finding(), s.judge())
		o.DetectedAt = s.in("detected")
		o.Key = s.word("key", o.Key)
		return o
	case "rejudge":
		return Rejudge{Judgement: s.judge(), Trigger: s.word("trigger", "kev")}
	case "merge":
		d := Merge{Into: s.peer(s.word("into", "c2")), Note: Note(s.word("note", "a1")), Alias: Note(s.args["alias"])}
		if _, after, err := Step(d.Into, Command{At: s.now, By: Actor{Person, "ann"}, Do: Absorb{From: s.c, Note: d.Note, Alias: d.Alias}}); err == nil {
			s.winner = after
		}
		return d
	case "absorb":
		return Absorb{From: s.peer(s.word("from", "c2")), Note: Note(s.word("note", "a1")), Alias: Note(s.args["alias"])}
	case "leave":
		return Leave{UID: s.word("uid", "u1"), To: s.word("to", "c3")}
	case "unmerge":
		return Unmerge{From: s.winner, Note: Note(s.word("note", "a1"))}
	case "split":
		return Split{UIDs: strings.Split(s.args["uids"], ","), To: s.word("to", "c3"), Undo: s.args["undo"] == "yes", Note: Note(s.word("note", "a1"))}
	case "ticket_opened":
		return TicketOpened{N: s.number("n", 1), Ref: s.word("ref", "SEC-1"), URL: "https://tickets/SEC-1"}
	case "ticket_said":
		return TicketSaid{N: s.number("n", 1), Told: s.number("told", 1)}
	case "delivered":
		return Delivered{N: s.number("n", 1)}
	case "died", "stuck":
		all := Pending(s.c)
		i := slices.IndexFunc(all, func(e Effect) bool { return e.ID == s.args["effect"] })
		if i < 0 {
			return Died{Effect: Effect{ID: s.args["effect"]}, Reason: "gave up"}
		}
		if word == "stuck" {
			return Stuck{Effect: all[i], Reason: "panicked"}
		}
		return Died{Effect: all[i], Reason: "gave up"}
	}
	if d := s.personDo(word); d != nil {
		return d
	}
	return s.actionDo(word)
}

// peer is another case of the story: one finding, its own key.
func (s *script) peer(id string) Case {
	f := public(s.word("peer.uid", "u9"))
	f.Asset.UID = s.word("peer.asset", f.Asset.UID)
	o := observe(f, s.judge())
	o.ID, o.Key, o.Tenant, o.DetectedAt = id, "v1:"+id, s.word("peer.tenant", "default"), s.in("peer.detected")
	_, c, err := Step(Case{}, Command{At: s.now, By: Actor{Source, "aws.securityhub"}, Do: o})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *script) personDo(word string) Do {
	switch word {
	case "ack":
		return Ack{}
	case "assign":
		return Assign{To: s.args["to"]}
	case "comment":
		return Comment{Note: Note(s.word("note", "a1")), Step: s.args["step"], Undo: s.args["undo"] != ""}
	case "contain":
		return ContainNow{}
	case "verify":
		return Verify{}
	case "escalate":
		return Escalate{Note: "a1"}
	case "snooze":
		return Snooze{Until: s.in("for")}
	case "pause":
		return PauseClock{Reason: PauseReason(s.word("reason", "vendor")), Until: s.in("for"), Note: Note(s.word("note", "a1"))}
	case "resume":
		return ResumeClock{}
	case "reopen":
		return Reopen{}
	case "attest":
		return Attest{Evidence: Note(s.word("evidence", "a1")), Until: s.in("for")}
	case "claim":
		return Claim{From: s.word("from", "jira"), Ticket: s.number("ticket", 0), Status: "done"}
	case "except":
		return GrantException{Exception{ID: "x1", Kind: s.word("kind", "freeze"), By: s.args["by"], Asked: s.args["asked"], Until: s.in("for")}}
	case "revoke":
		return RevokeException{ID: s.word("id", "x1")}
	}
	return nil
}

func (s *script) actionDo(word string) Do {
	a, _ := s.c.current()
	if id, ok := s.args["a"]; ok {
		a, _ = s.c.Action(id)
		a.ID = id
	}
	gen := s.number("gen", a.Gen)
	switch word {
	case "plan":
		o := saw(Result(s.word("before", "exposed")), s.now)
		return PlanMade{Action: a.ID, Gen: gen, Before: o, Diff: "one more grant",
			Plan:  Plan{Hash: s.word("hash", "h1"), Text: "remove public access", BeforeDigest: "b1", LastModifier: s.word("modifier", "dan"), At: s.now},
			Guard: Guard{Deny: s.args["deny"], Ask: s.args["ask"], RetryAt: s.in("retry")}}
	case "plan_failed":
		return PlanFailed{Action: a.ID, Gen: gen, Reason: "no such bucket", Final: s.args["final"] == "yes"}
	case "approve":
		return Approve{Action: a.ID, PlanHash: s.word("hash", "h1"), As: s.word("as", "approver")}
	case "reject":
		return Reject{Action: a.ID, As: s.word("as", "approver")}
	case "intend":
		return Intend{Action: a.ID, Gen: gen, PlanHash: s.word("hash", "h1"), Entitled: s.args["entitled"] != "no", Repeat: s.args["repeat"] == "yes"}
	case "hold":
		return Hold{Action: a.ID, Gen: gen, Reason: "paused", RetryAt: s.in("retry")}
	case "done":
		return Done{Action: a.ID, Gen: gen, UndoHandle: "u1", Ref: "req-1"}
	case "refused":
		return Refused{Action: a.ID, Gen: gen, Reason: "denied", RetryAt: s.in("retry")}
	case "unsure":
		return Unsure{Action: a.ID, Gen: gen, Reason: "connection lost"}
	case "looked":
		return Looked{Action: a.ID, Gen: gen, Found: s.args["found"] == "yes", UndoHandle: "u1"}
	case "probe":
		o := saw(Result(s.word("saw", "exposed")), s.now)
		o.Place = s.word("place", o.Place)
		o.Grade = Grade(s.number("grade", int(o.Grade)))
		d := Probed{N: s.number("n", s.c.Probe.N), Observation: o}
		if v := s.args["covers"]; v != "" {
			d.Covers = strings.Split(v, ",")
		}
		return d
	case "undo":
		return UndoAction{Action: a.ID, Reason: "by hand"}
	case "intend_undo":
		return IntendUndo{Action: a.ID}
	case "undone":
		return UndoDone{Action: a.ID, Failed: s.args["failed"]}
	}
	s.t.Fatalf("unknown word %q in a story", word)
	return nil
}
