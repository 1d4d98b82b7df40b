// Package recent is a bounded memory of what was used lately: caches of values
// that can always be worked out or read again.
//
// It is pure and imports nothing of ours. Invariants: it holds at most twice
// its limit; what is asked for again stays longest; forgetting costs time,
// never correctness.
package recent

// Values remembers between limit and twice limit values. The zero value holds
// none; it is not safe for concurrent use.
type Values[K comparable, V any] struct {
	limit      int
	young, old map[K]V
}

// New returns a memory of at least the last limit values.
func New[K comparable, V any](limit int) Values[K, V] {
	return Values[K, V]{limit: limit}
}

// Get returns the value of a key and whether it is remembered.
func (r *Values[K, V]) Get(k K) (V, bool) {
	v, ok := r.young[k]
	if !ok {
		if v, ok = r.old[k]; ok {
			r.Set(k, v)
		}
	}
	return v, ok
}

// Set remembers a value.
func (r *Values[K, V]) Set(k K, v V) {
	if r.limit == 0 {
		return
	}
	if len(r.young) >= r.limit {
		if _, ok := r.young[k]; !ok {
			r.old, r.young = r.young, nil
		}
	}
	if r.young == nil {
		r.young = map[K]V{}
	}
	r.young[k] = v
}

// Forget forgets everything.
func (r *Values[K, V]) Forget() { r.young, r.old = nil, nil }
