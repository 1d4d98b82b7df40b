package rest

import (
	"context"

	"github.com/casement/casement/internal/connector"
)

// Pages calls page with "" and then with each cursor it returns, until it
// returns "" or stop. Targets that never end, or that hand out a cursor twice,
// are an error after max pages: a list cut short would look like a whole one.
func Pages(ctx context.Context, what string, limit int, page func(ctx context.Context, cursor string) (next string, err error)) error {
	seen := map[string]bool{}
	cursor := ""
	for range limit {
		next, err := page(ctx, cursor)
		if err != nil || next == "" {
			return err
		}
		if seen[next] {
			return connector.Errorf(connector.KindRetry, "%s: the target handed out the same page twice", what)
		}
		seen[next] = true
		cursor = next
	}
	return connector.Errorf(connector.KindRetry, "%s: more than %d pages", what, limit)
}
