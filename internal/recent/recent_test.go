package recent_test

import (
	"testing"

	"github.com/casement/casement/internal/recent"
)

func TestBoundAndNewestValue(t *testing.T) {
	r := recent.New[int, int](10)
	r.Set(0, 1)
	r.Set(0, 2)
	for i := 1; i <= 1000; i++ {
		r.Set(i, i)
		if v, ok := r.Get(0); !ok || v != 2 {
			t.Fatalf("after %d others, a value in use is %d, %v", i, v, ok)
		}
	}
	n := 0
	for i := range 1001 {
		if _, ok := r.Get(i); ok {
			n++
		}
	}
	if n < 10 || n > 20 {
		t.Errorf("%d values are remembered, want 10 to 20", n)
	}
	if v, ok := r.Get(1000); !ok || v != 1000 {
		t.Errorf("the last value is %d, %v", v, ok)
	}
	r.Forget()
	if _, ok := r.Get(1000); ok {
		t.Error("a value is remembered after all were forgotten")
	}
	var none recent.Values[string, int]
	none.Set("x", 1)
	if _, ok := none.Get("x"); ok {
		t.Error("the zero value remembers")
	}
}
