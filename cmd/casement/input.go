package main

import (
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

// maxInput bounds one file of alerts; it is read whole, and what it becomes takes
// several times its size.
const maxInput = 256 << 20

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
	findings []finding.Finding
	summary  summary
	refusals []format.Note
	errs     []error
}

// readNamed reads a file, or standard input for "-".
func (c *cli) readNamed(name string) ([]byte, error) {
	var r io.Reader = c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(name, err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, failf(codeUsage, "name the files in it", "%s is a directory", name)
		}
		if info, err := f.Stat(); err == nil && info.Size() > maxInput {
			return nil, tooLarge(name) // before a byte of it is in memory
		}
		r = f
	} else if isTerminal(c.in) {
		c.sayf("reading standard input; end it with Ctrl-D")
	}
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return nil, fileError(name, err)
	case len(b) > maxInput:
		return nil, tooLarge(name)
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
	code := codeError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = codeNotFound
	case errors.Is(err, fs.ErrPermission):
		code = codeAuth
	}
	return failf(code, "", "%s: %w", name, err)
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
	cmd.Flags().Var(&c.asset, "asset", "what was scanned, TYPE=UID, for reports that do not say (SARIF without provenance): repository=acme/shop")
}

// readAlerts reads all files by the built-in readers and the mapping files. A
// file that can't be read does not stop the others; errs holds why.
func (c *cli) readAlerts(ctx context.Context, names, mappings []string, event string) (alerts, error) {
	a := alerts{summary: summary{Because: map[string]int{}, Formats: map[string]string{}}}
	extra, err := c.readMapping(mappings)
	if err != nil {
		return a, err
	}
	hash := c.hashSecret()
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return a, err
		}
		b, err := c.readNamed(n)
		var res format.Result
		if err == nil {
			shown := n
			if n == "-" {
				shown = "stdin"
			}
			res, err = all.Read(b, format.Options{HashSecret: hash, File: shown, Event: event, Asset: c.asset.of}, extra...)
		}
		s := &a.summary
		s.Read, s.Kept = s.Read+res.Read, s.Kept+res.Kept
		s.Suppressed, s.Refused = s.Suppressed+res.Suppressed, s.Refused+res.Refused
		for _, x := range res.Suppressions {
			s.Because[clean(x.Reason)]++
		}
		if err == nil || len(res.Refusals) > 1 { // a single one is the file's error
			a.refusals = append(a.refusals, res.Refusals...)
		}
		if err != nil {
			a.errs = append(a.errs, err)
			s.Failed = append(s.Failed, n)
			continue
		}
		s.Formats[n] = res.Format
		a.findings = append(a.findings, res.Findings...)
	}
	return a, nil
}

// shownRefusals is how many refusals are printed one by one.
const shownRefusals = 20

// tell prints what could not be read and returns the exit code's error: none
// if all was read, partial if some was, an error if nothing was.
func (c *cli) tell(a alerts) error {
	for i, n := range a.refusals {
		if i == shownRefusals {
			fmt.Fprintf(c.err, "%s %d more records\n", c.talk.paint(yellow, "refused:"), len(a.refusals)-i)
			break
		}
		what := n.Reason
		if n.Record != "" {
			what = "record " + n.Record + ": " + what
		}
		fmt.Fprintf(c.err, "%s %s: %s\n", c.talk.paint(yellow, "refused:"), clean(strings.TrimSuffix(n.Where, "#")), clean(what))
	}
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
