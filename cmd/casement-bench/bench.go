package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// row is one line of the table.
type row struct {
	// ID is the bar it belongs to, What the measure in words.
	ID   string  `json:"id"`
	What string  `json:"what"`
	Got  float64 `json:"got"`
	Unit string  `json:"unit"`
	// Floor is what it is compared with, Ratio the product over the floor.
	Floor   string  `json:"floor,omitempty"`
	FloorAt float64 `json:"floor_at,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
	// CPU is the CPU time of the server per alert, in microseconds.
	CPU float64 `json:"cpu_us,omitempty"`
	// SyncP50 and SyncP99 are what an fsync cost beside this run, in ms.
	SyncP50 float64 `json:"fsync_p50_ms,omitempty"`
	SyncP99 float64 `json:"fsync_p99_ms,omitempty"`
	Target  string  `json:"target,omitempty"`
	Met     bool    `json:"met"`
	// Hard rows end the program with an error if they are not met.
	Hard bool   `json:"hard,omitempty"`
	Note string `json:"note,omitempty"`
}

// bench is what all scenarios share.
type bench struct {
	ctx    context.Context
	binary string
	dir    string
	// database is a PostgreSQL server's URL, "" to measure SQLite.
	database string
	dur      time.Duration
	repeats  int
	kills    int
	cases    int // the size of "1,000,000"
	gen      *alerts
	sink     *sink
	floors   *process
	log      io.Writer
	n        int
	// first is the next unused finding number.
	first int
}

func (b *bench) sayf(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// folder makes a fresh folder.
func (b *bench) folder() (string, error) {
	b.n++
	dir := filepath.Join(b.dir, strconv.Itoa(b.n))
	return dir, os.MkdirAll(dir, 0o700)
}

// setup writes a configuration that leads to the sink.
type setup func(dir, config, sink string) error

// product starts the product on a fresh folder, ready to take alerts.
func (b *bench) product(with setup) (*process, error) {
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	return b.productAt(dir, with)
}

// productAt starts the product on a folder that may hold cases; without a setup
// as it is without configuration.
func (b *bench) productAt(dir string, with setup) (*process, error) {
	config := ""
	if with != nil {
		config = filepath.Join(dir, "casement.yaml")
		if err := with(dir, config, b.sink.Addr); err != nil {
			return nil, err
		}
	}
	database, err := b.databaseOf(dir)
	if err != nil {
		return nil, err
	}
	p, err := startProduct(b.ctx, b.binary, dir, config, database)
	if err != nil {
		return nil, err
	}
	if err := p.enrol(); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// drop ends the product and removes its folder and database.
func (b *bench) drop(p *process) {
	p.kill()
	if err := b.dropDatabase(p.folder); err != nil {
		b.sayf("  a database is left: %v", err)
	}
	_ = os.RemoveAll(p.folder) // the whole folder goes at the end anyway
}

// take reserves n finding numbers and returns the first.
func (b *bench) take(n int) int {
	f := b.first
	b.first += n
	return f
}

// sample is one measured run.
type sample struct {
	outcome
	cpu float64 // µs per alert
}

// measure runs a load against a process and attributes its CPU time.
func (b *bench) measure(p *process, l load) (sample, error) {
	before, err := cpuOf(p.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	if l.gen == nil {
		l.gen = b.gen
	}
	o := l.run()
	after, err := cpuOf(p.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	s := sample{outcome: o}
	if o.Alerts > 0 {
		s.cpu = float64((after - before).Microseconds()) / float64(o.Alerts)
	}
	if o.Failed > 0 {
		b.sayf("  %d requests failed", o.Failed)
	}
	return s, nil
}

// pair measures the product beside a floor, repeated, each in turn so that
// both see the same machine.
func (b *bench) pair(floor string, l load, plan func() plan) (product, base []sample, sync50, sync99 float64, err error) {
	var p50, p99 []float64
	for range b.repeats {
		fl := l
		fl.to, fl.plan = target{addr: b.floors.addr, path: floor}, plan()
		s, err := b.measure(b.floors, fl)
		if err != nil {
			return nil, nil, 0, 0, err
		}
		base = append(base, s)
		a, z, err := fsync(b.dir, 300*time.Millisecond)
		if err != nil {
			return nil, nil, 0, 0, err
		}
		p50, p99 = append(p50, a), append(p99, z)
		p, err := b.product(nil)
		if err != nil {
			return nil, nil, 0, 0, err
		}
		pl := l
		pl.to, pl.plan = p.alerts(), plan()
		s, err = b.measure(p, pl)
		if s.Failed > 0 {
			b.sayf("  stderr: %.300s", p.stderr)
		}
		b.drop(p)
		if err != nil {
			return nil, nil, 0, 0, err
		}
		product = append(product, s)
		b.sayf("  %s %.0f/s (%.0f µs), product %.0f/s (%.0f µs)", floor, base[len(base)-1].rate(), base[len(base)-1].cpu, s.rate(), s.cpu)
	}
	return product, base, median(p50), median(p99), nil
}

func rates(s []sample) float64 {
	v := make([]float64, len(s))
	for i, x := range s {
		v[i] = x.rate()
	}
	return median(v)
}

func cpus(s []sample) float64 {
	v := make([]float64, len(s))
	for i, x := range s {
		v[i] = x.cpu
	}
	return median(v)
}
