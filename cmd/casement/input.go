package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/format/mapping"
)

// maxInput bounds one file of alerts, in bytes. Formats that can't be read piece
// by piece (CSV, mappings that reach out of the record) take several times that
// in memory.
const maxInput = 256 << 20

// maxHeld is how much of standard input is held in memory; what is longer goes
// to a temporary file, which has no name from the start where the system allows
// it: nothing is left behind, however the command ends.
const maxHeld = 8 << 20

// summary counts what became of the records of all files.
type summary struct {
	Read       int `json:"read"`
	Kept       int `json:"kept"`
	Suppressed int `json:"suppressed"`
	Refused    int `json:"refused"`
	// Because counts the suppressions by the reason the source gives.
	Because map[string]int `json:"suppressed_because,omitempty"`
	// Formats are the formats found, by file.
	Formats map[string]string `json:"formats,omitempty"`
	// Failed are the files of which nothing could be read.
	Failed []string `json:"failed,omitempty"`
}

// alerts is what the named files hold.
type alerts struct {
	// findings is empty when they were handed to somebody else.
	findings []finding.Finding
	summary  summary
	// refusals are the first ones; the summary counts all.
	refusals []format.Note
	errs     []error
	// nameless counts findings that name a file and nothing it is in, unnamed
	// those that name no asset at all.
	nameless, unnamed int
}

// input is an open file of alerts.
type input interface {
	format.Source
	Close() error
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

type section struct {
	*io.SectionReader
	close func() error
}

func (s section) Close() error { return s.close() }

// open opens a file, or standard input for "-", of at most maxInput bytes.
func (c *cli) open(name string) (in input, err error) {
	if name == "-" {
		if isTerminal(c.in) {
			c.sayf("reading standard input; end it with Ctrl-D")
		}
		return spool(name, c.in)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = fileError(name, err)
	case info.IsDir():
		err = failf(codeUsage, "name the files in it", "%s is a directory", name)
	case info.Size() > maxInput:
		err = tooLarge(name)
	case info.Mode().IsRegular():
		return section{io.NewSectionReader(f, 0, info.Size()), f.Close}, nil
	default: // a pipe
		in, err = spool(name, f)
	}
	return in, firstOf(err, f.Close())
}

// spool makes what can be read only once readable anywhere.
func spool(name string, r io.Reader) (input, error) {
	head, err := io.ReadAll(io.LimitReader(r, maxHeld+1))
	if err != nil {
		return nil, fileError(name, err)
	}
	if len(head) <= maxHeld {
		return memory{bytes.NewReader(head)}, nil
	}
	f, remove, err := nameless()
	if err != nil {
		return nil, failf(codeError, "name a file instead", "standard input is too long to be held in memory: %w", err)
	}
	n, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), io.LimitReader(r, maxInput+1-int64(len(head)))))
	if err == nil && n > maxInput {
		err = tooLarge(name)
	}
	if err != nil {
		return nil, firstOf(err, remove())
	}
	return section{io.NewSectionReader(f, 0, n), remove}, nil
}

// nameless makes a file for this process alone, without a name where the system
// allows it. remove closes it, and then it is gone.
func nameless() (f *os.File, remove func() error, err error) {
	if f, err = os.CreateTemp("", "casement-*"); err != nil { // 0600
		return nil, nil, err
	}
	remove = f.Close
	if os.Remove(f.Name()) != nil {
		remove = func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }
	}
	return f, remove, nil
}

// readNamed reads a whole file, or standard input for "-".
func (c *cli) readNamed(name string) ([]byte, error) {
	in, err := c.open(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, in.Size())
	n, err := in.ReadAt(b, 0)
	if n == len(b) {
		err = nil
	}
	if err = firstOf(err, in.Close()); err != nil {
		return nil, fileError(name, err)
	}
	return b, nil
}

func tooLarge(name string) error {
	return failf(codeError, "split it", "%s is larger than %d MiB", name, maxInput>>20)
}

// fileError words a failure to read a file, with the code that fits.
func fileError(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	code, mend := codeError, ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code, mend = codeNotFound, "check the path; it is looked up from the current folder"
	case errors.Is(err, fs.ErrPermission):
		code, mend = codeAuth, "let this user read it, or run as one who may"
	}
	return failf(code, mend, "%s: %w", name, err)
}

// readMapping loads mapping files into readers.
func (c *cli) readMapping(names []string) ([]format.Reader, error) {
	var out []format.Reader
	for _, n := range names {
		b, err := c.readNamed(n)
		if err != nil {
			return nil, err
		}
		r, err := mapping.Load(n, b)
		if err != nil {
			return nil, &exitError{code: codeConfig, err: err, mend: "docs/mapping.md describes mapping files"}
		}
		out = append(out, r)
	}
	return out, nil
}

// scanned is the --asset flag: what was scanned, for reports that do not say.
type scanned struct{ of finding.Asset }

// String implements pflag.Value.
func (s *scanned) String() string {
	if s.of.UID == "" {
		return ""
	}
	return s.of.Type + "=" + s.of.UID
}

// Type implements pflag.Value.
func (s *scanned) Type() string { return "asset" }

// Set implements pflag.Value: TYPE=UID, or the UID of a repository.
func (s *scanned) Set(word string) error {
	kind, uid, ok := strings.Cut(word, "=")
	if !ok {
		kind, uid = "repository", word
	}
	if kind == "" || uid == "" {
		return errors.New("want TYPE=UID such as repository=acme/shop or image=registry.example.com/shop")
	}
	s.of = finding.Asset{UID: uid, Type: kind, Name: uid}
	return nil
}

// scans adds --asset to a command that reads reports.
func (c *cli) scans(cmd *cobra.Command) {
	cmd.Flags().Var(&c.asset, "asset", "what was scanned, TYPE=UID, for reports that do not say: repository=acme/shop, cluster_node=node-7")
}

// readAlerts reads all files by the built-in readers and the mapping files. A
// file that can't be read does not stop the others; errs holds why.
func (c *cli) readAlerts(ctx context.Context, names, mappings []string, event string) (alerts, error) {
	var list []finding.Finding
	a, err := c.readEach(ctx, names, mappings, event, func(f finding.Finding) error {
		list = append(list, f)
		return nil
	})
	a.findings = list
	return a, err
}

// readEach is readAlerts for files of any number of findings: each is handed to
// keep as it is read. keep's error stops it.
func (c *cli) readEach(ctx context.Context, names, mappings []string, event string, keep func(finding.Finding) error) (alerts, error) {
	a := alerts{summary: summary{Because: map[string]int{}, Formats: map[string]string{}}}
	extra, err := c.readMapping(mappings)
	if err != nil {
		return a, err
	}
	hash := c.hashSecret()
	for _, n := range names {
		opt := format.Options{HashSecret: hash, File: shownName(n), Event: event, Asset: c.asset.of}
		if stop := a.file(ctx, c, n, opt, extra, keep); stop != nil {
			return a, stop
		}
	}
	return a, nil
}

func shownName(name string) string {
	if name == "-" {
		return "stdin"
	}
	return name
}

// file reads one file; stop is an error that is not the file's.
func (a *alerts) file(ctx context.Context, c *cli, name string, opt format.Options, extra []format.Reader, keep func(finding.Finding) error) (stop error) {
	word, mark, refused := "", len(a.refusals), 0
	in, err := c.open(name)
	if err == nil {
		err = all.Each(in, opt, func(res format.Result) error {
			word, refused = res.Format, refused+res.Refused
			a.add(res)
			for _, f := range res.Findings {
				if stop = keep(f); stop != nil {
					return stop
				}
			}
			stop = ctx.Err()
			return stop
		}, extra...)
		err = firstOf(err, in.Close())
	}
	if stop != nil {
		return stop
	}
	if err != nil && refused == 1 { // it is the file's error
		a.refusals = a.refusals[:mark]
	}
	if err != nil {
		a.errs = append(a.errs, err)
		a.summary.Failed = append(a.summary.Failed, name)
		return nil
	}
	a.summary.Formats[name] = word
	return nil
}

// add counts what a piece of a file held.
func (a *alerts) add(res format.Result) {
	s := &a.summary
	s.Read, s.Kept = s.Read+res.Read, s.Kept+res.Kept
	s.Suppressed, s.Refused = s.Suppressed+res.Suppressed, s.Refused+res.Refused
	for _, x := range res.Suppressions {
		s.Because[clean(x.Reason)]++
	}
	for _, f := range res.Findings {
		switch {
		case !format.Named(f.Asset):
			a.unnamed++
		case f.Asset.Type == "file" && f.Location.Repository == "":
			a.nameless++
		}
	}
	a.refusals = append(a.refusals, res.Refusals[:max(0, min(len(res.Refusals), shownRefusals-len(a.refusals)))]...)
}

// shownRefusals is how many refusals are printed one by one.
const shownRefusals = 20

// tell prints what could not be read and returns the exit code's error: none
// if all was read, partial if some was, an error if nothing was.
func (c *cli) tell(a alerts) error {
	for _, n := range a.refusals {
		what := n.Reason
		if n.Record != "" {
			what = "record " + n.Record + ": " + what
		}
		fmt.Fprintf(c.err, "%s %s: %s\n", c.talk.paint(yellow, "refused:"), clean(strings.TrimSuffix(n.Where, "#")), clean(what))
	}
	if n := a.summary.Refused - len(a.refusals); n > 0 && len(a.refusals) == shownRefusals {
		fmt.Fprintf(c.err, "%s %d more records\n", c.talk.paint(yellow, "refused:"), n)
	}
	c.tellNameless(a)
	nothing := a.summary.Kept == 0 && a.summary.Suppressed == 0 && len(a.summary.Formats) == 0
	for i, err := range a.errs {
		if nothing && i == len(a.errs)-1 {
			if i == 0 {
				return err // the only news, printed once as the error
			}
			return failf(codeError, "", "%w", err)
		}
		c.report(err)
	}
	switch {
	case a.summary.Refused == 0 && len(a.errs) == 0:
		return nil
	case a.summary.Kept == 0 && a.summary.Suppressed == 0:
		return failf(codeError, "", "no record could be read")
	}
	return silent(codePartial)
}

// tellNameless says what it means that a report does not name what was scanned:
// files of the same name in two repositories would be one asset, and what stands
// in for an asset is nothing that can be changed.
func (c *cli) tellNameless(a alerts) {
	if n := a.unnamed; n > 0 {
		c.sayf("%s no asset (kube-bench names no node, an alert without instance no system): name it with --asset TYPE=UID, or nobody knows whose it is and what to change",
			pluralVerb(n, "finding names", "findings name"))
	}
	if n := a.nameless; n > 0 {
		c.sayf("%s a file but not its repository (SARIF without versionControlProvenance): name it with --asset repository=OWNER/NAME, or equal paths of two repositories are one asset",
			pluralVerb(n, "finding names", "findings name"))
	}
}

func pluralVerb(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}

// hashSecret returns the keyed hash that takes the place of secrets in
// findings. The key belongs to this machine: the same secret gives the same
// hash on every run, and whoever gets the output can't try passwords against it.
func (c *cli) hashSecret() func(string) string {
	key := machineKey()
	return func(secret string) string {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(secret))
		return hex.EncodeToString(m.Sum(nil)[:16])
	}
}

func machineKey() []byte {
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/random/boot_id"} {
		b, err := os.ReadFile(path)
		if id := strings.TrimSpace(string(b)); err == nil && id != "" {
			sum := sha256.Sum256([]byte("casement/1/local-secret-hash\x00" + id))
			return sum[:]
		}
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	return key
}
