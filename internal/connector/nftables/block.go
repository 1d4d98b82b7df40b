package nftables

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// block is the data of a plan; with Comment it is the undo handle.
type block struct {
	Set     string `json:"set"`
	Address string `json:"address"`
	// Timeout in seconds.
	Timeout int `json:"timeout"`
	// Table is the digest of the table without its elements and counters.
	Table string `json:"table"`
	// Had: the address was in the set before.
	Had     bool   `json:"had,omitempty"`
	Comment string `json:"comment,omitempty"`
}

// table is what is read of the table: its digest, and the elements of a set.
type table struct {
	digest   string
	elements map[string]element
}

type element struct {
	Comment string `json:"comment"`
	// Expires in seconds from now.
	Expires int `json:"expires"`
}

// read lists the table. A set without timeouts, or one that no rule of the
// table drops by, is refused.
func (c *Connector) read(ctx context.Context, set string) (table, error) {
	t := table{elements: map[string]element{}}
	out, err := c.nft(ctx, "reading the table", nil, "list", "table", c.cfg.Family, c.cfg.Table)
	if err != nil {
		return t, connector.ReadOnly(err)
	}
	var doc struct {
		NFTables []map[string]json.RawMessage `json:"nftables"`
	}
	if err := json.Unmarshal(out, &doc); err != nil || len(doc.NFTables) == 0 {
		return t, connector.Errorf(connector.KindRetry, "reading the table: nft did not answer in JSON")
	}
	var parts []string
	timed, dropped := false, false
	for _, object := range doc.NFTables {
		for kind, raw := range object {
			if kind == "metainfo" {
				continue
			}
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return t, connector.Errorf(connector.KindRetry, "reading the table: nft did not answer in JSON")
			}
			strip(v)
			b, err := json.Marshal(v)
			if err != nil {
				return t, err
			}
			parts = append(parts, kind+" "+string(b))
			dropped = dropped || kind == "rule" && slices.Contains(words(v), "@"+set) && slices.Contains(words(v), "drop")
			if kind == "set" {
				is, err := t.set(raw, set)
				if err != nil {
					return t, err
				}
				timed = timed || is
			}
		}
	}
	switch {
	case !timed:
		return t, connector.Errorf(connector.KindRefused, "table %s %s has no set %s with flag timeout: make it first", c.cfg.Family, c.cfg.Table, set)
	case !dropped:
		return t, connector.Errorf(connector.KindRefused, "no rule of table %s %s drops what is in set %s: a block would have no effect", c.cfg.Family, c.cfg.Table, set)
	}
	t.digest = connector.Digest(parts...)
	return t, nil
}

// set reads the elements if raw is the set wanted and has timeouts.
func (t *table) set(raw json.RawMessage, name string) (bool, error) {
	var s struct {
		Name  string            `json:"name"`
		Flags any               `json:"flags"` // one word or a list
		Elem  []json.RawMessage `json:"elem"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return false, connector.Errorf(connector.KindRetry, "reading the sets of the table: nft wrote something unknown")
	}
	if s.Name != name || !slices.Contains(words(s.Flags), "timeout") {
		return false, nil
	}
	for _, raw := range s.Elem {
		var plain string
		var e struct {
			Elem struct {
				element
				Val json.RawMessage `json:"val"`
			} `json:"elem"`
		}
		if json.Unmarshal(raw, &plain) == nil {
			t.elements[plain] = element{}
		} else if json.Unmarshal(raw, &e) == nil && json.Unmarshal(e.Elem.Val, &plain) == nil {
			t.elements[plain] = e.Elem.element
		} // a range or a prefix: never ours
	}
	return true, nil
}

// strip takes out what changes by itself: handles, counters, elements.
func strip(v any) {
	switch x := v.(type) {
	case map[string]any:
		for _, k := range []string{"handle", "packets", "bytes", "elem"} {
			delete(x, k)
		}
		for _, y := range x {
			strip(y)
		}
	case []any:
		for _, y := range x {
			strip(y)
		}
	}
}

// words are all strings and keys in a JSON value.
func words(v any) []string {
	var out []string
	switch x := v.(type) {
	case string:
		out = append(out, x)
	case []any:
		for _, y := range x {
			out = append(out, words(y)...)
		}
	case map[string]any:
		for k, y := range x {
			out = append(append(out, k), words(y)...)
		}
	}
	return out
}

// comment marks an element as that of a case and effect; at most 128 bytes.
func comment(r connector.Request) string {
	text := "casement case/" + r.CaseID
	return text[:min(len(text), 90)] + " " + connector.Digest(r.Key)[:16]
}

func noVerb(verb string) error {
	return connector.Errorf(connector.KindConfig, "nftables has no verb %q", verb)
}

// Plan implements connector.Planner.
func (c *Connector) Plan(ctx context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	if verb != VerbBlock {
		return remedy.Plan{}, noVerb(verb)
	}
	a, set, err := c.addressOf(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	life := c.cfg.Timeout
	if v := r.Params["timeout"]; v != "" {
		if life, err = time.ParseDuration(v); err != nil || life < time.Second {
			return remedy.Plan{}, connector.Errorf(connector.KindConfig, "parameter \"timeout\" is %q: want a time like 4h, at least 1s", v)
		}
	}
	t, err := c.read(ctx, set)
	if err != nil {
		return remedy.Plan{}, err
	}
	e, had := t.elements[a.String()]
	b := block{Set: set, Address: a.String(), Timeout: int(life / time.Second), Table: t.digest, Had: had}
	data, err := json.Marshal(b)
	if err != nil {
		return remedy.Plan{}, err
	}
	where := fmt.Sprintf("set %s of table %s %s", set, c.cfg.Family, c.cfg.Table)
	if c.cfg.Namespace != "" {
		where += " in namespace " + c.cfg.Namespace
	}
	p := remedy.Plan{Data: string(data), BeforeDigest: connector.Digest(t.digest, fmt.Sprint(had), e.Comment),
		Text:  fmt.Sprintf("Block %s for %s: add it to %s", a, life, where),
		Blast: fmt.Sprintf("no new packet passes between %s and anything behind this filter, its own users included", a),
		Undo:  "takes the address out of the set; the kernel does so by itself after " + life.String()}
	if had {
		p.Text, p.Blast, p.Undo = fmt.Sprintf("Nothing to add: %s is in %s already", a, where), "none: nothing would change", "none needed: nothing would change"
	}
	return p, nil
}

func parseBlock(text, what string) (block, error) {
	var b block
	if err := json.Unmarshal([]byte(text), &b); err != nil || b.Set == "" || b.Address == "" {
		return b, connector.Errorf(connector.KindRefused, "the %s is not one of this connector", what)
	}
	if _, err := netip.ParseAddr(b.Address); err != nil {
		return b, connector.Errorf(connector.KindRefused, "the %s names no address", what)
	}
	return b, nil
}

func (c *Connector) change(ctx context.Context, what, op string, b block, elem any) error {
	_, err := c.nft(ctx, what, map[string]any{"nftables": []any{map[string]any{op: map[string]any{"element": map[string]any{
		"family": c.cfg.Family, "table": c.cfg.Table, "name": b.Set, "elem": []any{elem}}}}}}, "-f", "-")
	return err
}

// Act implements connector.Actor.
func (c *Connector) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	if verb != VerbBlock {
		return connector.Outcome{}, noVerb(verb)
	}
	b, err := parseBlock(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	t, err := c.read(ctx, b.Set)
	if err != nil {
		return connector.Outcome{}, err
	}
	b.Comment = comment(r)
	handle, err := json.Marshal(b)
	if err != nil {
		return connector.Outcome{}, err
	}
	o := connector.Outcome{UndoHandle: string(handle), Detail: b.Address + " is in set " + b.Set}
	e, has := t.elements[b.Address]
	switch {
	case t.digest != b.Table, has && !b.Had && e.Comment != b.Comment, !has && b.Had:
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "table %s %s was changed by somebody else meanwhile", c.cfg.Family, c.cfg.Table)
	case has:
		o.Nothing = true
		return o, nil
	}
	err = c.change(ctx, "blocking "+b.Address, "create", b, map[string]any{"elem": map[string]any{"val": b.Address, "timeout": b.Timeout, "comment": b.Comment}})
	if err != nil {
		return connector.Outcome{}, err
	}
	o.Detail += " until " + r.Now.Add(time.Duration(b.Timeout)*time.Second).Format(time.RFC3339)
	return o, nil
}

// Undo implements connector.Actor. An element that the kernel has taken out by
// then is nothing to undo.
func (c *Connector) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	if verb != VerbBlock {
		return connector.Outcome{}, noVerb(verb)
	}
	b, err := parseBlock(r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	t, err := c.read(ctx, b.Set)
	if err != nil {
		return connector.Outcome{}, err
	}
	e, has := t.elements[b.Address]
	switch {
	case b.Had:
		return connector.Outcome{Nothing: true, Detail: b.Address + " was in the set before, it stays"}, nil
	case !has:
		return connector.Outcome{Nothing: true, Detail: b.Address + " is not in set " + b.Set + " any more"}, nil
	case e.Comment != b.Comment || t.digest != b.Table:
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "table %s %s was changed by somebody else meanwhile: %s is left in set %s, for %d s more", c.cfg.Family, c.cfg.Table, b.Address, b.Set, e.Expires)
	}
	if err := c.change(ctx, "unblocking "+b.Address, "delete", b, b.Address); err != nil {
		return connector.Outcome{}, err
	}
	return connector.Outcome{Detail: b.Address + " was taken out of set " + b.Set}, nil
}

// Look implements connector.Looker: it happened when the set holds the address
// with the comment of this effect.
func (c *Connector) Look(ctx context.Context, verb string, r connector.Request) (connector.Outcome, bool, error) {
	if verb != VerbBlock {
		return connector.Outcome{}, false, noVerb(verb)
	}
	b, err := parseBlock(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	t, err := c.read(ctx, b.Set)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	b.Comment = comment(r)
	handle, err := json.Marshal(b)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	return connector.Outcome{UndoHandle: string(handle)}, t.elements[b.Address].Comment == b.Comment, nil
}
