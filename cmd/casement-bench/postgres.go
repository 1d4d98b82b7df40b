package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// databaseFile in a data folder names the database of its install.
const databaseFile = "database"

// databaseOf returns the URL of the database of a folder, which it makes at
// first; "" where SQLite is measured.
func (b *bench) databaseOf(folder string) (string, error) {
	if b.database == "" {
		return "", nil
	}
	file := filepath.Join(folder, databaseFile)
	if text, err := os.ReadFile(file); err == nil {
		return string(text), nil
	}
	at, err := url.Parse(b.database)
	if err != nil {
		return "", fmt.Errorf("-database: %w", err)
	}
	name := fmt.Sprintf("casement_bench_%d_%s", os.Getpid(), filepath.Base(folder))
	if err := b.admin("CREATE DATABASE " + name); err != nil {
		return "", fmt.Errorf("-database: %w", err)
	}
	at.Path = "/" + name
	return at.String(), os.WriteFile(file, []byte(at.String()), 0o600)
}

// dropDatabase removes the database of a folder, if it has one.
func (b *bench) dropDatabase(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, databaseFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	at, err2 := url.Parse(string(text))
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	return b.admin("DROP DATABASE " + strings.TrimPrefix(at.Path, "/") + " WITH (FORCE)")
}

// admin runs one statement on the server.
func (b *bench) admin(text string) error {
	ctx := context.WithoutCancel(b.ctx) // databases are dropped after an interrupt as well
	c, err := pgx.Connect(ctx, b.database)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, text)
	return errors.Join(err, c.Close(ctx))
}

// bar is what a row whose What begins so has to reach.
type bar struct {
	what, target string
	met          func(r row) bool
}

// postgresBars are the bars of rows that differ on PostgreSQL, which shares the
// cores of the product.
func postgresBars() []bar {
	none := func(row) bool { return true }
	return []bar{
		{"intake, 1 alert a request", "≥ 0.25 × /typedwal", func(r row) bool { return r.Ratio >= 0.25 }},
		{"intake, all distinct", "≥ 3,000/s", func(r row) bool { return r.Got >= 3000 }},
		{"intake, batches of 100", "≥ 0.4 × /decode", func(r row) bool { return r.Ratio >= 0.4 }},
		{"alert to action at the target, 50/s, p50", "≤ 4 × /walrelay", func(r row) bool { return r.Ratio <= 4 }},
		{"alert to action at the target, 50/s, p99", "", none},
		{"actions, distinct, durable", "≥ 0.15 × /walrelay", func(r row) bool { return r.Ratio >= 0.15 }},
		{"case steps", "≥ 4,000/s", func(r row) bool { return r.Got >= 4000 }},
		{"CPU per", "", none},
		{"start to ready", "", none},
	}
}

// onPostgres is a row with PostgreSQL's bar. Memory and CPU time are those of
// the product alone.
func onPostgres(r row) row {
	for _, bar := range postgresBars() {
		if strings.HasPrefix(r.What, bar.what) {
			r.Target, r.Met = bar.target, bar.met(r)
			break
		}
	}
	r.ID += " pg"
	return r
}
