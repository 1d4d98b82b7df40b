package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// channel is what the nodes of an install listen on.
const channel = "casement"

// Notify hints to all nodes. It is called after a commit, never in one: inside,
// every commit of the database would wait for a lock of the queue of hints.
func (s *Postgres) Notify(ctx context.Context, word string) error {
	if _, err := s.pool.Exec(ctx, "SELECT pg_notify($1, $2)", channel, word); err != nil {
		return fmt.Errorf("hint to other nodes: %w", err)
	}
	return nil
}

// Listen calls f with every hint of any node until ctx ends or the connection
// does, and first with "" once it hears: what was hinted before is lost.
func (s *Postgres) Listen(ctx context.Context, f func(word string)) error {
	// A connection of its own, as it is held for as long as the node lives.
	c, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("listen to other nodes: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(end) // nothing is under way on it
	}()
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listen to other nodes: %w", err)
	}
	f("")
	for {
		n, err := waitHint(ctx, c)
		if err != nil {
			return fmt.Errorf("listen to other nodes: %w", err)
		}
		if n != nil {
			f(n.Payload)
		}
	}
}

// quiet is how long no hint may come before the connection is tried.
const quiet = 10 * time.Second

// waitHint returns the next hint, or nil after a quiet time on a connection that
// still lives.
func waitHint(ctx context.Context, c *pgx.Conn) (*pgconn.Notification, error) {
	wait, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	n, err := c.WaitForNotification(wait)
	if err == nil || ctx.Err() != nil || wait.Err() == nil {
		return n, err
	}
	return nil, c.Ping(ctx)
}

// Alone runs f while no other node runs an f of the same name; it waits until
// none does. The database frees the name of a node that died.
func (s *Postgres) Alone(ctx context.Context, name string, f func(ctx context.Context) error) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("wait for other nodes: %w", err)
	}
	// The lock ends with the connection, so it is not given back to the pool.
	own := c.Hijack()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = own.Close(end) // nothing is under way on it
	}()
	if _, err := own.Exec(ctx, "SELECT pg_advisory_lock($1, hashtext($2))", lockSpace, "alone/"+name); err != nil {
		return fmt.Errorf("wait for other nodes: %w", err)
	}
	return f(ctx)
}
