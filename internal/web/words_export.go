package web

import (
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// TimelineEntry is one event of a case in words: "Actor Verb Object".
type TimelineEntry struct {
	Seq   uint64    `json:"seq"`
	At    time.Time `json:"at"`
	Actor string    `json:"actor"`
	// Kind is finding, decision, action, verify, human or notice.
	Kind   string `json:"kind"`
	Verb   string `json:"verb"`
	Object string `json:"object"`
	// Detail is a second line, Quote the words of a person.
	Detail string `json:"detail,omitempty"`
	Quote  string `json:"quote,omitempty"`
	// Type is the event's stable name, Hash the beginning of its link.
	Type string `json:"type"`
	Hash string `json:"hash"`
}

// Timeline puts events into the words of the pages, oldest first; kind "" keeps
// all kinds. names maps principal ids to login names.
func Timeline(events []store.StoredEvent, kind string, names map[string]string, notes map[remedy.Note]string) []TimelineEntry {
	entries := timeline(events, kind, people(names), notes)
	out := make([]TimelineEntry, len(entries))
	for i, e := range entries {
		out[i] = TimelineEntry{e.Seq, e.At, e.Actor, e.Kind, e.Verb, e.Object, e.Detail, e.Quote, e.Type, e.Hash}
	}
	return out
}
