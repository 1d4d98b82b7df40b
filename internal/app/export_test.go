package app

import "context"

// Changes hints that something of the default tenant was committed.
func (a *App) Changes() (<-chan struct{}, func()) { return a.hub.Subscribe(a.Tenant()) }

// Retain is one walk of the retention loop.
func (a *App) Retain(ctx context.Context) error {
	step := a.retention()
	for {
		if wait, err := step(ctx); err != nil || wait == pruneEvery {
			return err
		}
	}
}

// RetainBy is Retain by another policy.
func (a *App) RetainBy(ctx context.Context, r Retention) error {
	b := &App{Store: a.Store}
	b.cfg.Retention = r
	return b.Retain(ctx)
}
