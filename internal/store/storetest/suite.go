package storetest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// Run runs the suite; open returns an empty store and closes it by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, b Backend)
	}{
		{"OpenAndLoad", testOpenAndLoad},
		{"NotFound", testNotFound},
		{"OldVersionConflicts", testOldVersion},
		{"OneOpenCasePerKey", testOneOpenCasePerKey},
		{"NewCaseCountsTheOthers", testBeside},
		{"UnitIsAllOrNothing", testAllOrNothing},
		{"UnitsDoNotShareFate", testUnitsApart},
		{"TogetherOrNotAtAll", testTogether},
		{"KeysAndFindingsMove", testMove},
		{"InvalidUnits", testInvalid},
		{"Budget", testBudget},
		{"Pause", testPause},
		{"Sightings", testSightings},
		{"Sight", testSight},
		{"FindingReplaced", testFindingReplaced},
		{"GuardrailCounts", testGuardrailCounts},
		{"RawRecords", testRaw},
		{"RawRecordsPruned", testPruneRaw},
		{"ConcurrentSteps", testConcurrentSteps},
		{"CancelledContext", testCancelled},
		{"Wake", testWake},
		{"History", testHistory},
		{"Lists", testLists},
		{"Notes", testNotes},
		{"ClaimOnePerCaseAndObject", testClaimApart},
		{"LeaseLife", testLeaseLife},
		{"LostLease", testLostLease},
		{"IntentNeedsTheLease", testIntent},
		{"DroppedInFlight", testDropped},
		{"EffectAgain", testEffectAgain},
		{"PostponedCostsNoTry", testPostpone},
		{"DeadLetter", testDeadLetter},
		{"DamagedCases", testStumbled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

var ctx = context.Background() // never written

// commit returns the error of a single unit.
func commit(b Backend, u record.Unit) error {
	errs, err := b.Commit(ctx, []record.Unit{u}, nil)
	if err != nil {
		return err
	}
	return errs[0]
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func closed(c remedy.Case, at time.Time) record.Unit {
	return Step(c, remedy.EpisodeClosed{How: remedy.ClosedProven, Why: "test"}, at)
}

func reopened(c remedy.Case, at time.Time) record.Unit {
	return Step(c, remedy.EpisodeStarted{N: len(c.Episodes) + 1, DetectedAt: at, Why: "test"}, at)
}

func key(k string) record.CaseKey { return record.CaseKey{Tenant: tenant, Version: 1, Key: k} }

func testOpenAndLoad(t *testing.T, b Backend) {
	u := NewCase("c1", "k1")
	u.Facts = map[string][]byte{"h1": []byte(`{"a":1}`)}
	must(t, b, u)
	equal(t, "case", load(t, b, "c1"), u.Case)
	refs, err := b.Keys(ctx, []record.CaseKey{key("k1"), key("k2"), {Tenant: "other", Version: 1, Key: "k1"}, {Tenant: tenant, Version: 2, Key: "k1"}})
	equal(t, "keys error", err, nil)
	equal(t, "keys", refs, map[record.CaseKey][]record.CaseRef{key("k1"): {{ID: "c1", Open: true}}})
	known, err := b.Known(ctx, tenant, []string{"uid-c1", "uid-c2"})
	equal(t, "known error", err, nil)
	equal(t, "known", known, map[string]record.Known{"uid-c1": {CaseID: "c1", Digest: finding.DecisionDigest(Finding("c1")), Quiet: u.Case.Quiet()}})
	other, err := b.Known(ctx, "other", []string{"uid-c1"})
	if err != nil || len(other) != 0 {
		t.Fatalf("another tenant knows %v, %v", other, err)
	}
	f, err := b.Finding(ctx, tenant, "uid-c1")
	equal(t, "finding error", err, nil)
	equal(t, "finding", f, Finding("c1"))
	fact, err := b.Fact(ctx, tenant, "h1")
	equal(t, "fact error", err, nil)
	equal(t, "fact", string(fact), `{"a":1}`)
}

func testNotFound(t *testing.T, b Backend) {
	_, err := b.Load(ctx, "nobody")
	wantErr(t, err, record.ErrNotFound)
	_, err = b.Finding(ctx, tenant, "nobody")
	wantErr(t, err, record.ErrNotFound)
	_, err = b.Fact(ctx, tenant, "nobody")
	wantErr(t, err, record.ErrNotFound)
	wantErr(t, b.EraseNote(ctx, tenant, "nobody"), record.ErrNotFound)
	for _, keys := range [][]record.CaseKey{nil, {key("k")}} {
		if refs, err := b.Keys(ctx, keys); err != nil || len(refs) != 0 {
			t.Fatalf("keys %v: %v, %v", keys, refs, err)
		}
	}
}

func testOldVersion(t *testing.T, b Backend) {
	u := NewCase("c1", "k1")
	must(t, b, u)
	wantErr(t, commit(b, NewCase("c1", "k2")), record.ErrConflict)
	must(t, b, Step(u.Case, remedy.Acked{}, Epoch()))
	wantErr(t, commit(b, Step(u.Case, remedy.AssignedTo{To: "x"}, Epoch())), record.ErrConflict)
	ghost := NewCase("c2", "k3").Case
	wantErr(t, commit(b, Step(ghost, remedy.Acked{}, Epoch())), record.ErrConflict)
	foreign := NewCase("c1", "k9")
	foreign.Case.Tenant, foreign.Findings, foreign.AddKey, foreign.AddEffects = "other", nil, nil, nil
	wantErr(t, commit(b, foreign), record.ErrConflict)
	if c := load(t, b, "c1"); c.AssignedTo != "" || c.Version != u.Case.Version+1 {
		t.Fatalf("a refused unit left its mark: version %d, assigned to %q", c.Version, c.AssignedTo)
	}
}

func testOneOpenCasePerKey(t *testing.T, b Backend) {
	first, second := NewCase("c1", "k"), NewCase("c2", "k")
	errs, err := b.Commit(ctx, []record.Unit{first, second}, nil)
	equal(t, "commit", err, nil)
	equal(t, "first", errs[0], nil)
	wantErr(t, errs[1], record.ErrConflict)
	_, err = b.Load(ctx, "c2")
	wantErr(t, err, record.ErrNotFound)

	must(t, b, closed(first.Case, Epoch().Add(time.Hour)))
	second.Case.Episodes[0].OpenedAt = Epoch().Add(time.Minute) // newer than c1
	must(t, b, second)
	refs, err := b.Keys(ctx, []record.CaseKey{key("k")})
	equal(t, "keys error", err, nil)
	equal(t, "refs", refs[key("k")], []record.CaseRef{{ID: "c2", Open: true}, {ID: "c1", ClosedAt: Epoch().Add(time.Hour), How: remedy.ClosedProven}})

	c1 := load(t, b, "c1")
	wantErr(t, commit(b, reopened(c1, Epoch().Add(2*time.Hour))), record.ErrConflict)
	move := Step(load(t, b, "c2"), remedy.Acked{}, Epoch())
	move.DropKey, move.AddKey = []record.CaseKey{key("k")}, []record.CaseKey{key("k2"), key("k2")}
	must(t, b, move)
	must(t, b, reopened(c1, Epoch().Add(2*time.Hour)))
	grab := Step(load(t, b, "c2"), remedy.Acked{}, Epoch())
	grab.AddKey = []record.CaseKey{key("k")}
	wantErr(t, commit(b, grab), record.ErrConflict)
}

func testAllOrNothing(t *testing.T, b Backend) {
	must(t, b, NewCase("c1", "k1"))
	u := NewCase("c2", "k1")
	u.AddKey = append([]record.CaseKey{key("k2")}, u.AddKey...)
	u.Reserve = []record.Reservation{{Key: "budget", N: 1, Limit: 1, From: Epoch(), At: Epoch()}}
	u.Facts = map[string][]byte{"h": []byte("x")}
	u.Notes = []record.NoteText{{Hash: "n", Salt: "s", Text: "t"}}
	u.DropEffects = []string{"c1/message/1"}
	wantErr(t, commit(b, u), record.ErrConflict)
	if refs, _ := b.Keys(ctx, []record.CaseKey{key("k2")}); len(refs) != 0 {
		t.Error("a key of the refused unit is bound")
	}
	if events, _ := b.Events(ctx, tenant, "c2"); len(events) != 0 {
		t.Error("events of the refused unit are there")
	}
	if effects, _ := b.EffectsOf(ctx, "", 10); len(effects) != 1 || effects[0].CaseID != "c1" {
		t.Errorf("effects after the refused unit: %v", effects)
	}
	_, err := b.Finding(ctx, tenant, "uid-c2")
	wantErr(t, err, record.ErrNotFound)
	_, err = b.Fact(ctx, tenant, "h")
	wantErr(t, err, record.ErrNotFound)
	wantErr(t, b.EraseNote(ctx, tenant, "n"), record.ErrNotFound)
	free := Step(load(t, b, "c1"), remedy.Acked{}, Epoch())
	free.Reserve = u.Reserve
	must(t, b, free) // the budget was given back
}

// testGuardrailCounts: budgets are counted from an instant on, and a fleet is
// the assets of one class and tenant, each once, closed cases too.
func testGuardrailCounts(t *testing.T, b Backend) {
	at := Epoch()
	for i, minute := range []int{0, 5, 9} {
		u := NewCase(name("c", i), name("k", i))
		when := at.Add(time.Duration(minute) * time.Minute)
		u.Reserve = []record.Reservation{{Key: "share/s", N: i + 1, Limit: 9, From: at, At: when}}
		must(t, b, u)
	}
	for _, x := range []struct {
		key  string
		from time.Time
		want int
	}{{"share/s", at, 6}, {"share/s", at.Add(5 * time.Minute), 5}, {"share/s", at.Add(5*time.Minute + 1), 3}, {"share/s", at.Add(time.Hour), 0}, {"share/other", at, 0}} {
		n, err := b.Drawn(ctx, x.key, x.from)
		equal(t, "drawn error", err, nil)
		equal(t, "drawn since "+x.from.String(), n, x.want)
	}
	fleet := func(tenant, class string, want int) {
		t.Helper()
		n, err := b.Fleet(ctx, tenant, class)
		equal(t, "fleet error", err, nil)
		equal(t, "fleet of "+class, n, want)
	}
	fleet(tenant, "storage.public", 3)
	must(t, b, closed(load(t, b, "c1"), at))
	fleet(tenant, "storage.public", 3)
	again := NewCase("c9", "k9")
	again.Case.Asset = load(t, b, "c2").Asset
	must(t, b, again)
	fleet(tenant, "storage.public", 3)
	fleet(tenant, "identity.key-exposed", 0)
	fleet("another", "storage.public", 0)
}

func testUnitsApart(t *testing.T, b Backend) {
	var units []record.Unit
	for i := range 20 {
		units = append(units, NewCase(name("c", i), name("k", i/2)))
	}
	errs, err := b.Commit(ctx, units, nil)
	equal(t, "commit", err, nil)
	for i, err := range errs {
		if i%2 == 0 && err != nil {
			t.Errorf("unit %d: %v", i, err)
		}
		if i%2 == 1 && !errors.Is(err, record.ErrConflict) {
			t.Errorf("unit %d: %v, want a conflict", i, err)
		}
	}
	counts, err := b.Counts(ctx, tenant)
	equal(t, "counts error", err, nil)
	n := 0
	for _, c := range counts {
		n += c
	}
	equal(t, "cases", n, 10)
}

func testInvalid(t *testing.T, b Backend) {
	for what, spoil := range map[string]func(*record.Unit){
		"no id":              func(u *record.Unit) { u.Case.ID = "" },
		"no tenant":          func(u *record.Unit) { u.Case.Tenant = "" },
		"wrong version":      func(u *record.Unit) { u.Case.Version++ },
		"no events":          func(u *record.Unit) { u.Events, u.Case.Version = nil, 0 },
		"key of another":     func(u *record.Unit) { u.AddKey[0].Tenant = "other" },
		"drop of another":    func(u *record.Unit) { u.DropKey = []record.CaseKey{{Tenant: "other", Key: "k"}} },
		"finding of another": func(u *record.Unit) { u.Findings[0].Tenant = "other" },
		"finding without id": func(u *record.Unit) { u.Findings[0].UID = "" },
		"effect of another":  func(u *record.Unit) { u.AddEffects[0].CaseID = "c2" },
		"lease of another":   func(u *record.Unit) { u.Done = &record.Lease{Row: Effect("c2", "x", ""), Epoch: 1} },
		"effect without id":  func(u *record.Unit) { u.AddEffects[0].ID = "" },
	} {
		u := NewCase("c1", "k1")
		spoil(&u)
		if err := commit(b, u); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	must(t, b, NewCase("c1", "k1")) // nothing of them was stored
}

func testBudget(t *testing.T, b Backend) {
	must(t, b, NewCase("c1", "k1"))
	take := func(n, limit int, from, at time.Time) error {
		u := Step(load(t, b, "c1"), remedy.Acked{}, at)
		u.Reserve = []record.Reservation{{Key: "rule", N: n, Limit: limit, From: from, At: at}}
		return commit(b, u)
	}
	hour := Epoch()
	equal(t, "2 of 3", take(2, 3, hour, hour), nil)
	wantErr(t, take(2, 3, hour, hour), record.ErrBudget)
	equal(t, "3 of 3", take(1, 3, hour, hour.Add(time.Minute)), nil)
	wantErr(t, take(1, 3, hour, hour.Add(2*time.Minute)), record.ErrBudget)
	equal(t, "the window moved on", take(2, 3, hour.Add(time.Minute), hour.Add(61*time.Minute)), nil)
	wantErr(t, take(1, 3, hour.Add(time.Minute), hour.Add(61*time.Minute)), record.ErrBudget)
	u := Step(load(t, b, "c1"), remedy.Acked{}, Epoch())
	one := record.Reservation{Key: "twice", N: 1, Limit: 1, From: hour, At: hour}
	u.Reserve = []record.Reservation{one, one}
	wantErr(t, commit(b, u), record.ErrBudget)
	u.Reserve = []record.Reservation{one}
	equal(t, "once", commit(b, u), nil)
}

func testPause(t *testing.T, b Backend) {
	must(t, b, NewCase("c1", "k1"))
	ann := remedy.Actor{Kind: remedy.Person, ID: "u-ann"}
	step := func(scopes ...string) error {
		u := Step(load(t, b, "c1"), remedy.Acked{}, Epoch())
		u.PauseScopes = scopes
		return commit(b, u)
	}
	note := record.NoteText{Hash: "h", Salt: "s", Text: "storm"}
	p := store.Pause{Tenant: "", Scope: "all", By: ann, At: Epoch(), Reason: note}
	equal(t, "pause", b.SetPause(ctx, p), nil)
	equal(t, "again", b.SetPause(ctx, store.Pause{Scope: "all", By: remedy.Actor{Kind: remedy.Person, ID: "u-bob"}, At: Epoch().Add(time.Hour)}), nil)
	equal(t, "other tenant", b.SetPause(ctx, store.Pause{Tenant: "other", Scope: "connector/s3", By: ann, At: Epoch()}), nil)
	list, err := b.Pauses(ctx)
	equal(t, "pauses error", err, nil)
	equal(t, "first pause", list[0], p)
	equal(t, "number of pauses", len(list), 2)
	wantErr(t, step("rule/x", "all"), record.ErrPaused)
	equal(t, "scope of another tenant", step("connector/s3"), nil)
	equal(t, "no scope", step(), nil)
	equal(t, "resume", b.ClearPause(ctx, store.Pause{Scope: "all", By: ann, At: Epoch()}), nil)
	equal(t, "resumed", step("all"), nil)
	wantErr(t, b.ClearPause(ctx, store.Pause{Scope: "all", By: ann, At: Epoch()}), record.ErrNotFound)
	wantErr(t, b.SetPause(ctx, store.Pause{Scope: "all"}), store.ErrInvalid)
	events, err := b.Stream(ctx, tenant, store.StreamGuardrail, 0, -1)
	equal(t, "stream error", err, nil)
	var types []string
	for _, e := range events {
		types = append(types, e.Type+" by "+e.By.ID)
	}
	equal(t, "guardrail stream", types, []string{"paused by u-ann", "resumed by u-ann"})
}

func testSightings(t *testing.T, b Backend) {
	u := NewCase("c1", "k1")
	see := func(s ...record.Sighting) error {
		_, err := b.Commit(ctx, nil, s)
		return err
	}
	at := Epoch().Add(time.Hour)
	wantErr(t, see(record.Sighting{Tenant: tenant, UID: "uid-c1", At: at, Count: 1}), record.ErrConflict)
	// A repeat may come in the very commit that opens the case.
	_, err := b.Commit(ctx, []record.Unit{u}, []record.Sighting{{Tenant: tenant, UID: "uid-c1", At: at, Count: 4}})
	equal(t, "first", err, nil)
	equal(t, "second", see(record.Sighting{Tenant: tenant, UID: "uid-c1", At: at.Add(-time.Minute)}), nil)
	rows, err := b.Findings(ctx, "c1")
	equal(t, "findings error", err, nil)
	equal(t, "row", rows, []store.FindingRow{{Finding: Finding("c1"), CaseID: "c1", Digest: finding.DecisionDigest(Finding("c1")), FirstSeen: Epoch(), LastSeen: at, Sightings: 6}})

	// One that does not hold takes its whole commit with it.
	_, err = b.Commit(ctx, []record.Unit{NewCase("c2", "k2")}, []record.Sighting{{Tenant: tenant, UID: "uid-c1", At: at, Count: 1}, {Tenant: tenant, UID: "nobody", At: at, Count: 1}})
	wantErr(t, err, record.ErrConflict)
	_, err = b.Load(ctx, "c2")
	wantErr(t, err, record.ErrNotFound)
	must(t, b, closed(u.Case, at))
	wantErr(t, see(record.Sighting{Tenant: tenant, UID: "uid-c1", At: at, Count: 1}), record.ErrConflict)
	rows, _ = b.Findings(ctx, "c1")
	equal(t, "sightings", rows[0].Sightings, 6)
}

// testSight: what is a repeat is told and counted by one commit.
func testSight(t *testing.T, b Backend) {
	u := NewCase("c1", "k1")
	must(t, b, u)
	must(t, b, NewCase("c2", "k2"))
	digest := func(id string) string { return finding.DecisionDigest(Finding(id)) }
	rs := []record.Repeat{{UID: "uid-c1", Digest: digest("c1")}, {UID: "nobody", Digest: digest("c1")}, {UID: "uid-c2", Digest: "another"}, {UID: "uid-c1", Digest: digest("c1")}}
	first := record.Known{CaseID: "c1", Digest: digest("c1"), Quiet: true}
	want := []record.Known{first, {}, {CaseID: "c2", Digest: digest("c2"), Quiet: true}, first}
	at := Epoch().Add(time.Hour)
	seen := func(id string) (int, time.Time) {
		rows, err := b.Findings(ctx, id)
		equal(t, "findings error", err, nil)
		return rows[0].Sightings, rows[0].LastSeen
	}
	known, err := b.Sight(ctx, tenant, rs, at)
	equal(t, "sight", err, nil)
	equal(t, "known", known, want)
	n, last := seen("c1")
	equal(t, "repeats and the first", n, 3)
	equal(t, "last", last, at)
	n, _ = seen("c2")
	equal(t, "another digest is no repeat", n, 1)

	other, err := b.Sight(ctx, "other", rs[:1], at)
	equal(t, "other tenant", err, nil)
	equal(t, "known of another tenant", other, []record.Known{{}})

	must(t, b, closed(u.Case, at))
	want[0].Quiet, want[3].Quiet = false, false
	known, err = b.Sight(ctx, tenant, rs, at.Add(time.Hour))
	equal(t, "sight after the end", err, nil)
	equal(t, "known after the end", known, want)
	n, last = seen("c1")
	equal(t, "no repeat after the end", n, 3)
	equal(t, "last before the end", last, at)
}

func testFindingReplaced(t *testing.T, b Backend) {
	u := NewCase("c1", "k1")
	must(t, b, u, NewCase("c2", "k2"))
	f := Finding("c1")
	f.Severity = finding.SeverityCritical
	again := Step(u.Case, remedy.Acked{}, Epoch().Add(time.Minute))
	again.Findings = []finding.Finding{f}
	must(t, b, again)
	rows, err := b.Findings(ctx, "c1")
	equal(t, "findings error", err, nil)
	equal(t, "row", rows[0], store.FindingRow{Finding: f, CaseID: "c1", Digest: finding.DecisionDigest(f), FirstSeen: Epoch(), LastSeen: Epoch().Add(time.Minute), Sightings: 2})
	move := Step(load(t, b, "c2"), remedy.Acked{}, Epoch())
	move.Findings = []finding.Finding{f}
	// It went to c1 behind the back of who places it.
	for _, was := range [][]string{nil, {""}, {"c0"}} {
		move.Was = was
		errs, err := b.Commit(ctx, []record.Unit{move}, nil)
		equal(t, "commit", err, nil)
		wantErr(t, errs[0], record.ErrConflict)
	}
	move.Was = []string{"c1"}
	must(t, b, move)
	if rows, _ := b.Findings(ctx, "c1"); len(rows) != 0 {
		t.Error("a finding that moved is still with its old case")
	}
	rows, _ = b.Findings(ctx, "c2")
	if len(rows) != 2 || rows[0].Sightings != 2 {
		t.Errorf("after the move: %+v", rows)
	}
}

func testConcurrentSteps(t *testing.T, b Backend) {
	must(t, b, NewCase("c1", "k1"))
	const callers, steps = 8, 10
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for done := 0; done < steps; {
				c, err := b.Load(ctx, "c1")
				if err == nil {
					err = commit(b, Step(c, remedy.Acked{}, Epoch()))
				}
				switch {
				case err == nil:
					done++
				case !errors.Is(err, record.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	equal(t, "version", load(t, b, "c1").Version, NewCase("c1", "k1").Case.Version+callers*steps)
}

func testCancelled(t *testing.T, b Backend) {
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err := b.Commit(done, []record.Unit{NewCase("c1", "k1")}, nil)
	wantErr(t, err, context.Canceled)
	_, err = b.Load(ctx, "c1")
	wantErr(t, err, record.ErrNotFound)
}

func testWake(t *testing.T, b Backend) {
	next := func(at time.Time) time.Time {
		got, err := b.NextDue(ctx, at)
		equal(t, "next error", err, nil)
		return got
	}
	due := func(at time.Time, n int) []string {
		got, err := b.Due(ctx, at, n)
		equal(t, "due error", err, nil)
		return got
	}
	equal(t, "empty", next(Epoch()), time.Time{})
	for i, wake := range []time.Time{Epoch().Add(2 * time.Hour), Epoch().Add(time.Hour), {}} {
		u := NewCase(name("c", i), name("k", i))
		u.WakeAt, u.AddEffects = wake, nil
		must(t, b, u)
	}
	equal(t, "nothing yet", len(due(Epoch(), 5)), 0)
	equal(t, "at the instant", due(Epoch().Add(time.Hour), 5), []string{"c1"})
	equal(t, "earliest first", due(Epoch().Add(3*time.Hour), 5), []string{"c1", "c0"})
	equal(t, "at most n", due(Epoch().Add(3*time.Hour), 1), []string{"c1"})
	equal(t, "next", next(Epoch()), Epoch().Add(time.Hour))
	equal(t, "strictly after", next(Epoch().Add(time.Hour)), Epoch().Add(2*time.Hour))
	u := Step(load(t, b, "c2"), remedy.Acked{}, Epoch())
	u.WakeAt = time.Time{}
	e := Effect("c2", "probe/1", "")
	e.NotBefore = Epoch().Add(30 * time.Minute)
	u.AddEffects = []record.EffectRow{e}
	must(t, b, u)
	equal(t, "an effect is sooner", next(Epoch()), Epoch().Add(30*time.Minute))
	quiet := Step(load(t, b, "c1"), remedy.Acked{}, Epoch())
	quiet.WakeAt = time.Time{}
	must(t, b, quiet)
	equal(t, "c1 sleeps", due(Epoch().Add(3*time.Hour), 5), []string{"c0"})
}

func testHistory(t *testing.T, b Backend) {
	u := NewCase("c1", "k1")
	must(t, b, u, NewCase("c2", "k2"))
	must(t, b, Step(u.Case, remedy.AssignedTo{To: "u-bob"}, Epoch().Add(time.Minute)))
	e := store.StreamEvent{Tenant: tenant, Stream: store.StreamPrincipal + "/u-ann", Type: "login", Schema: 1, At: Epoch(), By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, Body: []byte(`{"ok":true}`)}
	for want := range uint64(3) {
		seq, err := b.AppendEvent(ctx, e)
		equal(t, "append error", err, nil)
		equal(t, "seq", seq, want+1)
	}
	forged := e
	forged.Stream = store.CaseStream("c1")
	_, err := b.AppendEvent(ctx, forged)
	wantErr(t, err, store.ErrInvalid)

	events, err := b.Events(ctx, tenant, "c1")
	equal(t, "events error", err, nil)
	var bodies []remedy.Event
	for _, e := range events {
		bodies = append(bodies, remedy.Event{At: e.At, By: e.By, Body: e.Decoded})
	}
	equal(t, "replay", remedy.Replay(bodies), load(t, b, "c1"))

	all, pos, err := b.EventsSince(ctx, 0, 100)
	equal(t, "since error", err, nil)
	equal(t, "position", pos, int64(len(all)))
	streams := map[string][]ledger.Record{}
	for _, e := range all {
		by := `{"kind":"` + string(e.By.Kind) + `","id":"` + e.By.ID + `"}`
		streams[e.Stream] = append(streams[e.Stream], ledger.Record{
			Tenant: e.Tenant, Stream: e.Stream, Seq: e.Seq, Type: e.Type, Schema: e.Schema, At: e.At, Body: []byte(by + "\n" + string(e.Body)), Prev: e.Prev, Hash: e.Hash})
	}
	equal(t, "streams", len(streams), 3)
	for name, records := range streams {
		if err := ledger.VerifyStream(records); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	part, pos, err := b.EventsSince(ctx, 2, 3)
	equal(t, "part error", err, nil)
	equal(t, "part", part, all[2:5])
	equal(t, "part position", pos, int64(5))
	none, pos, err := b.EventsSince(ctx, int64(len(all)), 3)
	if err != nil || len(none) != 0 || pos != int64(len(all)) {
		t.Errorf("after the end: %v, %d, %v", none, pos, err)
	}
	tail, err := b.Stream(ctx, tenant, e.Stream, 1, 1)
	if err != nil || len(tail) != 1 || tail[0].Seq != 2 {
		t.Errorf("stream after 1: %v, %v", tail, err)
	}
}

func testNotes(t *testing.T, b Backend) {
	n := record.NoteText{Hash: "h", Salt: "s", Text: "Ann said so"}
	u := NewCase("c1", "k1")
	u.Notes = []record.NoteText{n}
	must(t, b, u)
	notes, err := b.Notes(ctx, tenant, []remedy.Note{"h", "x"})
	equal(t, "notes error", err, nil)
	equal(t, "notes", notes, map[remedy.Note]record.NoteText{"h": n})
	equal(t, "erase", b.EraseNote(ctx, tenant, "h"), nil)
	notes, err = b.Notes(ctx, tenant, []remedy.Note{"h"})
	if err != nil || len(notes) != 0 {
		t.Errorf("after erasing: %v, %v", notes, err)
	}
}
