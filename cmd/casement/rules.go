package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
)

// judging are the flags of commands that judge without a server.
type judging struct {
	policy string
	owners []string
	kev    string
}

// judges adds the flags of a command that judges.
func judges(cmd *cobra.Command) *judging {
	j := &judging{}
	cmd.Flags().StringVar(&j.policy, "policy", "", "policy `directory` (default: policy.dir of the configuration, else the shipped pack)")
	cmd.Flags().StringArrayVar(&j.owners, "owners", nil, "`file` that names owners: owners.yaml, a Backstage catalog, or owner/repo=CODEOWNERS (repeatable)")
	cmd.Flags().StringVar(&j.kev, "kev", "", "`file` of CISA's known exploited vulnerabilities (JSON)")
	return j
}

// config loads the configuration, the default one if there is no file.
func (c *cli) config(flags ...config.Flag) (*config.Loaded, error) {
	if c.data != "" {
		flags = append(flags, config.Flag{Key: "data.dir", Name: "data", Value: c.data})
	}
	if c.database != "" {
		flags = append(flags, config.Flag{Key: "database.url", Name: "database", Value: c.database})
	}
	l, issues, err := config.Load(config.Options{Path: c.configPath, Env: os.Environ(), Flags: flags})
	if err != nil {
		return nil, &exitError{code: codeConfig, err: err, mend: "casement config validate --config FILE"}
	}
	switch {
	case issues.FromFlags():
		return nil, &exitError{code: codeUsage, err: issues}
	case len(issues) > 0:
		return nil, &exitError{code: codeConfig, err: issues}
	}
	return l, nil
}

// readPolicy reads the YAML files of a policy directory (or one file).
func readPolicy(dir string) ([]policy.File, error) {
	out, err := app.ReadPolicy(dir)
	switch {
	case errors.Is(err, app.ErrNoPolicy):
		return nil, setupError(err)
	case err != nil:
		return nil, fileError(dir, err)
	}
	return out, nil
}

// loadPack loads the policy of a directory, "" for the shipped one. It may name
// the verbs of the configured connectors and of every kind that there is.
func (c *cli) loadPack(dir string) (*policy.Pack, error) {
	l, err := c.config()
	if err != nil {
		return nil, err
	}
	files := pack.Default()
	if dir != "" {
		if files, err = readPolicy(dir); err != nil {
			return nil, err
		}
	}
	p, issues := policy.Load(files, app.PolicyEnvironment(l))
	if len(issues) > 0 {
		return nil, &exitError{code: codeConfig, err: located(dir, issues)}
	}
	return p, nil
}

// located names the files of issues as people can open them: by the folder they
// named, not relative to it.
func located(dir string, issues policy.Issues) policy.Issues {
	out := slices.Clone(issues)
	for i := range out {
		out[i].File = inFolder(dir, out[i].File)
	}
	return out
}

// inFolder joins a policy folder and a file in it; "" is the shipped pack.
func inFolder(dir, file string) string {
	switch filepath.Ext(dir) {
	case ".yaml", ".yml": // one file was named
		return dir
	}
	if dir == "" || file == "" {
		return file
	}
	return filepath.Join(dir, filepath.FromSlash(file))
}

// readOwners reads ownership files; "owner/repo=path" is a CODEOWNERS file.
func (c *cli) readOwners(names []string) ([]catalog.File, error) {
	var out []catalog.File
	for _, n := range names {
		f := catalog.File{Name: n}
		if repo, path, ok := strings.Cut(n, "="); ok && strings.Count(repo, "/") == 1 {
			f.Repository, f.Name = repo, path
		}
		b, err := c.readNamed(f.Name)
		if err != nil {
			return nil, err
		}
		f.Data = b
		out = append(out, f)
	}
	return out, nil
}

// directory builds the directory of owners from files.
func (c *cli) directory(files []catalog.File) (*owner.Directory, error) {
	data, notes, err := catalog.Read(files...)
	if err != nil {
		return nil, &exitError{code: codeConfig, err: err}
	}
	for _, n := range notes {
		c.sayf("owners: left out: %s", clean(n))
	}
	d, err := owner.New(data)
	if err != nil {
		return nil, &exitError{code: codeConfig, err: err}
	}
	return d, nil
}

// judge builds what judges from flags and configuration.
func (c *cli) judge(_ context.Context, j *judging) (judge.Judge, error) {
	var out judge.Judge
	l, err := c.config()
	if err != nil {
		return out, err
	}
	dir, owners := j.policy, j.owners
	if dir == "" {
		dir = l.Policy.Dir
	}
	if len(owners) == 0 {
		owners = l.Owners.Files
	}
	j.policy = dir
	p, perr := c.loadPack(dir)
	files, ferr := c.readOwners(owners)
	if err := bothFaults(perr, ferr); err != nil {
		return out, err
	}
	for _, f := range p.OwnerFiles() {
		files = append(files, catalog.File{Name: f.Name, Data: f.Data})
	}
	d, err := c.directory(files)
	if err != nil {
		return out, err
	}
	out = judge.Judge{Pack: p, Directory: d}
	if j.kev == "" {
		if out.KEV, err = app.ReadKEV(l.Policy.KEV); err != nil {
			return out, &exitError{code: codeConfig, err: err}
		}
		return out, nil
	}
	b, err := c.readNamed(j.kev)
	if err != nil {
		return out, err
	}
	if out.KEV, err = judge.ReadKEV(b); err != nil {
		return out, failf(codeConfig, "", "%s: %w", j.kev, err)
	}
	return out, nil
}

// bothFaults is two errors as one, with the exit code of the first.
func bothFaults(a, b error) error {
	if a != nil && b != nil {
		return failf(codeOf(a), orWords(mendOf(a), mendOf(b)), "%w", errors.Join(a, b))
	}
	return firstOf(a, b)
}
