package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// judgedSetting holds the versions of policy and owners that every open case
// was judged by; while they differ from those in force, the loop rejudges.
const judgedSetting = "judged-by"

// rejudgeGroup is how many open cases are judged anew before the loop looks
// whether it is to stop.
const rejudgeGroup = 32

// Reload reads policy and owners anew, checks them whole, records the change in
// the ledger and puts them in force. On an error the old ones stay in force.
// Open cases are judged anew in the background.
func (a *App) Reload(ctx context.Context) error {
	if a.cfg.Reload == nil {
		return errors.New("this install has no files to read anew")
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	rules, err := a.cfg.Reload()
	if err != nil {
		return err
	}
	next, err := a.load(rules)
	if err != nil {
		return err
	}
	old := a.live.Load()
	if next.versions() == old.versions() {
		return nil
	}
	body, err := json.Marshal(map[string]any{"policy": next.judge.Pack.Version(), "owners": next.judge.Directory.Version(),
		"authors": next.judge.Pack.Authors(), "before": map[string]string{"policy": old.judge.Pack.Version(), "owners": old.judge.Directory.Version()}})
	if err == nil {
		_, err = a.Store.AppendEvent(ctx, store.StreamEvent{Tenant: finding.DefaultTenant, Stream: store.StreamPolicy, Type: "promoted", Schema: 1,
			At: a.Store.Now(), By: remedy.Actor{Kind: remedy.System, ID: "reload"}, Body: body})
	}
	if err != nil {
		return fmt.Errorf("the change could not be recorded, so it did not happen: %w", err)
	}
	a.live.Store(next)
	select {
	case a.rejudge <- struct{}{}:
	default: // one is waiting already
	}
	return nil
}

// versions names what judges.
func (l *live) versions() string {
	v := l.judge.Pack.Version() + "/" + l.judge.Directory.Version()
	if at := l.judge.KEV.AsOf; !at.IsZero() {
		v += "/kev-" + at.Format(time.RFC3339)
	}
	return v
}

// rejudging is the pass over the open cases.
type rejudging struct {
	a *App
	// versions are those the pass judges by, cursor where it is, changed whether
	// it changed a case: then one more follows, as a changed case moves in the
	// list.
	versions, cursor string
	changed          bool
	// judged counts the cases looked at, several passes over one included.
	judged int
}

// step judges one group anew. It begins anew when the versions in force change,
// and does nothing once every open case was judged by them.
func (r *rejudging) step(ctx context.Context) (more bool, err error) {
	a := r.a
	if now := a.live.Load().versions(); now != r.versions {
		*r = rejudging{a: a, versions: now}
	}
	if r.cursor == "" {
		have, err := a.Store.Setting(ctx, finding.DefaultTenant, judgedSetting)
		if err != nil && !errors.Is(err, record.ErrNotFound) || string(have) == r.versions {
			return false, err
		}
	}
	page, err := a.Store.ListCases(ctx, store.CaseFilter{Tenant: a.Tenant(), Open: finding.Yes}, r.cursor, rejudgeGroup)
	if err != nil {
		return false, err
	}
	r.judged += len(page.Cases)
	for _, row := range page.Cases {
		c, err := a.Engine.Rejudge(ctx, row.ID, "policy or owners changed", a.Store.Now())
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			a.cfg.Log.Error("case not judged anew; its next alert or change judges it", "case", row.ID, "err", err)
		case c.Version != row.Version:
			r.changed = true
		}
	}
	r.cursor = page.Next
	if page.Next != "" {
		return true, nil
	}
	if r.changed {
		r.changed = false
		return true, nil
	}
	if r.judged > 0 {
		a.cfg.Log.Info("open cases were judged anew", "versions", r.versions)
	}
	return false, a.Store.SetSetting(ctx, finding.DefaultTenant, judgedSetting, []byte(r.versions))
}
