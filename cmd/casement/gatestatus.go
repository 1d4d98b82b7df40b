package main

import (
	"context"
	"fmt"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/commitstatus"
	"github.com/casement/casement/internal/gate"
)

// gateContext is the name of the check; branch protection requires it by this.
const gateContext = "casement/gate"

// statusToken is the forge's token; it is never an argument.
const statusToken = "CASEMENT_STATUS_TOKEN"

// gateVerdict is what the status tells: the report, nil where there is none,
// and the address of the install's pages, "" where none is known.
type gateVerdict struct {
	rep   *gate.Report
	pages string
}

// status tells the forge what the gate decided; an error of the gate is told as
// an error of the check, so that a required check never passes by silence.
func (v gateVerdict) status(err error) commitstatus.Status {
	s := commitstatus.Status{State: "success", Context: gateContext, Link: v.pages}
	switch {
	case v.rep != nil && !v.rep.Pass():
		s.State, s.Description = "failure", plural(v.rep.Blocked, "exposure")+" blocked"
		for _, r := range v.rep.Results {
			if r.Outcome == gate.Blocked && r.Case != "" {
				s.Description += ", first: case " + r.Case
				if v.pages != "" {
					s.Link = v.pages + "/cases/" + r.Case
				}
				break
			}
		}
	case err != nil:
		s.State, s.Description = "error", "the gate could not decide; see the build's log"
	case v.rep != nil:
		s.Description = "0 exposures blocked"
		if v.rep.Excepted > 0 {
			s.Description += fmt.Sprintf(", %d excepted", v.rep.Excepted)
		}
	}
	return s
}

// statusWait bounds one telling of a status; stoppedWait does so for a run that
// somebody stopped and waits for.
const (
	statusWait  = 15 * time.Second
	stoppedWait = 3 * time.Second
)

// tokenNeeds is how to mend a status that is refused.
const tokenNeeds = "check --status, and that " + statusToken + " may set statuses of this repository (Gitea: write:repository; GitHub: commit statuses, write)"

// gateAndTell runs the gate and tells the forge. It takes back the verdict of an
// earlier run first, so that one that dies under way leaves the merge shut.
// Where the forge does not take that, the run goes on, as its verdict may be
// taken, and says what stands meanwhile. A verdict that is not taken ends with
// codeRemote whatever it is: a build that goes on after a blocked gate (code 4)
// relies on the check to hold the merge.
func (c *cli) gateAndTell(ctx context.Context, g *gating, f *formats, args []string) error {
	if g.status == "" {
		_, err := c.gate(ctx, g, f, args)
		return err
	}
	token := c.env(statusToken)
	if token == "" {
		return failf(codeUsage, "set "+statusToken+" to a token that may set statuses", "--status is given, but %s is not set", statusToken)
	}
	if err := commitstatus.Check(g.status); err != nil {
		return failf(codeUsage, "", "--status: %w", err)
	}
	post := func(s commitstatus.Status) error {
		wait := g.statusWait
		if ctx.Err() != nil {
			wait = min(wait, stoppedWait)
		}
		// Who stopped the run still has a check that says so.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
		defer cancel()
		return commitstatus.Post(ctx, g.status, token, s, c.now)
	}
	held := post(commitstatus.Status{State: "pending", Context: gateContext, Description: "the gate judges"})
	unsure := func(err error) bool { return connector.KindOf(err) == connector.KindUnsure }
	if held != nil {
		what := "the check " + gateContext + " was not set to pending, so"
		if unsure(held) {
			what = "it is not known whether the check " + gateContext + " was set to pending; if not,"
		}
		c.report(failf(codeRemote, tokenNeeds, "%s what an earlier run said of this commit stands until the verdict is told, and a success lets a merge through: %w", what, held))
	}
	v, err := c.gate(ctx, g, f, args)
	s := v.status(err)
	told := post(s)
	switch {
	case told == nil:
		if held != nil {
			c.sayf("the forge took the verdict (%s): the check %s is right again", s.State, gateContext)
		}
		return err
	case err != nil:
		c.report(err)
	}
	stands := "the check is left pending, which holds the merge where it is required"
	switch {
	case unsure(held) && held != nil:
		stands = "nothing of this run is known to be at the forge: a success of an earlier run may stand and let a merge through"
	case held != nil:
		stands = "nothing of this run is at the forge: a success of an earlier run stands and lets a merge through"
	}
	if unsure(told) {
		stands = "it is not known whether the forge took it; if not, " + stands
	}
	mend := tokenNeeds + "; then run the gate again"
	if held != nil && s.State != "success" {
		mend = "hold the merge by hand; " + mend
	}
	return failf(codeRemote, mend, "the verdict (%s) was not confirmed by the forge, and %s: %w", s.State, stands, told)
}
