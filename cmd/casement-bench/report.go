package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// table prints rows for people: ratios first.
func table(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	fmt.Fprintln(t, "bar\tmeasure\tratio\tproduct\tfloor\tCPU µs\tfsync p50/p99 ms\ttarget\tmet")
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(cells(r), "\t"))
	}
	return t.Flush()
}

func cells(r row) []string {
	ratio, floor, cpu, sync, met := "", "", "", "", ""
	if r.Ratio > 0 {
		ratio = fmt.Sprintf("%.2f", r.Ratio)
	}
	if r.Floor != "" {
		floor = r.Floor + " " + figure(r.FloorAt)
	}
	if r.CPU > 0 {
		cpu = figure(r.CPU)
	}
	if r.SyncP50 > 0 {
		sync = fmt.Sprintf("%.2f / %.2f", r.SyncP50, r.SyncP99)
	}
	if r.Target != "" {
		met = map[bool]string{true: "yes", false: "no"}[r.Met]
	}
	what := r.What
	if r.Note != "" {
		what += " (" + r.Note + ")"
	}
	return []string{r.ID, what, ratio, figure(r.Got) + " " + r.Unit, floor, cpu, sync, r.Target, met}
}

// figure prints a number with as many digits as mean something.
func figure(v float64) string {
	switch {
	case v != 0 && v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100 && v != float64(int(v)):
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// The marks between which writeMarkdown writes.
const (
	markBegin = "<!-- casement-bench begins -->\n"
	markEnd   = "<!-- casement-bench ends -->\n"
)

// writeMarkdown puts the table between the marks of a file. Rows of bars that
// were not run this time stay.
func writeMarkdown(path string, rows []row) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := bytes.Index(old, []byte(markBegin)), bytes.Index(old, []byte(markEnd))
	if begin < 0 || end < begin {
		return fmt.Errorf("%s: the marks %q and %q are missing", path, strings.TrimSpace(markBegin), strings.TrimSpace(markEnd))
	}
	begin += len(markBegin)
	var kept []string
	for line := range strings.Lines(string(old[begin:end])) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| bar") && !strings.HasPrefix(line, "| ---") && !replaced(line, rows) {
			kept = append(kept, line)
		}
	}
	var b bytes.Buffer
	b.Write(old[:begin])
	b.WriteString("| bar | measure | ratio | product | floor | CPU µs | fsync p50 / p99 ms | target | met |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, l := range kept {
		b.WriteString(l)
	}
	for _, r := range rows {
		b.WriteString("| " + strings.Join(cells(r), " | ") + " |\n")
	}
	b.Write(old[end:])
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// replaced says whether one of the rows measures what the line says.
func replaced(line string, rows []row) bool {
	for _, r := range rows {
		if strings.HasPrefix(line, "| "+r.ID+" | "+r.What) {
			return true
		}
	}
	return false
}
