package minio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// user is what the server says of a user, without its secret.
type user struct {
	Status string   `json:"status"`
	Policy string   `json:"policyName,omitempty"`
	Groups []string `json:"memberOf,omitempty"`
}

const on, off = "enabled", "disabled"

// same: nothing but the status may differ.
func (u user) same(v user) bool { return u.Policy == v.Policy && slices.Equal(u.Groups, v.Groups) }

// change is the data of a plan, and the undo handle.
type change struct {
	Key    string `json:"key"`
	Before user   `json:"before"`
}

func (c *Connector) read(ctx context.Context, r connector.Request, key string) (user, error) {
	var u user
	err := c.admin(ctx, r, "reading user "+key, http.MethodGet, "user-info", url.Values{"accessKey": {key}}, &u)
	if err == nil && u.Status != on && u.Status != off {
		err = connector.Errorf(connector.KindRetry, "reading user %s: the answer has no status", key)
	}
	slices.Sort(u.Groups)
	return u, connector.ReadOnly(err)
}

func noVerb(verb string) error {
	return connector.Errorf(connector.KindConfig, "minio has no verb %q", verb)
}

// Plan implements connector.Planner.
func (c *Connector) Plan(ctx context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	if verb != VerbDisable {
		return remedy.Plan{}, noVerb(verb)
	}
	key, err := c.keyOf(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	if key == c.cfg.AccessKey {
		return remedy.Plan{}, connector.Errorf(connector.KindRefused, "key %s is the connector's own: it would lock itself out", key)
	}
	u, err := c.read(connector.WithRequest(ctx, r), r, key)
	if err != nil {
		return remedy.Plan{}, err
	}
	data, err := json.Marshal(change{Key: key, Before: u})
	if err != nil {
		return remedy.Plan{}, err
	}
	rights := u.Policy
	if len(u.Groups) > 0 {
		rights = strings.Trim(rights+" and groups "+strings.Join(u.Groups, ", "), " ")
	}
	if rights == "" {
		rights = "no policy"
	}
	p := remedy.Plan{Data: string(data), BeforeDigest: connector.Digest(key, u.Status, u.Policy, strings.Join(u.Groups, ",")),
		Text:  fmt.Sprintf("Turn access key %s off (it has %s)", key, rights),
		Blast: "whatever signs with key " + key + " stops at once, sessions that were made with it included",
		Undo:  "turns the key on again, with the rights it has by then"}
	if u.Status == off {
		p.Text, p.Blast = "Nothing to turn off: access key "+key+" is off already", "none: nothing would change"
	}
	return p, nil
}

func parseChange(text, what string) (change, error) {
	var ch change
	if err := json.Unmarshal([]byte(text), &ch); err != nil || ch.Key == "" {
		return ch, connector.Errorf(connector.KindRefused, "the %s is not one of this connector", what)
	}
	return ch, nil
}

func changed(key string) error {
	return connector.Errorf(connector.KindRefused, "user %s was changed by somebody else meanwhile", key)
}

func (c *Connector) set(ctx context.Context, r connector.Request, key, status string) error {
	return c.admin(ctx, r, "setting key "+key+" to "+status, http.MethodPut, "set-user-status", url.Values{"accessKey": {key}, "status": {status}}, nil)
}

// Act implements connector.Actor.
func (c *Connector) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	if verb != VerbDisable {
		return connector.Outcome{}, noVerb(verb)
	}
	ch, err := parseChange(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	u, err := c.read(ctx, r, ch.Key)
	if err != nil {
		return connector.Outcome{}, err
	}
	o := connector.Outcome{UndoHandle: r.Plan.Data, Nothing: u.Status == off, Detail: "key " + ch.Key + " is off"}
	switch {
	case !u.same(ch.Before):
		return connector.Outcome{}, changed(ch.Key)
	case u.Status == on:
		return o, c.set(ctx, r, ch.Key, off)
	}
	return o, nil
}

// Undo implements connector.Actor.
func (c *Connector) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	if verb != VerbDisable {
		return connector.Outcome{}, noVerb(verb)
	}
	ch, err := parseChange(r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	u, err := c.read(ctx, r, ch.Key)
	switch {
	case err != nil:
		return connector.Outcome{}, err
	case u.same(ch.Before) && u.Status == ch.Before.Status:
		return connector.Outcome{Nothing: true, Detail: "key " + ch.Key + " is " + u.Status + " as before"}, nil
	case !u.same(ch.Before):
		return connector.Outcome{}, changed(ch.Key)
	}
	if err := c.set(ctx, r, ch.Key, ch.Before.Status); err != nil {
		return connector.Outcome{}, err
	}
	return connector.Outcome{Detail: "key " + ch.Key + " is " + ch.Before.Status + " again"}, nil
}

// Look implements connector.Looker: it happened when the key is off and has
// the rights that the plan saw.
func (c *Connector) Look(ctx context.Context, verb string, r connector.Request) (connector.Outcome, bool, error) {
	ctx = connector.WithRequest(ctx, r)
	if verb != VerbDisable {
		return connector.Outcome{}, false, noVerb(verb)
	}
	ch, err := parseChange(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	u, err := c.read(ctx, r, ch.Key)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	return connector.Outcome{UndoHandle: r.Plan.Data, Detail: "key " + ch.Key + " is " + u.Status}, u.Status == off && u.same(ch.Before), nil
}
