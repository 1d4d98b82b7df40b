package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// exposure is an alert of one of several exposures of the same bucket.
func exposure(id string, class finding.Class) finding.Finding {
	f := alert(id)
	f.Class, f.UID = class, ""
	f, err := finding.Normalize(f)
	if err != nil {
		panic(err)
	}
	return f
}

func (h *harness) word() engine.Word {
	return engine.Word{By: remedy.Actor{Kind: remedy.Person, ID: "anna"}, At: h.now, Why: "two names for one thing"}
}

// where is the one case of a finding.
func (h *harness) where(f finding.Finding) string {
	h.t.Helper()
	known, err := h.s.Known(context.Background(), finding.DefaultTenant, []string{f.UID})
	if err != nil {
		h.t.Fatal(err)
	}
	return known[f.UID].CaseID
}

func TestMergeMovesKeysAndFindingsAndUndoRestoresThem(t *testing.T) {
	ctx := context.Background()
	h := start(t, func(w *world) { w.auth = remedy.AuthApprove })
	a, b := exposure("a", finding.StoragePublic), exposure("b", finding.WorldOpen)
	one, two := h.observe(a)[0].CaseID, h.observe(b)[0].CaseID
	if one == two {
		t.Fatal("two exposures are one case already")
	}
	h.settle() // both plan, ask and open tickets

	from, into, err := h.e.Merge(ctx, two, one, "", h.word())
	if err != nil {
		t.Fatal(err)
	}
	if from.State() != remedy.StateMerged || from.MergedInto != one || len(into.Members) != 2 || len(into.KeysBound()) != 2 {
		t.Fatalf("merged: %s into %q, %d members, keys %v", from.State(), from.MergedInto, len(into.Members), into.KeysBound())
	}
	if h.where(b) != one {
		t.Errorf("the finding is with %s", h.where(b))
	}
	h.settle()
	// A repeat is a sighting of the winner's, news and another finding join it.
	again := b
	again.Severity = finding.SeverityCritical
	c := exposure("c", finding.WorldOpen)
	for _, p := range h.observe(again, c, a) {
		if p.CaseID != one || p.Placement == correlate.Open {
			t.Errorf("after the merge: %+v", p)
		}
	}
	h.settle()

	// A word on the loser's ticket is a claim of the winner.
	says, err := h.e.TicketSays(ctx, "builtin", connector.TicketState{Ref: "T-1", CaseID: two, Word: "Done", Done: true}, h.now)
	if err != nil || !says {
		t.Errorf("a ticket of the merged case: %v, %v", says, err)
	}
	h.settle()

	from, back, err := h.e.Unmerge(ctx, one, two, h.word())
	if err != nil {
		t.Fatal(err)
	}
	if !back.Open() || back.Episode().N != 1 || len(back.Members) != 2 || len(from.Members) != 1 || len(from.Absorbed) != 0 {
		t.Errorf("undone: %s with %d members, episode %d; winner with %d", back.State(), len(back.Members), back.Episode().N, len(from.Members))
	}
	h.settle()
	for _, x := range []struct {
		f    finding.Finding
		want string
	}{{a, one}, {b, two}, {c, two}, {exposure("d", finding.WorldOpen), two}, {exposure("e", finding.StoragePublic), one}} {
		if p := h.observe(x.f)[0]; p.CaseID != x.want {
			t.Errorf("after the undo %s is placed with %s, want %s", x.f.NativeID, p.CaseID, x.want)
		}
	}
	h.settle()
	for _, id := range []string{one, two} {
		if a, ok := askingIn(h.load(id)); !ok || a.Plan.Hash == "" {
			t.Errorf("case %s does not ask for its action again: %s", id, h.load(id).State())
		}
	}
	if _, _, err := h.e.Unmerge(ctx, one, two, h.word()); remedy.CodeOf(err) != remedy.Invalid {
		t.Errorf("undone twice: %v", err)
	}
}

func askingIn(c remedy.Case) (remedy.Action, bool) {
	for _, a := range c.Actions {
		if a.Status == remedy.ActionAsking {
			return a, true
		}
	}
	return remedy.Action{}, false
}

func TestMergeIsRefused(t *testing.T) {
	ctx := context.Background()
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	one := h.observe(alert("a"))[0].CaseID
	f := alert("z")
	f.Asset.UID = "other"
	two := h.observe(f)[0].CaseID
	stranger := f
	stranger.Tenant = "other"
	p, err := h.e.Observe(ctx, "other", []finding.Finding{stranger}, nil, h.now)
	if err != nil {
		t.Fatal(err)
	}
	w := h.word()
	old := w
	old.Version = 1
	for _, x := range []struct {
		into, alias string
		w           engine.Word
		says        string
	}{
		{two, "", w, "different assets are never merged"},
		{p[0].CaseID, "seen in the CMDB", w, "two tenants"},
		{one, "", w, "another case"},
		{two, "", engine.Word{By: w.By, At: w.At}, "say why"},
		{two, "the CMDB says so", engine.Word{By: remedy.Actor{Kind: remedy.System, ID: "x"}, At: w.At, Why: "y"}, "only a person"},
		{two, "", old, "version"},
		{"nobody", "", w, "not found"},
	} {
		before := h.load(one).Version
		if _, _, err := h.e.Merge(ctx, one, x.into, x.alias, x.w); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("into %s: %v, want %q", x.into, err, x.says)
		}
		if h.load(one).Version != before {
			t.Error("a refused merge left its mark")
		}
	}
	// On evidence of a person it is done, and the action's target stays its own.
	from, into, err := h.e.Merge(ctx, two, one, "CMDB entry 12: both names", w)
	if err != nil || into.Asset.UID != h.load(one).Asset.UID || from.Asset.UID == into.Asset.UID || into.Absorbed[0].Alias == "" {
		t.Errorf("merged by alias: %v, target %s, %+v", err, into.Asset.UID, into.Absorbed)
	}
}

// TestMergeAndEffects: whatever is under way at a merge, the world is touched
// once. An act that was begun holds the merge up; one that was only authorized
// never begins.
func TestMergeAndEffects(t *testing.T) {
	ctx := context.Background()
	h := start(t, func(w *world) { w.once = remedy.OnceNone })
	one, two := h.observe(exposure("a", finding.StoragePublic))[0].CaseID, h.observe(exposure("b", finding.WorldOpen))[0].CaseID
	loser := ""
	h.e.Failpoint = func(name string) {
		if name != "before intent" || loser != "" {
			return
		}
		// A runner holds the lease of an act and is about to commit its intent.
		loser = one
		winner := two
		if a, ok := h.load(two).Action("e1.1"); ok && a.Status == remedy.ActionReady {
			if b, _ := h.load(one).Action("e1.1"); b.Status != remedy.ActionReady {
				loser, winner = two, one
			}
		}
		if _, _, err := h.e.Merge(ctx, loser, winner, "", h.word()); err != nil {
			t.Errorf("merge before the intent: %v", err)
		}
	}
	h.until(3 * time.Hour)
	if loser == "" || h.load(loser).MergedInto == "" || h.load(loser).Acted() {
		t.Errorf("loser %q: %+v", loser, h.load(loser).Actions)
	}
	if h.acts() != 1 {
		t.Errorf("acted %d times: %v", h.acts(), h.w.log)
	}

	// Acted, not proven: the merge has to wait.
	h = start(t, func(w *world) { w.lies = true })
	one, two = h.observe(exposure("a", finding.StoragePublic))[0].CaseID, h.observe(exposure("b", finding.WorldOpen))[0].CaseID
	refused := 0
	h.e.Failpoint = func(name string) {
		if name != "after act" && name != "after outcome" {
			return
		}
		for _, id := range []string{one, two} {
			if c := h.load(id); len(c.Actions) > 0 && (c.Actions[0].Status == remedy.ActionIntended || c.Actions[0].Status == remedy.ActionActed) {
				other := one
				if id == one {
					other = two
				}
				if _, _, err := h.e.Merge(ctx, id, other, "", h.word()); remedy.CodeOf(err) != remedy.NotNow || !strings.Contains(err.Error(), "come to its end") {
					t.Errorf("merged while %s: %v", c.Actions[0].Status, err)
				}
				refused++
			}
		}
	}
	h.settle()
	if refused == 0 {
		t.Error("no act was under way")
	}
}

// TestMergedIsProvenForAll: a probe that began before a merge does not speak for
// what came with it; the case closes when one that covers all does.
func TestMergedIsProvenForAll(t *testing.T) {
	h := start(t, nil)
	one := h.observe(exposure("a", finding.StoragePublic))[0].CaseID
	h.w.auth = remedy.AuthNone
	b := exposure("b", finding.WorldOpen)
	two := h.observe(b)[0].CaseID
	merged := false
	h.e.Failpoint = func(name string) {
		if c := h.load(one); name == "before commit" && !merged && c.Probe.Purpose == remedy.ProbeAfter {
			merged = true
			if _, _, err := h.e.Merge(context.Background(), two, one, "", h.word()); err != nil {
				t.Error(err)
			}
		}
	}
	h.settle()
	if c := h.load(one); !merged || !c.Open() {
		t.Fatalf("merged %v; closed as %q by a probe that covers one finding of two", merged, c.Closed)
	}
	h.until(3 * time.Hour)
	c := h.load(one)
	if c.Closed != remedy.ClosedProven || h.acts() != 1 {
		t.Errorf("%s, closed as %q, acted %d times", c.State(), c.Closed, h.acts())
	}
	for _, m := range c.Members {
		if m.ProvenAt.IsZero() {
			t.Errorf("finding %s is not proven", m.UID)
		}
	}
}

// TestSplit: what is split off has its own case and deadlines no later than
// before; news of it go there though its key stayed, and a merge brings it back.
func TestSplit(t *testing.T) {
	ctx := context.Background()
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	one := h.observe(alert("a"), alert("b"))[0].CaseID
	h.settle()
	due := h.load(one).Clocks().Fix
	h.now = h.now.Add(time.Hour)
	from, to, err := h.e.Split(ctx, one, []string{alert("b").UID}, h.word())
	if err != nil {
		t.Fatal(err)
	}
	if to.SplitFrom != one || len(from.Members) != 1 || len(to.Members) != 1 || to.Clocks().Fix.After(due) || len(to.KeysBound()) != 0 {
		t.Errorf("split: from %q, %d and %d members, due %s, keys %v", to.SplitFrom, len(from.Members), len(to.Members), to.Clocks().Fix, to.KeysBound())
	}
	h.settle()
	news := alert("b")
	news.Severity = finding.SeverityCritical
	for _, x := range []struct {
		f    finding.Finding
		want string
	}{{alert("b"), to.ID}, {news, to.ID}, {alert("a"), one}, {alert("c"), one}} {
		if p := h.observe(x.f)[0]; p.CaseID != x.want {
			t.Errorf("%s is placed with %s, want %s", x.f.NativeID, p.CaseID, x.want)
		}
	}
	h.settle()
	if _, _, err := h.e.Split(ctx, one, []string{alert("b").UID}, h.word()); remedy.CodeOf(err) != remedy.Invalid {
		t.Errorf("split of a finding that is elsewhere: %v", err)
	}
	if _, _, err := h.e.Merge(ctx, to.ID, one, "", h.word()); err != nil {
		t.Fatal(err)
	}
	if p := h.observe(news, alert("b")); p[0].CaseID != one || p[1].CaseID != one {
		t.Errorf("after merging it back: %+v", p)
	}

	// A key that leads to the findings alone goes with them.
	b := exposure("x", finding.WorldOpen)
	two := h.observe(b)[0].CaseID
	if _, _, err := h.e.Merge(ctx, two, one, "", h.word()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.e.Split(ctx, one, []string{b.UID}, h.word()); remedy.CodeOf(err) != remedy.NotNow {
		t.Errorf("split of what came with a merge: %v", err)
	}
}

// TestManyKeysOfOneCase: findings of more keys than there are tries land in one
// case in one call.
func TestManyKeysOfOneCase(t *testing.T) {
	ctx := context.Background()
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	var fs []finding.Finding
	winner := ""
	for i := range 12 {
		f := exposure(fmt.Sprint("s", i), finding.CodeWeakness)
		f.Rule, f.UID = fmt.Sprint("rule-", i), ""
		f, err := finding.Normalize(f)
		if err != nil {
			t.Fatal(err)
		}
		id := h.observe(f)[0].CaseID
		if winner == "" {
			winner = id
		} else if _, _, err := h.e.Merge(ctx, id, winner, "", h.word()); err != nil {
			t.Fatal(err)
		}
		f.Severity = finding.SeverityCritical
		fs = append(fs, f)
	}
	for _, p := range h.observe(fs...) {
		if p.CaseID != winner {
			t.Errorf("placed with %s", p.CaseID)
		}
	}
}

// maps of what leads where, read from the store.
func (h *harness) tables(ids map[string]bool, fs []finding.Finding) (keys, finds map[string]string) {
	keys, finds = map[string]string{}, map[string]string{}
	var ks []engine.CaseKey
	for _, f := range fs {
		finds[f.UID] = h.where(f)
		k := finding.ExposureKey(f)
		ks = append(ks, engine.CaseKey{Tenant: finding.DefaultTenant, Version: k.Version, Key: k.String()})
	}
	refs, err := h.s.Keys(context.Background(), ks)
	if err != nil {
		h.t.Fatal(err)
	}
	for k, rs := range refs {
		for _, r := range rs {
			if r.Open {
				keys[k.Key] += r.ID
			}
		}
	}
	return keys, finds
}

// check holds law 2 of the store and the cases: a key leads to one open case, a
// finding is in one case, and both agree.
func (h *harness) check(ids map[string]bool, fs []finding.Finding) error {
	keys, finds := h.tables(ids, fs)
	inKeys, inFinds := map[string]string{}, map[string]string{}
	for id := range ids {
		c := h.load(id)
		if c.MergedInto != "" {
			if len(c.KeysBound()) > 0 {
				return fmt.Errorf("%s is merged and has keys %v", id, c.KeysBound())
			}
			continue
		}
		for _, k := range c.KeysBound() {
			inKeys[k] += id
		}
		for _, m := range c.Members {
			inFinds[m.UID] += id
		}
	}
	maps.DeleteFunc(finds, func(_, id string) bool { return id == "" })
	if !maps.Equal(keys, inKeys) || !maps.Equal(finds, inFinds) {
		return fmt.Errorf("the tables say\n%v\n%v\nthe cases\n%v\n%v", keys, finds, inKeys, inFinds)
	}
	return nil
}

// alertsOfOneBucket are two findings each of four exposures.
func alertsOfOneBucket() []finding.Finding {
	var fs []finding.Finding
	for i := range 8 {
		fs = append(fs, exposure(fmt.Sprint("f", i), classesOfOneBucket()[i/2]))
	}
	return fs
}

func classesOfOneBucket() []finding.Class {
	return []finding.Class{finding.StoragePublic, finding.WorldOpen, finding.Overprivilege, finding.KeyExposed}
}

// TestLawTwo merges, splits, alerts and undoes at random over the real engine:
// law 2 holds after every step, and undoing a merge restores both tables.
func TestLawTwo(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(r *rapid.T) {
		fs := alertsOfOneBucket()
		all := func() []finding.Finding { return append(alertsOfOneBucket(), fs...) } // what they spoke of, too
		w := &world{exposed: true, byKey: map[string]bool{}, auth: remedy.AuthNone}
		m := store.NewModel()
		h := &harness{t: t, w: w, s: m, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
		h.e = engine.New(engine.Config{Store: m, Effects: m, Judge: func() engine.Judge { return w }, Guards: w, Doors: w, Principals: w,
			Tickets: w, BaseURL: "http://127.0.0.1", Rand: rand.NewChaCha8([32]byte{1})})
		ids := map[string]bool{}
		pick := func(what string) string {
			return rapid.SampledFrom(append(slices.Sorted(maps.Keys(ids)), "nobody")).Draw(r, what)
		}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			h.now = h.now.Add(time.Minute)
			switch rapid.IntRange(0, 6).Draw(r, "what") {
			case 0, 1:
				f := rapid.SampledFrom(fs).Draw(r, "finding")
				f.Severity = rapid.SampledFrom([]finding.Severity{finding.SeverityLow, finding.SeverityHigh}).Draw(r, "severity")
				ids[h.observe(f, rapid.SampledFrom(fs).Draw(r, "finding"))[0].CaseID] = true
				for _, f := range fs {
					if id := h.where(f); id != "" {
						ids[id] = true
					}
				}
			case 2:
				keys, finds := h.tables(ids, all())
				from, into, err := h.e.Merge(ctx, pick("loser"), pick("winner"), "", h.word())
				if err == nil && rapid.Bool().Draw(r, "at once") {
					if _, _, err := h.e.Unmerge(ctx, into.ID, from.ID, h.word()); err != nil {
						r.Fatalf("a merge that can't be undone: %v", err)
					}
					if k, f := h.tables(ids, all()); !maps.Equal(k, keys) || !maps.Equal(f, finds) {
						r.Fatalf("undo restored\n%v\n%v\nnot\n%v\n%v", k, f, keys, finds)
					}
				}
			case 3:
				if c, err := m.Load(ctx, pick("case")); err == nil && len(c.Members) > 0 {
					if _, to, err := h.e.Split(ctx, c.ID, []string{rapid.SampledFrom(c.Members).Draw(r, "member").UID}, h.word()); err == nil {
						ids[to.ID] = true
					}
				}
			case 4:
				c, err := m.Load(ctx, pick("case"))
				if err == nil && c.MergedInto == "" {
					for _, a := range c.Absorbed {
						if _, _, err := h.e.Unmerge(ctx, c.ID, a.From, h.word()); err != nil {
							r.Fatalf("the merge of %s can't be undone: %v", a.From, err)
						}
					}
				}
			case 5:
				h.settle()
			case 6: // the sources name other exposures
				i, k := rapid.IntRange(0, len(fs)-1).Draw(r, "moves"), rapid.IntRange(0, len(fs)-1).Draw(r, "too")
				for _, n := range []int{i, k} {
					fs[n].Class = rapid.SampledFrom(classesOfOneBucket()).Draw(r, "class")
				}
				h.observe(fs[i], fs[k])
				for _, f := range fs {
					if id := h.where(f); id != "" {
						ids[id] = true
					}
				}
			}
			if err := h.check(ids, all()); err != nil {
				r.Fatal(err)
			}
		}
	})
}

// TestSourceNamesAnotherExposure: a finding is with the case of the exposure
// that its source names now, and with no other. The case it left is judged on
// what it has, and verified when it has nothing.
func TestSourceNamesAnotherExposure(t *testing.T) {
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	a, b := alert("a"), alert("b")
	one := h.observe(a, b)[0].CaseID
	h.settle()
	move := func(f finding.Finding) finding.Finding {
		f.Asset.UID, f.Asset.Name = "backups", "backups"
		return f
	}
	// In one call with news of the case it leaves, twice.
	worse := b
	worse.Severity = finding.SeverityCritical
	ps := h.observe(move(a), worse, move(alert("c")))
	two := ps[0].CaseID
	if two == one || ps[1].CaseID != one || ps[2].CaseID != two {
		t.Fatalf("placed: %+v", ps)
	}
	if c := h.load(one); len(c.Members) != 1 || c.Members[0].UID != b.UID || c.Severity != finding.SeverityCritical || !c.Open() {
		t.Errorf("the case it left has %+v, severity %v", c.Members, c.Severity)
	}
	h.settle()
	ps = h.observe(move(b))
	if c := h.load(one); ps[0].CaseID != two || len(c.Members) != 0 || !c.Open() || c.Probe.Purpose != remedy.ProbeClaim {
		t.Errorf("the last one left: %+v, %s with %+v, probe %+v", ps, c.State(), c.Members, c.Probe)
	}
	h.settle()
	if c, err := h.e.Rejudge(context.Background(), one, "policy", h.now); err != nil || !c.Open() || c.Asset.UID != "logs" {
		t.Errorf("judged without a finding: %v, %s of %s", err, c.State(), c.Asset.UID)
	}
	// One goes back, by itself.
	if p := h.observe(a); p[0].CaseID != one {
		t.Errorf("back with %s", p[0].CaseID)
	}
	if err := h.check(map[string]bool{one: true, two: true}, []finding.Finding{a, move(b), move(alert("c"))}); err != nil {
		t.Error(err)
	}
}

// between is a store in which something happens between two reads of Observe.
type between struct {
	engine.Store
	at string
	do func()
}

func (b *between) now(at string) {
	if do := b.do; at == b.at && do != nil {
		b.do = nil
		do()
	}
}

func (b *between) Known(ctx context.Context, tenant string, uids []string) (map[string]engine.Known, error) {
	known, err := b.Store.Known(ctx, tenant, uids)
	b.now("after known")
	return known, err
}

func (b *between) Keys(ctx context.Context, keys []engine.CaseKey) (map[engine.CaseKey][]engine.CaseRef, error) {
	refs, err := b.Store.Keys(ctx, keys)
	b.now("after keys")
	return refs, err
}

func (b *between) Load(ctx context.Context, id string) (remedy.Case, error) {
	c, err := b.Store.Load(ctx, id)
	b.now("after load")
	return c, err
}

// TestPlacedByWhatWas: what an alert was placed by may be another truth when
// its case is loaded or stored; it is placed anew then, never in two cases.
func TestPlacedByWhatWas(t *testing.T) {
	ctx := context.Background()
	for _, at := range []string{"after known", "after keys", "after load"} {
		for _, what := range []string{"merge", "unmerge", "split", "merge back"} {
			for _, who := range []string{"news", "new"} {
				h := start(t, func(w *world) { w.auth = remedy.AuthNone })
				a, b, c := exposure("a", finding.StoragePublic), exposure("b", finding.WorldOpen), exposure("c", finding.WorldOpen)
				one := h.observe(a)[0].CaseID
				two := h.observe(b, c)[0].CaseID
				ids := map[string]bool{one: true, two: true}
				must := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatalf("%s %s: %v", what, at, err)
					}
				}
				f := b
				f.Severity = finding.SeverityCritical
				if who == "new" {
					f = exposure("d", finding.WorldOpen)
				}
				merge := func() { _, _, err := h.e.Merge(ctx, two, one, "", h.word()); must(err) }
				happens := merge
				switch what {
				case "unmerge":
					merge()
					happens = func() { _, _, err := h.e.Unmerge(ctx, one, two, h.word()); must(err) }
				case "split":
					happens = func() {
						_, to, err := h.e.Split(ctx, two, []string{b.UID}, h.word())
						must(err)
						ids[to.ID] = true
					}
				case "merge back":
					_, to, err := h.e.Split(ctx, two, []string{b.UID}, h.word())
					must(err)
					ids[to.ID] = true
					happens = func() { _, _, err := h.e.Merge(ctx, to.ID, two, "", h.word()); must(err) }
				}
				cfg := h.e.Config
				cfg.Store = &between{Store: h.s, at: at, do: happens}
				ps, err := engine.New(cfg).Observe(ctx, finding.DefaultTenant, []finding.Finding{f}, nil, h.now)
				must(err)
				must(ps[0].Err)
				must(h.check(ids, []finding.Finding{a, b, c, f}))
				if got := h.where(f); got != ps[0].CaseID {
					t.Errorf("%s %s, %s: said to be in %s, is in %s", what, at, who, ps[0].CaseID, got)
				}
			}
		}
	}
}

// TestMergeRace lets alerts, merges and undos run against each other on the
// real store: nothing is lost, nothing is twice.
func TestMergeRace(t *testing.T) {
	ctx := context.Background()
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	cfg := h.e.Config
	cfg.Rand = nil // many at once
	e := engine.New(cfg)
	h.e = e
	fs := alertsOfOneBucket()
	ids := map[string]bool{}
	var list []string
	for i := 0; i < len(fs); i += 2 {
		id := h.observe(fs[i])[0].CaseID
		ids[id], list = true, append(list, id)
	}
	failed := make(chan error, 64)
	say := func(err error) {
		if err != nil && remedy.CodeOf(err) == "" && !errors.Is(err, engine.ErrConflict) {
			failed <- err
		}
	}
	var merging, alerting sync.WaitGroup
	stop := make(chan struct{})
	for n := range 2 {
		alerting.Go(func() {
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				f, g := fs[i%len(fs)], fs[(i+3)%len(fs)]
				f.Severity = finding.Severity(2 + i%3)
				ps, err := e.Observe(ctx, finding.DefaultTenant, []finding.Finding{f, g}, nil, h.now)
				say(err)
				for _, p := range ps {
					say(p.Err)
				}
			}
		})
	}
	merges := make([]int, 2)
	for n := range 2 {
		merging.Go(func() {
			for i := range 25 {
				from, into := list[(i+n)%4], list[(i+2*n+1)%4]
				if _, _, err := e.Merge(ctx, from, into, "", h.word()); err != nil {
					say(err)
					continue
				}
				merges[n]++
				if i%2 == 0 {
					_, _, err := e.Unmerge(ctx, into, from, h.word())
					say(err)
				}
				for _, id := range list { // let go what is left, so that there is something to merge
					if c := h.load(id); c.MergedInto == "" {
						for _, a := range c.Absorbed {
							_, _, err := e.Unmerge(ctx, id, a.From, h.word())
							say(err)
						}
					}
				}
			}
		})
	}
	merging.Wait()
	close(stop)
	alerting.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if merges[0]+merges[1] == 0 {
		t.Error("nothing was merged")
	}
	for _, f := range fs {
		if h.where(f) == "" {
			t.Errorf("finding %s is lost", f.NativeID)
		}
	}
	if err := h.check(ids, fs); err != nil {
		t.Error(err)
	}
}
