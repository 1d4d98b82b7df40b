package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/sim"
)

// truth is part 1: a curl that answers 200 before and 403 after.
func (s *stage) truth(ctx context.Context) error {
	s.out.title(1, "Touchable truth", "A bucket with salaries can be read by anyone. Don't believe it, ask:")
	b := s.world.Bucket("acme-payroll")
	b.Put("salaries-2026.csv", "name,salary\nada,91000\nlin,87000\n")
	b.MakePublic()
	subject, address := "s3/acme-payroll", b.URL("salaries-2026.csv")
	s.out.print("\n      %s\n", s.Paint(bold, "curl -i "+address))
	saw, err := s.outside(ctx, subject, address, "200", "open")
	if err != nil {
		return err
	}
	s.out.line(red, "outsider", "%s: the file is there for the asking", saw)
	if !s.Once {
		s.out.print("\n   Run it in another terminal. Enter lets the alert in.")
		s.key(ctx)
		s.out.start = time.Now()
	}
	switch s.Sabotage {
	case "fix-noop":
		s.world.SetFault(subject, sim.Fault{Lie: true})
	case "probe-lies":
		s.world.SetFault(subject, sim.Fault{Lie: true, ProbeShows: true})
	case "target-down":
		s.world.SetFault(subject, sim.Fault{Down: true})
	}
	a, err := s.server.alert(ctx, bucketAlert("acme-payroll", "payroll"))
	if err != nil {
		return err
	}
	id := a.cases()[0]
	s.cast = append(s.cast, member{name: "acme-payroll", id: id})
	s.out.line("", "alert", "a cloud scanner reports acme-payroll")
	c, evs, err := s.follow(ctx, id, 20*time.Second, func(c remedy.Case) bool { return ended(c) || inconclusive(c) }, nil)
	if err != nil {
		return err
	}
	if err := s.claimFix(c, evs, subject, "private"); err != nil {
		return err
	}
	if saw, err = s.outside(ctx, subject, address, "403", "private"); err != nil {
		return err
	}
	s.out.line(green, "outsider", "%s: the same curl, refused", saw)
	if saw != "403" {
		return fmt.Errorf("the curl still answers %s", saw)
	}
	return nil
}

// controlPlane asks the target's control plane for the policy of a bucket.
func (s *stage) controlPlane(ctx context.Context, bucket string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.world.URL(sim.ServiceS3)+"/"+bucket+"?policy", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "casement-demo/console")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+sim.S3AccessKey+"/demo")
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close() // the status is all we want
	if resp.StatusCode == http.StatusNotFound {
		return "no policy", nil
	}
	return fmt.Sprintf("a policy (%d)", resp.StatusCode), nil
}

// liar is part 2: the control plane says fixed, the probe says open.
func (s *stage) liar(ctx context.Context) error {
	s.out.title(2, "The liar", "The next target answers every change of a policy with success, shows it in its control plane, and does not make it.")
	b := s.world.Bucket("acme-reports")
	b.Put("q3.pdf", "%PDF-1.7")
	b.MakePublic()
	s.world.SetFault("s3/acme-reports", sim.Fault{LieAbout: "policy"})
	a, err := s.server.alert(ctx, bucketAlert("acme-reports", "reports"))
	if err != nil {
		return err
	}
	id, subject := a.cases()[0], "s3/acme-reports"
	s.cast = append(s.cast, member{name: "acme-reports", id: id})
	s.out.line("", "alert", "a cloud scanner reports acme-reports")
	acts := 0
	c, evs, err := s.follow(ctx, id, 25*time.Second, ended, func(e event) error {
		if e.Type != (remedy.ActedOn{}).Type() {
			return nil
		}
		if acts++; acts > 1 {
			return nil
		}
		plane, err := s.controlPlane(ctx, "acme-reports")
		if err != nil {
			return err
		}
		s.out.line("", "console", "the control plane shows %s: fixed, it says", plane)
		saw, err := s.outside(ctx, subject, b.URL("q3.pdf"), "200", "open")
		if err != nil {
			return err
		}
		now, err := s.server.load(ctx, id)
		if err != nil {
			return err
		}
		s.out.line(red, "outsider", "%s: still open; the case is %s, not closed", saw, now.State())
		pending := "open"
		if !now.Open() {
			pending = "closed"
		}
		return s.claims.put(claim{Kind: "pending", Case: id, Subject: subject, Want: "open", Saw: pending, State: "open"})
	})
	if err != nil {
		return err
	}
	if len(c.Actions) == 0 {
		return errors.New("nothing was planned for acme-reports")
	}
	saw := "worked"
	if a := c.Actions[0]; a.Status == remedy.ActionFailed && a.After.Result == remedy.Exposed {
		saw = "said done"
	}
	if err := s.claims.put(claim{Kind: "no-effect", Case: id, Action: c.Actions[0].ID, Subject: subject, Want: "said done", Saw: saw}); err != nil {
		return err
	}
	return s.claimFix(c, evs, subject, "private", c.Actions[0].ID)
}
