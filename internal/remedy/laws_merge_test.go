package remedy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
)

// joined holds what may be merged: one asset, one tenant, a reason.
func (l *laws) joined(c Case, do Do, e Event) {
	var other Case
	var note, alias Note
	switch d := do.(type) {
	case Merge:
		other, note, alias = d.Into, d.Note, d.Alias
	case Absorb:
		other, note, alias = d.From, d.Note, d.Alias
		if b, ok := e.Body.(Absorbed); ok {
			for _, m := range other.Members {
				l.must(slices.Contains(b.UIDs, m.UID) || slices.ContainsFunc(c.Members, func(x Member) bool { return x.UID == m.UID }), "no finding is lost in a merge: %s", m.UID)
			}
		}
	default:
		return
	}
	switch e.Body.(type) {
	case MergedInto, Absorbed:
	default:
		return
	}
	l.must(c.Tenant == other.Tenant && c.ID != other.ID, "merged within one tenant, and never with itself: %s of %s", other.ID, other.Tenant)
	l.must(c.Asset.UID == other.Asset.UID || alias != "" && e.By.Kind == Person, "different assets never merge: %s and %s", c.Asset.UID, other.Asset.UID)
	l.must(note != "", "every merge says why")
	l.must(c.Open() && other.Open() && c.Exception == nil && other.Exception == nil, "only open cases merge, and no exception grows")
	if _, ok := do.(Merge); ok {
		l.must(!slices.ContainsFunc(c.Actions, active), "what is half done is not merged away")
	}
}

// town is many cases with the two tables that lead to them, kept by what the
// events say alone: which case has a key, which one has a finding.
type town struct {
	t     *rapid.T
	now   time.Time
	cases map[string]Case
	keys  map[string]string   // key → open case
	finds map[string]string   // finding → case
	was   map[string]snapshot // merged case → what it had
	ids   int
}

// snapshot is what led to two cases before a merge.
type snapshot struct {
	keys, finds map[string]string
	into        string
	// later are findings that came since.
	later map[string]bool
}

func (w *town) tell(id string, do Do) error {
	w.now = w.now.Add(time.Second)
	evs, err := Handle(w.cases[id], Command{At: w.now, By: Actor{Person, "ann"}, Do: do})
	if err != nil {
		return err
	}
	for _, e := range evs {
		w.note(id, e.Body)
		w.cases[id] = Apply(w.cases[id], e)
	}
	return nil
}

// note moves the tables on as a store would.
func (w *town) note(id string, b Body) {
	take := func(keys []string) {
		for _, k := range keys {
			if has := w.keys[k]; has != "" {
				w.t.Fatalf("%s takes key %s, which leads to %s", id, k, has)
			}
			w.keys[k] = id
		}
	}
	drop := func(keys []string) {
		for _, k := range keys {
			if w.keys[k] != id {
				w.t.Fatalf("%s gives up key %s, which leads to %q", id, k, w.keys[k])
			}
			delete(w.keys, k)
		}
	}
	switch e := b.(type) {
	case Opened:
		if e.SplitFrom != "" {
			take(e.Keys)
		} else {
			take([]string{e.Key})
		}
	case Joined:
		w.finds[e.Member.UID] = id
	case MergedInto:
		drop(e.Keys)
	case Absorbed:
		take(e.Keys)
	case MembersSplit:
		drop(e.Keys)
	case Unmerged:
		take(e.Keys)
		for _, m := range w.cases[id].Members { // those it had come back without a word
			w.finds[m.UID] = id
		}
	}
}

// alert places a finding as the engine does: news of a finding that was split
// off stay with its case, else the key leads.
func (w *town) alert(r *rapid.T) {
	uid := "u" + rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6"}).Draw(r, "uid")
	key := "v1:k" + uid[1:]
	if n := uid[1] - '0'; n%2 == 0 { // two findings to a key
		key = fmt.Sprintf("v1:k%d", n-1)
	}
	f := public(uid)
	o := observe(f, judged(w.now))
	o.Key, o.Digest = key, fmt.Sprint(w.now)
	id := w.keys[key]
	if at := w.finds[uid]; at != "" && id != at {
		if m, ok := w.cases[at].Member(uid); ok && w.cases[at].Open() && w.cases[at].KeyOf(m) == key {
			id = at
		}
	}
	if id == "" {
		w.ids++
		id = fmt.Sprintf("c%d", w.ids)
		o.ID = id
	}
	_, known := w.finds[uid]
	if err := w.tell(id, o); err != nil {
		r.Fatalf("an alert of %s to %s: %v", uid, id, err)
	}
	if !known {
		for _, s := range w.was {
			s.later[uid] = true
		}
	}
}

func (w *town) pick(r *rapid.T, what string) (Case, bool) {
	if len(w.cases) == 0 {
		return Case{}, false
	}
	c := w.cases[rapid.SampledFrom(slices.Sorted(maps.Keys(w.cases))).Draw(r, what)]
	return c, true
}

func (w *town) merge(r *rapid.T) {
	a, ok := w.pick(r, "loser")
	b, _ := w.pick(r, "winner")
	if !ok {
		return
	}
	before := snapshot{maps.Clone(w.keys), maps.Clone(w.finds), b.ID, map[string]bool{}}
	err := w.tell(a.ID, Merge{Into: b, Note: "n"})
	if err != nil {
		return
	}
	if err := w.tell(b.ID, Absorb{From: a, Note: "n"}); err != nil {
		r.Fatalf("%s agreed to merge into %s, which refuses: %v", a.ID, b.ID, err)
	}
	w.was[a.ID] = before
}

func (w *town) split(r *rapid.T) {
	c, ok := w.pick(r, "case")
	if !ok || len(c.Members) == 0 {
		return
	}
	m := c.Members[rapid.IntRange(0, len(c.Members)-1).Draw(r, "member")]
	to := fmt.Sprintf("c%d", w.ids+1)
	evs, err := Handle(c, Command{At: w.now, By: Actor{Person, "ann"}, Do: Split{UIDs: []string{m.UID}, To: to, Note: "n"}})
	if err != nil {
		return
	}
	w.ids++
	gone := evs[0].Body.(MembersSplit)
	_ = w.tell(c.ID, Split{UIDs: []string{m.UID}, To: to, Note: "n"}) // taken a moment ago
	o := observe(public(m.UID), judged(w.now))
	o.ID, o.Key, o.SplitFrom, o.Keys = to, c.KeyOf(m), c.ID, gone.Keys
	if err := w.tell(to, o); err != nil {
		r.Fatalf("a case split off %s can't be opened: %v", c.ID, err)
	}
	for _, s := range w.was { // the map is another one now
		s.later[m.UID] = true
		for _, k := range gone.Keys {
			s.later[k] = true
		}
	}
}

func (w *town) undo(r *rapid.T) {
	if len(w.was) == 0 {
		return
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.was))).Draw(r, "merged")
	before := w.was[id]
	from := w.cases[before.into]
	if from.MergedInto != "" { // the one after has to be undone first
		if err := w.tell(from.ID, Split{To: id, Undo: true, Note: "n"}); err == nil {
			r.Fatalf("%s was merged into %s and gives findings back", from.ID, from.MergedInto)
		}
		return
	}
	if err := w.tell(from.ID, Split{To: id, Undo: true, Note: "n"}); err != nil {
		r.Fatalf("every merge can be undone, but that of %s into %s: %v", id, from.ID, err)
	}
	if err := w.tell(id, Unmerge{From: from, Note: "n"}); err != nil {
		r.Fatalf("%s gave %s back, which refuses: %v", from.ID, id, err)
	}
	delete(w.was, id)
	for k, had := range before.keys {
		if had == id && w.keys[k] != id {
			r.Fatalf("undo restores the key map: %s led to %s, and now to %q", k, id, w.keys[k])
		}
	}
	for uid, had := range before.finds {
		if had == id && w.finds[uid] != id || had == before.into && !before.later[uid] && w.finds[uid] == id {
			r.Fatalf("undo restores the findings: %s was with %s, and now with %s", uid, had, w.finds[uid])
		}
	}
}

// check holds law 2.
func (w *town) check(r *rapid.T) {
	keys, finds := map[string]string{}, map[string]string{}
	for id, c := range w.cases {
		for _, k := range c.KeysBound() {
			if !c.Open() {
				r.Fatalf("%s is merged and keeps key %s", id, k)
			}
			if other := keys[k]; other != "" {
				r.Fatalf("key %s leads to %s and %s", k, id, other)
			}
			keys[k] = id
		}
		for _, m := range c.Members {
			if c.MergedInto != "" {
				continue
			}
			if other := finds[m.UID]; other != "" {
				r.Fatalf("finding %s is in %s and %s", m.UID, id, other)
			}
			finds[m.UID] = id
		}
		if c.MergedInto == "" && len(c.Members) == 0 {
			r.Fatalf("%s has no finding left", id)
		}
	}
	if !maps.Equal(keys, w.keys) || !maps.Equal(finds, w.finds) {
		r.Fatalf("the cases say %v %v, the events %v %v", keys, finds, w.keys, w.finds)
	}
	for uid, id := range w.finds {
		if !slices.ContainsFunc(w.cases[id].Members, func(m Member) bool { return m.UID == uid }) {
			r.Fatalf("finding %s is lost", uid)
		}
	}
}

// TestLawsOfMerge holds law 2 over many cases: whatever is alerted, merged,
// split and undone, a key leads to one open case, a finding is in one case, and
// undoing a merge restores both maps.
func TestLawsOfMerge(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := &town{t: r, now: start(), cases: map[string]Case{}, keys: map[string]string{}, finds: map[string]string{}, was: map[string]snapshot{}}
		r.Repeat(map[string]func(*rapid.T){"alert": w.alert, "alert2": w.alert, "merge": w.merge, "merge2": w.merge, "split": w.split, "undo": w.undo, "": w.check})
	})
}

// TestMergeKeepsTheEarlierDetection: exposure starts at the source's detection,
// whichever of the cases had it, until the merge is undone.
func TestMergeKeepsTheEarlierDetection(t *testing.T) {
	open := func(id string, hours time.Duration) Case {
		o := observe(public(id), judged(start()))
		o.ID, o.Key, o.DetectedAt = id, "v1:"+id, start().Add(-hours*time.Hour)
		_, c, err := Step(Case{}, Command{At: start(), Do: o})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	step := func(c Case, do Do) Case {
		_, after, err := Step(c, Command{At: start(), By: Actor{Person, "ann"}, Do: do})
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	c := open("c1", 1)
	want := []time.Duration{1, 5, 5, 9}
	for i, from := range []Case{open("c2", 5), open("c3", 3), open("c4", 9)} {
		c = step(c, Absorb{From: from, Note: "n"})
		if got := start().Sub(c.Episode().DetectedAt); got != want[i+1]*time.Hour {
			t.Errorf("after the merge of %s detected %s ago", from.ID, got)
		}
	}
	for _, x := range []struct {
		from string
		want time.Duration
	}{{"c2", 9}, {"c4", 3}, {"c3", 1}} {
		c = step(c, Split{To: x.from, Undo: true, Note: "n"})
		if got := start().Sub(c.Episode().DetectedAt); got != x.want*time.Hour {
			t.Errorf("after the undo of %s detected %s ago, want %dh", x.from, got, x.want)
		}
	}
	if len(c.Absorbed) != 0 || !slices.Equal(c.KeysBound(), []string{"v1:c1"}) || len(c.Members) != 1 {
		t.Errorf("not as it was: %+v", c)
	}
	if _, err := Handle(c, Command{At: start(), Do: Absorb{From: Case{ID: "c9", Tenant: "default", Asset: finding.Asset{UID: "x"}}, Note: "n"}}); CodeOf(err) != Forbidden || !strings.Contains(err.Error(), "different assets") {
		t.Errorf("another asset: %v", err)
	}
}
