package record

import (
	"hash/fnv"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// What fails by our own fault (a panic, an error of the store, a case that
// can't be read) is tried again with a growing wait; from the DeadAfter-th
// failure on it is a dead letter: shown to people, and tried every DeadEvery.
const (
	DeadAfter = 10
	DeadEvery = time.Hour

	firstBackoff = time.Second
	lastBackoff  = 5 * time.Minute
	// maxReason bounds the reason of a failure, in bytes.
	maxReason = 500
)

// Backoff is the wait after failure number n (from 1): 1 s, doubled each time
// up to 5 min, and up to a quarter more. The extra is drawn from the id, so that
// what failed together does not return together, and the same history gives the
// same times.
func Backoff(id string, n int) time.Duration {
	return spread(id, min(firstBackoff<<min(max(n-1, 0), 20), lastBackoff))
}

// NextTry is the wait after failure number n (from 1), and whether what failed
// is a dead letter by then.
func NextTry(id string, n int) (wait time.Duration, dead bool) {
	if n < DeadAfter {
		return Backoff(id, n), false
	}
	return spread(id, DeadEvery), true
}

// spread adds up to a quarter, by the id.
func spread(id string, wait time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return wait + time.Duration(h.Sum64()%1024)*wait/4096
}

// Reason cuts the text of a failure to what is stored of it.
func Reason(text string) string { return text[:min(len(text), maxReason)] }

// DeadLetter is what failed DeadAfter times and waits for a person, and what
// becomes of it without one.
type DeadLetter struct {
	// ID is the effect's row, or "clock/" and the case for a case that could not
	// be woken.
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	CaseID string `json:"case_id"`
	// Kind is the kind of the effect, or "clock".
	Kind   string `json:"kind"`
	Action string `json:"action,omitempty"`
	// Reason of the last failure, and how many there were.
	Reason string `json:"reason"`
	Tries  int    `json:"tries"`
	// Since is when it was given up, NextAt when it is tried again by itself.
	Since  time.Time `json:"since"`
	NextAt time.Time `json:"next_at"`
	// Owner of the case; Bottleneck is who has to mend the fault.
	Owner      string            `json:"owner"`
	Bottleneck remedy.Bottleneck `json:"bottleneck"`
}

// KindClock is the kind of a dead letter that is no effect.
const KindClock = "clock"

// DeadSummary counts dead letters.
type DeadSummary struct {
	N int `json:"n"`
	// Oldest is when the first of them was given up, zero for none.
	Oldest time.Time `json:"oldest,omitzero"`
}
