package web

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/casement/casement/internal/remedy"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write golden files and screenshots anew")
	flag.Parse()
	os.Exit(m.Run())
}

// approve approves the plan in force in somebody's name.
func (w *world) approve(id, action, who string) (remedy.Case, error) {
	c, err := w.model.Load(context.Background(), id)
	if err != nil {
		return c, err
	}
	a, _ := c.Action(action)
	return w.engine.Approve(context.Background(), id, action, a.Plan.Hash, who, "", w.clock())
}

func TestSeed(t *testing.T) {
	w := newWorld(t)
	w.seed()
	rec := w.do("dana", "GET", "/cases", "")
	if rec.Code != 200 {
		t.Fatal(rec.Code, rec.Body.String()[:300])
	}
}
