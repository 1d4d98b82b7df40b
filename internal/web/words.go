package web

import (
	"strconv"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// span says a length of time in its two largest units: "40 s", "12 min",
// "3 h 20 min", "2 d 4 h", "41 d".
func span(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	n := func(v int64, unit string) string { return strconv.FormatInt(v, 10) + "\u00a0" + unit }
	two := func(big int64, bigUnit string, small int64, smallUnit string) string {
		if small == 0 {
			return n(big, bigUnit)
		}
		return n(big, bigUnit) + "\u00a0" + n(small, smallUnit)
	}
	sec := int64(d / time.Second)
	switch {
	case sec < 60:
		return n(sec, "s")
	case sec < 3600:
		return n(sec/60, "min")
	case sec < 24*3600:
		return two(sec/3600, "h", sec/60%60, "min")
	case sec < 10*24*3600:
		return two(sec/86400, "d", sec/3600%24, "h")
	}
	return n(sec/86400, "d")
}

// ago says an instant relative to now: "just now", "4 min ago", "in 2 h".
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d > -5*time.Second && d < 5*time.Second: // the store's clock may lead ours by a little
		return "just now"
	case d >= 0:
		return span(d) + " ago"
	}
	return "in " + span(d)
}

// stamp is the absolute form of an instant for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// tone is the colour family of a mark; the word beside it says the same.
type tone string

const (
	toneBad   tone = "bad"
	toneWarn  tone = "warn"
	toneGood  tone = "good"
	toneInfo  tone = "info"
	tonePerm  tone = "ask"
	toneQuiet tone = "quiet"
)

// mark is a word with a symbol and a tone: never colour alone.
type mark struct {
	Word string
	Icon string
	Tone tone
	// Hint is the longer explanation.
	Hint string
}

// stateMark shows a case's state.
func stateMark(st remedy.State, how remedy.How) mark {
	switch st {
	case remedy.StateOpen:
		return mark{"Open", "circle", toneWarn, "waits for its owner"}
	case remedy.StatePlanning:
		return mark{"Planning", "gear", toneInfo, "the plan of the action is being made"}
	case remedy.StateApproval:
		return mark{"Needs approval", "hand", tonePerm, "waits for a person's yes to the plan"}
	case remedy.StateHeld:
		return mark{"Held", "pause", toneWarn, "a guardrail or a missing proof holds the action"}
	case remedy.StateActing:
		return mark{"Acting", "bolt", toneInfo, "authorized, or being done at the target"}
	case remedy.StateUnsure:
		return mark{"Outcome unknown", "question", toneBad, "it is being looked up whether the change happened"}
	case remedy.StateVerifying:
		return mark{"Verifying", "eye", toneInfo, "done or claimed, not yet proven"}
	case remedy.StateWatching:
		return mark{"Watching", "eye", toneInfo, "proven; it is watched whether anything broke"}
	case remedy.StateUndoing:
		return mark{"Undoing", "undo", toneWarn, "being changed back"}
	case remedy.StateContained:
		return mark{"Contained", "shield", toneGood, "proven unreachable, not yet fixed"}
	case remedy.StateExcepted:
		return mark{"Excepted", "clock", toneQuiet, "set aside until a date, by approval"}
	case remedy.StateSuppressed:
		return mark{"Suppressed", "mute", toneQuiet, "not an exposure by rule, until a date"}
	case remedy.StateMerged:
		return mark{"Merged", "merge", toneQuiet, "another case took it over"}
	case remedy.StateClosed, remedy.StateSettled:
		return closedMark(how)
	}
	return mark{"None", "circle", toneQuiet, ""}
}

func closedMark(how remedy.How) mark {
	switch how {
	case remedy.ClosedProven:
		return mark{"Closed: proven", "check", toneGood, "a probe saw the exposure before and not after"}
	case remedy.ClosedGone:
		return mark{"Closed: gone", "check", toneGood, "the asset is proven deleted"}
	case remedy.ClosedAttested:
		return mark{"Closed: attested", "pen", toneQuiet, "closed on a person's word, until a date; not counted as proven"}
	}
	return mark{"Closed", "check", toneQuiet, string(how)}
}

// pathMark shows which path policy chose.
func pathMark(p remedy.Path) mark {
	switch p {
	case remedy.PathEnforce:
		return mark{"Enforce", "bolt", toneInfo, "the action runs by itself"}
	case remedy.PathApprove:
		return mark{"Approve", "hand", tonePerm, "the action runs after a person's yes"}
	case remedy.PathTicket:
		return mark{"Ticket", "ticket", toneQuiet, "the owner fixes it, by ticket"}
	case remedy.PathIncident:
		return mark{"Incident", "siren", toneBad, "an incident for the responders"}
	case remedy.PathSuppress:
		return mark{"Suppress", "mute", toneQuiet, "not an exposure, by rule"}
	}
	return mark{"Monitor", "eye", toneQuiet, "recorded and probed, nothing else"}
}

// actionMark shows where an action stands.
func actionMark(st remedy.ActionStatus) mark {
	switch st {
	case remedy.ActionWaiting:
		return mark{"Waiting its turn", "circle", toneQuiet, ""}
	case remedy.ActionPlanning:
		return mark{"Planning", "gear", toneInfo, ""}
	case remedy.ActionHeld:
		return mark{"Held", "pause", toneWarn, ""}
	case remedy.ActionAsking:
		return mark{"Needs approval", "hand", tonePerm, ""}
	case remedy.ActionReady:
		return mark{"Authorized", "bolt", toneInfo, ""}
	case remedy.ActionIntended:
		return mark{"Acting", "bolt", toneInfo, ""}
	case remedy.ActionUnsure:
		return mark{"Outcome unknown", "question", toneBad, ""}
	case remedy.ActionActed:
		return mark{"Done, not proven", "eye", toneInfo, ""}
	case remedy.ActionWatching:
		return mark{"Proven, watching", "eye", toneGood, ""}
	case remedy.ActionDone:
		return mark{"Proven", "check", toneGood, ""}
	case remedy.ActionFailed:
		return mark{"Failed", "cross", toneBad, ""}
	case remedy.ActionUndoing:
		return mark{"Undoing", "undo", toneWarn, ""}
	case remedy.ActionUndone:
		return mark{"Undone", "undo", toneQuiet, ""}
	case remedy.ActionUnundone:
		return mark{"Undo failed", "cross", toneBad, ""}
	case remedy.ActionDropped:
		return mark{"Dropped", "cross", toneQuiet, ""}
	}
	return mark{string(st), "circle", toneQuiet, ""}
}

// resultMark shows what a probe saw.
func resultMark(r remedy.Result) mark {
	switch r {
	case remedy.Exposed:
		return mark{"Exposed", "open", toneBad, ""}
	case remedy.NotExposed:
		return mark{"Not exposed", "shut", toneGood, ""}
	case remedy.Gone:
		return mark{"Gone", "check", toneGood, ""}
	case remedy.Inconclusive:
		return mark{"Inconclusive", "question", toneWarn, ""}
	}
	return mark{"Not looked yet", "circle", toneQuiet, ""}
}

// worksMark shows what a continuity probe saw.
func worksMark(r remedy.Result) mark {
	switch r {
	case remedy.NotExposed:
		return mark{"Works", "check", toneGood, ""}
	case remedy.Exposed:
		return mark{"Broken", "cross", toneBad, ""}
	}
	return resultMark(r)
}

// gradeHint explains a probe's grade.
func gradeHint(g remedy.Grade) string {
	switch g {
	case remedy.P0:
		return "a scanner no longer reports it"
	case remedy.P1:
		return "read back through the API of the change"
	case remedy.P2:
		return "read back through another API"
	}
	return "what an outsider can do"
}

// riskHint explains a risk class.
func riskHint(k deadline.RiskClass) string {
	switch k {
	case deadline.K1:
		return "most urgent"
	case deadline.K2:
		return "urgent"
	case deadline.K3:
		return "serious"
	case deadline.K4:
		return "routine"
	case deadline.K5:
		return "next upgrade"
	}
	return "not classified"
}

// reverseText explains the reversibility of an action.
func reverseText(a remedy.ActionSpec) string {
	switch {
	case a.Reversibility >= 3:
		return "irreversible"
	case !a.Undoable:
		return "no way back through the connector"
	case a.Reversibility == 2:
		return "reversible, may interrupt traffic"
	case a.Reversibility == 1:
		return "reversible, no effect on traffic"
	}
	return "reversible, metadata only"
}

// plural is "1 case", "2 cases".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// sizeText rounds a number of bytes.
func sizeText(n int) string {
	switch {
	case n >= 1<<20:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + "\u00a0MiB"
	case n >= 1<<10:
		return strconv.FormatFloat(float64(n)/(1<<10), 'f', 1, 64) + "\u00a0KiB"
	}
	return strconv.Itoa(n) + "\u00a0bytes"
}
