package connector_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
)

// stepping moves on by step at each reading.
type stepping struct {
	now  time.Time
	step time.Duration
}

func (c *stepping) Now() time.Time {
	c.now = c.now.Add(c.step)
	return c.now
}

func (c *stepping) Sleep(context.Context, time.Duration) error { return nil }

// TestSwitch: a change goes out only on a fresh reading of a kill switch that is
// not thrown.
func TestSwitch(t *testing.T) {
	open := func(context.Context) (string, error) { return "", nil }
	for name, x := range map[string]struct {
		op      connector.Op
		stopped func(context.Context) (string, error)
		step    time.Duration
		goes    bool
	}{
		"open":             {connector.OpAct, open, time.Second, true},
		"open, an undo":    {connector.OpUndo, open, time.Second, true},
		"thrown":           {connector.OpAct, func(context.Context) (string, error) { return "all", nil }, 0, false},
		"thrown, an undo":  {connector.OpUndo, func(context.Context) (string, error) { return "all", nil }, 0, false},
		"not to be read":   {connector.OpAct, func(context.Context) (string, error) { return "", errors.New("no database") }, 0, false},
		"an old reading":   {connector.OpAct, open, time.Second + 1, false},
		"thrown, a probe":  {connector.OpProbe, func(context.Context) (string, error) { return "all", nil }, 0, true},
		"nobody gave one":  {connector.OpAct, nil, 0, true},
		"thrown, a notice": {connector.OpNotify, func(context.Context) (string, error) { return "all", nil }, 0, true},
	} {
		went := false
		_, err := connector.Switch(&stepping{step: x.step})(func(context.Context, connector.Call) (connector.Reply, error) {
			went = true
			return connector.Reply{}, nil
		})(t.Context(), connector.Call{Op: x.op, Request: connector.Request{Stopped: x.stopped}})
		if went != x.goes || (err == nil) != x.goes {
			t.Errorf("%s: went %v, %v", name, went, err)
		}
		if err != nil && (!errors.Is(err, connector.ErrStopped) || connector.KindOf(err) != connector.KindRetry) {
			t.Errorf("%s: %v is no stop that leaves the world untouched", name, err)
		}
	}
}
