package store

import (
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// dialect turns a statement of the tables into PostgreSQL's.
func dialect(text string) string {
	text = strings.ReplaceAll(text, "json_each(?)", "(SELECT json_array_elements_text(CAST(? AS json)) AS value)")
	text = strings.ReplaceAll(text, "CROSS JOIN", "JOIN") // holds SQLite to an order of joins
	text = strings.ReplaceAll(text, "instr(", "strpos(")
	var b strings.Builder
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '?' {
			b.WriteByte(text[i])
			continue
		}
		b.WriteByte('$')
		if i+1 == len(text) || text[i+1] < '0' || text[i+1] > '9' {
			n++
			b.WriteString(strconv.Itoa(n))
		}
	}
	return b.String()
}

// pgArgs are arguments as the columns hold them. PostgreSQL's texts hold
// neither NUL nor what is no UTF-8.
func pgArgs(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch x := a.(type) {
		case bool:
			out[i] = 0
			if x {
				out[i] = 1
			}
		case string:
			out[i] = pgText(x)
		default:
			out[i] = a
		}
	}
	return out
}

func pgText(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// pgRow scans yes and no from numbers.
type pgRow struct{ row pgx.Row }

type pgBool struct {
	to *bool
	n  int64
}

// Scan implements scanner.
func (r pgRow) Scan(dest ...any) error {
	var bools []*pgBool
	out := dest
	for i, d := range dest {
		if b, ok := d.(*bool); ok {
			if bools == nil {
				out = append([]any(nil), dest...)
			}
			x := &pgBool{to: b}
			bools = append(bools, x)
			out[i] = &x.n
		}
	}
	err := r.row.Scan(out...)
	for _, b := range bools {
		*b.to = b.n != 0
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return sql.ErrNoRows
	}
	return err
}
