package remedy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
)

// TestScripts plays the stories of testdata/*.txt. A line that begins with
// ">" is a command (see scriptDo), indented lines are what came of it; -update
// records them anew. Every story is played under all laws.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories in testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s: %s\nlook at the difference, then go test ./internal/remedy -run TestScripts -update", file, firstDifference(string(got), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d\n  is   %s\n  want %s", i+1, g[i], strings.Join(w[min(i, len(w)):min(i+1, len(w))], ""))
		}
	}
	return "the story ends early"
}

// script is a story being played.
type script struct {
	t    *testing.T
	c    Case
	now  time.Time
	args map[string]string
	// winner is the case that this one was merged into.
	winner Case
	// policy is what rides in observe and rejudge.
	policy map[string]string
}

func play(t *testing.T, text string) []byte {
	var out bytes.Buffer
	var l *laws
	s := &script{t: t, now: start(), policy: map[string]string{}}
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		n++
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		words, ok := strings.CutPrefix(line, "> ")
		if strings.HasPrefix(line, "== ") { // the next story begins
			s.end(l)
			s, l = &script{t: t, now: start(), policy: map[string]string{}}, nil
		}
		if !ok {
			continue
		}
		if l == nil {
			l = newLaws(func(f string, args ...any) { t.Helper(); t.Fatalf("line %d: "+f, append([]any{n}, args...)...) })
		}
		s.play(&out, l, strings.Fields(words))
	}
	s.end(l)
	return out.Bytes()
}

func (s *script) end(l *laws) {
	if l != nil && s.c.Version > 0 {
		l.silence(s.c)
		l.end()
	}
}

func (s *script) play(out *bytes.Buffer, l *laws, words []string) {
	by := Actor{System, "casement"}
	for len(words) > 0 && strings.ContainsAny(words[0][:1], "+@") {
		if who, ok := strings.CutPrefix(words[0], "@"); ok {
			by = Actor{Person, who}
		} else {
			s.now = s.now.Add(s.duration(words[0][1:]))
		}
		words = words[1:]
	}
	s.args = map[string]string{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		s.args[k] = v
	}
	for range s.number("times", 1) {
		d := s.scriptDo(words[0])
		if d == nil {
			return
		}
		cmd := Command{At: s.now, By: by, Do: d}
		before := s.c
		evs, err := Handle(s.c, cmd)
		s.c, _ = l.step(s.c, cmd)
		if err != nil {
			fmt.Fprintf(out, "    refused (%s): %s\n", CodeOf(err), err)
			return
		}
		for _, e := range evs {
			fmt.Fprintf(out, "    %s%s\n", e.Body.Type(), s.fields(e.Body))
		}
		s.summary(out, before)
	}
}

// fields renders what an event says, without the bulk of findings and
// judgements; times are told from the start of the story.
func (s *script) fields(b Body) string {
	raw, err := EncodeBody(b)
	if err != nil {
		s.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		s.t.Fatal(err)
	}
	flat := map[string]string{}
	flatten(flat, "", m)
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(flat)) {
		if v := flat[k]; v != "" && v != "[]" {
			fmt.Fprintf(&out, " %s=%s", k, v)
		}
	}
	return out.String()
}

func flatten(out map[string]string, prefix string, m map[string]any) {
	for k, v := range m {
		if slices.Contains([]string{"judgement", "asset", "tenant", "key", "digest", "joined_at", "asked_at", "detail", "domain", "id"}, k) {
			continue
		}
		switch v := v.(type) {
		case map[string]any:
			if k == "spec" {
				v = map[string]any{"name": v["name"], "auth": v["auth"], "phase": v["phase"]}
			}
			if k == "observation" || k == "before" {
				v = map[string]any{"": v["result"], ".grade": v["grade"], ".place": v["place"]}
			}
			flatten(out, prefix+k+".", v)
		case string:
			if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
				v = since(at)
			}
			if strings.Contains(v, " ") {
				v = strconv.Quote(v)
			}
			out[strings.ReplaceAll(strings.TrimSuffix(prefix+k, "."), "..", ".")] = v
		default:
			out[strings.ReplaceAll(prefix+k, "..", ".")] = fmt.Sprint(v)
		}
	}
}

func since(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return "T+" + at.Sub(start()).String()
}

func (s *script) summary(out *bytes.Buffer, before Case) {
	c := s.c
	var ids []string
	for _, e := range Pending(c) {
		if e.Kind != EffectMessage {
			ids = append(ids, e.ID)
		}
	}
	fmt.Fprintf(out, "    = %s, waits for %s (%s) since %s, wakes %s, to do: %s\n", c.State(), c.Bottleneck.Kind, c.Bottleneck.Who,
		since(c.Bottleneck.Since), since(WakeAt(c)), strings.Join(ids, " "))
	if len(c.Episodes) != len(before.Episodes) || c.Closed != before.Closed {
		ep := c.Episode()
		fmt.Fprintf(out, "    = episode %d: opened %s, acknowledged %s, contained %s, closed %s %s\n", ep.N, since(ep.OpenedAt), since(ep.AckAt), since(ep.ContainedAt), since(ep.ClosedAt), ep.How)
	}
}

func (s *script) duration(v string) time.Duration {
	if days, ok := strings.CutSuffix(v, "d"); ok {
		v = days + "h"
		d, err := time.ParseDuration(v)
		if err != nil {
			s.t.Fatal(err)
		}
		return 24 * d
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) number(k string, def int) int {
	if s.args[k] == "" {
		return def
	}
	n, err := strconv.Atoi(s.args[k])
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) word(k, def string) string {
	if v, ok := s.args[k]; ok {
		return v
	}
	return def
}

// in is the instant a duration from now, zero without one.
func (s *script) in(k string) time.Time {
	if s.args[k] == "" {
		return time.Time{}
	}
	return s.now.Add(s.duration(s.args[k]))
}

// judge builds the judgement of the story's policy at this moment.
func (s *script) judge() Judgement {
	p := func(k, def string) string {
		if v, ok := s.policy[k]; ok {
			return v
		}
		return def
	}
	var specs []ActionSpec
	for _, w := range strings.FieldsFunc(p("actions", "close:enforce"), func(r rune) bool { return r == ',' }) {
		name, auth, _ := strings.Cut(w, ":")
		spec := map[string]func(Authorization) ActionSpec{"block": blockSpec, "close": closeSpec, "rotate": rotateSpec}[name](Authorization(auth))
		if spec.Name == "close" {
			spec.Name = p("close.name", "close")
			spec.UnknownModifierOK = p("close.modifier", "ok") == "ok"
			spec.Once = Once(p("close.once", string(OnceKey)))
		}
		for k, to := range map[string]*int{"watch": &spec.Watch, "expires": &spec.Expires, "settle": &spec.Settle, "quorum": &spec.Quorum, "tries": &spec.Tries} {
			if v := s.policy[name+"."+k]; v != "" {
				*to, _ = strconv.Atoi(v)
			}
		}
		if spec.Watch > 0 {
			spec.Continuity = ProbeSpec{Connector: "s3", Verb: "health"}
		}
		specs = append(specs, spec)
	}
	j := judged(s.now, specs...)
	d := &j.Decision
	class, err := deadline.ParseRiskClass(p("class", "K3"))
	if err != nil {
		s.t.Fatal(err)
	}
	d.Class, d.Mode = class, Mode(p("mode", "enforce"))
	d.Ticket, d.Tickets = p("ticket", "") != "", []TicketSpec{{System: p("ticket", "")}}
	d.Suppress, d.Incident = p("suppress", "") != "", p("incident", "") != ""
	d.Error = p("error", "")
	if p("probe", "") == "none" {
		d.Probe = ProbeSpec{}
	}
	if v := p("unknown", ""); v != "" {
		d.Unknown = []string{v}
	}
	if v := p("sooner", ""); v != "" {
		j.Clocks.Fix = s.now.Add(s.duration(v))
	}
	j.Routing.Known = p("owner", "known") == "known"
	j.Versions.Policy = p("version", "p1")
	j.Versions.Authors = strings.Split(p("authors", "pat,quinn"), ",")
	return j
}

func (s *script) finding() finding.Finding {
	f := public(s.word("uid", "u1"))
	f.Status = finding.Status(s.word("status", "open"))
	if s.args["severity"] == "low" {
		f.Severity = finding.SeverityLow
	}
	return f
}
