package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/store"
)

func (c *cli) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server: pages, API, intake and the loop",
		Long: `Run Casement. Without configuration it keeps its data in ./casement-data, listens on
this machine only, uses the shipped policy, and prints a link that works once, for 30
minutes, to make the first administrator. It stops on Ctrl-C after what is under way.
With --database several nodes share one PostgreSQL database: each has a data folder of its
own with the same install.key (or data.key), and any may end at any moment.
On SIGHUP it reads policy and owners anew: they are checked whole before they are put in
force, and the old ones stay where they have a fault. Other settings need a restart.`,
		Example: `  casement serve
  casement serve --data /var/lib/casement --listen 127.0.0.1:7410
  casement serve --database postgres://casement@db.internal/casement`,
		Args: cobra.NoArgs,
	}
	listen := cmd.Flags().String("listen", "", "`address` to listen on, host:port (default "+app.DefaultListen+")")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		cfg, err := c.appConfig(ctx, *listen)
		if err != nil {
			return err
		}
		cfg.OwnProcess = true
		a, err := app.New(ctx, cfg)
		if err != nil {
			return c.openError(cfg.DataDir, err)
		}
		// Stopping is ours to order: the loops end in Stop, not with ctx.
		if err := a.Start(context.WithoutCancel(ctx)); err != nil {
			return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
		link, err := a.SetupLink(ctx)
		if err != nil {
			return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
		fmt.Fprintf(c.err, "Casement is running.\n  pages and API  %s\n  data           %s\n", a.URL, cfg.DataDir)
		if cfg.Database != "" {
			fmt.Fprintf(c.err, "  database       %s\n", databaseName(cfg.Database))
		}
		if link != "" {
			fmt.Fprintf(c.err, "  first login    %s\n                 (works once, for 30 minutes, and makes the first administrator)\n", link)
		}
		why, err := a.Held(ctx)
		if err != nil {
			return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
		if why != "" {
			fmt.Fprintf(c.err, "PAUSED: %s.\n  Alerts are taken in; nothing is changed, probed or told. Changes that were under way\n  are unsure, and are looked up before anything is done again.\n  Go on with:  casement resume\n", why)
		}
		fmt.Fprintf(c.err, "Send it alerts:  casement ingest alerts.json\nStop it with Ctrl-C.\n")
		c.reloads(ctx, a)
		fmt.Fprintln(c.err, "Stopping: what is under way is finished first.")
		return a.Stop(context.WithoutCancel(ctx))
	})
	return cmd
}

// databaseName names a database for people, without user and password.
func databaseName(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "PostgreSQL"
	}
	return "PostgreSQL at " + u.Host + u.Path
}

// reloads reads policy and owners anew on every SIGHUP, until ctx ends. A fault
// is told, and the old ones stay in force.
func (c *cli) reloads(ctx context.Context, a *app.App) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		if err := a.Reload(ctx); err != nil {
			c.report(failf(codeConfig, "casement policy check; then send SIGHUP again", "policy and owners were not changed, the old ones stay in force:\n%w", err))
			continue
		}
		p, _ := a.Policy()
		fmt.Fprintf(c.err, "Policy %.12s is in force (%s). Open cases are judged anew.\n", p.Version(), plural(len(p.RuleNames()), "rule"))
	}
}

// appConfig turns the configuration and the flags of serve into what app needs.
func (c *cli) appConfig(ctx context.Context, listen string) (app.Config, error) {
	var flags []config.Flag
	if listen != "" {
		flags = append(flags, config.Flag{Key: "server.listen", Name: "listen", Value: listen})
	}
	l, err := c.config(flags...)
	if err != nil {
		return app.Config{}, err
	}
	out, err := app.Setup(ctx, l)
	if err != nil {
		return out, setupError(err)
	}
	out.Version, out.Log = buildInfo().Version, app.NewLog(l.Log, c.err)
	return out, nil
}

// setupError gives an error of the configuration's files its code.
func setupError(err error) error {
	mend := ""
	if errors.Is(err, app.ErrNoPolicy) {
		mend = "name a directory with *.yaml files"
	}
	return &exitError{code: codeConfig, err: err, mend: mend}
}

// openError words why an install could not be opened.
func (c *cli) openError(dir string, err error) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return failf(codeConflict, "stop the other one, or name another folder with --data", "%s: %w", dir, err)
	case errors.Is(err, app.ErrOtherKey):
		return &exitError{code: codeConfig, err: err}
	case errors.Is(err, syscall.EADDRINUSE):
		return failf(codeConflict, "end what listens there (another Casement?), or name another address with --listen", "%w", err)
	case as(err, new(*net.OpError)) && errors.Is(err, syscall.EACCES):
		return failf(codeAuth, "name a port from 1024 on with --listen, or let this user listen there", "%w", err)
	}
	var issues policy.Issues
	if as(err, &issues) {
		if l, cerr := c.config(); cerr == nil {
			issues = located(l.Policy.Dir, issues)
		}
		return &exitError{code: codeConfig, err: issues}
	}
	return err
}
