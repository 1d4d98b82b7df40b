package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// byID compares the tenant so that no index that begins with it fits: a page is
// read in the order of ids, and not sorted out of all cases of the tenant.
const byID = "tenant || '' = ? AND "

// States returns up to n cases of a tenant after an id ("" for the beginning), in
// the order of their ids: those that are open, and those that closed at or after
// since, or all with a zero since.
func (s *tables) States(ctx context.Context, tenant string, since time.Time, after string, n int) ([]remedy.Case, error) {
	var list []remedy.Case
	err := s.db.each(ctx, func(row scanner) error {
		var c remedy.Case
		var state []byte
		if err := row.Scan(&state); err != nil {
			return err
		}
		if err := json.Unmarshal(state, &c); err != nil {
			return err
		}
		list = append(list, c)
		return nil
	}, "SELECT state FROM case_state WHERE "+byID+"id > ? AND (open = ? OR closed_at >= ?) ORDER BY id LIMIT ?", tenant, after, true, nanos(since), n)
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return list, nil
}
