package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// median of an odd or even number of values.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// quantile q (0..1) of durations, in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return float64(s[int(float64(len(s)-1)*q)]) / float64(time.Millisecond)
}

// ticks a second of /proc/*/stat; 100 on every Linux Go runs on.
const ticks = 100

// cpuOf is the CPU time a process used so far.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	sys, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%d/stat can't be read", pid)
	}
	return time.Duration(user+sys) * time.Second / ticks, nil
}

// memoryOf is the resident memory of a process and its peak, in megabytes.
func memoryOf(pid int) (now, peak float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "VmRSS:":
			now = n / 1024
		case "VmHWM:":
			peak = n / 1024
		}
	}
	return now, peak
}

// fsync measures the disk under dir: append 4 kB and sync, for the time given.
// It returns p50 and p99 in milliseconds.
func fsync(dir string, dur time.Duration) (p50, p99 float64, err error) {
	path := filepath.Join(dir, "fsync-probe")
	f, err := os.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	var took []time.Duration
	page := make([]byte, 4096)
	for end := time.Now().Add(dur); time.Now().Before(end); {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(start))
	}
	return quantile(took, 0.50), quantile(took, 0.99), nil
}
