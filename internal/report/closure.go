package report

import (
	"maps"
	"slices"
	"time"

	"github.com/casement/casement/internal/deadline"
)

// Closure is the report for people who answer for closing exposures: one row of
// all, then one for each risk class that occurs.
type Closure struct {
	At   time.Time `json:"at"`
	From time.Time `json:"from,omitzero"`
	Rows []Row     `json:"rows"`
	// Paused are the cases whose SLA clock stood still in the window.
	Paused []PausedCase `json:"paused_cases,omitempty"`
}

// Row is the numbers of one risk class, or of all.
type Row struct {
	// Class is "all", K1 … K5, or K? for what is not judged yet.
	Class string `json:"class"`
	Group
	Approvals Approvals `json:"approvals"`
	// Rejected of the approvals that came to an end by an answer or for want of one.
	Rejected Share `json:"approvals_rejected"`
	Answer   Time  `json:"approval_answer"`
}

// ClosureOf joins the numbers of episodes and those of approvals by class.
func ClosureOf(n Numbers, approvals map[deadline.RiskClass]Approvals) Closure {
	row := func(name string, g Group, a Approvals) Row {
		return Row{Class: name, Group: g, Approvals: a, Rejected: a.RejectedShare(), Answer: a.AnswerTime()}
	}
	var all Approvals
	for _, k := range slices.Sorted(maps.Keys(approvals)) {
		all.Add(approvals[k])
	}
	c := Closure{At: n.At, From: n.From, Rows: []Row{row("all", n.All, all)}, Paused: n.Paused}
	classes := slices.Sorted(maps.Keys(n.ByClass))
	if len(classes) > 1 && classes[0] == 0 { // what is not judged comes last
		classes = append(classes[1:], 0)
	}
	for _, k := range classes {
		c.Rows = append(c.Rows, row(k.String(), n.ByClass[k], approvals[k]))
	}
	return c
}
