package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// TestPart: whatever order records are settled in, the group is told to go on
// behind all that is settled and before all that is not; records of a partition
// that failed often are handed on one at a time, each after the last was saved.
func TestPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(0, 50).Draw(t, "first")
		was := mark{known: rapid.Bool().Draw(t, "known"), at: kgo.EpochOffset{Offset: first}, tries: rapid.IntRange(0, 6).Draw(t, "tries")}
		if !was.known {
			was.tries = 0
		}
		p := newPart(tp{"t", 1}, was, kgo.EpochOffset{Offset: first})
		careful := was.tries+1 > carefulAfter
		settled, unsettled := map[int64]bool{}, []*message{}
		next, fetched := first, []int64{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"fetch", "settle", "save"}).Draw(t, "step") {
			case "fetch":
				next += rapid.Int64Range(0, 2).Draw(t, "gap") // control records
				p.add(&kgo.Record{Offset: next})
				fetched = append(fetched, next)
				next++
			case "settle":
				if len(unsettled) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(unsettled)-1).Draw(t, "which")
				settled[unsettled[i].offset] = true
				p.settle(unsettled[i])
				unsettled = slices.Delete(unsettled, i, i+1)
			case "save":
				p.saved = p.next
			}
			unsettled = append(unsettled, p.ready()...)
			if careful && len(unsettled) > 1 {
				t.Fatalf("%d at a time", len(unsettled))
			}
			if careful && p.next.Offset > p.saved.Offset && len(unsettled) > 0 {
				t.Fatal("handed on before the last was saved")
			}
			for _, o := range fetched {
				if (o < p.next.Offset) != settled[o] && o < p.next.Offset {
					t.Fatalf("goes on at %d, but %d is not settled", p.next.Offset, o)
				}
			}
			rest := slices.IndexFunc(fetched, func(o int64) bool { return !settled[o] })
			if rest > 0 && p.next.Offset != fetched[rest-1]+1 {
				t.Fatalf("goes on at %d, but all up to %d are settled", p.next.Offset, fetched[rest-1])
			}
		}
	})
}

// FuzzMark: what is noted beside an offset may be anybody's; what we wrote is
// read back.
func FuzzMark(f *testing.F) {
	f.Add("casement tries=2 seen=40")
	f.Add("consumer-1-0b2c")
	f.Add("casement tries=-1 seen=99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		m := readMark(&text)
		if m.tries < 0 || m.seen < 0 {
			t.Fatalf("%+v", m)
		}
		again := m.String()
		if got := readMark(&again); got != m {
			t.Fatalf("%+v became %+v", m, got)
		}
	})
}
