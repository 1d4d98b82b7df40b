// Reads the events of go test -json and prints one line: how many tests ran,
// and which were skipped, and why. It ends with 1 if a test was skipped and
// CASEMENT_FULL is set.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

const mark = "SKIPPED, NOT PASSED: "

func main() {
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	passed, failed := 0, 0
	said := map[string]string{}    // what a test printed
	tests := map[string][]string{} // skipped, by reason
	var reasons []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		switch name := e.Package + "." + e.Test; e.Action {
		case "output":
			said[name] += e.Output
		case "pass":
			passed++
			delete(said, name)
		case "fail":
			failed++
			delete(said, name)
		case "skip":
			why := reason(said[name])
			if len(tests[why]) == 0 {
				reasons = append(reasons, why)
			}
			tests[why] = append(tests[why], name[strings.LastIndexByte(e.Package, '/')+1:])
			delete(said, name)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	skipped := 0
	for _, list := range tests {
		skipped += len(list)
	}
	line := fmt.Sprintf("%d tests passed, %d failed, none skipped", passed, failed)
	if skipped > 0 {
		line = fmt.Sprintf("%d tests passed, %d failed, %d SKIPPED, NOT PASSED", passed, failed, skipped)
	}
	sep := ": "
	for _, why := range reasons {
		list := tests[why]
		if len(list) > 3 {
			list = append(list[:3:3], fmt.Sprintf("%d more", len(tests[why])-3))
		}
		line += sep + strings.Join(list, ", ") + " (" + why + ")"
		sep = "; "
	}
	full := os.Getenv("CASEMENT_FULL") != ""
	if full && skipped > 0 {
		line += ": nothing may be skipped with CASEMENT_FULL=1"
	}
	fmt.Println(line)
	if full && skipped > 0 {
		os.Exit(1)
	}
}

// reason is the text that a skipped test gave.
func reason(out string) string {
	if _, after, ok := strings.Cut(out, mark); ok {
		line, _, _ := strings.Cut(after, "\n")
		return strings.TrimSpace(line)
	}
	for line := range strings.Lines(out) {
		if _, after, ok := strings.Cut(line, ".go:"); ok {
			_, text, _ := strings.Cut(after, ": ")
			return strings.TrimSpace(text)
		}
	}
	return "no reason given"
}
