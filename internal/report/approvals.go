package report

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// Approvals are what became of the requests for approval.
type Approvals struct {
	// Asked is the number of requests; each is in exactly one of the others.
	Asked    int `json:"asked"`
	Approved int `json:"approved"`
	Rejected int `json:"rejected"`
	// Expired: nobody answered in time.
	Expired int `json:"expired"`
	// Voided: the plan, the target or the case changed first.
	Voided int `json:"voided"`
	// Waiting have no answer yet.
	Waiting int `json:"waiting"`
	// AnswerTimes holds the time to approval or rejection; the others are
	// censored.
	AnswerTimes []Observation `json:"-"`
}

// RejectedShare is Rejected of Approved + Rejected + Expired.
func (a Approvals) RejectedShare() Share { return ShareOf(a.Rejected, a.Approved+a.Rejected+a.Expired) }

// AnswerTime is the distribution of the time to an answer.
func (a Approvals) AnswerTime() Time {
	var s Sample
	for _, o := range a.AnswerTimes {
		s.Add(o)
	}
	return s.Time()
}

// Add adds another count.
func (a *Approvals) Add(b Approvals) {
	a.Asked, a.Approved, a.Rejected = a.Asked+b.Asked, a.Approved+b.Approved, a.Rejected+b.Rejected
	a.Expired, a.Voided, a.Waiting = a.Expired+b.Expired, a.Voided+b.Voided, a.Waiting+b.Waiting
	a.AnswerTimes = append(a.AnswerTimes, b.AnswerTimes...)
}

// ApprovalsOf counts the requests in the events of one case that were ended in
// the window, or wait at its end.
func ApprovalsOf(events iter.Seq[remedy.Event], o Options) Approvals {
	type request struct {
		asked, expires time.Time
		needed         int
		grants         map[string]bool
	}
	var n Approvals
	pending := make(map[string]*request) // by action
	end := func(action string, when time.Time, into *int, answered bool) {
		r := pending[action]
		delete(pending, action)
		if r != nil && !when.Before(o.From) {
			*into++
			n.Asked++
			n.AnswerTimes = append(n.AnswerTimes, Observation{Exit: max(0, when.Sub(r.asked)), Event: answered})
		}
	}
	for e := range events {
		if e.At.After(o.At) {
			break
		}
		switch b := e.Body.(type) {
		case remedy.ApprovalAsked:
			end(b.Action, e.At, &n.Voided, false) // asked anew without a word
			pending[b.Action] = &request{e.At, b.Approval.ExpiresAt, max(1, b.Approval.Needed), make(map[string]bool)}
		case remedy.Approved:
			if r := pending[b.Action]; r != nil {
				r.grants[b.Grant.By] = true
				if len(r.grants) >= r.needed {
					end(b.Action, e.At, &n.Approved, true)
				}
			}
		case remedy.Rejected:
			end(b.Action, e.At, &n.Rejected, true)
		case remedy.ApprovalVoided:
			if r := pending[b.Action]; r != nil && !r.expires.IsZero() && !e.At.Before(r.expires) {
				end(b.Action, e.At, &n.Expired, false)
			} else {
				end(b.Action, e.At, &n.Voided, false)
			}
		case remedy.ActionMoved:
			if b.To == remedy.ActionDropped {
				end(b.Action, e.At, &n.Voided, false)
			}
		}
	}
	for _, action := range slices.Sorted(maps.Keys(pending)) {
		r := pending[action]
		n.Waiting++
		n.Asked++
		n.AnswerTimes = append(n.AnswerTimes, Observation{Exit: max(0, o.At.Sub(r.asked))})
	}
	return n
}
