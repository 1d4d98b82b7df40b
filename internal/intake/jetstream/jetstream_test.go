package jetstream

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/natstest"
)

// desk is an intake whose answers the test decides.
type desk struct {
	mu     sync.Mutex
	answer func(body string) intake.Answer
	taken  []string // bodies in the order of their last answer
	refuse []string // reasons
	tries  chan string
}

func newDesk() *desk {
	return &desk{tries: make(chan string, 100000), answer: func(string) intake.Answer { return intake.Answer{Stored: true, Status: http.StatusOK} }}
}

func (d *desk) set(f func(body string) intake.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = f
}

func (d *desk) Take(_ context.Context, _ intake.Source, _ string, body []byte) intake.Answer {
	d.mu.Lock()
	f := d.answer
	d.mu.Unlock()
	a := f(string(body))
	d.mu.Lock()
	if a.Stored {
		d.taken = append(d.taken, string(body))
	}
	d.mu.Unlock()
	d.tries <- string(body)
	return a
}

func (d *desk) Refuse(_ context.Context, _ intake.Source, _ string, body []byte, why string) intake.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = append(d.refuse, why)
	return intake.Answer{Stored: true, Status: http.StatusUnprocessableEntity, Quarantine: 7, Error: why}
}

func down(string) intake.Answer {
	return intake.Answer{Status: http.StatusServiceUnavailable, Error: "the store is down"}
}

// reader is a stream that is read as app does it.
type reader struct {
	*Stream
	settled chan Settled
	stop    context.CancelFunc
	done    chan struct{}
	log     *logged
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func local(t testing.TB) connector.Network {
	t.Helper()
	n, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func config(t testing.TB, url string, consumers ...string) Config {
	return Config{Name: "main", Source: intake.Source{Name: "scanner", Tenant: finding.DefaultTenant, Kind: "nats"}, Servers: []string{url},
		Stream: "ALERTS", Consumers: consumers, Network: local(t)}
}

// read reads until stop is called or the test ends.
func read(t testing.TB, c Config, d *desk) *reader {
	t.Helper()
	r := &reader{settled: make(chan Settled, 100000), done: make(chan struct{}), log: &logged{}}
	var err error
	r.Stream, err = New(c, Wiring{Intake: d, MaxBody: 1000, Node: "test", Watch: func(s Settled) { r.settled <- s }, Log: slog.New(slog.NewTextHandler(r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Connect(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = func() {
		cancel()
		<-r.done
	}
	var all sync.WaitGroup
	for _, x := range r.Consumers() {
		all.Go(func() {
			var work, keep sync.WaitGroup
			for i := range x.Lanes() {
				work.Go(func() { x.Work(context.Background(), i) })
			}
			done := make(chan struct{})
			keep.Go(func() { x.Keep(done) })
			x.Fetch(ctx)
			work.Wait()
			close(done)
			keep.Wait()
		})
	}
	go func() {
		all.Wait()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		close(r.done)
	}()
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	return r
}

// await takes n values of a channel, and fails after a minute.
func await[T any](t testing.TB, ch <-chan T, n int, what string) []T {
	t.Helper()
	var out []T
	for range n {
		select {
		case v := <-ch:
			out = append(out, v)
		case <-time.After(time.Minute):
			t.Fatalf("%s: %d of %d", what, len(out), n)
		}
	}
	return out
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
	d := newDesk()
	r := read(t, config(t, j.Conn().ConnectedUrl(), "a", "b"), d)
	for _, s := range await(t, r.settled, n, "settled") {
		if s.Outcome != Stored || s.Again || s.Stream != "main" || s.Age < 0 {
			t.Fatalf("%+v", s)
		}
	}
	r.stop()
	last := map[string]string{}
	for _, body := range d.taken {
		part, seq, _ := strings.Cut(body, " ")
		if seq <= last[part] {
			t.Fatalf("partition %s: %s after %s", part, seq, last[part])
		}
		last[part] = seq
	}
	if len(d.taken) != n || len(last) != 14 {
		t.Errorf("taken %d of %d partitions", len(d.taken), len(last))
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
	d := newDesk()
	d.set(down)
	c := config(t, j.Conn().ConnectedUrl(), "all")
	c.InHand = 20
	r := read(t, c, d)
	working := 0
	for working < 3*c.InHand { // for three times the wait
		switch got := await(t, told, 1, "told")[0]; got {
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
	d.set(newDesk().answer)
	for _, s := range await(t, r.settled, n, "settled") {
		if s.Outcome != Stored || s.Again {
			t.Fatalf("%+v", s)
		}
	}
	r.Look(t.Context())
	if x := r.State().Consumers[0]; !x.HeldSince.IsZero() || x.HeldWhy != "" || x.InHand != 0 || x.Waiting != 0 || x.Looked.IsZero() {
		t.Errorf("afterwards: %+v", x)
	}
	r.stop()
	even := slices.DeleteFunc(slices.Clone(d.taken), func(s string) bool { return strings.ContainsAny(s[5:], "13579") })
	if !slices.IsSorted(even) || len(d.taken) != n {
		t.Errorf("order %v", d.taken)
	}
}

// TestUnreadable: what can't be read is terminated once it is in quarantine. A
// full quarantine holds up nothing else, and the message comes again.
func TestUnreadable(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, nil, "all")
	told := answers(t, j)
	d := newDesk()
	full := func(body string) intake.Answer {
		if body == "odd" {
			return intake.Answer{Status: http.StatusInsufficientStorage, Error: "nothing was stored: the quarantine is full"}
		}
		return intake.Answer{Stored: true, Status: http.StatusOK}
	}
	d.set(full)
	r := read(t, config(t, j.Conn().ConnectedUrl(), "all"), d)
	for i, body := range []string{"odd", "one", "odd", "two"} {
		publish(t, j, partition(1), body)
		if got := await(t, r.settled, 1, "settled")[0].Outcome; got != map[string]Outcome{"odd": Later}[body] && got != Stored {
			t.Fatalf("%d: %s", i, got)
		}
	}
	d.set(func(body string) intake.Answer {
		a := full(body)
		if !a.Stored {
			a = intake.Answer{Stored: true, Status: http.StatusUnprocessableEntity, Quarantine: 4, Error: "no reader knows it"}
		}
		return a
	})
	for _, s := range await(t, r.settled, 2, "delivered again") {
		if s.Outcome != Quarantined || !s.Again {
			t.Errorf("%+v", s)
		}
	}
	r.stop()
	if i := answered(t, j, "all"); i.NumAckPending != 0 || i.NumPending != 0 {
		t.Errorf("%+v", i)
	}
	var words []string
	for _, w := range await(t, told, 6, "told") {
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
	for range mostDeliveries { // as processes that died with it
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
	d := newDesk()
	r := read(t, config(t, j.Conn().ConnectedUrl(), "all"), d)
	for _, s := range await(t, r.settled, 2, "settled") {
		if s.Outcome != Quarantined || !s.Again {
			t.Errorf("%+v", s)
		}
	}
	r.stop()
	slices.Sort(d.refuse)
	if len(d.taken) != 0 || len(d.refuse) != 2 || !strings.Contains(d.refuse[0], "it was delivered 21 times") || !strings.Contains(d.refuse[1], "1001 bytes") {
		t.Errorf("taken %v, refused %q", d.taken, d.refuse)
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
	d := newDesk()
	hold := make(chan struct{})
	begun := make(chan string, n)
	d.set(func(body string) intake.Answer {
		begun <- body
		<-hold
		return intake.Answer{Stored: true, Status: http.StatusAccepted}
	})
	c := config(t, j.Conn().ConnectedUrl(), "all")
	c.InHand = 8
	r := read(t, c, d)
	await(t, begun, 1, "begun")
	stopped := make(chan struct{})
	go func() {
		r.stop()
		close(stopped)
	}()
	<-r.Consumers()[0].stop
	close(hold)
	<-stopped
	if i := answered(t, j, "all"); i.NumAckPending != 0 || i.NumPending != n-8 || i.AckFloor.Stream != 8 || len(d.taken) != 8 {
		t.Errorf("taken %d: %+v", len(d.taken), i)
	}
}

// TestReturned: what can't be stored goes back at the stop, and another node
// takes it at once.
func TestReturned(t *testing.T) {
	j := natstest.Connect(t, natstest.Start(t, "").URL)
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) { c.AckWait = time.Hour }, "all")
	publish(t, j, partition(1), "one")
	d := newDesk()
	d.set(down)
	r := read(t, config(t, j.Conn().ConnectedUrl(), "all"), d)
	await(t, d.tries, 2, "tries")
	r.stop()
	if got := await(t, r.settled, 1, "settled")[0].Outcome; got != Returned {
		t.Errorf("outcome %s", got)
	}
	other := read(t, config(t, j.Conn().ConnectedUrl(), "all"), newDesk())
	if s := await(t, other.settled, 1, "settled by the other")[0]; s.Outcome != Stored || !s.Again {
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
	one, two := newDesk(), newDesk()
	a := read(t, config(t, j.Conn().ConnectedUrl(), "all"), one)
	publish(t, j, partition(1), "first")
	await(t, a.settled, 1, "the first reads")
	b := read(t, config(t, j.Conn().ConnectedUrl(), "all"), two)
	for i := range 50 {
		publish(t, j, partition(i), fmt.Sprint(i))
	}
	await(t, a.settled, 50, "the first goes on")
	a.stop()
	publish(t, j, partition(1), "last")
	await(t, b.settled, 1, "the second takes over")
	if len(one.taken) != 51 || !slices.Equal(two.taken, []string{"last"}) {
		t.Errorf("%d by the first, %v by the second", len(one.taken), two.taken)
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
	r := read(t, config(t, j.Conn().ConnectedUrl(), "bad", "missing"), newDesk())
	var st State
	for st = r.State(); st.Consumers[0].Fault == "" || st.Consumers[1].Fault == ""; st = r.State() {
		<-time.After(10 * time.Millisecond) // the state tells, there is no signal
	}
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
	d := newDesk()
	r := read(t, config(t, s.URL, "all"), d)
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
		seen[await(t, d.tries, 1, "taken")[0]] = true
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
