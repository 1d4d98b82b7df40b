package format

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Row is one row of a CSV file by column name, or the error that took its place.
type Row struct {
	Cells map[string]string
	// Where is file:line:column of the row's first cell.
	Where string
	Err   string
}

// Rows reads CSV with a header. The delimiter (comma, semicolon, tab) is the
// one that cuts the header into most columns. A row with another number of
// cells is refused alone; broken quoting is an error of the whole file,
// because nothing says where the next row begins.
func Rows(name string, body []byte, opt Options) ([]Row, error) {
	body, err := plainText(name, body, opt)
	if err != nil {
		return nil, err
	}
	out, _, err := rows(body, opt, false)
	if err != nil {
		// Some tools don't double quotes in cells. Read that way the file must
		// fit its header in every row, else it is cut or damaged.
		lazy, bad, lazyErr := rows(body, opt, true)
		if lazyErr != nil || bad > 0 {
			return nil, tableError(name, body, opt, err)
		}
		out = lazy
	}
	return out, nil
}

// rows reads all rows and counts those that don't fit the header. Empty cells
// behind the last column are how some tools end a row.
func rows(body []byte, opt Options, lazy bool) (out []Row, bad int, err error) {
	r := newTable(body)
	r.LazyQuotes = lazy
	header, err := r.Read()
	if err != nil {
		return nil, 0, err
	}
	for i, h := range header {
		header[i] = strings.TrimSpace(h)
	}
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, bad, nil
		}
		if err != nil {
			return nil, 0, err
		}
		line, column := r.FieldPos(0)
		row := Row{Where: fmt.Sprintf("%s:%d:%d", First(opt.File, "input"), line, column)}
		for len(cells) > len(header) && cells[len(cells)-1] == "" {
			cells = cells[:len(cells)-1]
		}
		if len(cells) != len(header) {
			bad++
			row.Err = fmt.Sprintf("the row has %d cells, the header %d", len(cells), len(header))
			if n := len(cells); n < len(header) {
				row.Err = header[n] + ": missing, " + row.Err
			} else {
				row.Err = "cells behind " + header[len(header)-1] + ": " + row.Err
			}
		} else {
			row.Cells = make(map[string]string, len(cells))
			for i, c := range cells {
				row.Cells[header[i]] = c
			}
		}
		out = append(out, row)
	}
}

func newTable(body []byte) *csv.Reader {
	r := csv.NewReader(bytes.NewReader(body))
	r.FieldsPerRecord = -1
	r.Comma = delimiter(body)
	return r
}

func delimiter(body []byte) rune {
	line, _, _ := bytes.Cut(body, []byte("\n"))
	best, most := ',', 0
	for _, d := range []rune{',', ';', '\t'} {
		if n := bytes.Count(line, []byte(string(d))); n > most {
			best, most = d, n
		}
	}
	return best
}

func tableError(name string, body []byte, opt Options, err error) error {
	e := &Error{Format: name, Where: Position(opt.File, body, 0), Reason: "not valid CSV: " + err.Error(), Mend: "send the file exactly as the tool wrote it"}
	var p *csv.ParseError
	if errors.As(err, &p) {
		at := 0
		for range p.Line - 1 {
			at += 1 + max(0, bytes.IndexByte(body[at:], '\n'))
		}
		at = min(len(body), at+p.Column-1)
		e.Where = Position(opt.File, body, at) + column(bytes.NewReader(body), body, int64(at))
		e.Reason = fmt.Sprintf("not valid CSV: %v in the row that begins in line %d; the file may be cut", p.Err, p.StartLine)
	}
	return e
}

// probeTable notes the columns of a CSV file and the values of its first row
// as "[].Column"; false when the body does not look like one.
func probeTable(body []byte, keys map[string]string) bool {
	if len(body) == 0 || bytes.IndexByte([]byte("{[<"), body[0]) >= 0 {
		return false
	}
	r := newTable(body[:min(len(body), 64<<10)])
	header, err := r.Read()
	if err != nil || len(header) < 2 {
		return false
	}
	first, err := r.Read()
	for i, h := range header[:min(len(header), probeKeys)] {
		value := ""
		if err == nil && i < len(first) {
			value = first[i][:min(len(first[i]), probeText)]
		}
		keys["[]."+strings.TrimSpace(h)] = value
	}
	return true
}
