package intake

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/recent"
)

// remembered is the number of alerts whose identity is kept in memory.
const remembered = 32 << 10

// readings remembers what alerts were read as. The key is a hash of source,
// format and everything lasting in the alert, the value a pure function of
// these, so that forgetting one costs another reading and nothing else.
type readings struct {
	fleeting map[string]*format.Fleeting

	mu     sync.Mutex
	format map[string]string // of a source's last body, where it has sketches
	read   recent.Values[[32]byte, engine.Repeat]
	// aloft are the alerts that a request reads and commits just now. An equal
	// one that comes meanwhile waits for it: read as well, it would be committed
	// against it.
	aloft map[[32]byte]*flight
}

func newReadings() *readings {
	return &readings{fleeting: all.Fleeting(), format: map[string]string{}, read: recent.New[[32]byte, engine.Repeat](remembered), aloft: map[[32]byte]*flight{}}
}

// flight is a request from when it knows what it has to read until that is
// committed, or is not.
type flight struct {
	sums [][32]byte // of the alerts it reads
	read []reading
	done chan struct{} // closed when it has landed
}

// reading is what an alert was read as.
type reading struct {
	sum    [32]byte
	repeat engine.Repeat
}

// value is one alert of a body.
type value struct {
	body []byte
	sum  [32]byte
	// repeat is what it was read as before, if it was.
	repeat engine.Repeat
	known  bool
	// by is the request that reads it just now, if it was not; own says that it is
	// the one to read in that request.
	by  *flight
	own bool
}

// look takes a body apart into alerts. It returns false for a source whose last
// body was in a format without sketches, and for bodies that have to be read
// whole. Otherwise the caller lands the flight.
func (r *readings) look(src Source, event string, body []byte) (string, []value, *flight, bool) {
	r.mu.Lock()
	name := r.format[src.Name]
	r.mu.Unlock()
	if name == "" || src.Mapping != nil {
		return "", nil, nil, false
	}
	sketches, ok := format.Sketches(body, r.fleeting[name])
	if !ok {
		return "", nil, nil, false
	}
	head := []byte(src.Tenant + "\x00" + src.Name + "\x00" + name + "\x00" + event + "\x00")
	out := make([]value, len(sketches))
	h := sha256.New()
	for i, s := range sketches {
		h.Reset()
		h.Write(head)
		h.Write(s.Lasting)
		out[i].body = s.Value
		h.Sum(out[i].sum[:0])
	}
	f := &flight{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range out {
		v := &out[i]
		if v.repeat, v.known = r.read.Get(v.sum); v.known {
			continue
		}
		if v.by = r.aloft[v.sum]; v.by == nil {
			if f.done == nil {
				f.done = make(chan struct{})
			}
			v.by, v.own, r.aloft[v.sum] = f, true, f
			f.sums = append(f.sums, v.sum)
		}
	}
	return name, out, f, true
}

// land keeps what a flight has read and lets those go on who wait for it. It
// may be called again.
func (r *readings) land(f *flight) {
	if len(f.sums)+len(f.read) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sum := range f.sums {
		delete(r.aloft, sum)
	}
	for _, x := range f.read {
		r.read.Set(x.sum, x.repeat)
	}
	if len(f.sums) > 0 {
		close(f.done)
	}
	f.sums, f.read = nil, nil
}

// await returns what an alert was read as by the request that had it in hand,
// which has landed, or when ctx ends.
func (r *readings) await(ctx context.Context, v value) (engine.Repeat, bool) {
	select {
	case <-v.by.done:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read.Get(v.sum)
}

// expect notes the format of a source's body.
func (r *readings) expect(source, name string) {
	if r.fleeting[name] == nil {
		name = ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.format[source] = name
}

// takeQuick takes in a body alert by alert: those that were read before are
// counted as repeats, only the others are read. It returns false if the body
// has to be read whole.
func (in *Intake) takeQuick(ctx context.Context, src Source, event string, body []byte, now time.Time) (Answer, bool) {
	name, values, f, ok := in.readings.look(src, event, body)
	if !ok {
		return Answer{}, false
	}
	defer in.readings.land(f)
	q := quick{in: in, ctx: ctx, src: src, event: event, now: now, values: values, results: make([][]ItemResult, len(values)),
		a: Answer{Format: name, Status: http.StatusOK}}
	ok, err := q.take(f)
	if !ok && err == nil {
		return Answer{}, false
	}
	q.a.Results = slices.Concat(q.results...)
	if err != nil {
		return in.keep(ctx, src, event, body, now, q.a, err), true
	}
	q.a.Stored = true
	return q.a, true
}

// quick is a body that is taken in alert by alert.
type quick struct {
	in      *Intake
	ctx     context.Context
	src     Source
	event   string
	now     time.Time
	values  []value
	results [][]ItemResult // by value
	a       Answer
}

// take takes in what nobody has read yet, then what was read before, then what
// is no repeat after all, which is rare. It waits for others only when it has
// landed itself, so that no two wait for each other. It returns false with no
// error if the body has to be read whole.
func (q *quick) take(f *flight) (bool, error) {
	var own, late []int
	for i, v := range q.values {
		if v.own {
			own = append(own, i)
		}
	}
	if ok, err := q.observe(own, f); !ok || err != nil {
		return ok, err
	}
	repeats := make([]engine.Repeat, 0, len(q.values)-len(own))
	of := make([]int, 0, cap(repeats)) // the value of each repeat
	for i, v := range q.values {
		if v.own {
			continue
		}
		if !v.known {
			v.repeat, v.known = q.in.readings.await(q.ctx, v)
		}
		if v.known {
			repeats, of = append(repeats, v.repeat), append(of, i)
		} else {
			late = append(late, i)
		}
	}
	if len(repeats) > 0 {
		placed, rest, err := q.in.Engine.Repeats(q.ctx, q.src.Tenant, repeats, q.now)
		if err != nil {
			return false, err
		}
		for k, p := range placed {
			if p.CaseID != "" {
				q.results[of[k]] = []ItemResult{{Placed: p}}
			}
		}
		for _, k := range rest {
			q.results[of[k]] = nil
			late = append(late, of[k])
		}
		q.a.Read += len(repeats) - len(rest)
		q.a.Kept += len(repeats) - len(rest)
	}
	slices.Sort(late)
	return q.observe(late, &flight{})
}

// observe reads the values at some indexes, has their findings observed and
// lands. It returns false with no error, and nothing observed, if one does not
// read as plainly as its sketch: then the whole body is read, for its notes.
func (q *quick) observe(at []int, f *flight) (bool, error) {
	if len(at) == 0 {
		return true, nil
	}
	var rec received
	var of []int // the value of each finding
	var read []reading
	for _, i := range at {
		v := q.values[i]
		res, err := q.in.read(&rec, q.src, q.event, v.body, q.now)
		if err != nil || res.Refused > 0 || res.Format != q.a.Format {
			return false, nil
		}
		if res.Kept == 1 && res.Read == 1 && res.Findings[0].Status == finding.StatusOpen {
			read = append(read, reading{v.sum, engine.Repeat{UID: res.Findings[0].UID, Digest: finding.DecisionDigest(res.Findings[0])}})
		}
		q.a.Read += res.Read
		q.a.Suppressed += res.Suppressed
		for range res.Findings {
			of = append(of, i)
		}
	}
	q.a.Kept += len(rec.findings)
	err := q.in.observe(q.ctx, q.src.Tenant, &rec, q.now, func(k int, r ItemResult) { q.results[of[k]] = append(q.results[of[k]], r) })
	if err != nil {
		return false, err
	}
	f.read = read
	q.in.readings.land(f)
	return true, nil
}
