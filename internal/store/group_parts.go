package store

import (
	"errors"
	"slices"
)

// inside runs a part in the transaction. lost means that the transaction is
// lost, err that the part failed and changed nothing.
type inside func(name string, f part) (lost, err error)

// singly runs requests one by one, with a savepoint for each and for each part
// of it; its error means that the transaction is lost.
func (g *group) singly(batch []*request) error {
	for _, r := range batch {
		r.err = nil
		if r.tail == nil {
			if err := g.parts(r, g.savepoint); err != nil {
				return err
			}
			continue
		}
		lost, err := g.savepoint("request", func(*writer) error {
			if err := g.parts(r, g.savepoint); err != nil {
				return lostError{err}
			}
			return r.tail(g.w)
		})
		if r.err = err; lost != nil {
			return lost
		}
	}
	return nil
}

// plain runs requests without savepoints: first the parts of all, then their
// tails, because the tails read what the parts wrote in an order of its own.
func (g *group) plain(batch []*request) error {
	for _, r := range batch {
		r.err = nil
		if err := g.parts(r, g.plainly); err != nil {
			return err
		}
	}
	if l, ok := g.w.link.(*pgLink); ok {
		l.sorted()
	}
	for _, r := range batch {
		if r.tail == nil {
			continue
		}
		lost, err := g.plainly("request", r.tail)
		if lost != nil {
			return lost
		}
		if r.err = err; err != nil && slices.Contains(r.errs, nil) {
			return errUndo // nothing of the request is to be stored
		}
	}
	return nil
}

func (g *group) parts(r *request, in inside) error {
	for i, p := range r.parts {
		lost, err := in("part", p)
		if lost != nil {
			return lost
		}
		r.errs[i] = err
	}
	return nil
}

// plainly runs f without a savepoint.
func (g *group) plainly(_ string, f part) (lost, err error) {
	before := g.w.changed
	err = f(g.w)
	if l, ok := errors.AsType[lostError](err); ok {
		return l.error, nil
	}
	if pgDead(err) {
		return err, nil
	}
	if err != nil && g.w.changed != before {
		return errUndo, nil
	}
	return nil, storageError(err)
}

// lostError carries the loss of the transaction out of a savepoint.
type lostError struct{ error }

// savepoint runs f and takes back what it wrote if it fails. SQLite rolls a
// whole transaction back on some errors; then the savepoint is gone and lost
// says so.
func (g *group) savepoint(name string, f part) (lost, err error) {
	if l, ok := g.w.link.(*pgLink); ok && name == "part" {
		if done, lost := g.atOnce(l, name, f); done || lost != nil {
			return lost, nil
		}
	}
	if _, err := g.w.exec("SAVEPOINT " + name); err != nil {
		return err, nil
	}
	if err = f(g.w); err != nil {
		if l, ok := errors.AsType[lostError](err); ok {
			return l.error, nil
		}
		if pgDead(err) {
			return err, nil // no fault of this part: all is done again
		}
		if _, gone := g.w.exec("ROLLBACK TO " + name); gone != nil {
			return err, nil
		}
		err = storageError(err)
	}
	if _, gone := g.w.exec("RELEASE " + name); gone != nil {
		return gone, nil
	}
	return nil, err
}

// atOnce is savepoint with what f writes sent together, and reports whether that
// went well. If not, nothing changed, and f is to be run again to know why.
func (g *group) atOnce(l *pgLink, name string, f part) (done bool, lost error) {
	l.lazy = true
	defer func() { l.lazy = false }()
	err := g.w.send("SAVEPOINT " + name)
	if err == nil {
		err = f(g.w)
	}
	if err == nil {
		if err = g.w.send("RELEASE " + name); err == nil {
			err = l.flush()
		}
	}
	if err == nil || pgDead(err) {
		return err == nil, err
	}
	l.lazy = false
	if l.queue.Len() > 0 { // the savepoint may be in it
		if err := l.flush(); pgDead(err) {
			return false, err
		}
	}
	if _, lost = g.w.exec("ROLLBACK TO " + name); lost == nil {
		_, lost = g.w.exec("RELEASE " + name)
	}
	return false, lost
}
