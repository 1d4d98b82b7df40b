package s3

import (
	"context"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

func noVerb(verb string) error {
	return connector.Errorf(connector.KindConfig, "s3 has no verb %q", verb)
}

// Plan implements connector.Planner.
func (c *Connector) Plan(ctx context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemovePublic:
		return c.planRemove(ctx, r)
	case VerbBlockPublic:
		return c.planBlock(ctx, r)
	}
	return remedy.Plan{}, noVerb(verb)
}

// Act implements connector.Actor.
func (c *Connector) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemovePublic:
		return c.actRemove(ctx, r)
	case VerbBlockPublic:
		return c.actBlock(ctx, r)
	}
	return connector.Outcome{}, noVerb(verb)
}

// Undo implements connector.Actor.
func (c *Connector) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemovePublic:
		return c.undoRemove(ctx, r)
	case VerbBlockPublic:
		return c.undoBlock(ctx, r)
	}
	return connector.Outcome{}, noVerb(verb)
}

// Look implements connector.Looker.
func (c *Connector) Look(ctx context.Context, verb string, r connector.Request) (connector.Outcome, bool, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemovePublic:
		return c.lookRemove(ctx, r)
	case VerbBlockPublic:
		return c.lookBlock(ctx, r)
	}
	return connector.Outcome{}, false, noVerb(verb)
}

// Probe implements connector.Prober.
func (c *Connector) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbAnonymousGet:
		return c.probeAnonymous(ctx, r)
	case VerbAuthorized:
		return c.probeAuthorized(ctx, r)
	}
	return remedy.Observation{}, noVerb(verb)
}
