// Casement-bench measures Casement side by side with floors: the least a
// server of this kind can do, in the same sitting on the same disk. Ratios are
// what counts; absolute figures belong to the machine.
//
// It runs the real `casement serve` as a child process at its default
// durability, with the shipped policy, schema, ledger and audit.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scenario is one measure that can be run by name.
type scenario struct {
	name, what string
	run        func(*bench) ([]row, error)
}

func scenarios() []scenario {
	return []scenario{
		{"p1", "intake, 90 % duplicates", duplicates},
		{"distinct", "intake, all distinct", uniques},
		{"p2", "batches of 100", batches},
		{"p11", "CPU per duplicate", repeats},
		{"p3", "alert to action", latency},
		{"p4", "actions a second", actions},
		{"p5", "kill -9: lost", kills},
		{"p6", "kill half way: exactly once", exactlyOnce},
		{"p7", "another alert's data", confusion},
		{"p8", "memory and start", footprint},
		{"streams", "alerts from NATS and Kafka", streamed},
		{"p10", "size", size},
		{"p12", "three times the capacity", overload},
		{"steps", "case steps", steps},
	}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	f := flag.NewFlagSet("casement-bench", flag.ContinueOnError)
	f.SetOutput(errs)
	names := f.String("run", "", "scenarios to run, comma-separated (default: all): "+scenarioNames())
	binary := f.String("casement", "bin/casement", "the program under test")
	dir := f.String("dir", "", "folder for data; it must be on the disk to measure (default: a temporary one)")
	database := f.String("database", "", "URL of a PostgreSQL server to measure on, where databases may be made (default: SQLite)")
	dur := f.Duration("d", 5*time.Second, "length of one measured run")
	repeats := f.Int("repeat", 5, "runs of each measure; the median counts")
	kills := f.Int("kills", 20, "kills at random moments in each scenario of p5")
	cases := f.Int("cases", 1_000_000, "size of the large install, a multiple of 10,000")
	format := f.String("o", "table", "output: table or json")
	write := f.String("write", "", "also write the table into this Markdown file, between its marks")
	floors := f.Bool("floors", false, "serve the floors (used by the program itself)")
	sinkAddr := f.String("sink", "", "address of the sink (used by the program itself)")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if *floors {
		fmt.Fprintln(errs, runFloors(*dir, *sinkAddr))
		return 1
	}
	if *cases < 10_000 || *cases%10_000 != 0 {
		fmt.Fprintf(errs, "casement-bench: -cases %d: give a multiple of 10,000, because a hundredth of it is filled in batches of 100\n", *cases)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{ctx: ctx, database: *database, dur: *dur, repeats: *repeats, kills: *kills, cases: *cases, gen: newAlerts(), log: errs}
	rows, err := b.all(*names, *binary, *dir)
	if err == nil {
		err = report(out, rows, *format, *write)
	}
	if err != nil {
		fmt.Fprintln(errs, "casement-bench:", err)
		return 1
	}
	return verdict(rows, errs)
}

func scenarioNames() string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// all runs the scenarios named, or all of them.
func (b *bench) all(names, binary, dir string) (rows []row, err error) {
	var wanted []string
	if names != "" {
		wanted = strings.Split(names, ",")
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(scenarios(), func(s scenario) bool { return s.name == w }) {
			return nil, fmt.Errorf("there is no scenario %q: choose from %s", w, scenarioNames())
		}
	}
	if b.binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	if _, err := os.Stat(b.binary); err != nil {
		return nil, fmt.Errorf("%w: build it with make build, or name it with -casement", err)
	}
	if b.dir, err = os.MkdirTemp(dir, "casement-bench-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(b.dir)
	if b.dir, err = filepath.Abs(b.dir); err != nil { // the product runs in a folder of its own
		return nil, err
	}
	if b.sink, err = newSink(); err != nil {
		return nil, err
	}
	if b.floors, err = startFloors(b.ctx, b.dir, b.sink.Addr); err != nil {
		return nil, err
	}
	defer b.floors.kill()
	for _, s := range scenarios() {
		if wanted != nil && !slices.Contains(wanted, s.name) {
			continue
		}
		b.sayf("%s: %s", s.name, s.what)
		r, err := s.run(b)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", s.name, err)
		}
		if b.database != "" {
			for i := range r {
				r[i] = onPostgres(r[i])
			}
		}
		rows = append(rows, r...)
	}
	return rows, b.ctx.Err()
}

// verdict is the exit code: 1 if a hard row was not met.
func verdict(rows []row, errs io.Writer) int {
	code := 0
	for _, r := range rows {
		if r.Hard && !r.Met {
			fmt.Fprintf(errs, "casement-bench: %s failed: %s\n", r.ID, r.Note)
			code = 1
		}
	}
	return code
}

func report(out io.Writer, rows []row, format, write string) error {
	if write != "" {
		if err := writeMarkdown(write, rows); err != nil {
			return err
		}
	}
	if format == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	}
	return table(out, rows)
}
