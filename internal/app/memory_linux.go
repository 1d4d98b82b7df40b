package app

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBackProgram gives back the pages of the program's own file: the start reads
// nearly all of them, and of what follows a few need a third. They stay in the
// system's cache, from where those that are needed are mapped again.
func giveBackProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range unchanged(bytes.NewReader(b), exe) {
		// What is only read, and never was written, is in the file as it is here.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED) // a hint: refused, they stay
	}
}

// span is a range of addresses.
type span struct{ from, to uintptr }

// unchanged returns the mappings of a file that can't be written and hold nothing
// that differs from it, out of /proc/self/smaps (proc_pid_smaps(5)).
func unchanged(smaps io.Reader, file string) []span {
	var out []span
	var m span
	inside := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		text := lines.Text()
		key, rest, ok := strings.Cut(text, ":")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 || strings.ContainsAny(key, " -") { // from-to perms offset dev:dev inode file
			m, inside = spanOf(text, file)
			continue
		}
		// Pages that differ from the file are anonymous.
		if inside && key == "Anonymous" && f[0] == "0" {
			out = append(out, m)
		}
	}
	return out
}

// spanOf reads the first line of a mapping; false for one of another file, or one that can be written.
func spanOf(line, file string) (m span, ok bool) {
	head, name, ok := strings.Cut(line, "/")
	f := strings.Fields(head)
	if !ok || "/"+name != file || len(f) < 2 || !strings.HasPrefix(f[1], "r-") || !strings.HasSuffix(f[1], "p") {
		return m, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(from, 16, 64)
	b, err2 := strconv.ParseUint(to, 16, 64)
	return span{uintptr(a), uintptr(b)}, err1 == nil && err2 == nil && a < b
}
