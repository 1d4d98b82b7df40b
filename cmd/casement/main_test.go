package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite expected output in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"casement": main})
}

// TestScripts runs testdata/script/*.txtar: each a command line session with
// its files, exit codes and expected output.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "awaits": awaits, "generate": generate, "freeport": freeport,
			"capture": capture, "until": until, "target": target, "tamper": tamper},
	})
}

// exits runs a program and wants an exit code: exits 4 casement gate x.json.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// awaits waits until a file exists.
func awaits(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1500 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%s did not appear", args[0])
}

// generate writes a file that is too odd or too large for a script.
func generate(ts *testscript.TestScript, _ bool, args []string) {
	files := map[string][]byte{
		"utf16":   {0xff, 0xfe, '{', 0, '}', 0},
		"nul":     make([]byte, 1<<20),
		"gzip":    {0x1f, 0x8b, 8, 0},
		"deep":    []byte(strings.Repeat("[", 5000) + strings.Repeat("]", 5000)),
		"latin1":  []byte("{\"title\":\"caf\xe9\",\"severity\":\"high\",\"source\":\"t\",\"asset\":{\"uid\":\"h\"}}\n"),
		"bom":     []byte("\xef\xbb\xbf" + `{"title":"a","severity":"high","source":"t","asset":{"uid":"h1"}}`),
		"hostile": []byte(`{"title":"a\u001b[31mred\u0007\u202egpj.exe","severity":"high","source":"t","asset":{"uid":"h1"}}` + "\n"),
		"many":    bytes.Repeat([]byte(`{"title":"b","severity":"nope","asset":{"uid":"h"}}`+"\n"), 30),
	}
	b, ok := files[args[0]]
	if !ok {
		ts.Fatalf("unknown file %s", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
}

// freeport puts a free loopback port into a variable.
func freeport(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// execute runs one command line in this process.
func execute(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	return code, out.String(), errs.String()
}

func tree(t *testing.T) *cobra.Command {
	t.Helper()
	c := &cli{streams: streams{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}}, env: os.Getenv}
	return c.root()
}

// TestEveryCommandHelps holds the rules of help: a short line, an example, at
// most 60 lines, and no secret by flag.
func TestEveryCommandHelps(t *testing.T) {
	seen := 0
	walk(tree(t), func(cmd *cobra.Command) {
		if !cmd.Runnable() || cmd.Name() == "help" {
			return
		}
		seen++
		path := cmd.CommandPath()
		if cmd.Short == "" {
			t.Errorf("%s has no short line", path)
		}
		if cmd.HasParent() && cmd.Example == "" {
			t.Errorf("%s has no example", path)
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short line ends with a full stop", path)
		}
		args := append(strings.Fields(path)[1:], "--help")
		code, out, errs := execute(t, "", args...)
		if code != 0 || errs != "" {
			t.Errorf("%s --help: code %d, stderr %q", path, code, errs)
		}
		if n := strings.Count(out, "\n"); n > 60 {
			t.Errorf("%s --help has %d lines, more than 60", path, n)
		}
		for _, word := range []string{"token", "secret", "api-key"} {
			if cmd.Flags().Lookup(word) != nil {
				t.Errorf("%s has a flag --%s: secrets are never flags", path, word)
			}
		}
	})
	if seen < 40 {
		t.Errorf("only %d commands were looked at", seen)
	}
}

// TestNamesAreTheContract: every command of the contract exists.
func TestNamesAreTheContract(t *testing.T) {
	have := map[string]bool{}
	walk(tree(t), func(cmd *cobra.Command) { have[strings.TrimPrefix(cmd.CommandPath(), "casement ")] = true })
	contract := `serve|inventory|try|parse|ingest|case list|case show|case timeline|case ack|case assign|case comment|case contain|case verify|case escalate|case snooze|case undo|case reopen|action undo|approval list|approval show|approval approve|approval reject|exception request|exception grant|exception revoke|exception list|policy check|policy test|policy explain|policy doc|policy backtest|owner resolve|owner gaps|gate|pause|resume|ledger verify|ledger export|backup|doctor|deadletter list|deadletter retry|quarantine list|quarantine show|quarantine release|quarantine drop|report|user|token|version|schema|completion|config show`
	for _, name := range strings.Split(contract, "|") {
		if !have[name] {
			t.Errorf("casement %s is missing", name)
		}
	}
}

// TestListsHaveFormats: what lists can be had as a table, JSON and JSON lines.
func TestListsHaveFormats(t *testing.T) {
	walk(tree(t), func(cmd *cobra.Command) {
		lists := cmd.Name() == "list" || cmd.Name() == "inventory" || cmd.Name() == "try" || cmd.Name() == "timeline" || cmd.Name() == "resolve" || cmd.Name() == "gaps"
		if !lists {
			return
		}
		f := cmd.Flags().Lookup("output")
		if f == nil {
			t.Errorf("%s has no -o", cmd.CommandPath())
			return
		}
		for _, word := range []string{"table", "json", "jsonl"} {
			if err := f.Value.Set(word); err != nil {
				t.Errorf("%s -o %s: %v", cmd.CommandPath(), word, err)
			}
		}
		if err := f.Value.Set("yaml"); err == nil {
			t.Errorf("%s takes -o yaml", cmd.CommandPath())
		}
	})
}

func TestTableFitsTheTerminal(t *testing.T) {
	tab := newTable("id", "what~", "n>")
	tab.add("a1", strings.Repeat("long ", 40), 5)
	tab.add("a2", "日本語のタイトル"+strings.Repeat("長", 60), 12345)
	tab.add("a3", "tab\there\x1b[2Jcursor\u202e", "x")
	for _, width := range []int{0, 40, 60, 100} {
		var b bytes.Buffer
		tab.print(term{w: &b, width: width}, "  ")
		for _, line := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
			if width > 0 && display(line) > width {
				t.Errorf("width %d: line of %d: %q", width, display(line), line)
			}
			if strings.ContainsAny(line, "\x1b\t\u202e") {
				t.Errorf("control characters reach the terminal: %q", line)
			}
		}
	}
}

func TestColorOnlyWhereItIsWanted(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	var b bytes.Buffer
	if newTerm(&b, env(nil), false).color {
		t.Error("color on a pipe")
	}
	if !newTerm(&b, env(map[string]string{"CLICOLOR_FORCE": "1"}), false).color {
		t.Error("CLICOLOR_FORCE is not honoured")
	}
	if newTerm(&b, env(map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}), false).color || newTerm(&b, env(map[string]string{"CLICOLOR_FORCE": "1"}), true).color {
		t.Error("NO_COLOR and --no-color are not honoured")
	}
}

func TestWords(t *testing.T) {
	for _, x := range []struct{ got, want string }{
		{group(1234567), "1,234,567"}, {group(-1234), "-1,234"}, {group(12), "12"},
		{plural(1, "case"), "1 case"}, {plural(2, "body"), "2 bodies"}, {plural(1200, "key"), "1,200 keys"},
		{span(90 * time.Minute), "1 h 30 min"}, {span(26 * time.Hour), "26 h"}, {span(72 * time.Hour), "3 d"}, {span(-time.Minute), "-1 min"},
		{shellWord("a b'c"), `'a b'\''c'`}, {shellWord("a/b-c.json"), "a/b-c.json"}, {fileWords([]string{"a", "b c"}), "a 'b c'"}, {fileWords([]string{"a", "b", "c", "d"}), "FILE..."},
		{cut("abcdef", 4), "abc…"}, {clean("a\nb\x00c"), "a b�c"},
	} {
		if x.got != x.want {
			t.Errorf("got %q, want %q", x.got, x.want)
		}
	}
}

// FuzzClean: whatever comes from outside, nothing of it steers the terminal.
func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31m\u202e\u2028\r\n\xff")
	f.Fuzz(func(t *testing.T, s string) {
		out := clean(s)
		if strings.ContainsAny(out, "\x1b\r\n\t\x00\u009b\u202e\u2028\u2029\u200b") {
			t.Errorf("%q became %q", s, out)
		}
		if clean(out) != out {
			t.Errorf("cleaning twice changes %q", out)
		}
	})
}

// TestScriptsAreThere: a lost directory must not pass as an empty suite.
func TestScriptsAreThere(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) < 16 {
		t.Errorf("only %d scripts (%v)", len(files), err)
	}
}

// TestLongStandardInputLeavesNothing: what does not fit in memory is read from a
// temporary file, and nothing of it stays.
func TestLongStandardInputLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	line := `{"source":"s","native_id":"%d","rule":"r","title":"` + strings.Repeat("x", 1000) + `","class":"storage.public","severity":"high","asset":{"uid":"a%d","type":"bucket"}}` + "\n"
	var b strings.Builder
	n := 0
	for ; b.Len() <= maxHeld; n++ {
		fmt.Fprintf(&b, line, n, n)
	}
	code, _, errs := execute(t, b.String(), "parse", "-")
	if want := fmt.Sprintf(`"kept":%d`, n); code != 0 || !strings.Contains(errs, want) {
		t.Errorf("code %d, no %s in %s", code, want, errs)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
