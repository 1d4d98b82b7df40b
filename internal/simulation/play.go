package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// play lives a script.
func (s *sim) play(script []Op) {
	for _, op := range script {
		s.r = rand.New(rand.NewPCG(op.Seed, 2))
		if s.life.Trouble != nil {
			s.life.Trouble(op, false)
		}
		s.say("%s", op)
		s.counts[string(op.Kind)]++
		s.do(op)
		for range op.Turns {
			ready := s.runnable()
			if len(ready) == 0 {
				break
			}
			s.resume(ready[s.r.IntN(len(ready))])
		}
	}
}

func (s *sim) do(op Op) {
	n := s.nodes[op.A%nodeCount]
	t := s.world.targets[op.B%len(s.world.targets)]
	switch op.Kind {
	case opDeliver:
		s.deliver(n, op)
	case opWork:
		n.work()
	case opSweep:
		n.sweep()
	case opStep:
		n.step()
	case opWait:
		s.wait(op)
	case opQuiet:
		s.quiet(40)
	case opApprove, opReject, opPeople, opExcept, opRevoke:
		s.people(n, op)
	case opPress:
		s.press(scopes(t.connector)[op.C%2])
	case opRelease:
		s.release("")
	case opCrash:
		n.die()
		s.counts["crashes"]++
	case opStall:
		n.stalled = true
	case opWake:
		s.wake(n, op.C%2 == 0)
	case opCommit:
		n.faults = append(n.faults, commitFault(1+op.B%(int(commitFaults)-1)))
	case opSkew:
		n.skew = []time.Duration{0, 2 * time.Second, -2 * time.Second, 20 * time.Second, -90 * time.Second, 10 * time.Minute, -time.Hour, 3 * time.Hour}[op.B%8]
		s.ahead, s.behind = max(s.ahead, n.skew), min(s.behind, n.skew)
	default:
		s.doWorld(op, t)
	}
}

// doWorld changes the world around the nodes.
func (s *sim) doWorld(op Op, t *target) {
	w := s.world
	switch op.Kind {
	case opDrift:
		t.touch([]string{"mallory", "", "anna", "ben"}[op.C%4])
	case opOwner:
		t.exposed = false
		t.touch("olga")
	case opExpose:
		t.exposed = true
		t.touch("mallory")
	case opGone:
		t.gone = true
	case opAct:
		t.acts = append(t.acts, actFault(1+op.C%(int(actFaults)-1)))
	case opUndo:
		t.undos = append(t.undos, []actFault{actRefused, actBusy, actLost}[op.C%3])
	case opProbe:
		t.probe = probeMode(op.C / 2 % int(probeModes) * (op.C % 2))
	case opBreak:
		t.broken = op.C%3 > 0
	case opDeaf:
		w.deaf = op.C%2 > 0
	case opRight:
		names := append(approvers(), "ben")
		p := w.people[names[op.C%len(names)]]
		if p.as == "" {
			p.as = "approver"
		} else {
			p.as, p.lost = "", s.tick
		}
	case opSuppress:
		w.rules.suppress[t.i] = !w.rules.suppress[t.i]
		w.rules.version++
		s.rejudge()
	case opPolicy:
		s.policy(op, t)
	}
}

func (s *sim) policy(op Op, t *target) {
	r := &s.world.rules
	r.version++
	switch op.C % 4 {
	case 0, 1:
		r.auth = slices.Clone(r.auth)
		r.auth[t.i] = anyAuth(op.C / 4)
	case 2:
		r.known = !r.known
	case 3:
		r.authors = [][]string{{"pat", "quinn"}, {"anna"}, {"ben"}}[op.C/4%3]
	}
	s.rejudge()
}

// rejudge lets a node judge every case anew.
func (s *sim) rejudge() {
	n := s.nodes[s.r.IntN(nodeCount)]
	for _, id := range s.audit.ids() {
		s.start(n, "rejudge", func(ctx context.Context) {
			_, err := n.engine.Rejudge(ctx, id, "policy promoted", n.time())
			s.say("rejudge %s: %s", id, short(err))
		})
	}
}

// alert builds what tool k says of target i, in one of its versions.
func (s *sim) alert(n, version int) finding.Finding {
	i, tool := n%4, n/4%3
	f := finding.Finding{Source: "tool" + strconv.Itoa(tool), NativeID: fmt.Sprintf("a%d", i), Title: "public bucket", Class: s.world.targets[i].class,
		Severity: []finding.Severity{finding.SeverityMedium, finding.SeverityHigh, finding.SeverityCritical, finding.SeverityMedium}[version%4],
		Asset:    finding.Asset{UID: s.world.targets[i].asset, Type: "bucket", Provider: "gcp"}, FirstSeen: begin().Add(-time.Hour), LastSeen: s.now}
	if version%4 == 3 {
		f.Status = finding.StatusFixed
	}
	f, err := finding.Normalize(f)
	s.must(err)
	return f
}

// deliver sends up to three alerts in one call; what was not acknowledged is
// sent again by whoever sends it.
func (s *sim) deliver(n *node, op Op) {
	fs := []finding.Finding{s.alert(op.B, version(op.C))}
	for k := range op.C / 64 % 3 {
		fs = append(fs, s.alert(op.B+k, version(op.C/256)))
	}
	s.start(n, "observe", func(ctx context.Context) {
		if op.B%3 == 0 { // a node that has read them before counts them first
			var err error
			if fs, err = s.repeats(ctx, n, fs); err != nil || len(fs) == 0 {
				s.say("repeats: %s", short(err))
				return
			}
		}
		placed, err := n.engine.Observe(ctx, finding.DefaultTenant, fs, nil, n.time())
		s.say("observed: %s", short(err))
		if err != nil {
			return
		}
		for i, p := range placed {
			s.say("%s of %s: %s %s %s", fs[i].UID[:6], fs[i].Asset.UID, p.Placement, p.CaseID, short(p.Err))
			if p.Err == nil {
				s.audit.acknowledged(fs[i], p)
			}
		}
	})
}

// repeats has those of fs counted that are repeats, and returns the others.
func (s *sim) repeats(ctx context.Context, n *node, fs []finding.Finding) (rest []finding.Finding, err error) {
	var rs []engine.Repeat
	var open []finding.Finding
	for _, f := range fs {
		if f.Status != finding.StatusOpen {
			rest = append(rest, f)
			continue
		}
		rs, open = append(rs, engine.Repeat{UID: f.UID, Digest: finding.DecisionDigest(f)}), append(open, f)
	}
	if len(rs) == 0 {
		return rest, nil
	}
	placed, late, err := n.engine.Repeats(ctx, finding.DefaultTenant, rs, n.time())
	if err != nil {
		return nil, err
	}
	for i, p := range placed {
		if slices.Contains(late, i) {
			rest = append(rest, open[i])
			continue
		}
		s.counts["repeats"]++
		s.audit.acknowledged(open[i], p)
	}
	return rest, nil
}

// version is mostly the first one.
func version(c int) int { return []int{0, 0, 0, 1, 1, 2, 0, 3}[c%8] }

// wait lets time pass: a little while everything goes on, or long after all
// that can run came to its end.
func (s *sim) wait(op Op) {
	switch op.B % 4 {
	case 0:
		s.advance(time.Duration(1+op.C%9) * time.Second)
	case 1:
		s.advance(time.Duration(10+op.C%50) * time.Second)
	case 2:
		s.drain()
		s.advance(time.Duration(1+op.C%60) * time.Minute)
	default:
		s.drain()
		if next, err := s.store.NextDue(s.ctx, s.now); err == nil && !next.IsZero() && next.Sub(s.now) < 24*time.Hour {
			s.advance(next.Sub(s.now))
		}
	}
}

// advance moves the clock in steps in which leases are prolonged.
func (s *sim) advance(d time.Duration) {
	for d > 0 {
		step := min(d, leaseTime/3)
		if len(s.tasks) == 0 {
			step = d
		}
		s.now = s.now.Add(step)
		d -= step
		s.world.arrive()
		s.beat()
	}
}

// quiet lets the nodes work, one after the other, until nothing is due.
func (s *sim) quiet(rounds int) {
	for k := range rounds {
		s.drain()
		before := s.audit.seen
		n := s.nodes[k%nodeCount]
		if n.stalled {
			continue
		}
		n.sweep()
		n.work()
		s.drain()
		if s.audit.seen == before && k >= nodeCount {
			return
		}
	}
}

// wake lets a stalled node go on. Whether its heartbeat notices first that its
// leases are lost is chance.
func (s *sim) wake(n *node, notices bool) {
	n.stalled = false
	if notices {
		s.beat()
	}
}

// people lets somebody do something to a case, from a page as old as may be.
func (s *sim) people(n *node, op Op) {
	ids := s.audit.ids()
	if len(ids) == 0 {
		return
	}
	v := s.audit.cases[ids[op.B%len(ids)]]
	who := []string{"anna", "ben", "carl", "anna", "ben", "eve", "olga"}[op.C%7]
	if op.Kind == opApprove || op.Kind == opReject {
		s.answer(n, v, op, who)
		return
	}
	cmd := s.personal(v, op, who)
	if cmd == nil {
		return
	}
	s.start(n, string(op.Kind), func(ctx context.Context) {
		at := n.time()
		_, err := n.engine.Tell(ctx, v.id, remedy.Command{At: at, By: remedy.Actor{Kind: remedy.Person, ID: who}, Do: cmd})
		s.say("%s %s on %s: %s", who, cmd.Name(), v.id, short(err))
	})
}

// answer says yes or no to one of the plans that were ever shown of an action.
func (s *sim) answer(n *node, v *caseView, op Op, who string) {
	var asked []*actionView
	for _, a := range v.actions {
		if len(a.shown) > 0 {
			asked = append(asked, a)
		}
	}
	if len(asked) == 0 {
		return
	}
	a := asked[len(asked)-1]
	hash := a.shown[len(a.shown)-1]
	if op.A%5 == 0 {
		hash = a.shown[op.C%len(a.shown)]
	}
	s.start(n, string(op.Kind), func(ctx context.Context) {
		var err error
		if op.Kind == opReject {
			_, err = n.engine.Reject(ctx, v.id, a.id, who, "no", n.time())
		} else {
			_, err = n.engine.Approve(ctx, v.id, a.id, hash, who, "fine", n.time())
		}
		s.say("%s %ss %s of %s: %s", who, op.Kind, a.id, v.id, short(err))
	})
}

// personal is what a person asks of a case, nil for nothing.
func (s *sim) personal(v *caseView, op Op, who string) remedy.Do {
	switch op.Kind {
	case opExcept:
		return remedy.GrantException{Exception: remedy.Exception{ID: "x" + strconv.Itoa(op.A), Kind: "accepted", By: who, Asked: "olga",
			Until: s.now.Add(time.Duration(1+op.A%72) * time.Hour)}}
	case opRevoke:
		return remedy.RevokeException{}
	}
	switch op.A % 9 {
	case 0:
		return remedy.Ack{}
	case 1:
		return remedy.Verify{}
	case 2:
		return remedy.ContainNow{}
	case 3:
		return remedy.Claim{From: who}
	case 4:
		switch {
		case v.stopped() != nil:
			return remedy.ResumeClock{}
		case op.B%2 == 0:
			return remedy.PauseClock{Reason: remedy.PauseReasons()[op.B%3], Until: s.now.Add(time.Duration(5+op.B%60) * time.Minute), Note: "n"}
		}
		return remedy.Snooze{Until: s.now.Add(time.Duration(1+op.B%48) * time.Hour)}
	case 5:
		return remedy.Attest{Evidence: "e", Until: s.now.Add(time.Duration(1+op.B%9) * 24 * time.Hour)}
	case 6:
		return remedy.Reopen{}
	case 7:
		return remedy.Escalate{}
	}
	for _, a := range v.actions {
		if a.acted {
			return remedy.UndoAction{Action: a.id, Reason: "wrong"}
		}
	}
	return nil
}

// tolerate accepts an error of the store while real trouble is made for it.
func (s *sim) tolerate(err error) {
	if err != nil && s.life.Trouble == nil {
		s.must(err)
	}
}

// heal ends all trouble, lets people answer and time pass, until everything
// that has an end came to it.
func (s *sim) heal() {
	s.r = rand.New(rand.NewPCG(s.life.Seed, 3))
	s.say("heal")
	if s.life.Trouble != nil {
		s.life.Trouble(Op{}, true)
	}
	for _, n := range s.nodes {
		n.stalled, n.skew, n.faults = false, 0, nil
	}
	s.drain()
	s.healing = true
	s.advance(30 * time.Second) // the longest that an act is on its way
	for _, t := range s.world.targets {
		t.acts, t.undos, t.probe, t.broken = nil, nil, probeOK, false
		if s.r.IntN(2) == 0 && !t.gone { // half of what is left the owner mends
			t.exposed = false
			t.touch("olga")
		}
	}
	s.world.deaf = false
	for _, p := range s.world.people {
		p.as = "approver"
	}
	s.world.people["eve"].as = ""
	for i := range s.world.rules.suppress {
		s.world.rules.suppress[i] = false
	}
	s.release("")
	s.rest(12*24*time.Hour, 400)
}

// rest lets time pass from wake-up to wake-up.
func (s *sim) rest(d time.Duration, hops int) {
	end := s.now.Add(d)
	for range hops {
		s.quiet(60)
		s.yes()
		next, err := s.store.NextDue(s.ctx, s.now)
		s.must(err)
		if next.IsZero() || next.After(end) {
			break
		}
		s.advance(max(next.Sub(s.now), time.Second))
	}
	s.quiet(60)
}

// yes lets everybody who is asked approve.
func (s *sim) yes() {
	for _, id := range s.audit.ids() {
		for _, a := range s.audit.cases[id].actions {
			if !a.asking() {
				continue
			}
			for _, who := range approvers() {
				n, hash := s.nodes[s.r.IntN(nodeCount)], a.ask.PlanHash
				s.start(n, "approve", func(ctx context.Context) {
					_, err := n.engine.Approve(ctx, id, a.id, hash, who, "", n.time())
					s.say("%s approves %s of %s: %s", who, a.id, id, short(err))
				})
			}
		}
	}
	s.drain()
}
