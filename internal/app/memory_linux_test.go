package app

import (
	"slices"
	"strings"
	"testing"
)

// TestUnchanged: only what can't be written, is private, is of the program and was
// never changed is given back.
func TestUnchanged(t *testing.T) {
	one := func(head, anonymous string) string {
		return head + "\nSize: 8 kB\nRss: 8 kB\nPrivate_Dirty: 8 kB\nAnonymous: " + anonymous + " kB\nVmFlags: rd ex mr mw me\n"
	}
	text := one("00400000-00402000 r-xp 00000000 fe:01 17   /opt/case ment", "0") +
		one("00402000-00404000 r--p 00002000 fe:01 17   /opt/case ment", "0") +
		one("00404000-00406000 r--p 00004000 fe:01 17   /opt/case ment", "8") + // relocated
		one("00408000-0040a000 r--p 00004000 fe:01 17   /opt/case ment", "4") +
		one("0040a000-0040c000 rw-p 00006000 fe:01 17   /opt/case ment", "0") +
		one("0040c000-0040e000 r--s 00008000 fe:01 17   /opt/case ment", "0") +
		one("00500000-00502000 r-xp 00000000 fe:01 18   /lib/other", "0") +
		one("c000000000-c000002000 rw-p 00000000 00:00 0 ", "0")
	want := []span{{0x400000, 0x402000}, {0x402000, 0x404000}}
	if got := unchanged(strings.NewReader(text), "/opt/case ment"); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	giveBackProgram()
}
