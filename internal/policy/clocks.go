package policy

import (
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// probeEvery is the schedule of probes of an open case, in seconds.
func probeEvery(c deadline.RiskClass) int {
	switch c {
	case deadline.K1:
		return 5 * 60
	case deadline.K2:
		return 15 * 60
	case deadline.K3:
		return 6 * 3600
	}
	return 24 * 3600
}

// Clocks returns the due instants of a case opened at start: every SLA that may
// fit counts, and the earliest instant of each duty stands.
func (p *Pack) Clocks(f Facts, class deadline.RiskClass, start time.Time) (deadline.Clocks, error) {
	var out deadline.Clocks
	for _, s := range p.slas {
		if !s.match.mayFit(f, class) {
			continue
		}
		c, err := s.terms.Clocks(class, start)
		if err != nil {
			return deadline.Clocks{}, err
		}
		out = out.Tighten(c)
	}
	return out, nil
}

// Ladder returns the escalation for the facts, in order.
func (p *Pack) Ladder(f Facts, class deadline.RiskClass) []remedy.LadderStep {
	for _, e := range p.escalations {
		if e.match.fits(f, class) {
			return append([]remedy.LadderStep(nil), e.steps...)
		}
	}
	return []remedy.LadderStep{{After: 0, Who: "owner"}, {After: 1800, Who: "backup"}, {After: 2 * 3600, Who: "manager"}, {After: 4 * 3600, Who: "ops_lead"}}
}

func (l *loader) escalations(raws []rawEscalation) {
	for i, raw := range raws {
		l.unique("escalation", raw.Name)
		e := escalation{name: raw.Name.s, match: l.match(raw.Match)}
		for j, s := range raw.Steps {
			if j > 0 && s.After.seconds < raw.Steps[j-1].After.seconds {
				s.After.at.failf("put the steps in order of time", "step %d comes before the one above it", j+1)
			}
			e.steps = append(e.steps, remedy.LadderStep{After: s.After.seconds, Who: s.Who.s})
		}
		if len(e.steps) == 0 {
			raw.Place.at.failf("add steps", "escalation %q tells nobody", e.name)
		}
		if last := i == len(raws)-1; e.match.empty() != last {
			raw.Place.at.failf("exactly the last escalation has no match", "escalation %q is out of place", e.name)
		}
		l.pack.escalations = append(l.pack.escalations, e)
	}
}

func (l *loader) calendars(raws []rawCalendar) map[string]*deadline.Calendar {
	out := map[string]*deadline.Calendar{}
	for _, raw := range raws {
		l.unique("calendar", raw.Name)
		spec := deadline.CalendarSpec{Name: raw.Name.s, Zone: raw.Zone.s, Holidays: raw.Holidays.words()}
		for _, h := range raw.Hours {
			spec.Hours = append(spec.Hours, deadline.Hours{Days: h.Days.s, From: h.From.s, To: h.To.s})
		}
		c, err := deadline.NewCalendar(spec)
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				raw.Place.at.failf("", "%s", line)
			}
			continue
		}
		out[spec.Name] = c
	}
	return out
}

// deadlines compiles the SLA entries. One without a match has to exist: it sets
// the clocks of cases nothing else fits.
func (l *loader) deadlines(raws []rawSLA, calendars map[string]*deadline.Calendar) {
	general := len(raws) == 0
	if general {
		l.pack.slas = []sla{{terms: deadline.DefaultSLA()}}
		return
	}
	for _, raw := range raws {
		l.unique("sla", raw.Name)
		s := deadline.SLA{WarnPercent: deadline.DefaultWarnPercent, Classes: map[deadline.RiskClass]deadline.Duties{}}
		switch raw.Use.s {
		case "default":
			s = deadline.DefaultSLA()
		case "ladder":
			s = deadline.LadderSLA()
		}
		s.Name = raw.Name.s
		if raw.Warn.set {
			s.WarnPercent = raw.Warn.n
		}
		s.Upgrade = raw.Upgrade.t
		for _, c := range []struct {
			t   text
			out **deadline.Calendar
		}{{raw.Calendar, &s.Calendar}, {raw.Maintenance, &s.Maintenance}} {
			if c.t.at.src != nil && l.known(c.t, "calendar", keysOf(calendars)) {
				*c.out = calendars[c.t.s]
			}
		}
		l.duties(raw, s)
		if err := s.Check(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				raw.Place.at.failf("", "%s", line)
			}
		}
		m := l.match(raw.Match)
		general = general || m.empty()
		l.pack.slas = append(l.pack.slas, sla{m, s})
	}
	if !general {
		raws[0].Place.at.failf("add an sla without match", "no sla fits every case: a case could run without clocks")
	}
}

func (l *loader) duties(raw rawSLA, s deadline.SLA) {
	for _, k := range keysOf(raw.Classes) {
		d := raw.Classes[k]
		class, err := deadline.ParseRiskClass(k)
		if err != nil || class == 0 {
			d.Place.at.failf("", "%s is not a risk class: want K1 to K5", quote(k))
			continue
		}
		out := s.Classes[class]
		for _, p := range []struct {
			t    text
			term *deadline.Term
		}{{d.Ack, &out.Ack}, {d.Contain, &out.Contain}, {d.Fix, &out.Fix}} {
			if p.t.at.src == nil {
				continue
			}
			term, err := deadline.ParseTerm(p.t.s)
			if err != nil {
				p.t.at.failf("", "%s", err)
			}
			*p.term = term
		}
		s.Classes[class] = out
	}
}
