// Package all is the one hand-written list of connectors: what kinds there are,
// which settings each takes, and how one is made from an entry of the
// configuration.
//
// It may import connector and every package below it. Invariants: an entry with
// an unknown, missing or malformed setting makes nothing, and every fault of it
// is told at once, by key and with the way to mend it; every connector stands
// behind connector.Stack with a redactor of all its secrets.
package all

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/casement/casement/internal/connector"
)

// Kinds lists every kind of connector, by name.
func Kinds() []Kind {
	return []Kind{
		jiraKind(),
		kubernetesKind(),
		minioKind(),
		nftablesKind(),
		oauthKind(),
		postgresKind(),
		s3Kind(),
		slackKind(),
		webhookKind(),
	}
}

// Kind is one kind of connector.
type Kind struct {
	// Name is what an entry's kind says.
	Name  string
	Title string
	// Params are the settings under params:, without those every connector has
	// (Shared), Secrets the names under secrets:.
	Params, Secrets []Setting
	// MoreSecrets: further secrets may be named; a setting refers to them.
	MoreSecrets bool
	// Example is a configuration that loads.
	Example string
	// Spec describes what such a connector can do when everything is set.
	Spec func(name string) connector.Spec

	// specOf describes what an entry can do, where that depends on its settings.
	specOf func(r *reader) connector.Spec

	// check tells what the types of settings can't; secrets may have no values.
	check func(r *reader)
	build func(r *reader) (connector.Connector, error)
}

// Setting is one name that an entry may give.
type Setting struct {
	Name string
	Type Type
	Doc  string
	// Required: nothing is made without it.
	Required bool
	// Fields are the settings inside a Table; with Each, of every entry of it.
	Fields []Setting
	Each   bool
}

const caName = "ca"

// authority is what every kind that connects by TLS has among its secrets. It
// is none, but comes from the same places as those: a file, a variable.
func authority() Setting {
	return Setting{Name: caName, Doc: "certificates (PEM) that the server's is verified against; the system's if not set"}
}

// Type says what a setting's value looks like.
type Type string

// The types of settings.
const (
	Text     Type = "text"
	Flag     Type = "true or false"
	Number   Type = "number"
	Duration Type = "duration"
	List     Type = "list"
	Table    Type = "mapping"
)

// Shared are the settings that every connector has.
func Shared() []Setting {
	return []Setting{
		{Name: "dry_run", Type: Flag, Doc: "plan and probe only: no change gets through this connector, whatever policy or people say"},
		{Name: "per_second", Type: Number, Doc: "most calls in a second; 0 or nothing: no bound"},
		{Name: "timeout", Type: Duration, Doc: "bound of one call with its repeats, 1m if not set"},
		{Name: "place", Type: Text, Doc: "where this connector's probes look from, as shown in evidence; casement if not set"},
	}
}

// KindOf returns a kind by name.
func KindOf(name string) (Kind, bool) {
	i := slices.IndexFunc(Kinds(), func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return Kinds()[i], true
}

func kindNames() []string {
	var out []string
	for _, k := range Kinds() {
		out = append(out, k.Name)
	}
	return out
}

// Specs describes what policy may name: the connectors that are set up, under
// the names of their entries, and every other kind under its own name, so that
// a policy can be checked before its connectors are there.
func Specs(setUp ...connector.Spec) []connector.Spec {
	out := slices.Clone(setUp)
	for _, k := range Kinds() {
		if !slices.ContainsFunc(setUp, func(s connector.Spec) bool { return s.Name == k.Name }) {
			out = append(out, k.Spec(k.Name))
		}
	}
	return out
}

// Entry is one connector as configured, with its secrets resolved.
type Entry struct {
	Name, Kind string
	Params     map[string]any
	Secrets    map[string]string
	// Allow are inner addresses it may reach.
	Allow []string
}

// Fault is one thing that is wrong with an entry.
type Fault struct {
	// Key is the setting inside the entry ("params.endpoint"), "" for the entry.
	Key           string
	Message, Mend string
}

// SpecOf describes what policy may name of an entry, without its secrets.
func SpecOf(e Entry) connector.Spec {
	k, r := open(e)
	switch {
	case len(r.faults) > 0:
		return connector.Spec{Name: e.Name}
	case k.specOf != nil:
		return k.specOf(r)
	}
	return k.Spec(e.Name)
}

// Check tells what is wrong with an entry as far as that shows without the
// values of its secrets.
func Check(e Entry) []Fault {
	_, r := open(e)
	return r.faults
}

// Make returns the connector of an entry behind its layers, or every fault.
// Nothing is dialled.
func Make(e Entry) (*connector.Door, []Fault) {
	k, r := open(e)
	network, err := connector.ParseNetwork(e.Allow)
	if err != nil || len(r.faults) > 0 {
		return nil, r.faults
	}
	r.http.Network = network
	roots, err := r.roots(caName)
	r.join(err)
	r.http.RootCAs = roots
	o := connector.Options{DryRun: r.flag("dry_run"), PerSecond: r.number("per_second"), Timeout: r.duration("timeout")}
	c, err := k.build(r)
	r.join(err)
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	hide := slices.Collect(maps.Values(e.Secrets))
	if s, ok := c.(interface{ Secrets() []string }); ok {
		hide = append(hide, s.Secrets()...)
	}
	o.Redact = connector.NewRedactor(hide...)
	return connector.Stack(c, o), nil
}

// open finds the kind and checks names and types of all settings.
func open(e Entry) (Kind, *reader) {
	r := &reader{entry: e, values: e.Params, prefix: "params."}
	k, ok := KindOf(e.Kind)
	if !ok {
		r.fault("kind", suggest(e.Kind, kindNames())+"; casement connectors lists them", "there is no connector of kind %q", e.Kind)
		return k, r
	}
	if e.Name != strings.ToLower(e.Name) {
		r.fault("", "write it in lower case: policy names verbs as name/verb", "the name %q has upper-case letters", e.Name)
	}
	r.check(append(slices.Clone(k.Params), Shared()...))
	var names []string
	for _, s := range k.Secrets {
		names = append(names, s.Name)
		if _, there := e.Secrets[s.Name]; s.Required && !there {
			r.fault("secrets."+s.Name, "add secrets: {"+s.Name+": env:NAME}", "secret %s is missing: %s", s.Name, s.Doc)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Secrets)) {
		if !slices.Contains(names, name) && !k.MoreSecrets {
			r.fault("secrets."+name, suggest(name, names), "%s connectors have no secret %q", k.Name, name)
		}
	}
	_, err := connector.ParseNetwork(e.Allow)
	r.join(err)
	if k.check != nil && len(r.faults) == 0 {
		k.check(r)
	}
	return k, r
}

// join adds the parts of an error of a constructor, each under the setting that
// its text begins with.
func (r *reader) join(err error) {
	if err == nil {
		return
	}
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			r.join(e)
		}
		return
	}
	text := err.Error()
	key, _, _ := strings.Cut(text, ": ")
	first, _, _ := strings.Cut(key, ".")
	first, _, _ = strings.Cut(first, "[")
	if strings.Contains(first, " ") { // "secret admin_token: …", "client_id and …: …"
		first = strings.Fields(strings.TrimPrefix(first, "secret "))[0]
		key = first
	}
	switch k, _ := KindOf(r.entry.Kind); {
	case first == "allow", first == "secrets":
		key = first
	case slices.ContainsFunc(k.Params, func(s Setting) bool { return s.Name == first }):
		key = "params." + key
	case slices.ContainsFunc(k.Secrets, func(s Setting) bool { return s.Name == first }):
		key = "secrets." + first
	default:
		key = ""
	}
	f := Fault{Key: key, Message: text}
	if !slices.Contains(r.faults, f) {
		r.faults = append(r.faults, f)
	}
}
