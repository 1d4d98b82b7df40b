// Package mapping makes readers of mapping files: YAML that says where in a
// tool's JSON or CSV each field of a finding is. It lets users add a format without
// writing Go. docs/mapping.md describes the language.
//
// It is pure: it may import format, finding, the YAML parser and the standard
// library (no os, net, context, sync, log, rand, goroutines or time.Now).
// Invariants: a mapping file loads only when every word of it is understood,
// and all its errors come at once with line and column; reading costs at most
// records × fields; values that a mapping calls secret are replaced by a keyed
// hash everywhere in the finding.
package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Reader reads one tool's JSON or CSV as a mapping file says. Load makes it.
type Reader struct {
	name     string
	table    bool // CSV
	detect   []condition
	records  []selector
	fields   []field
	names    []field // the fields that name a suppressed record
	required []string
	suppress []suppression
}

// field sets one target from one value.
type field struct {
	target target
	value  value
}

type suppression struct {
	when   []condition
	reason string
}

// Name is the name the mapping file gives.
func (r *Reader) Name() string { return r.name }

// Detect is sure when every detect condition holds, and never without any.
func (r *Reader) Detect(p format.Probe) int {
	if len(r.detect) == 0 || p.Table != r.table {
		return 0
	}
	for _, c := range r.detect {
		if !c.holdsFor(p) {
			return 0
		}
	}
	return 99
}

// Blind reports whether the mapping says nothing of how its JSON is found: it
// then reads what no reader knows.
func (r *Reader) Blind() bool { return len(r.detect) == 0 }

// SecretPaths names the places the mapping calls secret, for format.Redact.
func (r *Reader) SecretPaths() []string {
	var out []string
	for _, f := range r.fields {
		if !f.target.secret {
			continue
		}
		for _, p := range f.value.paths {
			if n := len(p.steps); n > 0 && p.steps[n-1].kind == 'k' {
				out = append(out, "**."+p.steps[n-1].key)
			}
		}
	}
	return out
}

// Records are the lists the selectors go through. A mapping that names one
// element of a list, in a selector or outside of the record, has none: the
// element may be in another part.
func (r *Reader) Records() []string {
	if r.table || r.reachesOut() {
		return nil
	}
	var out []string
	for _, sel := range r.records {
		place := ""
		for _, st := range sel.steps {
			switch {
			case st.kind == '*':
				place += "[]"
			case st.kind == 'k' && !strings.ContainsAny(st.key, ".[]"):
				place = strings.TrimPrefix(place+"."+st.key, ".")
			default:
				return nil
			}
		}
		if !strings.HasSuffix(place, "[]") { // "findings" says "findings[*]"
			place += "[]"
		}
		out = append(out, place, strings.TrimSuffix("[]."+place, ".[]"))
	}
	return out
}

// reachesOut reports whether a path outside of the record may name an element
// of a list of records.
func (r *Reader) reachesOut() bool {
	var paths []path
	for _, f := range append(r.fields[:len(r.fields):len(r.fields)], r.names...) {
		paths = append(paths, f.value.paths...)
		for _, p := range f.value.template {
			if p.path != nil {
				paths = append(paths, *p.path)
			}
		}
	}
	for _, s := range r.suppress {
		for _, c := range s.when {
			paths = append(paths, c.paths...)
		}
	}
	for _, p := range paths {
		i := slices.IndexFunc(p.steps, func(st step) bool { return st.kind != 'k' })
		if p.up == 0 || i < 0 {
			continue
		}
		if p.up > 0 || i == 0 {
			return true
		}
		for _, sel := range r.records {
			if len(sel.steps) >= i && slices.Equal(sel.steps[:i], p.steps[:i]) {
				return true
			}
		}
	}
	return false
}

// Read reads all records the selectors find.
func (r *Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: r.name}
	if r.table {
		return r.readTable(res, body, opt)
	}
	values, err := format.Values(r.name, body, opt)
	if err != nil {
		return res, err
	}
	found := false
	for _, v := range values {
		if v.Err != "" {
			res.Refuse(v.Where, "", v.Err)
			found = true
			continue
		}
		var doc any
		dec := json.NewDecoder(bytes.NewReader(v.Raw))
		dec.UseNumber()
		if err := dec.Decode(&doc); err != nil {
			res.Refuse(v.Where, "", err.Error())
			continue
		}
		for _, sel := range r.records {
			ok := sel.each(doc, v.Where, opt, func(s scope, where string) { r.record(&res, s, where, opt) })
			found = found || ok
		}
	}
	if !found && len(values) > 0 {
		texts := make([]string, len(r.records))
		for i, sel := range r.records {
			texts[i] = fmt.Sprintf("%q", sel.text)
		}
		return res, &format.Error{Format: r.name, Where: format.Position(opt.File, body, 0), Reason: fmt.Sprintf("records: %s is not in the body%s", strings.Join(texts, ", "), keysOf(values[0].Raw)),
			Mend: "correct records in the mapping file, or check that this is the tool's report"}
	}
	return format.Finish(res, body, opt)
}

// readTable reads CSV: every row is a record with the header's names as keys.
func (r *Reader) readTable(res format.Result, body []byte, opt format.Options) (format.Result, error) {
	rows, err := format.Rows(r.name, body, opt)
	if err != nil {
		return res, err
	}
	for _, row := range rows {
		if row.Err != "" {
			res.Refuse(row.Where, "", row.Err)
			continue
		}
		record := make(map[string]any, len(row.Cells))
		for k, v := range row.Cells {
			record[k] = v
		}
		s := scope{doc: record, around: []any{record}, scanned: format.Scanned(opt, "").UID}
		r.record(&res, s, row.Where, opt)
	}
	return format.Finish(res, body, opt)
}

// keysOf tells what the body has instead.
func keysOf(raw json.RawMessage) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil || len(m) == 0 {
		return ""
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	if len(keys) > 12 {
		keys = append(keys[:12], "…")
	}
	return "; it has " + strings.Join(keys, ", ")
}

// record makes one finding.
func (r *Reader) record(res *format.Result, s scope, where string, opt format.Options) {
	if _, ok := s.record().(map[string]any); !ok {
		res.Refuse(where, "", "the record is "+kindName(s.record())+", want an object")
		return
	}
	f := finding.Finding{Tenant: opt.Tenant, Source: r.name}
	for _, sup := range r.suppress {
		if all(sup.when, s) {
			_, _ = r.set(&f, r.names, s, opt) // a record that is no finding may lack its name
			res.Suppress(where, format.First(f.NativeID, f.Rule), sup.reason)
			return
		}
	}
	filled, bad := r.set(&f, r.fields, s, opt)
	if bad != "" {
		res.Refuse(where, format.First(f.NativeID, f.Rule), bad)
		return
	}
	for _, name := range r.required {
		if !filled[name] {
			res.Refuse(where, format.First(f.NativeID, f.Rule), name+": missing; "+r.pathsOf(name)+" is empty")
			return
		}
	}
	switch {
	case f.Title == "" && f.Rule == "":
		res.Refuse(where, f.NativeID, "title: the mapped paths hold nothing, and so do those of rule; nothing says what was found")
		return
	case f.Class != "" && !finding.KnownClass(f.Class):
		res.Refuse(where, f.Rule, fmt.Sprintf("class: %q is not known%s; map it with a table", f.Class, format.DidYouMean(string(f.Class), classNames())))
		return
	}
	if opt.Asset.UID == "" && f.Asset.UID == s.scanned && f.Asset.Name == "" {
		f.Asset.Name = format.Scanned(opt, "").Name
	}
	if opt.Asset.UID != "" && f.Asset.UID == opt.Asset.UID {
		tags, provider := f.Asset.Tags, f.Asset.Provider
		f.Asset = opt.Asset
		f.Asset.Provider = format.First(opt.Asset.Provider, provider)
		if len(tags) > 0 {
			f.Asset.Tags = tags
		}
	}
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	format.Complete(&f)
	res.Keep(f, where)
}

// set fills in fields and reports which got a value; bad says where something
// of the wrong type stands.
func (r *Reader) set(f *finding.Finding, fields []field, s scope, opt format.Options) (filled map[string]bool, bad string) {
	filled = make(map[string]bool, len(fields))
	var secrets []string
	for _, x := range fields {
		if x.target.object != nil {
			for _, p := range x.value.paths {
				values, _ := p.values(s)
				for _, v := range values {
					x.target.object(f, v)
				}
			}
			continue
		}
		vals, wrong := x.value.eval(s)
		switch {
		case wrong != "":
			return filled, wrong
		case len(vals) == 0:
			continue
		case x.target.number && !isNumber(vals[0]):
			return filled, fmt.Sprintf("%s: want a number, got %.40q", x.target.name, vals[0])
		case x.target.time && !isTime(vals[0]):
			return filled, fmt.Sprintf("%s: want a time such as 2026-01-31T09:00:00Z, got %.40q", x.target.name, vals[0])
		}
		filled[x.target.name] = true
		if x.target.secret {
			secrets = append(secrets, vals...)
			f.Weakness.SecretHash = opt.Secret(vals[0])
			continue
		}
		x.target.set(f, vals)
	}
	redact(f, secrets)
	return filled, ""
}

// pathsOf words where a field's value is looked for.
func (r *Reader) pathsOf(name string) string {
	for _, f := range r.fields {
		if f.target.name != name {
			continue
		}
		var texts []string
		for _, p := range f.value.paths {
			texts = append(texts, p.text)
		}
		for _, p := range f.value.template {
			if p.path != nil {
				texts = append(texts, p.path.text)
			}
		}
		return strings.Join(texts, " or ")
	}
	return name
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// isTime reports whether a text is a time, or a word for none: tools write
// year 1, 1970 and "N/A" for what never happened.
func isTime(s string) bool {
	return !format.Time(s).IsZero() || strings.HasPrefix(s, "0") || strings.HasPrefix(s, "1970-01-01") || len(s) < 4
}

// redact takes secrets out of every text of the finding.
func redact(f *finding.Finding, secrets []string) {
	for _, s := range secrets {
		if len(s) < 4 {
			continue
		}
		clean := func(p *string) { *p = strings.ReplaceAll(*p, s, "[redacted]") }
		for _, p := range []*string{&f.Title, &f.Description, &f.Rule, &f.NativeID, &f.Recommended, &f.Asset.UID, &f.Asset.Name, &f.Location.URL, &f.Location.File,
			&f.Component.Name, &f.Component.Version, &f.Component.Path, &f.Identity.Principal, &f.SourceSeverity, &f.Location.Repository} {
			clean(p)
		}
		for i := range f.Evidence {
			clean(&f.Evidence[i].Value)
		}
		for k, v := range f.Params {
			f.Params[k] = strings.ReplaceAll(v, s, "[redacted]")
		}
		for k, v := range f.Asset.Tags {
			f.Asset.Tags[k] = strings.ReplaceAll(v, s, "[redacted]")
		}
	}
}

func all(conditions []condition, s scope) bool {
	for _, c := range conditions {
		if !c.holds(s) {
			return false
		}
	}
	return true
}

func kindName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "text"
	case bool:
		return "true or false"
	}
	return "a number"
}

func classNames() []string {
	var out []string
	for _, c := range finding.Classes() {
		out = append(out, string(c.Class))
	}
	return out
}
