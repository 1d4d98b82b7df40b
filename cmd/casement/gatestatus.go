package main

import (
	"context"
	"fmt"

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

// gateAndTell runs the gate and tells the forge. It takes back the verdict of an
// earlier run first, so that one that dies under way leaves the merge shut. A
// status that is not taken fails a build that would pass: the merge stays shut
// and somebody has to know why.
func (c *cli) gateAndTell(ctx context.Context, g *gating, f *formats, args []string) error {
	token := c.env(statusToken)
	if g.status != "" && token == "" {
		return failf(codeUsage, "set "+statusToken+" to a token that may set statuses", "--status is given, but %s is not set", statusToken)
	}
	if g.status == "" {
		_, err := c.gate(ctx, g, f, args)
		return err
	}
	// A forge that does not take this one is told of at the verdict.
	_ = commitstatus.Post(ctx, g.status, token, commitstatus.Status{State: "pending", Context: gateContext, Description: "the gate judges"}, c.now)
	v, err := c.gate(ctx, g, f, args)
	told := commitstatus.Post(ctx, g.status, token, v.status(err), c.now)
	switch {
	case told == nil:
		return err
	case err == nil:
		return failf(codeError, "check --status and the token; a required check stays open until a status arrives", "the gate passes, but its status was not taken: %w", told)
	}
	c.report(fmt.Errorf("the status was not taken: %w", told))
	return err
}
