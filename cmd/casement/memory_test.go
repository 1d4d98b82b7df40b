package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// BenchmarkMemory reads large files by the commands that judge files, and
// reports the peak of the heap in MB: it must not grow as the file does. The
// size is in the name, so that it can be picked:
//
//	go test ./cmd/casement -run '^$' -bench Memory/256MB -benchtime 1x
//
// Timings of it say little; docs/benchmarks.md has the figures of the process.
func BenchmarkMemory(b *testing.B) {
	for _, size := range []int{32, 256} {
		for _, format := range []string{"jsonl", "sarif"} {
			file := filepath.Join(b.TempDir(), "report."+format)
			for _, command := range []string{"parse", "inventory", "try", "gate"} {
				b.Run(fmt.Sprintf("%dMB/%s/%s", size, format, command), func(b *testing.B) {
					if _, err := os.Stat(file); err != nil {
						large(b, file, format, size<<20)
					}
					b.SetBytes(int64(size) << 20)
					b.Setenv("HOME", b.TempDir())
					for b.Loop() {
						peak := watchHeap()
						var said bytes.Buffer
						code := run([]string{command, file}, streams{in: strings.NewReader(""), out: io.Discard, err: &said})
						b.ReportMetric(float64(peak())/1e6, "peak-heap-MB")
						if code != codeOK && (command != "gate" || code != codeGate) {
							b.Fatalf("%s: code %d: %s", command, code, &said)
						}
					}
				})
			}
		}
	}
}

// watchHeap looks at the heap until the function it returns is called, which
// returns its peak above that of the beginning, in bytes.
func watchHeap() func() uint64 {
	look := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	runtime.GC()
	start := look()
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for peak := start; ; {
			select {
			case <-tick.C:
				peak = max(peak, look())
			case <-stop:
				done <- max(peak, look())
				return
			}
		}
	}()
	return func() uint64 { close(stop); return <-done - start }
}

// large writes a report of about that many bytes, as scanners fill them: many
// records of few rules.
func large(b *testing.B, name, format string, size int) {
	b.Helper()
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	n := 0
	put := func(layout string, args ...any) { k, _ := fmt.Fprintf(w, layout, args...); n += k }
	if format == "sarif" {
		put(`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Semgrep"}},"versionControlProvenance":[{"repositoryUri":"https://github.com/acme/shop"}],"results":[`)
	}
	for i := 0; n < size; i++ {
		if format == "jsonl" {
			put(`{"source":"bench","uid":"B-%d","rule":"CVE-2025-%d","title":"overflow in the parser","description":%q,"severity":%q,"class":"pipeline.vulnerable-package","asset":{"uid":"acme/repo-%d","type":"repository","tags":{"team":"team-%d"}},"file":"go.sum","component":"lib%d","version":"1.2.3","first_seen":"2026-01-02T03:04:05Z"}`+"\n",
				i, 1000+i%5000, strings.Repeat("A crafted message overflows a buffer. ", 8), []string{"critical", "high", "medium", "low"}[i%4], i%20000, i%40, i%800)
			continue
		}
		put(`%s{"ruleId":"r%d","level":"warning","message":{"text":"The query %d is built from input"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"src/p%d/db.py"},"region":{"startLine":%d,"snippet":{"text":"execute('select ' + name%d)"}}}}]}`+"\n",
			[]string{",", ""}[b2i(i == 0)], i%500, i, i%3000, i%2000, i)
	}
	if format == "sarif" {
		put("]}]}\n")
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
