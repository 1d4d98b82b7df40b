package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
)

func (c *cli) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Make a data folder out of a backup; its server starts paused",
		Long: `Copy a backup, or the data folder of a server that is stopped, to the data folder, which
must not hold an install yet. Ledger and replay of every case are verified first; exit code
10 if they do not hold, and nothing is left behind.

The world went on after the copy was made, and the original may still run. So the server
that is started on a restored folder begins a new epoch of the ledger that names the last
checkpoint of the old one, counts every change that was under way as unsure, takes alerts
in, and does nothing else until casement resume. Then it looks before it acts.

A backup that is used as data folder as it is starts the same way.`,
		Example: "  casement restore /backups/casement-2027-01-31 --data /var/lib/casement\n  casement serve --data /var/lib/casement\n  casement resume",
		Args:    exactly("BACKUP"),
	}
	f := output(cmd, "text", "json")
	var moved bool
	cmd.Flags().BoolVar(&moved, "moved", false, "take it although the install moved to PostgreSQL: end all nodes there first")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		dir, err := c.dataDir()
		if err != nil {
			return err
		}
		l, err := c.config(nil)
		if err != nil {
			return err
		}
		if l.Database.URL != "" {
			return failf(codeUsage, "restore the database to a point in time by PostgreSQL's means (docs/operate.md)", "the cases are in PostgreSQL, not in a data folder")
		}
		rep, err := app.Restore(ctx, args[0], app.Config{DataDir: dir, Version: buildInfo().Version}, moved)
		switch {
		case rep.Ledger.Fault != "":
			return failf(codeUnverified, "take an older backup", "%w", err)
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
