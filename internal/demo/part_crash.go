package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// crash is part 6: the server is killed after the target made the change and
// before the outcome is written down.
func (s *stage) crash(ctx context.Context) error {
	s.out.title(6, "kill -9", "The server is killed in the middle of an action: the target has changed, and nobody has written it down yet.")
	const subject = "s3/acme-backups"
	s.world.Bucket("acme-backups").MakePublic()
	if err := s.server.tell(order{Do: "hold", At: "after act"}); err != nil {
		return err
	}
	if _, err := s.server.hear(ctx, 5*time.Second); err != nil {
		return err
	}
	a, err := s.server.alert(ctx, bucketAlert("acme-backups", "backups"))
	if err != nil {
		return err
	}
	id := a.cases()[0]
	s.cast = append(s.cast, member{name: "acme-backups", id: id})
	s.out.line("", "alert", "a cloud scanner reports acme-backups")
	if r, err := s.server.hear(ctx, 15*time.Second); err != nil || r.Is != "holding" {
		return orNothing(err, "the server did not reach the middle of its action")
	}
	if n := s.world.Changes(subject); n != 1 {
		return fmt.Errorf("the target made %d changes before the kill", n)
	}
	before, _, err := s.follow(ctx, id, 0, func(remedy.Case) bool { return true }, nil)
	if err != nil {
		return err
	}
	pid := s.server.cmd.Process.Pid
	if err := s.server.kill(); err != nil {
		return err
	}
	s.out.line(red, "SIGKILL", "process %d is gone; the case said %s, the target's own log says changed", pid, before.State())
	if err := s.claims.put(claim{Kind: "kill", Case: id, Action: before.Actions[0].ID, Subject: subject, Want: "intended", Saw: string(before.Actions[0].Status), Detail: strconv.Itoa(pid), State: "private"}); err != nil {
		return err
	}
	if err := s.server.start(ctx); err != nil {
		return err
	}
	s.out.line("", "restart", "the same data, process %d; it looks before it acts", s.server.cmd.Process.Pid)
	c, evs, err := s.follow(ctx, id, 50*time.Second, ended, nil)
	if err != nil {
		return err
	}
	n := s.world.Changes(subject)
	if err := s.claims.put(claim{Kind: "once", Case: id, Action: c.Actions[0].ID, Subject: subject, Want: "1", Saw: strconv.Itoa(n)}); err != nil {
		return err
	}
	if err := s.claimFix(c, evs, subject, "private"); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("the target was changed %d times", n)
	}
	s.out.line(green, "once", "the target's own log has one change")
	var v struct {
		OK        bool   `json:"ok"`
		Fault     string `json:"fault"`
		Sequenced int    `json:"sequenced"`
		Rest      int    `json:"unsequenced"`
		Streams   int    `json:"streams"`
	}
	if err := s.server.call(ctx, http.MethodPost, "/api/v1/ledger/verify", nil, &v); err != nil {
		return err
	}
	if !v.OK {
		return errors.New("the ledger does not verify: " + v.Fault)
	}
	s.out.line(green, "ledger", "verifies: %d events in %d chains", v.Sequenced+v.Rest, v.Streams)
	return nil
}

// table is part 7: what became of each case.
func (s *stage) table(ctx context.Context) error {
	s.out.title(7, "What became of it", "UTC. The window runs from the source's detection to the proof.")
	clock := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Format("15:04:05")
	}
	s.out.print("")
	s.out.print("   %s", s.Paint(dim, fmt.Sprintf("%-22s %-8s  %-9s  %-8s  %8s", "CASE", "OPENED", "CONTAINED", "PROVEN", "WINDOW")))
	for _, m := range s.cast {
		c, err := s.server.load(ctx, m.id)
		if err != nil {
			return err
		}
		ep, window, style := c.Episode(), "open", yellow
		proven := time.Time{}
		if c.Closed == remedy.ClosedProven {
			proven, style = ep.ClosedAt, green
			window = took(ep.ClosedAt.Sub(ep.DetectedAt))
			m.note = ""
			x := claim{Kind: "window", Case: c.ID, Subject: m.name, Want: window, Saw: window, Opened: ep.DetectedAt, Contained: ep.ContainedAt, Closed: ep.ClosedAt}
			if err := s.claims.put(x); err != nil {
				return err
			}
		}
		tail := ""
		if m.note != "" {
			tail = "  " + m.note
		}
		s.out.print("   %-22s %-8s  %-9s  %-8s  %s%s", m.name, clock(ep.OpenedAt), clock(ep.ContainedAt), clock(proven), s.Paint(style, fmt.Sprintf("%8s", window)), tail)
	}
	return nil
}
