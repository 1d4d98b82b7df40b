// Package catalog reads the files a directory of owners is made of: our own
// owners.yaml, Backstage entities and CODEOWNERS.
//
// It is pure: bytes in, owner.Data out. It may import owner and the YAML reader
// (no os, net, context, sync, log, rand, goroutines or time.Now). Invariants:
// all faults are reported at once with file, line and column; what a catalog of
// somebody else's says beyond our directory is a note, never a fault; our own
// file wins over a catalog.
package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/casement/casement/internal/owner"
)

// maxFile bounds one file, in bytes.
const maxFile = 8 << 20

// File is one file to read.
type File struct {
	// Name for messages.
	Name string
	Data []byte
	// Repository makes the file the CODEOWNERS of that repository ("owner/name").
	Repository string
}

// Fault is one thing that is wrong in a file. Line and Column count from 1.
type Fault struct {
	File         string
	Line, Column int
	Message      string
}

// Error is file:line:column: message.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

// Read reads and merges the files. Notes are what was left out of catalogs, for
// the reader to know. The error joins a *Fault for everything that is wrong; the
// data then is incomplete. owner.New checks what only the whole shows.
func Read(files ...File) (data owner.Data, notes []string, err error) {
	var own, foreign owner.Data
	var errs []error
	own.Repositories = make(map[string]string)
	for _, f := range files {
		if f.Repository != "" {
			own.Repositories[f.Repository] = string(f.Data)
			continue
		}
		if len(f.Data) > maxFile {
			errs = append(errs, &Fault{f.Name, 1, 1, fmt.Sprintf("%d bytes are more than %d: split the file", len(f.Data), maxFile)})
			continue
		}
		docs, bad := documents(f)
		errs = append(errs, bad...)
		if len(bad) > 0 || len(docs) == 0 {
			continue
		}
		if isEntity(docs[0]) {
			part, more := readEntities(f, docs, &errs)
			foreign, notes = add(foreign, part), append(notes, more...)
			continue
		}
		for _, d := range docs {
			part, bad := readOwners(f, d)
			own, errs = add(own, part), append(errs, bad...)
		}
	}
	data, more := merge(own, foreign)
	return data, append(notes, more...), errors.Join(errs...)
}

// documents parses the YAML documents of a file, without the empty ones.
func documents(f File) ([]*yaml.Node, []error) {
	loader, err := yaml.NewLoader(bytes.NewReader(f.Data))
	if err != nil {
		return nil, faults(f.Name, err)
	}
	var docs []*yaml.Node
	for {
		var n yaml.Node
		if err := loader.Load(&n); errors.Is(err, io.EOF) {
			return docs, nil
		} else if err != nil {
			return docs, faults(f.Name, err)
		}
		if n.Kind == yaml.DocumentNode && len(n.Content) == 1 && n.Content[0].Tag != "!!null" {
			docs = append(docs, n.Content[0])
		}
	}
}

// faults turns an error of the YAML reader into ours.
func faults(file string, err error) []error {
	var many *yaml.LoadErrors
	if errors.As(err, &many) && len(many.Errors) > 0 {
		var out []error
		for _, e := range many.Errors {
			out = append(out, faults(file, e)...)
		}
		return out
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		message := one.Message
		if key, ok := strings.CutPrefix(message, "field "); ok && strings.Contains(key, " not found in type ") {
			key, _, _ = strings.Cut(key, " not found in type ")
			message = fmt.Sprintf("unknown key %q", key)
		}
		if one.ContextMsg != "" {
			message = one.ContextMsg + ": " + message
		}
		return []error{&Fault{file, max(one.Mark.Line, 1), max(one.Mark.Column, 1), message}}
	}
	return []error{&Fault{file, 1, 1, err.Error()}}
}

// readOwners reads one document of owners.yaml: unknown keys are faults.
func readOwners(f File, n *yaml.Node) (owner.Data, []error) {
	var d owner.Data
	if n.Kind != yaml.MappingNode {
		return d, []error{&Fault{f.Name, n.Line, n.Column, "want a mapping with keys such as people, teams, components, accounts, fallback"}}
	}
	if err := n.Load(&d, yaml.WithKnownFields()); err != nil {
		return d, faults(f.Name, err)
	}
	place := func(list string, i int) string {
		v := value(n, list)
		if v == nil || v.Kind != yaml.SequenceNode || i >= len(v.Content) {
			return f.Name
		}
		return at(f, v.Content[i])
	}
	for i := range d.People {
		d.People[i].Place = place("people", i)
	}
	for i := range d.Teams {
		d.Teams[i].Place = place("teams", i)
	}
	for i := range d.Components {
		d.Components[i].Place = place("components", i)
	}
	for i := range d.Systems {
		d.Systems[i].Place = place("systems", i)
	}
	for i := range d.Overrides {
		d.Overrides[i].Place = place("overrides", i)
	}
	for i := range d.Delegations {
		d.Delegations[i].Place = place("delegations", i)
	}
	return d, nil
}

// value returns the value of a key of a mapping, nil if it has none.
func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func at(f File, n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", f.Name, n.Line, n.Column) }

// add appends b to a. A later file wins where there can be only one value.
func add(a, b owner.Data) owner.Data {
	a.People = append(a.People, b.People...)
	a.Teams = append(a.Teams, b.Teams...)
	a.Components = append(a.Components, b.Components...)
	a.Systems = append(a.Systems, b.Systems...)
	a.Overrides = append(a.Overrides, b.Overrides...)
	a.Delegations = append(a.Delegations, b.Delegations...)
	a.Repositories = union(a.Repositories, b.Repositories)
	a.Accounts = union(a.Accounts, b.Accounts)
	a.Aliases = union(a.Aliases, b.Aliases)
	if b.Fallback != "" {
		a.Fallback = b.Fallback
	}
	if b.OperationsLead != "" {
		a.OperationsLead = b.OperationsLead
	}
	return a
}

func union(a, b map[string]string) map[string]string {
	if a == nil {
		a = make(map[string]string)
	}
	for k, v := range b {
		a[k] = v
	}
	return a
}

// merge adds to our own entries what a catalog knows beyond them.
func merge(own, foreign owner.Data) (owner.Data, []string) {
	notes := prune(own, &foreign)
	for _, p := range foreign.People {
		i := slices.IndexFunc(own.People, func(o owner.Person) bool { return strings.EqualFold(o.ID, p.ID) })
		if i < 0 {
			own.People = append(own.People, p)
			continue
		}
		o := &own.People[i]
		o.Name, o.Email, o.Team = first(o.Name, p.Name), first(o.Email, p.Email), first(o.Team, p.Team)
	}
	for _, t := range foreign.Teams {
		i := slices.IndexFunc(own.Teams, func(o owner.Team) bool { return strings.EqualFold(o.ID, t.ID) })
		if i < 0 {
			own.Teams = append(own.Teams, t)
			continue
		}
		o := &own.Teams[i]
		o.Name, o.Lead, o.Parent, o.OnCall = first(o.Name, t.Name), first(o.Lead, t.Lead), first(o.Parent, t.Parent), first(o.OnCall, t.OnCall)
		if len(o.Members) == 0 {
			o.Members = t.Members
		}
	}
	own.Components = mergeComponents(own.Components, foreign.Components)
	own.Systems = mergeComponents(own.Systems, foreign.Systems)
	return own, notes
}

// prune leaves out of a catalog the references to people and teams that are
// nowhere, and brings the others into the spelling of their entry.
func prune(own owner.Data, foreign *owner.Data) (notes []string) {
	people, teams := make(map[string]string), make(map[string]string)
	for _, p := range slices.Concat(foreign.People, own.People) {
		people[strings.ToLower(p.ID)] = p.ID
	}
	for _, t := range slices.Concat(foreign.Teams, own.Teams) {
		teams[strings.ToLower(t.ID)] = t.ID
	}
	keep := func(place, what, id string, known map[string]string) string {
		found := known[strings.ToLower(id)]
		if id != "" && found == "" {
			notes = append(notes, fmt.Sprintf("%s: %s %q is in no file and left out", place, what, id))
		}
		return found
	}
	for i, p := range foreign.People {
		foreign.People[i].Team = keep(p.Place, "team", p.Team, teams)
	}
	for i, t := range foreign.Teams {
		t.Parent = keep(t.Place, "parent", t.Parent, teams)
		t.Lead = keep(t.Place, "lead", t.Lead, people)
		t.OnCall = keep(t.Place, "on-call", t.OnCall, people)
		var members []string
		for _, m := range t.Members {
			if id := keep(t.Place, "member", m, people); id != "" {
				members = append(members, id)
			}
		}
		t.Members = members
		foreign.Teams[i] = t
	}
	return notes
}

func mergeComponents(own, foreign []owner.Component) []owner.Component {
	for _, c := range foreign {
		if !slices.ContainsFunc(own, func(o owner.Component) bool { return strings.EqualFold(o.Name, c.Name) }) {
			own = append(own, c)
		}
	}
	return own
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
