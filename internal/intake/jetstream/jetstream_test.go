package jetstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/intake/stream"
	"github.com/casement/casement/internal/intake/streamtest"
	"github.com/casement/casement/internal/natstest"
)

func config(t testing.TB, url string, consumers ...string) Config {
	return Config{Config: streamtest.Config(t, "nats", url), Stream: "ALERTS", Consumers: consumers}
}

func publish(t testing.TB, j js.JetStream, subject, body string) {
	t.Helper()
	if _, err := j.Publish(t.Context(), subject, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// insist publishes until the server says that it has it: one that has just
// started may lose the first request.
func insist(t testing.TB, j js.JetStream, subject, body string) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := j.Publish(ctx, subject, []byte(body))
		cancel()
		if err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func info(t testing.TB, j js.JetStream, name string) *js.ConsumerInfo {
	t.Helper()
	c, err := j.Consumer(t.Context(), "ALERTS", name)
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

// answered is info after the server has worked on all answers it got: it does so
// after it took them, and tells nobody.
func answered(t testing.TB, j js.JetStream, name string) *js.ConsumerInfo {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		if i := info(t, j, name); i.NumAckPending == 0 || time.Now().After(end) {
			return i
		}
	}
}

func partition(n int) string { return fmt.Sprintf("casement.default.scanner.%d", n) }

// answers shows what is told to the server about messages: "+ACK", "-NAK", "+WPI"
// and "+TERM", each as the server gets it.
func answers(t testing.TB, j js.JetStream) <-chan string {
	t.Helper()
	ch := make(chan string, 100000)
	sub, err := j.Conn().Subscribe("$JS.ACK.>", func(m *nats.Msg) { ch <- string(m.Data) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := j.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	return ch
}

// TestOrder: everything is taken once and acknowledged, each partition in its
// order, over two consumers.
func TestOrder(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) { c.FilterSubject = "casement.default.scanner." + c.Durable + ".*" }, "a", "b")
	const n = 600
	for i := range n {
		publish(t, j, fmt.Sprintf("casement.default.scanner.%c.%d", 'a'+i%2, i%7), fmt.Sprintf("%d %06d", i%14, i))
	}
	d := streamtest.NewDesk()
	r := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "a", "b"), d)
	for _, s := range streamtest.Await(t, r.Settled, n, "settled") {
		if s.Outcome != stream.Stored || s.Again || s.Stream != "main" || s.Age < 0 {
			t.Fatalf("%+v", s)
		}
	}
	r.Stop()
	last := map[string]string{}
	for _, body := range d.Taken() {
		part, seq, _ := strings.Cut(body, " ")
		if seq <= last[part] {
			t.Fatalf("partition %s: %s after %s", part, seq, last[part])
		}
		last[part] = seq
	}
	if len(d.Taken()) != n || len(last) != 14 {
		t.Errorf("taken %d of %d partitions", len(d.Taken()), len(last))
	}
	for _, name := range []string{"a", "b"} {
		if i := answered(t, j, name); i.NumAckPending != 0 || i.NumPending != 0 || i.AckFloor.Consumer != n/2 {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

// TestHeld: while nothing can be stored, no more is fetched than the hand holds,
// the server is told that it is worked on, and everything is taken in order
// afterwards, delivered once.
func TestHeld(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) { c.AckWait = time.Second }, "all")
	const n = 50
	for i := range n {
		publish(t, j, partition(i%2), fmt.Sprintf("%06d", i))
	}
	told := answers(t, j)
	d := streamtest.NewDesk()
	d.Set(streamtest.Down)
	c := config(t, j.Conn().ConnectedUrl(), "all")
	c.InHand = 20
	r := streamtest.Read(t, c, d)
	working := 0
	for working < 3*c.InHand { // for three times the wait
		switch got := streamtest.Await(t, told, 1, "told")[0]; got {
		case "+WPI":
			working++
		default:
			t.Fatalf("told %q", got)
		}
	}
	st := r.State()
	if i := info(t, j, "all"); i.NumAckPending != c.InHand || i.NumRedelivered != 0 || i.NumPending != n-uint64(c.InHand) {
		t.Errorf("while held: %+v", i)
	}
	if x := st.Consumers[0]; x.HeldSince.IsZero() || x.HeldWhy != "the store is down" || x.InHand != c.InHand || st.Server == "" {
		t.Errorf("state %+v", st)
	}
	d.Set(streamtest.OK)
	for _, s := range streamtest.Await(t, r.Settled, n, "settled") {
		if s.Outcome != stream.Stored || s.Again {
			t.Fatalf("%+v", s)
		}
	}
	r.Look(t.Context())
	if x := r.State().Consumers[0]; !x.HeldSince.IsZero() || x.HeldWhy != "" || x.InHand != 0 || x.Waiting != 0 || x.Looked.IsZero() {
		t.Errorf("afterwards: %+v", x)
	}
	r.Stop()
	even := slices.DeleteFunc(slices.Clone(d.Taken()), func(s string) bool { return strings.ContainsAny(s[5:], "13579") })
	if !slices.IsSorted(even) || len(d.Taken()) != n {
		t.Errorf("order %v", d.Taken())
	}
}

// TestUnreadable: what can't be read is terminated once it is in quarantine. A
// full quarantine holds up nothing else, and the message comes again.
func TestUnreadable(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, nil, "all")
	told := answers(t, j)
	d := streamtest.NewDesk()
	d.Set(streamtest.Odd(true))
	r := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "all"), d)
	for i, body := range []string{"odd", "one", "odd", "two"} {
		publish(t, j, partition(1), body)
		if got := streamtest.Await(t, r.Settled, 1, "settled")[0].Outcome; got != map[string]stream.Outcome{"odd": stream.Later}[body] && got != stream.Stored {
			t.Fatalf("%d: %s", i, got)
		}
	}
	d.Set(streamtest.Odd(false))
	for _, s := range streamtest.Await(t, r.Settled, 2, "delivered again") {
		if s.Outcome != stream.Quarantined || !s.Again {
			t.Errorf("%+v", s)
		}
	}
	r.Stop()
	if i := answered(t, j, "all"); i.NumAckPending != 0 || i.NumPending != 0 {
		t.Errorf("%+v", i)
	}
	var words []string
	for _, w := range streamtest.Await(t, told, 6, "told") {
		words = append(words, strings.Fields(w)[0])
	}
	slices.Sort(words)
	if strings.Join(words, " ") != "+ACK +ACK +TERM +TERM -NAK -NAK" {
		t.Errorf("told %v", words)
	}
}

// TestNotRead: what is too large, of another source's subject, or ended the
// process too often is kept for a person without being read.
func TestNotRead(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, nil, "all")
	publish(t, j, partition(1), strings.Repeat("x", 1001))
	publish(t, j, partition(2), "poison")
	c, err := j.Consumer(t.Context(), "ALERTS", "all")
	if err != nil {
		t.Fatal(err)
	}
	for range stream.MostDeliveries { // as processes that died with it
		b, err := c.Fetch(2)
		if err != nil {
			t.Fatal(err)
		}
		for m := range b.Messages() {
			if err := m.Nak(); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := streamtest.NewDesk()
	r := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "all"), d)
	for _, s := range streamtest.Await(t, r.Settled, 2, "settled") {
		if s.Outcome != stream.Quarantined || !s.Again {
			t.Errorf("%+v", s)
		}
	}
	r.Stop()
	refused := d.Refused()
	slices.Sort(refused)
	if len(d.Taken()) != 0 || len(refused) != 2 || !strings.Contains(refused[0], "it was delivered 21 times") || !strings.Contains(refused[1], "1001 bytes") {
		t.Errorf("taken %v, refused %q", d.Taken(), refused)
	}
}

// TestDrain: after the stop nothing more is fetched, what is in hand is finished
// and acknowledged, the rest stays in the stream.
func TestDrain(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, nil, "all")
	const n = 40
	for i := range n {
		publish(t, j, partition(i), fmt.Sprint(i))
	}
	d := streamtest.NewDesk()
	hold := make(chan struct{})
	begun := make(chan string, n)
	d.Set(func(body string) intake.Answer {
		begun <- body
		<-hold
		return intake.Answer{Stored: true, Status: http.StatusAccepted}
	})
	c := config(t, j.Conn().ConnectedUrl(), "all")
	c.InHand = 8
	r := streamtest.Read(t, c, d)
	streamtest.Await(t, begun, 1, "begun")
	stopped := make(chan struct{})
	go func() {
		r.Stop()
		close(stopped)
	}()
	<-r.Consumers()[0].(*Consumer).Stop()
	close(hold)
	<-stopped
	if i := answered(t, j, "all"); i.NumAckPending != 0 || i.NumPending != n-8 || i.AckFloor.Stream != 8 || len(d.Taken()) != 8 {
		t.Errorf("taken %d: %+v", len(d.Taken()), i)
	}
}

// TestReturned: what can't be stored goes back at the stop, and another node
// takes it at once.
func TestReturned(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) { c.AckWait = time.Hour }, "all")
	publish(t, j, partition(1), "one")
	d := streamtest.NewDesk()
	d.Set(streamtest.Down)
	r := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "all"), d)
	streamtest.Await(t, d.Tries, 2, "tries")
	r.Stop()
	if got := streamtest.Await(t, r.Settled, 1, "settled")[0].Outcome; got != stream.Returned {
		t.Errorf("outcome %s", got)
	}
	other := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "all"), streamtest.NewDesk())
	if s := streamtest.Await(t, other.Settled, 1, "settled by the other")[0]; s.Outcome != stream.Stored || !s.Again {
		t.Errorf("%+v", s)
	}
}

// TestPinned: of two nodes on a pinned consumer one reads; when it stops the
// other goes on.
func TestPinned(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) {
		c.PriorityPolicy, c.PriorityGroups, c.PinnedTTL = js.PriorityPolicyPinned, []string{"casement"}, 3*time.Second
	}, "all")
	one, two := streamtest.NewDesk(), streamtest.NewDesk()
	a := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "all"), one)
	publish(t, j, partition(1), "first")
	streamtest.Await(t, a.Settled, 1, "the first reads")
	b := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "all"), two)
	for i := range 50 {
		publish(t, j, partition(i), fmt.Sprint(i))
	}
	streamtest.Await(t, a.Settled, 50, "the first goes on")
	a.Stop()
	publish(t, j, partition(1), "last")
	streamtest.Await(t, b.Settled, 1, "the second takes over")
	if len(one.Taken()) != 51 || !slices.Equal(two.Taken(), []string{"last"}) {
		t.Errorf("%d by the first, %v by the second", len(one.Taken()), two.Taken())
	}
}

// TestConsumerIsChecked: a consumer that could lose messages or bring in those
// of another source is not read, and all that is wrong is said.
func TestConsumerIsChecked(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	if _, err := j.CreateStream(t.Context(), js.StreamConfig{Name: "ALERTS", Subjects: []string{"casement.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.CreateConsumer(t.Context(), "ALERTS", js.ConsumerConfig{Durable: "bad", AckPolicy: js.AckNonePolicy, MaxDeliver: 5, FilterSubject: "casement.default.>"}); err != nil {
		t.Fatal(err)
	}
	r := streamtest.Read(t, config(t, j.Conn().ConnectedUrl(), "bad", "missing"), streamtest.NewDesk())
	var st stream.State
	streamtest.Until(t, "faults", func() bool {
		st = r.State()
		return st.Consumers[0].Fault != "" && st.Consumers[1].Fault != ""
	})
	for _, want := range []string{"ack policy is AckNone", "after 5 deliveries", "casement.default.> is wider than the subject casement.default.scanner.>"} {
		if !strings.Contains(st.Consumers[0].Fault, want) {
			t.Errorf("no %q in %q", want, st.Consumers[0].Fault)
		}
	}
	if got := st.Consumers[1].Fault; !strings.Contains(got, "no such consumer") {
		t.Errorf("missing: %q", got)
	}
}

// TestServerComesAndGoes: a server that is not there yet is no error, one that
// ends is called again, and nothing is lost.
func TestServerComesAndGoes(t *testing.T) {
	s := natstest.Prepare(t, "")
	d := streamtest.NewDesk()
	r := streamtest.Read(t, config(t, s.URL, "all"), d)
	if st := r.State(); st.Server != "" || st.Fault == "" {
		t.Errorf("without a server: %+v", st)
	}
	s.Run(t)
	j := natstest.Connect(t, s.URL)
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) { c.AckWait = time.Second }, "all")
	seen := map[string]bool{}
	for i := range 30 {
		insist(t, j, partition(i), fmt.Sprint(i))
		if i%10 == 5 {
			s.Stop()
			s.Run(t)
			for !j.Conn().IsConnected() {
				<-time.After(10 * time.Millisecond) // another client connects
			}
		}
	}
	for len(seen) < 30 {
		seen[streamtest.Await(t, d.Tries, 1, "taken")[0]] = true
	}
	for r.State().Fault != "" {
		<-time.After(10 * time.Millisecond)
		r.Look(t.Context())
	}
}

// TestCovers: a pattern covers another exactly if no subject of few words tells
// them apart.
func TestCovers(t *testing.T) {
	var subjects []string
	for _, a := range []string{"a", "b"} {
		subjects = append(subjects, a)
		for _, b := range []string{".a", ".b"} {
			subjects = append(subjects, a+b, a+b+".a", a+b+".b", a+b+".a.a")
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.Custom(func(t *rapid.T) string {
			words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 1, 3).Draw(t, "words")
			if rapid.Bool().Draw(t, "tail") {
				words[len(words)-1] = ">"
			}
			return strings.Join(words, ".")
		})
		outer, inner := pattern.Draw(t, "outer"), pattern.Draw(t, "inner")
		if !covers(outer, inner) {
			return
		}
		for _, s := range subjects {
			if covers(inner, s) && !covers(outer, s) {
				t.Fatalf("%s covers %s, but not %s", outer, inner, s)
			}
		}
	})
	for pair, want := range map[[2]string]bool{
		{"a.>", "a"}: false, {"a.>", "a.b"}: true, {"a.>", "a.b.>"}: true, {"a.*", "a.>"}: false, {"a.*", "a.*"}: true, {"a.b", "a.*"}: false,
		{">", "a.b"}: true, {"a.*.c", "a.b.c"}: true, {"a.*.c", "a.b.d"}: false, {"a.b", "a.b"}: true, {"a.b", "a.b.c"}: false, {"*.*", "a"}: false,
	} {
		if got := covers(pair[0], pair[1]); got != want {
			t.Errorf("%s covers %s: %v", pair[0], pair[1], got)
		}
	}
}
