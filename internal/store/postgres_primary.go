package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// primary lets sessions begin only on a server that takes commits, and never on
// one of an older history than this process has seen: a URL may name several
// servers, and one that was replaced may come back and believe that it is still
// the first.
type primary struct{ timeline atomic.Uint64 }

// historyQuery is empty on a standby, else the timeline of PostgreSQL, eight
// hexadecimal digits, which grows with each promotion.
const historyQuery = "SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"

// check looks at a new connection. A server that knows no timelines is told by
// whether it takes commits alone.
func (p *primary) check(ctx context.Context, c *pgconn.PgConn) error {
	rows, err := c.Exec(ctx, historyQuery).ReadAll()
	if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) {
		return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, c)
	}
	if err != nil {
		return err
	}
	text := string(rows[0].Rows[0][0])
	if text == "" {
		return errors.New("this server is a standby and takes no commits: name the server that does as well, or promote this one")
	}
	now, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		return fmt.Errorf("the server's timeline is %q", text)
	}
	for {
		seen := p.timeline.Load()
		if now < seen {
			return fmt.Errorf("this server is of timeline %d and was replaced: %d has been seen; make it a standby of the one that replaced it, or start this node anew if going back is meant", now, seen)
		}
		if now == seen || p.timeline.CompareAndSwap(seen, now) {
			return nil
		}
	}
}
