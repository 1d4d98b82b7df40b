package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/store"
)

func (c *cli) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ledger",
		Short:   "Verify and export the tamper-evident record; prune what is kept beside it",
		Example: "  casement ledger verify\n  casement ledger export > ledger.jsonl\n  casement ledger verify --file ledger.jsonl --verifier KEY",
	}
	cmd.AddCommand(c.ledgerVerifyCommand(), c.ledgerExportCommand(), c.retentionCommand())
	return cmd
}

func (c *cli) ledgerVerifyCommand() *cobra.Command {
	var file, verifier string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check every chain, the tree and the signed checkpoints",
		Long: `Check the record: every hash chain, the tree over all of them, the signatures of the
checkpoints, and that every case stands where its record ends. Exit code 10 if it does not
hold, with the first fault. --file checks an export without the install; give it the
public key that casement ledger verify printed there to check its checkpoints as well.`,
		Example: "  casement ledger verify\n  casement ledger verify --file ledger.jsonl --verifier casement-ledger+…",
		Args:    cobra.NoArgs,
	}
	f := output(cmd, "text", "json")
	cmd.Flags().StringVar(&file, "file", "", "export `file` to check instead")
	cmd.Flags().StringVar(&verifier, "verifier", "", "public `key` of the install the export is from")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		var rep app.LedgerReport
		var err error
		if file != "" {
			rep, err = c.verifyExport(file, verifier)
		} else {
			err = c.with(ctx, false, func(k *client) error { return k.call(ctx, "POST", "/api/v1/ledger/verify", nil, &rep) })
		}
		if err != nil {
			return err
		}
		if f.word == "json" {
			err = emitJSON(c, rep)
		} else {
			c.showLedger(rep, file)
		}
		if err == nil && rep.OK && verifier != "" && rep.Checkpoints == 0 {
			err = failf(codeUnverified, "export again: a checkpoint is signed every few minutes", "the chains hold, but no checkpoint signed by that key is in %s: where it ends is not proven", file)
		}
		if err == nil && !rep.OK {
			err = failf(codeUnverified, "keep the data folder as it is, and compare it with a backup and with checkpoints kept elsewhere", "the ledger does not hold: %s", rep.Fault)
		}
		return err
	})
	return cmd
}

func (c *cli) showLedger(rep app.LedgerReport, file string) {
	if !rep.OK {
		return
	}
	t := c.term
	fmt.Fprintf(t.w, "%s: %s in the tree, %s not in it yet, %s", t.paint(green, "the ledger holds"), plural(int(rep.Sequenced), "event"),
		group(int(rep.Unsequenced)), plural(rep.Streams, "stream"))
	if file == "" {
		fmt.Fprintf(t.w, ", %s", plural(rep.Cases, "case"))
	}
	fmt.Fprintln(t.w)
	c.fact("root", rep.Root.String(), "")
	check := "none yet"
	if rep.Checkpoints > 0 {
		check = fmt.Sprintf("%s with good signatures, the newest of %s", plural(rep.Checkpoints, "checkpoint"), rep.Newest.UTC().Format(time.RFC3339))
	} else if file != "" && rep.Verifier != "" {
		check = "the export holds none: a tail that was cut off would not show"
	} else if file != "" {
		check = "not checked: no --verifier was given, so a tail that was cut off would not show"
	}
	c.fact("checkpoints", check, "")
	if rep.Verifier != "" {
		c.fact("verifier", rep.Verifier, "")
	}
}

// verifyExport checks a file without an install.
func (c *cli) verifyExport(name, verifier string) (rep app.LedgerReport, err error) {
	b, err := c.readNamed(name)
	if err != nil {
		return rep, err
	}
	var checks []ledger.Checkpoint
	if verifier != "" {
		known, err := note.NewVerifier(verifier)
		if err != nil {
			return rep, failf(codeUsage, "casement ledger verify prints it", "--verifier is no public key of a ledger: %w", err)
		}
		rep.Verifier = verifier
		sc := bufio.NewScanner(bytes.NewReader(b))
		sc.Buffer(nil, 16<<20)
		for sc.Scan() {
			var line struct {
				Checkpoint string `json:"checkpoint"`
			}
			if json.Unmarshal(sc.Bytes(), &line) != nil || line.Checkpoint == "" {
				continue
			}
			cp, err := ledger.Open([]byte(line.Checkpoint), note.VerifierList(known))
			if err != nil {
				rep.Fault = "a checkpoint is not signed by that key: " + err.Error()
				return rep, nil
			}
			checks = append(checks, cp)
			if cp.At.After(rep.Newest) {
				rep.Newest = cp.At
			}
		}
		if err := sc.Err(); err != nil {
			return rep, failf(codeError, "", "%s: %w", name, err)
		}
	}
	rep.Checkpoints = len(checks)
	if trimmed := bytes.TrimSpace(b); len(trimmed) == 0 || trimmed[0] != '{' {
		return rep, failf(codeError, "casement ledger export > ledger.jsonl", "%s is no export of a ledger: want JSON lines", name)
	}
	rep.AuditReport, err = store.VerifyExport(bytes.NewReader(b), checks...)
	if err != nil {
		rep.Fault = err.Error()
	}
	rep.OK = err == nil
	return rep, nil
}

func (c *cli) ledgerExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write the whole record as JSON lines",
		Long:    "Write every event and checkpoint as JSON lines to standard output. It holds no free text\nof people. Anybody can check it with casement ledger verify --file.",
		Example: "  casement ledger export > ledger.jsonl",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			resp, err := k.send(ctx, "GET", "/api/v1/ledger/export", "", nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			w := bufio.NewWriter(c.out)
			last := &lastLine{}
			n, err := io.Copy(io.MultiWriter(w, last), resp.Body)
			if err := firstOf(err, w.Flush()); err != nil {
				return failf(codeRemote, "", "the export ended early: %w", err)
			}
			var fault struct {
				Error string `json:"error"`
			}
			if json.Unmarshal(last.line(), &fault) == nil && fault.Error != "" {
				return failf(codeRemote, "", "%s", fault.Error)
			}
			c.sayf("%d bytes written", n)
			c.next("casement ledger verify --file ledger.jsonl")
			return nil
		})
	})
	return cmd
}

// lastLine keeps the last line of what is written.
type lastLine struct{ done, open []byte }

// Write implements io.Writer.
func (l *lastLine) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			l.open = append(l.open, rest...)
			break
		}
		l.done = append(append(l.done[:0], l.open...), rest[:i]...)
		l.open, rest = l.open[:0], rest[i+1:]
	}
	return len(p), nil
}

func (l *lastLine) line() []byte {
	if len(l.open) > 0 {
		return l.open
	}
	return l.done
}

func (c *cli) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FOLDER",
		Short: "Copy database and install key into a new folder, while it runs",
		Long: `Make a complete, consistent copy of the data folder in a new folder, while the server goes
on working. casement restore brings it back. It holds the install key: keep it as safe as
the data folder itself. Where it does not fit (exit code 11), or too much is written while
it is made (7; docs/operate.md), nothing of it is left.`,
		Example: "  casement backup /backups/casement-2027-01-31",
		Args:    exactly("FOLDER"),
	}
	f := output(cmd, "text", "json")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		folder, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if _, err := os.Lstat(folder); err == nil {
			return failf(codeConflict, "name a folder that does not exist yet", "%s exists already", folder)
		}
		if c.env("CASEMENT_URL") != "" {
			return failf(codeUsage, "run it on the server's machine", "a backup is made on the machine that holds the data, not over CASEMENT_URL")
		}
		return c.with(ctx, false, func(k *client) error {
			var out struct {
				Folder string `json:"folder"`
				Bytes  int    `json:"bytes"`
			}
			if err := k.call(ctx, "POST", "/api/v1/backup", map[string]string{"folder": folder}, &out); err != nil {
				return err
			}
			if f.word == "json" {
				return emitJSON(c, out)
			}
			fmt.Fprintf(c.out, "%s: %s bytes and the install key\n", clean(out.Folder), group(out.Bytes))
			c.next("casement --data " + shellWord(out.Folder) + " ledger verify")
			return nil
		})
	})
	return cmd
}
