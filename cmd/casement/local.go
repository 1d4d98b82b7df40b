package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/store"
)

// tenant is the organisation commands on this machine work for.
const tenant = finding.DefaultTenant

// dataDir is the data folder: --data, else the configuration's.
func (c *cli) dataDir() (string, error) {
	if c.data != "" {
		return c.data, nil
	}
	l, err := c.config()
	if err != nil {
		return "", err
	}
	return l.Data.Dir, nil
}

// hasData reports whether the data folder exists.
func hasData(dir string) (bool, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && !info.IsDir() {
		return false, failf(codeUsage, "name a folder with --data", "%s is not a folder", dir)
	}
	return err == nil, err
}

// openStore opens the store of this machine for a command that needs the store
// itself. done closes it.
func (c *cli) openStore(ctx context.Context) (s app.Store, done func() error, err error) {
	l, err := c.config()
	if err != nil {
		return nil, nil, err
	}
	if l.Database.URL != "" {
		var cfg app.Config
		if err := cfg.Shared(ctx, l); err != nil {
			return nil, nil, &exitError{code: codeConfig, err: err}
		}
		db, err := store.OpenPostgres(ctx, cfg.Database)
		if err != nil {
			return nil, nil, err
		}
		return db, db.Close, nil
	}
	dir, err := c.dataDir()
	if err != nil {
		return nil, nil, err
	}
	ok, err := hasData(dir)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, noData(dir)
	}
	file, err := store.Open(ctx, dir)
	if errors.Is(err, store.ErrLocked) {
		return nil, nil, failf(codeConflict, "stop the server, or work on a copy made with casement backup", "%w", err)
	}
	if err != nil {
		return nil, nil, err
	}
	return file, file.Close, nil
}

func noData(dir string) error {
	return failf(codeNotFound, "casement serve makes one; --data FOLDER or CASEMENT_DATA_DIR names another; CASEMENT_URL and CASEMENT_TOKEN name a server", "there is no data folder %s", dir)
}
