package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/record"
)

// pgSilent is how many times as long as what was sent may stay unconfirmed a
// statement may go without an answer: whose server's system still confirms what it
// gets, but whose server says nothing, is given up then.
const pgSilent = 3

// errSilent: the server took a statement and said nothing.
var errSilent = errors.New("the server takes connections and says nothing")

// patience is a context that ends when the server says nothing for too long.
type patience struct {
	context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil to wait for ever
	within time.Duration
}

// patient returns ctx with patience for a statement; the caller ends it.
func patient(ctx context.Context, within time.Duration) *patience {
	p := &patience{within: within}
	p.Context, p.cancel = context.WithCancelCause(ctx)
	if within > 0 {
		p.timer = time.AfterFunc(within, func() { p.cancel(errSilent) })
	}
	return p
}

// rest stops the clock while nobody waits for the server, again starts it anew.
func (p *patience) rest() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (p *patience) again() {
	if p.timer != nil {
		p.timer.Reset(p.within)
	}
}

// end gives the context back.
func (p *patience) end() {
	p.rest()
	p.cancel(nil)
}

// named is err, named if the server's silence is its cause.
func (p *patience) named(err error) error {
	if p == nil || err == nil || !errors.Is(context.Cause(p), errSilent) || errors.Is(err, errSilent) {
		return err
	}
	return fmt.Errorf("%w: %w for %s (%v)", record.ErrUnavailable, errSilent, p.within, err)
}

// rows has f called for rows while the clock rests.
func (p *patience) rows(f func(scanner) error) func(scanner) error {
	return func(row scanner) error {
		p.rest()
		defer p.again()
		return f(row)
	}
}
