// Package mapping makes readers of mapping files: YAML that says where in a
// tool's JSON each field of a finding is. It lets users add a format without
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
	"sort"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Reader reads one tool's JSON as a mapping file says. Load makes it.
type Reader struct {
	name     string
	detect   []condition
	records  selector
	fields   []field
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
	if len(r.detect) == 0 {
		return 0
	}
	for _, c := range r.detect {
		if !c.holdsFor(p) {
			return 0
		}
	}
	return 99
}

// Read reads all records the selector finds.
func (r *Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: r.name}
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
		ok := r.records.each(doc, v.Where, opt, func(s scope, where string) { r.record(&res, s, where, opt) })
		found = found || ok
	}
	if !found && len(values) > 0 {
		return res, &format.Error{Format: r.name, Where: values[0].Where, Reason: fmt.Sprintf("records: %q is not in the body%s", r.records.text, keysOf(values[0].Raw)),
			Mend: "correct records in the mapping file, or check that this is the tool's report"}
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
	var secrets []string
	for _, x := range r.fields {
		vals := x.value.eval(s)
		if len(vals) == 0 {
			continue
		}
		if x.target.secret {
			secrets = append(secrets, vals...)
			f.Weakness.SecretHash = opt.Secret(vals[0])
			continue
		}
		x.target.set(&f, vals)
	}
	redact(&f, secrets)
	for _, sup := range r.suppress {
		if all(sup.when, s) {
			res.Suppress(where, format.First(f.NativeID, f.Rule), sup.reason)
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
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	format.OwnerTags(&f)
	res.Keep(f, where)
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
