// Package trace carries the trace context of W3C (Trace Context, level 1) from
// a request through what is stored to the calls that follow from it.
//
// It may import the standard library alone. Invariants: an id holds nothing but
// random bits, so that it may be told to outside systems; what others send
// beside it (tracestate) is not carried on; what does not parse is ignored.
package trace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
)

// Header is the name of the header that carries a Context.
const Header = "traceparent"

// Context is one step of a trace: the trace's id, the step's, and the flags (bit
// 0: the sender records it). The zero value is none.
type Context struct {
	Trace [16]byte
	Span  [8]byte
	Flags byte
}

// New begins a trace that nobody records unless told so.
func New() Context {
	var c Context
	fill(c.Trace[:])
	return c.Child()
}

// Child is another step of the same trace.
func (c Context) Child() Context {
	fill(c.Span[:])
	return c
}

// fill fills b with random bytes that are not all zero.
func fill(b []byte) {
	_, _ = rand.Read(b) // never fails
	b[0] |= 1           // all zeros means none
}

// length of a header of version 00: 00-trace-span-flags.
const length = 2 + 1 + 32 + 1 + 16 + 1 + 2

// Parse reads a header; false for one that does not conform. Of a version after
// 00 it reads what 00 says, as the standard asks.
func Parse(s string) (Context, bool) {
	var c Context
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return c, false
	}
	if len(s) > length && (s[:2] == "00" || s[length] != '-') {
		return c, false
	}
	var version, flags [1]byte
	for _, part := range []struct {
		to   []byte
		text string
	}{{version[:], s[:2]}, {c.Trace[:], s[3:35]}, {c.Span[:], s[36:52]}, {flags[:], s[53:55]}} {
		if !lower(part.text) {
			return Context{}, false
		}
		if _, err := hex.Decode(part.to, []byte(part.text)); err != nil {
			return Context{}, false
		}
	}
	if c.Trace == [16]byte{} || c.Span == [8]byte{} {
		return Context{}, false
	}
	c.Flags = flags[0] & 1
	return c, true
}

func lower(s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	return true
}

// String is the header, "" for none.
func (c Context) String() string {
	if c == (Context{}) {
		return ""
	}
	return "00-" + c.TraceID() + "-" + c.SpanID() + "-" + hex.EncodeToString([]byte{c.Flags})
}

// TraceID is the trace's id as 32 hex digits.
func (c Context) TraceID() string { return hex.EncodeToString(c.Trace[:]) }

// SpanID is the step's id as 16 hex digits.
func (c Context) SpanID() string { return hex.EncodeToString(c.Span[:]) }

type key struct{}

// With returns a context that carries c.
func With(ctx context.Context, c Context) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns what ctx carries; false for nothing.
func From(ctx context.Context) (Context, bool) {
	c, ok := ctx.Value(key{}).(Context)
	return c, ok && c != Context{}
}
