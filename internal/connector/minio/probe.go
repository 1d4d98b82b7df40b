package minio

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// bogus is the wrong secret. That a live key has it is as likely as guessing it.
const bogus = "casement/asks/with/a/wrong/secret/000000"

// Probe implements connector.Prober.
func (c *Connector) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	ctx = connector.WithRequest(ctx, r)
	o := remedy.Observation{Grade: remedy.P2, Place: c.cfg.Place, At: r.Now}
	switch verb {
	case VerbBogus:
		key, err := c.keyOf(r)
		if err != nil {
			return o, err
		}
		o.Result, o.Detail = c.knock(ctx, key)
		return o, nil
	case VerbReplaced:
		o.Result, o.Detail = c.kept(ctx)
		return o, nil
	}
	return o, noVerb(verb)
}

// list asks for the buckets of a key.
func (c *Connector) list(ctx context.Context, key, secret string) (status int, code string, err error) {
	resp, err := c.send(ctx, "asking as key "+key, http.MethodGet, "/", nil, key, secret)
	if err != nil {
		return 0, "", err
	}
	defer connector.Finish(resp)
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, "", nil
	}
	return resp.StatusCode, word(resp), nil
}

func (c *Connector) knock(ctx context.Context, key string) (remedy.Result, string) {
	status, code, err := c.list(ctx, key, bogus)
	if err != nil {
		return remedy.Inconclusive, err.Error()
	}
	said := fmt.Sprintf("the server answers %d %s to key %s with a wrong secret", status, code, key)
	switch {
	case status == http.StatusForbidden && code == "SignatureDoesNotMatch":
		return remedy.Exposed, said + ": the key is live"
	case status == http.StatusForbidden && code == "InvalidAccessKeyId":
		return remedy.NotExposed, said + ": the key is off or unknown"
	}
	return remedy.Inconclusive, said
}

// kept is the continuity probe: NotExposed means that they work.
func (c *Connector) kept(ctx context.Context) (remedy.Result, string) {
	keys := c.cfg.Keep
	if len(keys) == 0 {
		keys = map[string]string{c.cfg.AccessKey: c.cfg.SecretKey}
	}
	names := slices.Sorted(maps.Keys(keys))
	for _, key := range names {
		status, code, err := c.list(ctx, key, keys[key])
		said := fmt.Sprintf("the server answers %d %s to key %s", status, code, key)
		switch {
		case err != nil:
			return remedy.Inconclusive, err.Error()
		case status == http.StatusForbidden && (code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "AccessDenied"):
			return remedy.Exposed, said
		case status != http.StatusOK:
			return remedy.Inconclusive, said
		}
	}
	return remedy.NotExposed, fmt.Sprintf("%d key(s) still work, among them %s", len(names), names[0])
}
