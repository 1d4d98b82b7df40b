package remedy

import (
	"slices"
	"strconv"
)

// stuck returns the dead letters among the effects that are called for.
func (c Case) stuck() []string {
	var out []string
	if len(c.Stuck) == 0 {
		return nil
	}
	for _, e := range Pending(c) {
		if slices.Contains(c.Stuck, e.ID) {
			out = append(out, e.ID)
		}
	}
	return out
}

// Pending returns the effects the state calls for, in a fixed order. An effect
// stays pending until its outcome is an event, so that history and outbox
// can't diverge.
func Pending(c Case) []Effect {
	var out []Effect
	add := func(kind EffectKind, action string, n int, id string) {
		out = append(out, Effect{ID: string(kind) + "/" + id, Kind: kind, Action: action, N: n})
	}
	if c.NeedJudge != "" && c.MergedInto == "" {
		add(EffectJudge, "", c.Judges, strconv.Itoa(c.Judges))
	}
	for _, a := range c.Actions {
		id := a.ID + "/" + strconv.Itoa(a.Gen)
		switch a.Status {
		case ActionPlanning:
			add(EffectPlan, a.ID, 0, id)
		case ActionReady, ActionIntended:
			add(EffectAct, a.ID, 0, id)
		case ActionUnsure:
			if a.Spec.lookable() && a.ProbeAt.IsZero() && c.Probe.Action != a.ID {
				add(EffectLook, a.ID, 0, id+"/"+strconv.Itoa(a.Looks))
			}
		case ActionUndoing:
			add(EffectUndo, a.ID, 0, a.ID+"/"+strconv.Itoa(a.Undos))
		}
	}
	if c.Probe.N != 0 {
		add(EffectProbe, c.Probe.Action, c.Probe.N, strconv.Itoa(c.Probe.N))
	}
	for _, t := range c.Tickets {
		switch {
		case t.Ref == "":
			add(EffectTicket, "", t.N, strconv.Itoa(t.N))
		case t.Ref == TicketGivenUp:
		case t.Told < t.Said:
			add(EffectSay, "", t.N, strconv.Itoa(t.N)+"/"+strconv.Itoa(t.Said))
		}
	}
	for _, m := range c.Messages {
		add(EffectMessage, "", m.N, strconv.Itoa(m.N))
	}
	return out
}
