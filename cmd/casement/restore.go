package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
)

func (c *cli) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore BACKUP | --after-pitr",
		Short: "Make a data folder out of a backup; its server starts paused",
		Long: `Copy a backup, or the data folder of a server that is stopped, to the data folder, which
must not hold an install yet. Ledger and replay of every case are verified first; exit code
10 if they do not hold, and nothing is left behind.

The world went on after the copy was made, and the original may still run. So the server
that is started on a restored folder begins a new epoch of the ledger that names the last
checkpoint of the old one, counts every change that was under way as unsure, takes alerts
in, and does nothing else until casement resume. Then it looks before it acts.

A backup that is used as data folder as it is starts the same way. A PostgreSQL database
that went back to a point in time does not know that it did: --after-pitr verifies it and
marks it, and then it starts this way too. All nodes must have ended.`,
		Example: "  casement restore /backups/casement-2027-01-31 --data /var/lib/casement\n  casement serve --data /var/lib/casement\n  casement resume",
		Args:    cobra.MaximumNArgs(1),
	}
	f := output(cmd, "text", "json")
	var moved bool
	cmd.Flags().BoolVar(&moved, "moved", false, "take it although the install moved to PostgreSQL: end all nodes there first")
	var pitr bool
	cmd.Flags().BoolVar(&pitr, "after-pitr", false, "the PostgreSQL database of --database went back to a point in time: verify and mark it, with all nodes ended")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		if pitr == (len(args) == 1) {
			return failf(codeUsage, "casement restore BACKUP, or casement restore --after-pitr --database URL", "name one thing to restore")
		}
		dir, err := c.dataDir()
		if err != nil {
			return err
		}
		l, err := c.config()
		if err != nil {
			return err
		}
		if pitr {
			return c.afterPITR(ctx, dir, l, f.word)
		}
		if l.Database.URL != "" {
			return failf(codeUsage, "restore the database to a point in time by PostgreSQL's means, then casement restore --after-pitr (docs/operate.md)", "the cases are in PostgreSQL, not in a data folder")
		}
		rep, err := app.Restore(ctx, args[0], app.Config{DataDir: dir, Version: buildInfo().Version}, moved)
		switch {
		case rep.Ledger.Fault != "":
			return failf(codeUnverified, "take an older backup", "%w", err)
		case errors.Is(err, fs.ErrNotExist):
			return failf(codeNotFound, "name a folder that casement backup made", "%w", err)
		case err != nil:
			return failf(codeConflict, "", "%w", err)
		case f.word == "json":
			return emitJSON(c, rep)
		}
		fmt.Fprintf(c.out, "%s: the copy of %s; the ledger holds (%s), %s replayed\n", clean(rep.Folder), rep.Backup,
			plural(int(rep.Ledger.Sequenced+rep.Ledger.Unsequenced), "event"), plural(rep.Replayed, "case"))
		c.next("casement serve --data " + shellWord(dir))
		return nil
	})
	return cmd
}

// afterPITR marks a database that went back to a point in time.
func (c *cli) afterPITR(ctx context.Context, dir string, l *config.Loaded, word string) error {
	if l.Database.URL == "" {
		return failf(codeUsage, "--database postgres://user@host/database", "name the database that went back")
	}
	cfg := app.Config{DataDir: dir, Version: buildInfo().Version}
	if err := cfg.Shared(ctx, l); err != nil {
		return &exitError{code: codeConfig, err: err}
	}
	rep, err := app.RestoreDatabase(ctx, cfg)
	switch {
	case rep.Ledger.Fault != "":
		return failf(codeUnverified, "go back to another point in time", "%w", err)
	case errors.Is(err, app.ErrOtherKey):
		return &exitError{code: codeConfig, err: err}
	case err != nil:
		return failf(codeConflict, "", "%w", err)
	case word == "json":
		return emitJSON(c, rep)
	}
	fmt.Fprintf(c.out, "%s is marked as gone back in time; the ledger holds (%s), %s replayed\n", clean(rep.Folder),
		plural(int(rep.Ledger.Sequenced+rep.Ledger.Unsequenced), "event"), plural(rep.Replayed, "case"))
	c.next("casement serve --data " + shellWord(dir) + " --database …")
	return nil
}
