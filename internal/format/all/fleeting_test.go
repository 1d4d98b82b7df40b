package all_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
)

// repeatIdentity is what a repeat is told by.
func repeatIdentity(t *testing.T, res format.Result) []string {
	t.Helper()
	var out []string
	for _, f := range res.Findings {
		out = append(out, f.UID+" "+finding.DecisionDigest(f)+" "+finding.ExposureKey(f).String()+" "+string(f.Status))
	}
	return out
}

// TestFleetingPlacesDecideNothing changes every fleeting place of every fixture
// of a format: the sketch stays, and so do identity, key and digest. Changing
// any other member changes the sketch.
func TestFleetingPlacesDecideNothing(t *testing.T) {
	fleeting := all.Fleeting()
	changed := map[string]int{}
	for _, path := range fixtures(t) {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		opt := testOptions(path)
		r, err := all.Detect(body, opt)
		if err != nil || fleeting[r.Name()] == nil {
			continue
		}
		f := fleeting[r.Name()]
		sketches, ok := format.Sketches(body, f)
		if !ok {
			continue
		}
		whole, err := r.Read(body, opt)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var one []string
		for _, s := range sketches {
			part, err := r.Read(s.Value, opt)
			if err != nil { // intake reads the whole body then
				one = repeatIdentity(t, whole)
				break
			}
			one = append(one, repeatIdentity(t, part)...)
			var doc map[string]any
			if err := json.Unmarshal(s.Value, &doc); err != nil {
				t.Fatal(err)
			}
			a := marshal(t, doc)
			for _, p := range all.FleetingPaths()[r.Name()] {
				n := set(doc, strings.Split(p, "."), "2031-01-02T03:04:05.000Z")
				b := marshal(t, doc)
				sa, sb := lasting(t, a, f), lasting(t, b, f)
				if n > 0 && !bytes.Equal(a, b) {
					changed[r.Name()]++
					if !bytes.Equal(sa, sb) {
						t.Errorf("%s: %s is in the sketch", path, p)
					}
				}
				after, err := r.Read(b, opt)
				if err != nil {
					t.Fatal(err)
				}
				before, err := r.Read(a, opt)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := repeatIdentity(t, after), repeatIdentity(t, before); strings.Join(got, ";") != strings.Join(want, ";") {
					t.Errorf("%s: %s changes what a finding is: %v, was %v", path, p, got, want)
				}
			}
		}
		if got, want := strings.Join(one, ";"), strings.Join(repeatIdentity(t, whole), ";"); got != want {
			t.Errorf("%s: the values one by one are %s, together %s", path, got, want)
		}
	}
	for name := range fleeting {
		if changed[name] == 0 {
			t.Errorf("no fixture of %s has a fleeting place: the test shows nothing", name)
		}
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lasting(t *testing.T, b []byte, f *format.Fleeting) []byte {
	t.Helper()
	s, ok := format.Sketches(b, f)
	if !ok || len(s) != 1 {
		t.Fatalf("no sketch of %s", b)
	}
	return s[0].Lasting
}

// set sets the scalar at a path in all elements of arrays on the way, and
// returns how many it set.
func set(doc any, path []string, value string) int {
	n := 0
	switch v := doc.(type) {
	case []any:
		for _, x := range v {
			n += set(x, path, value)
		}
	case map[string]any:
		x, ok := v[path[0]]
		switch {
		case !ok:
		case len(path) > 1:
			n += set(x, path[1:], value)
		default:
			switch x.(type) {
			case string:
				v[path[0]] = value
				n++
			case float64:
				v[path[0]] = 1924992000000 // milliseconds, 2031
				n++
			}
		}
	}
	return n
}
