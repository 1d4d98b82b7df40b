package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/store"
)

func (c *cli) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "db",
		Short:   "Move an install from SQLite to PostgreSQL",
		Example: "  casement db copy --data /var/lib/casement --to postgres://casement@db.internal/casement",
	}
	cmd.AddCommand(c.dbCopyCommand())
	return cmd
}

// drainWait is how long db copy waits for the server's end, unless told.
const drainWait = 30 * time.Minute

func (c *cli) dbCopyCommand() *cobra.Command {
	var to string
	var o app.MoveOptions
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy an install to an empty PostgreSQL database, and go on there",
		Long: `Copy everything in the data folder to an empty PostgreSQL database, verify it, and make that
the install. A server may run meanwhile: what is there is copied beside it; then stop it,
and the copy goes on by itself with what is left. Everything is read back and compared: rows
and bytes of every table, every chain, the tree and the signatures of the ledger; a sample of
cases is replayed. Only then does PostgreSQL commit, in one transaction.

From then on no release starts on the data folder's database again. Nothing is lost or done
twice: what waits, runs on a clock or is under way goes on where casement serve --database
is started. It needs the same install.key: keep --data, or copy the file to other nodes.

Whatever ends it early, the same command finishes it or begins anew; at most one of the two
databases may act at any moment. Exit code 10 if what arrived does not hold: nothing was
changed then.`,
		Example: `  casement db copy --to postgres://casement@db.internal/casement --dry-run
  casement db copy --to postgres://casement@db.internal/casement
  casement serve --database postgres://casement@db.internal/casement`,
		Args: cobra.NoArgs,
	}
	f := output(cmd, "text", "json")
	fl := cmd.Flags()
	fl.StringVar(&to, "to", "", "the database: a `URL` without a password, or env:NAME, file:PATH of one (default: database.url of the configuration)")
	fl.DurationVar(&o.Wait, "wait", drainWait, "how `long` to wait for a running server's end")
	fl.BoolVar(&o.Rehearse, "dry-run", false, "copy, verify where no server runs, and take it all back")
	fl.BoolVar(&o.Cancel, "cancel", false, "take back a copy that was begun and that the database did not get")
	fl.BoolVarP(&c.yes, "yes", "y", false, "do it without asking")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		cfg, err := c.moveConfig(ctx, to)
		if err != nil {
			return err
		}
		if !o.Rehearse && !o.Cancel {
			if err := c.confirm(fmt.Sprintf("The install in %s goes on in %s; nothing starts on the folder's own database again.", cfg.DataDir, databaseName(cfg.Database))); err != nil {
				return err
			}
		}
		o.Say = c.sayf
		rep, err := app.Move(ctx, cfg, o)
		if err != nil {
			return moveError(err)
		}
		if f.word == "json" {
			return emitJSON(c, rep)
		}
		c.showMove(cfg.DataDir, rep, o)
		return nil
	})
	return cmd
}

// moveConfig is what a move needs: the data folder, its key, and the database.
func (c *cli) moveConfig(ctx context.Context, to string) (app.Config, error) {
	var cfg app.Config
	if c.database != "" {
		return cfg, failf(codeUsage, "casement db copy --to URL", "--database says where an install is; --to says where it goes")
	}
	var flags []config.Flag
	if to != "" {
		flags = append(flags, config.Flag{Key: "database.url", Name: "to", Value: to})
	}
	l, err := c.config(flags...)
	if err != nil {
		return cfg, err
	}
	if l.Database.URL == "" {
		return cfg, failf(codeUsage, "--to postgres://user@host/database", "name the database to copy to")
	}
	if cfg.DataDir, err = c.dataDir(); err != nil {
		return cfg, err
	}
	ok, err := hasData(cfg.DataDir)
	if err == nil && !ok {
		err = noData(cfg.DataDir)
	}
	if err != nil {
		return cfg, err
	}
	if err := cfg.Shared(ctx, l); err != nil {
		return cfg, &exitError{code: codeConfig, err: err}
	}
	return cfg, nil
}

// moveError gives an error of a move its code.
func moveError(err error) error {
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		return failf(codeConflict, "make a new database for it: CREATE DATABASE …", "%w", err)
	case errors.Is(err, store.ErrLocked):
		return failf(codeConflict, "stop the server, then run this again", "%w", err)
	case errors.Is(err, store.ErrDiffers), errors.Is(err, store.ErrUncopyable), errors.Is(err, app.ErrLedger):
		return failf(codeUnverified, "casement ledger verify; nothing was changed", "%w", err)
	case errors.Is(err, app.ErrOtherKey):
		return &exitError{code: codeConfig, err: err}
	}
	return err
}

func (c *cli) showMove(dir string, rep app.MoveReport, o app.MoveOptions) {
	serve := "casement serve --data " + shellWord(dir) + " --database …"
	switch {
	case rep.Before:
		fmt.Fprintf(c.out, "an earlier run had moved it to PostgreSQL at %s (copy %s)\n", rep.Target, rep.Copy)
		c.next(serve)
		return
	case o.Cancel:
		fmt.Fprintf(c.out, "PostgreSQL at %s holds nothing of it; %s is the install\n", rep.Target, clean(dir))
		c.next("casement serve --data " + shellWord(dir))
		return
	}
	what := "moved to"
	if o.Rehearse {
		what = "rehearsed, and taken back:"
	}
	fmt.Fprintf(c.out, "%s %s PostgreSQL at %s\n", clean(dir), what, rep.Target)
	c.fact("copied", fmt.Sprintf("%s in %s", plural(int(rep.Rows), "row"), plural(len(rep.Tables), "table")), "")
	if rep.Ledger.OK {
		c.fact("ledger", fmt.Sprintf("holds: %s, %s with good signatures", plural(int(rep.Ledger.Sequenced+rep.Ledger.Unsequenced), "event"), plural(rep.Ledger.Checkpoints, "checkpoint")), "")
		c.fact("root", rep.Ledger.Root.String(), "")
		c.fact("replayed", fmt.Sprintf("%s of %s", group(rep.Replayed), plural(rep.Ledger.Cases, "case")), "")
	}
	ms := func(n int64) string {
		return (time.Duration(n) * time.Millisecond).Round(10 * time.Millisecond).String()
	}
	c.fact("took", fmt.Sprintf("%s beside the server; it was stopped for %s", ms(rep.Beside), ms(rep.Stopped)), "")
	for _, t := range rep.Tables {
		if t.Replaced > 0 {
			c.fact("replaced", fmt.Sprintf("%s of %s held NUL or bytes that are no UTF-8, which PostgreSQL can't hold: they became U+FFFD", plural(int(t.Replaced), "text"), t.Name), "")
		}
	}
	if rep.Ahead > 0 {
		c.fact("clock", fmt.Sprintf("the database's clock is %s behind the newest event: set it before you start", ms(rep.Ahead)), "")
	}
	if rep.Done {
		c.next(serve)
	}
}
