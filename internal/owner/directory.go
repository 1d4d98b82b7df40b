package owner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Directory is a checked, indexed directory. It is immutable; make one with New.
type Directory struct {
	data       Data
	version    string
	people     map[string]Person
	teams      map[string]Team
	members    map[string][]string // by team, in order of standing in
	names      map[string]string   // lower-cased names, mails, logins, aliases → id
	components map[string]Component
	systems    map[string]Component
	rules      map[string]Codeowners // by canonical repository
	accounts   map[string]string
	notes      []string
	// byRepository and byAsset lead to the first component, in the order of the
	// data, that names them; patterns are the assets with a *.
	byRepository, byAsset map[string]int
	patterns              []assetPattern
}

// assetPattern is a pattern of asset ids and the place of its component.
type assetPattern struct {
	pattern   string
	component int
}

// New checks the data and makes the directory. All faults are reported together,
// each with its place where that is known.
func New(data Data) (*Directory, error) {
	if data.Fallback == "" {
		data.Fallback = DefaultFallback
	}
	if !slices.ContainsFunc(data.Teams, func(t Team) bool { return t.ID == DefaultFallback }) && data.Fallback == DefaultFallback {
		data.Teams = append(slices.Clone(data.Teams), Team{ID: DefaultFallback})
	}
	d := &Directory{data: data, people: make(map[string]Person), teams: make(map[string]Team), members: make(map[string][]string),
		names: make(map[string]string), components: make(map[string]Component), systems: make(map[string]Component),
		rules: make(map[string]Codeowners), accounts: make(map[string]string), byRepository: make(map[string]int), byAsset: make(map[string]int)}
	b, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("owners: %w", err) // a time outside the years 0 to 9999
	}
	sum := sha256.Sum256(b)
	d.version = hex.EncodeToString(sum[:8])
	c := checker{d: d}
	c.index()
	c.aliases()
	c.references()
	c.loops()
	c.spans()
	c.lookups()
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return d, nil
}

// Version names the content of the directory.
func (d *Directory) Version() string { return d.version }

// Data returns what the directory was made of.
func (d *Directory) Data() Data { return d.data }

// Notes are lines of CODEOWNERS that were skipped, as GitHub skips them.
func (d *Directory) Notes() []string { return slices.Clone(d.notes) }

// Person returns a person by id.
func (d *Directory) Person(id string) (Person, bool) {
	p, ok := d.people[id]
	return p, ok
}

// Members returns the ids of a team's people in order, leavers included.
func (d *Directory) Members(team string) []string { return slices.Clone(d.members[team]) }

// checker collects faults.
type checker struct {
	d    *Directory
	errs []error
}

func (c *checker) fail(place, format string, a ...any) {
	if place != "" {
		place += ": "
	}
	c.errs = append(c.errs, fmt.Errorf("%s"+format, append([]any{place}, a...)...))
}

// index fills people, teams and their names; ids must be unique over both.
func (c *checker) index() {
	d := c.d
	for _, p := range d.data.People {
		if c.id(p.Place, "person", p.ID) {
			d.people[p.ID] = p
		}
	}
	for _, t := range d.data.Teams {
		if c.id(t.Place, "team", t.ID) {
			d.teams[t.ID] = t
		}
	}
	for _, p := range d.data.People {
		for _, n := range append([]string{p.Email}, p.Logins...) {
			c.name(p.Place, n, p.ID)
		}
	}
	for _, t := range d.data.Teams {
		if t.Name != "" && c.d.names[fold(t.Name)] == "" {
			d.names[fold(t.Name)] = t.ID
		}
		for _, m := range t.Members {
			if !slices.Contains(d.members[t.ID], m) {
				d.members[t.ID] = append(d.members[t.ID], m)
			}
		}
	}
	for _, t := range d.data.Teams { // the first team that lists somebody without one is theirs
		for _, m := range t.Members {
			if p, ok := d.people[m]; ok && p.Team == "" {
				p.Team = t.ID
				d.people[m] = p
			}
		}
	}
	for _, p := range d.data.People {
		if p.Team != "" && !slices.Contains(d.members[p.Team], p.ID) {
			d.members[p.Team] = append(d.members[p.Team], p.ID)
		}
	}
}

func (c *checker) id(place, what, id string) bool {
	switch key := fold(id); {
	case key == "":
		c.fail(place, "%s without an id", what)
		return false
	case id != strings.TrimSpace(id) || strings.ContainsAny(id, ":/@"):
		c.fail(place, "%s %q: an id has no spaces around it and none of : / @", what, id)
		return false
	case c.d.names[key] != "":
		c.fail(place, "%s %q: the id is taken by %q; people and teams share one space of ids, whatever the case of letters", what, id, c.d.names[key])
		return false
	default:
		c.d.names[key] = id
		return true
	}
}

func (c *checker) name(place, name, id string) {
	key := handle(name)
	if key == "" {
		return
	}
	if other := c.d.names[key]; other != "" && other != id {
		c.fail(place, "%q names both %q and %q", name, other, id)
		return
	}
	c.d.names[key] = id
}

// aliases follows each alias to an id.
func (c *checker) aliases() {
	all := make(map[string]string)
	for _, from := range slices.Sorted(maps.Keys(c.d.data.Aliases)) {
		all[handle(from)] = handle(c.d.data.Aliases[from])
	}
	for _, from := range slices.Sorted(maps.Keys(all)) {
		to := all[from]
		for range len(all) { // longer chains than there are aliases are loops
			next, ok := all[to]
			if !ok {
				break
			}
			to = next
		}
		switch id := c.d.names[to]; {
		case all[to] != "":
			c.fail("", "alias %q leads in a circle", from)
		case id == "":
			c.fail("", "alias %q leads to %q, which is neither a person nor a team", from, to)
		default:
			c.name("", from, id)
		}
	}
}

// references checks that every id that is named exists.
func (c *checker) references() {
	d := c.d
	need := func(place, what, id string, kinds string) {
		_, person := d.people[id]
		_, team := d.teams[id]
		if id == "" || (person && strings.Contains(kinds, "person")) || (team && strings.Contains(kinds, "team")) {
			return
		}
		c.fail(place, "%s %q is no %s of this directory", what, id, kinds)
	}
	for _, p := range d.data.People {
		need(p.Place, "person "+p.ID+": team", p.Team, "team")
		need(p.Place, "person "+p.ID+": manager", p.Manager, "person")
	}
	for _, t := range d.data.Teams {
		need(t.Place, "team "+t.ID+": lead", t.Lead, "person")
		need(t.Place, "team "+t.ID+": on_call", t.OnCall, "person")
		need(t.Place, "team "+t.ID+": parent", t.Parent, "team")
		for _, m := range t.Members {
			need(t.Place, "team "+t.ID+": member", m, "person")
		}
	}
	for _, g := range d.data.Delegations {
		need(g.Place, "delegation: from", g.From, "person")
		need(g.Place, "delegation: to", g.To, "person")
	}
	for i, o := range d.data.Overrides {
		if o.Owner == "" {
			c.fail(o.Place, "overrides[%d] names no owner", i)
		} else if _, ok := d.lookup(o.Owner); !ok {
			c.fail(o.Place, "overrides[%d]: owner %q is no person or team of this directory", i, o.Owner)
		}
		o.Owner, o.Until, o.Reason, o.Place = "", time.Time{}, "", ""
		if o == (Override{}) {
			c.fail(d.data.Overrides[i].Place, "overrides[%d] has no condition and would take every finding: use fallback for that", i)
		}
	}
	need("", "fallback", d.data.Fallback, "team")
	need("", "operations_lead", d.data.OperationsLead, "person")
}

// loops finds managers and parents that lead back to where they started.
func (c *checker) loops() {
	for _, p := range c.d.data.People {
		if circles(p.ID, func(id string) string { return c.d.people[id].Manager }) {
			c.fail(p.Place, "person %s: the chain of managers leads in a circle", p.ID)
		}
	}
	for _, t := range c.d.data.Teams {
		if circles(t.ID, func(id string) string { return c.d.teams[id].Parent }) {
			c.fail(t.Place, "team %s: the chain of parents leads in a circle", t.ID)
		}
	}
}

// circles tells whether following next from id never ends.
func circles(id string, next func(string) string) bool {
	seen := make(map[string]bool)
	for ; id != ""; id = next(id) {
		if seen[id] {
			return true
		}
		seen[id] = true
	}
	return false
}

// spans checks windows and delegations.
func (c *checker) spans() {
	for _, p := range c.d.data.People {
		for i, w := range p.Away {
			if !w.Until.After(w.From) {
				c.fail(p.Place, "person %s: away[%d] ends before it starts", p.ID, i)
			}
		}
	}
	for i, g := range c.d.data.Delegations {
		switch {
		case g.From == "" || g.To == "":
			c.fail(g.Place, "delegations[%d] needs from and to", i)
		case g.From == g.To:
			c.fail(g.Place, "delegations[%d]: %s delegates to themselves", i, g.From)
		case !g.Until.After(g.Start):
			c.fail(g.Place, "delegations[%d]: until must be after start; a delegation without an end is refused", i)
		case g.Reason == "":
			c.fail(g.Place, "delegations[%d] has no reason", i)
		}
	}
}

// lookups indexes components, systems, repositories and accounts. An owner that
// is not in the directory is no fault here: catalogs run ahead of it, and the
// finding's chain shows it.
func (c *checker) lookups() {
	d := c.d
	for _, list := range []struct {
		what string
		from []Component
		into map[string]Component
	}{{"component", d.data.Components, d.components}, {"system", d.data.Systems, d.systems}} {
		for _, x := range list.from {
			key := entityKey(x.Name, "")
			if _, twice := list.into[key]; twice || key == "" {
				c.fail(x.Place, "%s %q is there twice or has no name", list.what, x.Name)
			}
			list.into[key] = x
		}
	}
	keep := func(into map[string]int, key string, i int) {
		if _, taken := into[key]; !taken {
			into[key] = i
		}
	}
	for i, x := range d.data.Components {
		for _, r := range x.Repositories {
			keep(d.byRepository, canonicalRepository(r), i)
		}
		for _, a := range x.Assets {
			if strings.Contains(a, "*") {
				d.patterns = append(d.patterns, assetPattern{a, i})
			} else {
				keep(d.byAsset, fold(a), i)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.data.Repositories)) {
		rules, notes := ParseCodeowners(d.data.Repositories[name])
		d.rules[canonicalRepository(name)] = rules
		for _, n := range notes {
			d.notes = append(d.notes, name+" CODEOWNERS "+n)
		}
	}
	for name, to := range d.data.Accounts {
		d.accounts[fold(name)] = to
	}
}

// lookup finds the id behind a name as tags, catalogs and CODEOWNERS write it:
// id, mail, login, "@user", "@org/team", "group:default/team", an alias.
func (d *Directory) lookup(name string) (id string, ok bool) {
	n := handle(name)
	if id, ok := d.names[n]; ok {
		return id, true
	}
	if kind, rest, found := strings.Cut(n, ":"); found && (kind == "group" || kind == "user" || kind == "team" || kind == "mailto") {
		n = rest
		if id, ok := d.names[n]; ok {
			return id, true
		}
	}
	if i := strings.LastIndexByte(n, '/'); i >= 0 {
		id, ok = d.names[n[i+1:]]
	}
	return id, ok
}

// handle is a folded name without the @ that marks it as one.
func handle(s string) string { return strings.TrimPrefix(fold(s), "@") }

// fold is the form in which names are compared.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// entityKey is a catalog name without kind and default namespace.
func entityKey(name, kind string) string {
	n := fold(name)
	if k, rest, ok := strings.Cut(n, ":"); ok && (kind == "" || k == kind) {
		n = rest
	}
	return strings.TrimPrefix(n, "default/")
}

// canonicalRepository is "owner/name" in lower case, whatever form it came in.
func canonicalRepository(s string) string {
	s = strings.TrimSuffix(strings.TrimSuffix(fold(s), "/"), ".git")
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	} else if host, rest, ok := strings.Cut(s, ":"); ok && strings.Contains(host, "@") {
		return rest // git@host:owner/name
	}
	if parts := strings.Split(s, "/"); len(parts) > 2 && strings.Contains(parts[0], ".") {
		s = strings.Join(parts[1:], "/")
	}
	return s
}

// glob matches text against a pattern in which * stands for any text. Letters
// are compared without case.
func glob(pattern, text string) bool {
	parts := strings.Split(fold(pattern), "*")
	text = fold(text)
	if len(parts) == 1 {
		return parts[0] == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, p)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
