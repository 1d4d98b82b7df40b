package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sort"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/casement/casement/internal/remedy"
)

// File is one file of a policy directory. Name is its path in the directory,
// with slashes; files are read in the order of names.
type File struct {
	Name string
	Data []byte
}

// Environment is what exists around a policy: what connectors can do. Load
// checks verbs, probes, undo and parameters against it.
type Environment struct {
	Actions []Action
	Probes  []Probe
	// Systems are the systems of record for tickets, the built-in one first.
	Systems []string
	// Channels are the notifiers.
	Channels []string
}

// Action is one verb of a connector.
type Action struct {
	Connector, Verb string
	Once            remedy.Once
	// Reversibility is r0..r3; r3 is irreversible.
	Reversibility uint8
	Undoable      bool
	// Probe and Continuity are verbs of the same connector, "" for none.
	Probe, Continuity string
	// Params are all parameters it knows, Required those it cannot do without.
	Params, Required []string
}

// Probe is one probe of a connector.
type Probe struct {
	Connector, Verb  string
	Grade            remedy.Grade
	Params, Required []string
}

func (e Environment) action(name string) (Action, bool) {
	for _, a := range e.Actions {
		if a.Connector+"/"+a.Verb == name {
			return a, true
		}
	}
	return Action{}, false
}

func (e Environment) probe(name string) (Probe, bool) {
	for _, p := range e.Probes {
		if p.Connector+"/"+p.Verb == name {
			return p, true
		}
	}
	return Probe{}, false
}

// raws are the decoded documents of all files.
type raws struct {
	rules       []rawRules
	playbooks   []rawPlaybook
	routes      []rawRoute
	templates   []rawTemplate
	slas        []rawSLA
	calendars   []rawCalendar
	escalations []rawEscalation
	guardrails  []rawGuardrails
	exceptions  []rawException
	tests       []rawTest
	owners      []File
	authors     []string
}

// Load reads a policy directory. It returns the pack and no issues, or nil and
// every issue found; half a policy is never returned. authors, where the caller
// knows who promoted the files, join those the documents name.
func Load(files []File, env Environment, authors ...string) (*Pack, Issues) {
	var issues Issues
	files = append([]File(nil), files...)
	sort.Slice(files, func(i, j int) bool { return files[i].Name < files[j].Name })
	if len(files) > maxFiles {
		return nil, Issues{{File: "policy", Message: "the directory has more than 500 files", Mend: "join some of them"}}
	}
	r := raws{authors: authors}
	for i, f := range files {
		src := newSource(f, &issues)
		if i > 0 && files[i-1].Name == f.Name {
			(pos{src: src}).failf("", "file is given twice")
			continue
		}
		r.add(f, src)
	}
	vars := Variables()
	cc, err := newCompiler(vars)
	if err != nil { // the environment is ours and tested
		return nil, append(issues, Issue{File: "policy", Message: "the CEL environment cannot be built: " + err.Error()})
	}
	p := &Pack{version: versionOf(files), vars: vars, env: env, owners: r.owners, authors: unique(r.authors)}
	l := &loader{pack: p, compiler: cc, env: env}
	l.all(r)
	if len(issues) > 0 {
		return nil, issues.sorted()
	}
	return p, nil
}

// add decodes the documents of one file.
func (r *raws) add(f File, src *source) {
	d := &decoder{src: src}
	for _, n := range d.documents(f.Data) {
		if n.Kind != yaml.MappingNode {
			d.at(n).failf("start it with kind: rules, playbooks, …", "document is not a mapping")
			continue
		}
		kind, at := kindField(d, n)
		r.document(kind, d, n, f)
		if !contains(kindNames(), kind) {
			switch {
			case at.line == 0:
				d.at(n).failf("add one of "+strings.Join(kindNames(), ", "), "field \"kind\" is missing")
			default:
				at.failf(didYouMean(kind, kindNames()), "unknown kind %s", quote(kind))
			}
		}
	}
}

// document decodes one document of a known kind.
func (r *raws) document(kind string, d *decoder, n *yaml.Node, f File) {
	var authors list
	switch kind {
	case "rules":
		var doc rawRules
		d.fill(n, &doc)
		r.rules, authors = append(r.rules, doc), doc.Authors
	case "playbooks":
		var doc rawPlaybooks
		d.fill(n, &doc)
		r.playbooks, authors = append(r.playbooks, doc.Playbooks...), doc.Authors
	case "routes":
		var doc rawRoutes
		d.fill(n, &doc)
		r.routes, authors = append(r.routes, doc.Routes...), doc.Authors
	case "templates":
		var doc rawTemplates
		d.fill(n, &doc)
		r.templates, authors = append(r.templates, doc.Templates...), doc.Authors
	case "sla":
		var doc rawSLAs
		d.fill(n, &doc)
		r.slas, authors = append(r.slas, doc.SLA...), doc.Authors
	case "calendars":
		var doc rawCalendars
		d.fill(n, &doc)
		r.calendars, authors = append(r.calendars, doc.Calendars...), doc.Authors
	case "escalations":
		var doc rawEscalations
		d.fill(n, &doc)
		r.escalations, authors = append(r.escalations, doc.Escalations...), doc.Authors
	case "guardrails":
		var doc rawGuardrails
		d.fill(n, &doc)
		r.guardrails, authors = append(r.guardrails, doc), doc.Authors
	case "exceptions":
		var doc rawExceptions
		d.fill(n, &doc)
		r.exceptions, authors = append(r.exceptions, doc.Exceptions...), doc.Authors
	case "tests":
		var doc rawTests
		d.fill(n, &doc)
		r.tests, authors = append(r.tests, doc.Tests...), doc.Authors
	case kindOwners:
		if len(r.owners) == 0 || r.owners[len(r.owners)-1].Name != f.Name {
			r.owners = append(r.owners, f)
		}
	}
	r.authors = append(r.authors, authors.words()...)
}

// kindField finds the kind of a document.
func kindField(d *decoder, n *yaml.Node) (string, pos) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "kind" && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value, d.at(n.Content[i+1])
		}
	}
	return "", pos{}
}

// versionOf is the content hash of names and bytes, 32 hex digits.
func versionOf(files []File) string {
	h := sha256.New()
	write := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, f := range files {
		write([]byte(f.Name))
		write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// unique sorts words and drops repeats.
func unique(in []string) []string {
	in = append([]string(nil), in...)
	sort.Strings(in)
	var out []string
	for i, s := range in {
		if s != "" && (i == 0 || s != in[i-1]) {
			out = append(out, s)
		}
	}
	return out
}
