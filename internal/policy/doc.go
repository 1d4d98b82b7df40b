// Package policy answers which decision a finding gets and why: it loads a
// directory of YAML with CEL conditions into an immutable Pack and judges flat
// facts by it.
//
// It is pure (no os, net, context, sync, log, rand, goroutines or time.Now) and
// may import finding, deadline, remedy, the YAML reader and CEL, which no other
// package uses. Invariants: every fact set gets a decision (total), the same
// facts the same one (deterministic); files go in name order and the first rule
// that matches decides; an unknown fact never gives a laxer class than any value
// it could have, and never leads to an enforcement; conditions read only fields
// of finding.DecisionDigest and declared case facts; all faults of all files are
// reported at once with file, line and column.
package policy

// EnvVersion is the version of the CEL environment: names and types of variables
// and functions. Within a version names are only added.
const EnvVersion = 1
