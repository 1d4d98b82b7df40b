package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/casement/casement/internal/intake/stream"
	"github.com/casement/casement/internal/intake/streamtest"
	"github.com/casement/casement/internal/kafkatest"
)

const group = "casement-scanner"

func config(t testing.TB, c *kafkatest.Cluster) Config {
	return Config{Config: streamtest.Config(t, "kafka", c.Servers("kafka")...), Topics: []string{kafkatest.Topic}}
}

// committed waits until the group has committed n records, and all there are.
func committed(t testing.TB, c *kafkatest.Cluster, n int) {
	t.Helper()
	streamtest.Until(t, fmt.Sprint(n, " records committed"), func() bool {
		done, _ := c.Committed(group)
		return done == n
	})
}

// TestOrder: everything is taken once and committed, each key in its order, over
// several partitions.
func TestOrder(t *testing.T) {
	c := kafkatest.Start(t, 5, nil)
	const n = 600
	for i := range n {
		c.Send(fmt.Sprintf("k%d k%d/%06d", i%14, i%14, i))
	}
	d := streamtest.NewDesk()
	r := streamtest.Read(t, config(t, c), d)
	for _, s := range streamtest.Await(t, r.Settled, n, "settled") {
		if s.Outcome != stream.Stored || s.Again || s.Stream != "main" || s.Age < 0 {
			t.Fatalf("%+v", s)
		}
	}
	r.Stop()
	last := map[string]string{}
	for _, body := range d.Taken() {
		key, seq, _ := strings.Cut(body, "/")
		if seq <= last[key] {
			t.Fatalf("%s: %s after %s", key, seq, last[key])
		}
		last[key] = seq
	}
	if len(d.Taken()) != n || len(last) != 14 {
		t.Errorf("taken %d of %d keys", len(d.Taken()), len(last))
	}
	committed(t, c, n)
}

// TestHeld: while nothing can be stored, no more is fetched than the hand holds,
// nothing is committed, and everything is taken in order afterwards, once.
func TestHeld(t *testing.T) {
	c := kafkatest.Start(t, 2, nil)
	const n = 50
	for i := range n {
		c.Send(fmt.Sprintf("k%d %06d", i%2, i))
	}
	d := streamtest.NewDesk()
	d.Set(streamtest.Down)
	x := config(t, c)
	x.InHand = 20
	r := streamtest.Read(t, x, d)
	streamtest.Await(t, d.Tries, 20, "tries")
	if st := r.State(); st.Consumers[0].HeldSince.IsZero() || st.Consumers[0].HeldWhy != "the store is down" || st.Consumers[0].InHand > x.InHand || st.Server == "" {
		t.Errorf("state %+v", st)
	}
	if done, _ := c.Committed(group); done != 0 {
		t.Errorf("%d are committed", done)
	}
	d.Set(streamtest.OK)
	for _, s := range streamtest.Await(t, r.Settled, n, "settled") {
		if s.Outcome != stream.Stored || s.Again {
			t.Fatalf("%+v", s)
		}
	}
	committed(t, c, n)
	r.Look(t.Context())
	if s := r.State().Consumers[0]; !s.HeldSince.IsZero() || s.InHand != 0 || s.Waiting != 0 || s.Looked.IsZero() || s.Unanswered != 0 {
		t.Errorf("afterwards: %+v", s)
	}
	var even []string
	for _, body := range d.Taken() {
		if !strings.ContainsAny(body[5:], "13579") {
			even = append(even, body)
		}
	}
	if !slices.IsSorted(even) || len(d.Taken()) != n {
		t.Errorf("order %v", d.Taken())
	}
}

// TestUnreadable: what can't be read is passed over once it is in quarantine. A
// full quarantine holds up no record behind it, but the offset; at a stop it
// comes again.
func TestUnreadable(t *testing.T) {
	c := kafkatest.Start(t, 1, nil)
	d := streamtest.NewDesk()
	d.Set(streamtest.Odd(true))
	r := streamtest.Read(t, config(t, c), d)
	c.Send("a one", "b odd", "c two", "d three")
	got := map[stream.Outcome]int{}
	for _, s := range streamtest.Await(t, r.Settled, 4, "settled") {
		got[s.Outcome]++
	}
	if got[stream.Stored] != 3 || got[stream.Later] != 1 {
		t.Errorf("%v", got)
	}
	committed(t, c, 1)
	r.Stop()
	committed(t, c, 1)
	d.Set(streamtest.Odd(false))
	r = streamtest.Read(t, config(t, c), d)
	committed(t, c, 4)
	clear(got)
	for _, s := range streamtest.Await(t, r.Settled, 3, "settled again") {
		if got[s.Outcome]++; !s.Again {
			t.Errorf("%+v", s)
		}
	}
	if got[stream.Stored] != 2 || got[stream.Quarantined] != 1 {
		t.Errorf("%v", got)
	}
}

// TestNotRead: what is too large, or ended the process too often, is kept for a
// person without being read; what came with it is taken.
func TestNotRead(t *testing.T) {
	c := kafkatest.Start(t, 1, nil)
	c.Send("a poison", "b fine", "c "+strings.Repeat("x", streamtest.MaxBody+1))
	note := kadm.Offsets{}
	note.Add(kadm.Offset{Topic: kafkatest.Topic, LeaderEpoch: -1, Metadata: mark{tries: stream.MostDeliveries, seen: 3}.String()})
	if err := c.Admin.CommitAllOffsets(t.Context(), group, note); err != nil {
		t.Fatal(err)
	}
	d := streamtest.NewDesk()
	streamtest.Read(t, config(t, c), d)
	committed(t, c, 3)
	refused := d.Refused()
	if got := d.Taken(); !slices.Equal(got, []string{"fine"}) || len(refused) != 2 || !strings.Contains(refused[0], "it was delivered 21 times") || !strings.Contains(refused[1], "1001 bytes") {
		t.Errorf("taken %v, refused %q", got, refused)
	}
}

// TestRebalance: a second node joins while the first has records in hand that
// can't be stored, and takes partitions over; then one of them leaves. Everything
// is committed, by whoever stored it.
func TestRebalance(t *testing.T) {
	c := kafkatest.Start(t, 6, nil)
	one, two := streamtest.NewDesk(), streamtest.NewDesk()
	one.Set(streamtest.Down)
	x := config(t, c)
	x.Session = 2 * time.Second
	a := streamtest.Read(t, x, one)
	const n = 120
	for i := range n {
		c.Send(fmt.Sprintf("k%d %d", i, i))
	}
	streamtest.Await(t, one.Tries, 6, "the first holds")
	b := streamtest.Read(t, x, two)
	streamtest.Await(t, b.Settled, 1, "the second has partitions")
	one.Set(streamtest.OK)
	committed(t, c, n)
	a.Stop()
	for i := range n {
		c.Send(fmt.Sprintf("k%d again %d", i, i))
	}
	committed(t, c, 2*n)
	stored := map[string]bool{}
	for _, body := range append(one.Taken(), two.Taken()...) {
		stored[body] = true
	}
	if len(stored) != 2*n || len(one.Taken()) == 0 || len(two.Taken()) <= n {
		t.Errorf("%d stored, %d by the first, %d by the second", len(stored), len(one.Taken()), len(two.Taken()))
	}
}

// TestRetention: records that nobody read before they were deleted are told.
func TestRetention(t *testing.T) {
	c := kafkatest.Start(t, 1, nil)
	c.Send("a", "b", "c", "d")
	r := streamtest.Read(t, config(t, c), streamtest.NewDesk())
	committed(t, c, 4)
	r.Stop()
	c.Send("e", "f", "g")
	gone := kadm.Offsets{}
	gone.Add(kadm.Offset{Topic: kafkatest.Topic, At: 6, LeaderEpoch: -1})
	if _, err := c.Admin.DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	r = streamtest.Read(t, config(t, c), streamtest.NewDesk())
	committed(t, c, 7)
	if got := r.State().Consumers[0].Missed; got != 2 || !strings.Contains(r.Log.String(), "records=2") {
		t.Errorf("%d missed\n%s", got, r.Log)
	}
}
