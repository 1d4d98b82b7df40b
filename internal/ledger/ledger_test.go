package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"
)

var base = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// history is records of several streams in tree order.
func history(n, streams int) []Record {
	last := make(map[string]Record)
	var all []Record
	for i := range n {
		stream := fmt.Sprintf("case/%d", i*i%streams)
		r := Link(last[stream].Hash, Record{Tenant: "default", Stream: stream, Seq: last[stream].Seq + 1, Type: "observed",
			Schema: 1, At: base.Add(time.Duration(i) * time.Second), Body: fmt.Appendf(nil, `{"n":%d}`, i)})
		last[stream] = r
		all = append(all, r)
	}
	return all
}

// memory is a store of tree hashes.
type memory []Hash

func (m memory) ReadHashes(indexes []int64) ([]Hash, error) {
	out := make([]Hash, len(indexes))
	for i, x := range indexes {
		if x >= int64(len(m)) {
			return nil, fmt.Errorf("no hash %d", x)
		}
		out[i] = m[x]
	}
	return out, nil
}

// plant builds the tree over records in groups of the given size.
func plant(t testing.TB, records []Record, group int) (memory, []Checkpoint) {
	t.Helper()
	var m memory
	var cs []Checkpoint
	for size := 0; size < len(records); {
		end := min(size+group, len(records))
		var hs []Hash
		for _, r := range records[size:end] {
			hs = append(hs, r.Hash)
		}
		stored, root, err := Grow(int64(size), hs, m)
		if err != nil {
			t.Fatal(err)
		}
		m, size = append(m, stored...), end
		cs = append(cs, Checkpoint{Origin: "casement/test/1", Size: int64(size), Root: root, At: base})
	}
	return m, cs
}

func audit(t testing.TB, records []Record, checkpoints ...Checkpoint) error {
	t.Helper()
	a, err := NewAuditor(checkpoints...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if err := a.Add(int64(i), r); err != nil {
			return err
		}
	}
	return a.Finish()
}

func kindOf(err error) Kind {
	var f *Fault
	if errors.As(err, &f) {
		return f.Kind
	}
	return ""
}

func TestVerifyStreamNamesTheFirstBadRecord(t *testing.T) {
	tests := []struct {
		name   string
		damage func([]Record) []Record
		kind   Kind
		seq    uint64
	}{
		{"none", func(r []Record) []Record { return r }, "", 0},
		{"body edited", func(r []Record) []Record { r[3].Body = []byte("x"); return r }, Edited, 4},
		{"time edited", func(r []Record) []Record { r[3].At = r[3].At.Add(1); return r }, Edited, 4},
		{"edited and hashed anew", func(r []Record) []Record {
			r[3].Body = []byte("x")
			r[3] = Link(r[3].Prev, r[3])
			return r
		}, Edited, 4},
		{"deleted", func(r []Record) []Record { return slices.Delete(r, 3, 4) }, Deleted, 4},
		{"first deleted", func(r []Record) []Record { return r[1:] }, Deleted, 1},
		{"swapped", func(r []Record) []Record { r[3], r[4] = r[4], r[3]; return r }, Reordered, 4},
		{"twice", func(r []Record) []Record { return slices.Insert(r, 3, r[2]) }, Inserted, 3},
		{"of another stream", func(r []Record) []Record { r[3].Stream = "case/other"; return r }, Inserted, 4},
		{"of another tenant", func(r []Record) []Record { r[3].Tenant = "other"; return r }, Inserted, 4},
		{"first one chained to something", func(r []Record) []Record {
			LinkAll([32]byte{1}, r)
			return r
		}, Edited, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := VerifyStream(test.damage(history(8, 1)))
			var f *Fault
			if errors.As(err, &f) != (test.kind != "") {
				t.Fatalf("got %v", err)
			}
			if f != nil && (f.Kind != test.kind || f.Seq != test.seq) {
				t.Errorf("got %s of record %d, want %s of %d: %v", f.Kind, f.Seq, test.kind, test.seq, err)
			}
		})
	}
	if err := VerifyStream(nil); err != nil {
		t.Errorf("an empty stream: %v", err)
	}
}

// The hash of a record is a promise to every ledger ever written.
func TestRecordHashIsFixed(t *testing.T) {
	r := Link([32]byte{}, Record{Tenant: "default", Stream: "case/1", Seq: 1, Type: "observed", Schema: 1, At: base, Body: []byte(`{"a":1}`)})
	const want = "9321871f9832f38ae558a675b014ec9b6fe0a281e49ff416d6b1d481f6c5457c"
	if got := r.Hash.String(); got != want {
		t.Errorf("got %s", got)
	}
	var h Hash
	text, _ := json.Marshal(r.Hash)
	if err := json.Unmarshal(text, &h); err != nil || h != r.Hash {
		t.Errorf("hash as JSON: %s, %v", text, err)
	}
	for _, bad := range []string{`"00"`, `"` + strings.Repeat("zz", 32) + `"`, `""`} {
		if json.Unmarshal([]byte(bad), &h) == nil {
			t.Errorf("read %s", bad)
		}
	}
}

// No byte can wander from one field into the next, and none is left out.
func TestEveryFieldIsHashed(t *testing.T) {
	r := Record{Tenant: "ab", Stream: "cd", Seq: 1, Type: "ef", Schema: 1, At: base, Body: []byte("gh")}
	seen := map[Hash]string{Link([32]byte{}, r).Hash: "none"}
	for name, edit := range map[string]func(*Record){
		"tenant": func(r *Record) { r.Tenant = "a" }, "wander": func(r *Record) { r.Tenant, r.Stream = "abc", "d" },
		"stream": func(r *Record) { r.Stream = "" }, "seq": func(r *Record) { r.Seq = 2 }, "type": func(r *Record) { r.Type = "efg" },
		"wander to body": func(r *Record) { r.Type, r.Body = "e", []byte("fgh") }, "schema": func(r *Record) { r.Schema = 2 },
		"at": func(r *Record) { r.At = base.Add(1) }, "body": func(r *Record) { r.Body = nil },
	} {
		c := r
		edit(&c)
		h := Link([32]byte{}, c).Hash
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s hash alike", name, other)
		}
		seen[h] = name
	}
	if h := Link([32]byte{9}, r).Hash; seen[h] != "" {
		t.Error("the previous hash is not hashed")
	}
}

// Another zone or a monotonic reading is the same instant and the same hash.
func TestLinkNormalizesTime(t *testing.T) {
	r := Record{At: base}
	s := Record{At: base.In(time.FixedZone("x", 3600))}
	if Link([32]byte{}, r).Hash != Link([32]byte{}, s).Hash {
		t.Error("the zone changes the hash")
	}
}

// Growing in any groups gives the same tree, and the auditor, which keeps only
// the edge, the same root.
func TestGrowAgreesWithAuditor(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		records := history(rapid.IntRange(0, 70).Draw(r, "records"), 5)
		m, cs := plant(t, records, rapid.IntRange(1, 9).Draw(r, "group"))
		if int64(len(m)) != StoredCount(int64(len(records))) {
			r.Fatalf("%d stored hashes, want %d", len(m), StoredCount(int64(len(records))))
		}
		if err := audit(t, records, cs...); err != nil {
			r.Fatal(err)
		}
		a, _ := NewAuditor()
		for i, rec := range records {
			if err := a.Add(int64(i), rec); err != nil {
				r.Fatal(err)
			}
		}
		root, err := Root(int64(len(records)), m)
		if err != nil || root != a.Root() {
			r.Fatalf("root %s, auditor %s, %v", root, a.Root(), err)
		}
	})
	if a, _ := NewAuditor(); a.Root() != sha256.Sum256(nil) {
		t.Error("root of the empty tree")
	}
}

// mutations are ways to falsify a history; each must change it.
var mutations = []struct {
	name string
	do   func(t *rapid.T, r []Record, i int) []Record
}{
	{"edit body", func(t *rapid.T, r []Record, i int) []Record {
		r[i].Body = append(slices.Clone(r[i].Body), ' ')
		return r
	}},
	{"edit type", func(t *rapid.T, r []Record, i int) []Record { r[i].Type += "x"; return r }},
	{"edit time", func(t *rapid.T, r []Record, i int) []Record { r[i].At = r[i].At.Add(-1); return r }},
	{"edit tenant", func(t *rapid.T, r []Record, i int) []Record { r[i].Tenant = "other"; return r }},
	{"edit hash", func(t *rapid.T, r []Record, i int) []Record { r[i].Hash[0] ^= 1; return r }},
	{"edit and hash anew", func(t *rapid.T, r []Record, i int) []Record {
		r[i].Schema++
		r[i] = Link(r[i].Prev, r[i])
		return r
	}},
	{"edit and chain everything anew", func(t *rapid.T, r []Record, i int) []Record {
		r[i].Body = []byte("forged")
		return rechain(r)
	}},
	{"delete", func(t *rapid.T, r []Record, i int) []Record { return slices.Delete(r, i, i+1) }},
	{"delete and chain everything anew", func(t *rapid.T, r []Record, i int) []Record {
		return rechain(slices.Delete(r, i, i+1))
	}},
	{"swap", func(t *rapid.T, r []Record, i int) []Record {
		j := rapid.IntRange(0, len(r)-2).Draw(t, "other")
		if j >= i {
			j++
		}
		r[i], r[j] = r[j], r[i]
		return r
	}},
	{"repeat", func(t *rapid.T, r []Record, i int) []Record { return slices.Insert(r, i, r[i]) }},
	{"insert a forged record", func(t *rapid.T, r []Record, i int) []Record {
		f := r[i]
		f.Body = []byte("forged")
		return rechain(slices.Insert(r, i, f))
	}},
	{"truncate", func(t *rapid.T, r []Record, i int) []Record { return r[:i] }},
	{"move to another stream", func(t *rapid.T, r []Record, i int) []Record {
		r[i].Stream += "x"
		return rechain(r)
	}},
}

// rechain numbers and links all records anew, as a thorough forger would.
func rechain(records []Record) []Record {
	last := make(map[string]Record)
	for i, r := range records {
		r.Seq = last[r.Stream].Seq + 1
		records[i] = Link(last[r.Stream].Hash, r)
		last[r.Stream] = records[i]
	}
	return records
}

// Any single falsification of any history is found, given the newest checkpoint.
func TestAnyMutationIsDetected(t *testing.T) {
	hit := make(map[string]int)
	rapid.Check(t, func(r *rapid.T) {
		records := history(rapid.IntRange(2, 40).Draw(r, "records"), rapid.IntRange(1, 5).Draw(r, "streams"))
		_, cs := plant(t, records, 7)
		newest := cs[len(cs)-1]
		m := rapid.SampledFrom(mutations).Draw(r, "mutation")
		bad := m.do(r, slices.Clone(records), rapid.IntRange(0, len(records)-1).Draw(r, "place"))
		if err := audit(t, records, newest); err != nil {
			r.Fatalf("the true history: %v", err)
		}
		err := audit(t, bad, newest)
		if kindOf(err) == "" {
			r.Fatalf("%s was not detected: %v", m.name, err)
		}
		hit[m.name]++
		// Without a checkpoint the chains alone find all but thorough forgeries.
		if !strings.Contains(m.name, "anew") && !strings.Contains(m.name, "forged") && !strings.HasPrefix(m.name, "move") &&
			m.name != "truncate" && m.name != "swap" && m.name != "delete" && audit(t, bad) == nil {
			r.Fatalf("%s was not detected by the chains", m.name)
		}
	})
	if len(hit) < len(mutations)/2 {
		t.Errorf("only %d of %d mutations were tried", len(hit), len(mutations))
	}
}

func TestAuditorKinds(t *testing.T) {
	records := history(20, 3)
	_, cs := plant(t, records, 5)
	newest := cs[len(cs)-1]
	if err := audit(t, records[:12], newest); kindOf(err) != Truncated || !strings.Contains(err.Error(), "20 records were signed") {
		t.Errorf("cut tail: %v", err)
	}
	forged := slices.Clone(records)
	forged[4].Body = []byte("forged")
	if err := audit(t, rechain(forged), cs...); kindOf(err) != Forked || !strings.Contains(err.Error(), "first 5 records") {
		t.Errorf("rewritten history: %v", err)
	}
	// The checkpoint of an empty tree holds too.
	if err := audit(t, nil, Checkpoint{Origin: "x", Root: Hash{1}}); kindOf(err) != Forked {
		t.Errorf("wrong root of nothing: %v", err)
	}
	if _, err := NewAuditor(cs[0], Checkpoint{Origin: "other"}); err == nil {
		t.Error("checkpoints of two trees were mixed")
	}
	// After a restore the tree goes on in a new epoch that names the old one.
	next := Checkpoint{Origin: "after the restore", Size: newest.Size, Root: newest.Root, At: newest.At.Add(time.Hour), Follows: cs[0].Digest()}
	if err := audit(t, records, append(slices.Clone(cs), next)...); err != nil {
		t.Errorf("two epochs of one install: %v", err)
	}
	next.Root[0] ^= 1
	if err := audit(t, records, append(slices.Clone(cs), next)...); kindOf(err) != Forked {
		t.Errorf("the second epoch signed something else: %v", err)
	}
}

func TestAuditorOrder(t *testing.T) {
	records := history(6, 2)
	a, _ := NewAuditor()
	for i, r := range records[:4] {
		if err := a.Add(int64(i), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.AddUnsequenced(records[4]); err != nil {
		t.Fatal(err)
	}
	if err := a.Finish(); err != nil || a.Size() != 4 || a.Streams() != 2 {
		t.Fatalf("%v, size %d, streams %d", err, a.Size(), a.Streams())
	}
	if err := a.Add(4, records[5]); kindOf(err) != Reordered {
		t.Errorf("sequenced after unsequenced: %v", err)
	}
	for index, want := range map[int64]Kind{5: Deleted, 3: Inserted} {
		b, _ := NewAuditor()
		for i, r := range records[:4] {
			_ = b.Add(int64(i), r)
		}
		if err := b.Add(index, records[4]); kindOf(err) != want {
			t.Errorf("index %d: %v", index, err)
		}
		if first, again := b.Finish(), b.Add(4, records[4]); first == nil || first != again {
			t.Error("the first fault is not kept")
		}
	}
}

// TestAuditorContinues: an audit in two parts says what one in one part does,
// whatever was signed and known at the cut.
func TestAuditorContinues(t *testing.T) {
	records := history(12, 3)
	_, cs := plant(t, records, 4)
	bad := slices.Clone(cs)
	bad[0].Root[0] ^= 1
	for cut := range records {
		for known := range len(cs) + 1 {
			for _, final := range [][]Checkpoint{cs, bad} {
				a, err := NewAuditor(cs[:known]...)
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range records[:cut] {
					if err := a.Add(int64(i), r); err != nil {
						t.Fatal(err)
					}
				}
				b, err := a.Continue(final...)
				if err != nil {
					t.Fatal(err)
				}
				if passed := cut / 4; (b.Size() == 0) != (cut == 0 || passed > known || passed > 0 && final[0] != cs[0]) {
					t.Errorf("cut %d, %d checkpoints known: it goes on at %d", cut, known, b.Size())
				}
				for i := b.Size(); i < int64(len(records)) && err == nil; i++ {
					err = b.Add(i, records[i])
				}
				if err == nil {
					err = b.Finish()
				}
				if want := audit(t, records, final...); kindOf(err) != kindOf(want) {
					t.Errorf("cut %d, %d checkpoints known: %v, in one part %v", cut, known, err, want)
				}
				if seq, hash := b.End(records[11].Tenant, records[11].Stream); err == nil && (seq != records[11].Seq || hash != records[11].Hash) {
					t.Errorf("cut %d: the last stream ends at %d", cut, seq)
				}
			}
		}
	}
}

func TestProofs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 50).Draw(r, "records")
		records := history(n, 3)
		m, cs := plant(t, records, 1)
		newest := cs[n-1]
		i, old := rapid.Int64Range(0, int64(n-1)).Draw(r, "index"), rapid.IntRange(1, n).Draw(r, "older")
		in, err := ProveInclusion(newest.Size, i, m)
		if err != nil {
			r.Fatal(err)
		}
		if err := VerifyInclusion(newest, i, records[i].Hash, in); err != nil {
			r.Fatal(err)
		}
		other := records[i].Hash
		other[5] ^= 1
		if kindOf(VerifyInclusion(newest, i, other, in)) != Forked {
			r.Fatal("a proof holds for another record")
		}
		p, err := ProveConsistency(int64(old), int64(n), m)
		if err != nil {
			r.Fatal(err)
		}
		if err := VerifyConsistency(cs[old-1], newest, p); err != nil {
			r.Fatal(err)
		}
		fork := cs[old-1]
		fork.Root[0] ^= 1
		if kindOf(VerifyConsistency(fork, newest, p)) != Forked {
			r.Fatal("a proof holds for a fork")
		}
		if len(p) > 0 {
			p[rapid.IntRange(0, len(p)-1).Draw(r, "flip")][0] ^= 1
			if VerifyConsistency(cs[old-1], newest, p) == nil {
				r.Fatal("a falsified proof holds")
			}
		}
	})
}

func TestVerifyConsistencyEdges(t *testing.T) {
	records := history(5, 2)
	m, cs := plant(t, records, 1)
	if kindOf(VerifyConsistency(cs[4], cs[2], nil)) != Truncated {
		t.Error("a shorter tree is consistent with a longer one")
	}
	other := cs[4]
	other.Origin = "casement/test/2"
	if VerifyConsistency(cs[2], other, nil) == nil {
		t.Error("two epochs were compared")
	}
	p, err := ProveConsistency(0, 5, m)
	if err != nil || VerifyConsistency(Checkpoint{Origin: cs[4].Origin}, cs[4], p) != nil {
		t.Errorf("the empty tree: %v", err)
	}
	if _, err := ProveConsistency(6, 5, m); err == nil {
		t.Error("a proof backwards")
	}
	if _, err := ProveInclusion(5, 5, m); err == nil {
		t.Error("a proof of a record outside")
	}
	broken := ReaderFunc(func([]int64) ([]Hash, error) { return nil, errors.New("disk on fire") })
	if _, _, err := Grow(5, []Hash{{1}}, broken); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("Grow hides the store's error: %v", err)
	}
	short := ReaderFunc(func([]int64) ([]Hash, error) { return nil, nil })
	if _, _, err := Grow(5, []Hash{{1}}, short); err == nil {
		t.Error("Grow took no hashes for some")
	}
	if _, err := Root(5, short); err == nil {
		t.Error("Root took no hashes for some")
	}
	if _, _, err := Grow(-1, nil, m); err == nil {
		t.Error("a tree of negative size")
	}
}

// keys makes a signer and its verifier from a fixed seed.
func keys(t testing.TB, name string, seed byte) (note.Signer, note.Verifier) {
	t.Helper()
	s, v, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(v)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func TestSignAndOpen(t *testing.T) {
	signer, verifier := keys(t, "casement.test", 1)
	_, stranger := keys(t, "casement.test", 2)
	first := Checkpoint{Origin: "casement/test/1", Size: 12, Root: Hash{1, 2, 3}, At: base}
	c := Checkpoint{Origin: "casement/test/2", Size: 3, Root: Hash{4}, At: base, Follows: first.Digest()}
	msg, err := Sign(c, signer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(msg, note.VerifierList(verifier))
	if err != nil || got != c {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := Open(msg, note.VerifierList(stranger)); err == nil {
		t.Error("a stranger's key opened it")
	}
	if _, err := Open(bytes.Replace(msg, []byte("\n3\n"), []byte("\n2\n"), 1), note.VerifierList(verifier)); err == nil {
		t.Error("a changed size kept its signature")
	}
	if _, err := Sign(Checkpoint{Origin: "two\nlines", At: base}, signer); err == nil {
		t.Error("an origin of two lines was signed")
	}
	if _, err := Sign(c); err == nil {
		t.Error("signed by nobody")
	}
}

func TestParseCheckpointRefuses(t *testing.T) {
	good := Checkpoint{Origin: "o", Size: 1, Root: Hash{1}, At: base}.Text()
	for name, text := range map[string]string{
		"empty": "", "no end": strings.TrimSuffix(good, "\n"), "leading zero": strings.Replace(good, "\n1\n", "\n01\n", 1),
		"plus": strings.Replace(good, "\n1\n", "\n+1\n", 1), "negative": strings.Replace(good, "\n1\n", "\n-1\n", 1),
		"no origin": good[1:], "more": good + "x\n", "zone": strings.Replace(good, "12:00:00Z", "13:00:00+01:00", 1),
		"short root": strings.Replace(good, "AQAA", "", 1), "no time": strings.Replace(good, "time ", "", 1), "follows nothing": good + "follows \n",
	} {
		if c, err := ParseCheckpoint(text); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	c := Checkpoint{Origin: "o", Size: 1, Root: Hash{1}, At: base}
	f.Add(c.Text())
	c.Follows = c.Digest()
	f.Add(c.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCheckpoint(text); err == nil && c.Text() != text {
			t.Fatalf("%q was read, but is written %q", text, c.Text())
		}
	})
}
