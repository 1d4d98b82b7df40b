package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
)

const (
	// followEvery is how often systems of record are asked what changed.
	followEvery = 30 * time.Second
	// followBack is how far the first look goes back; followOverlap covers what
	// was changed while the last look ran.
	followBack    = 24 * time.Hour
	followOverlap = 2 * time.Minute
)

// follow asks every system of record that can tell what people did to our
// tickets. One that fails is asked again from the same instant; the others go
// on.
func (a *App) follow(ctx context.Context) (bool, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Trackers)) {
		if f, ok := a.cfg.Trackers[name].(connector.Follower); ok {
			if err := a.followOne(ctx, name, f); err != nil {
				errs = append(errs, fmt.Errorf("following %s: %w", name, err))
			}
		}
	}
	return false, errors.Join(errs...)
}

func (a *App) followOne(ctx context.Context, name string, f connector.Follower) error {
	now, key := a.Store.Now(), "follow/"+name
	since := now.Add(-followBack)
	v, err := a.Store.Setting(ctx, finding.DefaultTenant, key)
	if err == nil {
		since, err = time.Parse(time.RFC3339, string(v))
	}
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	states, err := f.Changed(ctx, since.Add(-followOverlap))
	if err != nil || len(states) == 0 {
		return err // nothing new: the stretch to look at only grows
	}
	claims := 0
	for _, s := range states {
		claimed, err := a.Engine.TicketSays(ctx, name, s, now)
		if err != nil {
			return err
		}
		if claimed {
			claims++
		}
	}
	if claims > 0 {
		a.runner.Wake()
	}
	return a.Store.SetSetting(ctx, finding.DefaultTenant, key, []byte(now.Format(time.RFC3339)))
}
