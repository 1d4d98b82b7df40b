package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Open checks a body with Text and decodes it into v, which should hold the
// records as json.RawMessage so that a bad record can be refused alone. Errors
// are *Error with line and column.
func Open(name string, body []byte, opt Options, v any) error {
	body, err := Text(name, body, opt)
	if err != nil {
		return err
	}
	return Decode(name, body, opt, v)
}

// Decode is encoding/json's Unmarshal with errors that say where and how to mend.
func Decode(name string, body []byte, opt Options, v any) error {
	err := Unmarshal(body, v)
	if err == nil {
		return nil
	}
	e := &Error{Format: name, Where: Position(opt.File, body, 0), Reason: Reason(err)}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at := int(syntax.Offset) - 1
		e.Reason = "not valid JSON: " + syntax.Error()
		e.Mend = "send the file exactly as the tool wrote it"
		if cut(body, syntax) {
			at = len(body)
			e.Reason = "the JSON ends in the middle of a value: the file is cut"
			e.Mend = "write the report again and check that the disk or the upload limit was not reached"
		}
		e.Where = Position(opt.File, body, at) + trailOf(bytes.NewReader(body), int64(at))
	case errors.As(err, &typ):
		e.Where = Position(opt.File, body, int(typ.Offset)-1)
		e.Mend = "check that the file is in the format " + name
	}
	return e
}

func cut(body []byte, e *json.SyntaxError) bool {
	if strings.Contains(e.Error(), "unexpected end") {
		return true
	}
	// In a literal ("tru") the decoder complains of the blank it puts behind the end.
	return int(e.Offset) > len(body) || int(e.Offset) == len(body) && strings.HasPrefix(e.Error(), "invalid character ' ' in literal")
}

// Reason words a decoding error for people: the field and what is wrong.
func Reason(err error) string {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		field := typ.Field
		if field == "" {
			field = "the record"
		}
		return fmt.Sprintf("%s: want %s, got %s", field, wanted(typ.Type.Kind().String()), typ.Value)
	}
	var lenient *typeError
	if errors.As(err, &lenient) {
		return lenient.Error()
	}
	return err.Error()
}

func wanted(kind string) string {
	switch kind {
	case "uint8": // enumerations of package finding
		return "one of its words as text"
	case "struct", "map":
		return "an object"
	case "slice", "array":
		return "an array"
	case "string":
		return "text"
	case "bool":
		return "true or false"
	}
	return "a number"
}

// Values splits a body into JSON values: an array's elements, the values of
// JSON lines, or the one value there is. Each comes with the place that names
// it in notes. Bad lines come with their error, so that they can be refused
// alone; an error of the whole body is an *Error.
func Values(name string, body []byte, opt Options) ([]Value, error) {
	body, err := Text(name, body, opt)
	if err != nil {
		return nil, err
	}
	if opt.Line > 0 {
		out, _ := lineValues(body, opt)
		return out, nil
	}
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if trimmed[0] == '[' {
		var list []json.RawMessage
		if err := Decode(name, body, opt, &list); err != nil {
			return nil, err
		}
		out := make([]Value, len(list))
		for i, raw := range list {
			out[i] = Value{Raw: raw, Where: Pointer(opt, "", i)}
		}
		return out, nil
	}
	if json.Valid(body) {
		return []Value{{Raw: bytes.Trim(body, " \t\r\n"), Where: Pointer(opt, "")}}, nil
	}
	var whole json.RawMessage
	wholeErr := Decode(name, body, opt, &whole)
	out, good := lineValues(body, opt)
	if len(out) < 2 || 2*good < len(out) { // one damaged document, some lines of which happen to be JSON
		return nil, wholeErr
	}
	return out, nil
}

// Value is one JSON value of a body, or the error that took its place.
type Value struct {
	Raw   json.RawMessage
	Where string
	Err   string
}

// lineValues reads one value per line; when values span lines it reads them
// one after the other until the first error.
func lineValues(body []byte, opt Options) ([]Value, int) {
	var out []Value
	good, offset := 0, 0
	p := places{file: opt.File, body: body, lines: max(0, opt.Line-1)}
	for line := range bytes.Lines(body) {
		at := offset
		offset += len(line)
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		v := Value{Raw: line}
		if json.Valid(line) {
			v.Where = p.at(at)
			good++
		} else {
			v = badLine(line, &p, at)
		}
		out = append(out, v)
	}
	if good > 0 || opt.Line > 0 {
		return out, good
	}
	return streamValues(body, opt)
}

// badLine is the value of a line that is not JSON and begins at an offset.
func badLine(line []byte, p *places, at int) Value {
	var x any
	err := json.Unmarshal(line, &x)
	reason, fault := fmt.Sprintf("the line is not valid JSON: %v", err), 0
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		fault = int(syntax.Offset) - 1
		if cut(line, syntax) {
			reason, fault = "the line ends in the middle of a value: it is cut", len(line)
		}
	}
	return Value{Where: p.at(at+fault) + trailOf(bytes.NewReader(line), int64(fault)), Err: reason}
}

func streamValues(body []byte, opt Options) ([]Value, int) {
	var out []Value
	p := places{file: opt.File, body: body}
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		at := int(dec.InputOffset())
		if err != nil {
			if len(bytes.TrimSpace(body[at:])) > 0 {
				out = append(out, Value{Where: p.at(at), Err: "not valid JSON from here on: " + err.Error()})
			}
			break
		}
		out = append(out, Value{Raw: raw, Where: p.at(at - len(raw))})
	}
	good := 0
	for _, v := range out {
		if v.Err == "" {
			good++
		}
	}
	return out, good
}

// Pointer names a record by file and JSON pointer (RFC 6901): "report.json#/runs/0".
func Pointer(opt Options, base string, parts ...any) string {
	file := opt.File
	if file == "" {
		file = "input"
	}
	var b strings.Builder
	if base != "" {
		b.WriteString(base)
	} else {
		b.WriteString(file + "#")
	}
	for _, p := range parts {
		s := fmt.Sprint(p)
		s = strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
		b.WriteString("/" + s)
	}
	return b.String()
}

// typeError is what the lenient types below report.
type typeError struct{ want, got, field string }

func (e *typeError) Error() string {
	s := "want " + e.want + ", got " + e.got
	if e.field != "" {
		s = e.field + ": " + s
	}
	return s
}

func kindOf(b []byte) string {
	switch {
	case len(b) == 0:
		return "nothing"
	case b[0] == '{':
		return "an object"
	case b[0] == '[':
		return "an array"
	case b[0] == '"':
		return "text"
	case b[0] == 't' || b[0] == 'f':
		return "true or false"
	case b[0] == 'n':
		return "null"
	}
	return "a number"
}

// String is text that some tools write as a number or boolean. null, and the
// words "None" and "null" of tools that print their own language, are "".
type String string

// UnmarshalJSON reads any scalar.
func (s *String) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		v, ok := plainString(b)
		if !ok {
			if err := json.Unmarshal(b, &v); err != nil {
				return err
			}
		}
		if v == "None" || v == "null" {
			v = ""
		}
		*s = String(v)
	case '{', '[':
		return &typeError{want: "text", got: kindOf(b)}
	case 'n':
		*s = ""
	default:
		*s = String(b)
	}
	return nil
}

// plainString is the text of a JSON string without escapes; false for others.
func plainString(b []byte) (string, bool) {
	if len(b) < 2 || b[len(b)-1] != '"' {
		return "", false
	}
	text := b[1 : len(b)-1]
	for _, c := range text {
		if c < 0x20 || c == '"' || c == '\\' || c >= 0x7f && !utf8.Valid(text) {
			return "", false
		}
	}
	return string(text), true
}

// Number is a number that some tools write as text. Text that is no number is 0.
type Number float64

// UnmarshalJSON reads a number, text, or null (0).
func (n *Number) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '{', '[':
		return &typeError{want: "a number", got: kindOf(b)}
	case 'n', 't', 'f':
		*n = 0
		return nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.Trim(string(b), `"`)), 64)
	if err != nil || v != v || v > 1e15 || v < -1e15 {
		v = 0
	}
	*n = Number(v)
	return nil
}

// Int is the number cut to a non-negative int, for lines and counts.
func (n Number) Int() int { return max(0, int(n)) }

// Strings is a list of texts that some tools write as one text.
type Strings []string

// UnmarshalJSON reads a list of scalars, one scalar, or null.
func (l *Strings) UnmarshalJSON(b []byte) error {
	if b[0] == '{' {
		return &typeError{want: "a list", got: "an object"}
	}
	if b[0] != '[' {
		var one String
		if err := one.UnmarshalJSON(b); err != nil || one == "" {
			return err
		}
		*l = Strings{string(one)}
		return nil
	}
	var many []json.RawMessage
	if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	for _, raw := range many {
		var one String
		if err := one.UnmarshalJSON(raw); err == nil && one != "" {
			*l = append(*l, string(one))
		}
	}
	return nil
}

// StringMap is an object of texts, such as tags. Members that are no scalars
// are left out.
type StringMap map[string]string

// UnmarshalJSON reads an object; null and anything else is no map.
func (m *StringMap) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		if b[0] == 'n' {
			return nil
		}
		return &typeError{want: "an object", got: kindOf(b)}
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*m = make(StringMap, len(raw))
	for k, v := range raw {
		var s String
		if s.UnmarshalJSON(v) == nil {
			(*m)[k] = string(s)
		}
	}
	return nil
}

// Time reads the time forms tools use. The result is UTC and zero when the
// text is no time. A time without a zone is taken as UTC.
func Time(s string) time.Time {
	s = strings.TrimSpace(s)
	if len(s) < 8 || s[0] == '-' {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 MST", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05-0700", "2006-01-02", time.RFC1123Z, time.RFC1123} {
		if t, err := time.Parse(layout, s); err == nil {
			return inRange(t)
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Unix(n)
	}
	return time.Time{}
}

// Unix reads seconds, milliseconds, microseconds or nanoseconds since 1970,
// told apart by size. 0 and negative numbers are the zero time.
func Unix(n int64) time.Time {
	switch {
	case n <= 0:
		return time.Time{}
	case n < 1e11:
		return inRange(time.Unix(n, 0))
	case n < 1e14:
		return inRange(time.UnixMilli(n))
	case n < 1e17:
		return inRange(time.UnixMicro(n))
	}
	return inRange(time.Unix(0, n))
}

// inRange drops times no alert has: tools write year 1 for "never".
func inRange(t time.Time) time.Time {
	if y := t.UTC().Year(); y < 1990 || y > 9000 {
		return time.Time{}
	}
	return t.UTC()
}

// FirstTime returns the first text that is a time.
func FirstTime(texts ...string) time.Time {
	for _, s := range texts {
		if t := Time(s); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// First returns the first text that is not empty.
func First(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
