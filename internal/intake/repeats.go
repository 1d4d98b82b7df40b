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
}

func newReadings() *readings {
	return &readings{fleeting: all.Fleeting(), format: map[string]string{}, read: recent.New[[32]byte, engine.Repeat](remembered)}
}

// value is one alert of a body.
type value struct {
	body []byte
	sum  [32]byte
	// repeat is what it was read as before, if it was.
	repeat engine.Repeat
	known  bool
}

// look takes a body apart into alerts. It returns false for a source whose last
// body was in a format without sketches, and for bodies that have to be read
// whole.
func (r *readings) look(src Source, event string, body []byte) (string, []value, bool) {
	r.mu.Lock()
	name := r.format[src.Name]
	r.mu.Unlock()
	if name == "" || src.Mapping != nil {
		return "", nil, false
	}
	sketches, ok := format.Sketches(body, r.fleeting[name])
	if !ok {
		return "", nil, false
	}
	head := []byte(src.Tenant + "\x00" + src.Name + "\x00" + name + "\x00" + event + "\x00")
	out := make([]value, len(sketches))
	var buf []byte
	for i, s := range sketches {
		buf = append(append(buf[:0], head...), s.Lasting...)
		out[i] = value{body: s.Value, sum: sha256.Sum256(buf)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range out {
		out[i].repeat, out[i].known = r.read.Get(out[i].sum)
	}
	return name, out, true
}

// remember keeps what an alert was read as, if it is one open finding.
func (r *readings) remember(v value, res format.Result) {
	if res.Kept != 1 || res.Read != 1 || res.Findings[0].Status != finding.StatusOpen {
		return
	}
	f := engine.Repeat{UID: res.Findings[0].UID, Digest: finding.DecisionDigest(res.Findings[0])}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read.Set(v.sum, f)
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
// counted as repeats, only the others are read. It returns false, with nothing
// stored, if the body has to be read whole.
func (in *Intake) takeQuick(ctx context.Context, src Source, event string, body []byte, now time.Time) (Answer, bool) {
	name, values, ok := in.readings.look(src, event, body)
	if !ok {
		return Answer{}, false
	}
	a := Answer{Format: name, Status: http.StatusOK}
	var fresh group
	var repeats []engine.Repeat
	var of []int // the value of each repeat
	for i, v := range values {
		if v.known {
			repeats, of = append(repeats, v.repeat), append(of, i)
		} else if !in.readValue(&fresh, src, event, name, i, v, now) {
			return Answer{}, false
		}
	}
	results := make([][]ItemResult, len(values))
	if len(repeats) > 0 {
		placed, rest, err := in.Engine.Repeats(ctx, src.Tenant, repeats, now)
		if err != nil {
			return in.keep(ctx, src, event, body, now, a, err), true
		}
		for k, p := range placed {
			if p.CaseID != "" {
				results[of[k]] = []ItemResult{{Placed: p}}
			}
		}
		for _, k := range rest {
			results[of[k]] = nil
			if i := of[k]; !in.readValue(&fresh, src, event, name, i, values[i], now) {
				return Answer{}, false
			}
		}
		a.Read = len(repeats) - len(rest)
		a.Kept = a.Read
	}
	a.Read, a.Kept, a.Suppressed = a.Read+fresh.read, a.Kept+len(fresh.findings), fresh.suppressed
	err := in.observe(ctx, src.Tenant, &fresh.received, now, func(k int, r ItemResult) { results[fresh.of[k]] = append(results[fresh.of[k]], r) })
	a.Results = slices.Concat(results...)
	if err != nil {
		return in.keep(ctx, src, event, body, now, a, err), true
	}
	a.Stored = true
	return a, true
}

// group is the findings of the alerts of a body that had to be read.
type group struct {
	received
	of               []int // the value of each finding
	read, suppressed int
}

// readValue reads one alert. It returns false if the alert does not read as
// plainly as its sketch: then the whole body is read, for its notes.
func (in *Intake) readValue(g *group, src Source, event, name string, i int, v value, now time.Time) bool {
	res, err := in.read(&g.received, src, event, v.body, now)
	if err != nil || res.Refused > 0 || res.Format != name {
		return false
	}
	in.readings.remember(v, res)
	g.read += res.Read
	g.suppressed += res.Suppressed
	for range res.Findings {
		g.of = append(g.of, i)
	}
	return true
}
