// Package policytest holds what tests of policies share: an environment with
// the verbs of the shipped connectors, so that packs can be loaded without
// them, and random facts.
//
// It is imported by tests only and may import policy, finding and remedy.
package policytest

import (
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

// Environment returns the verbs of the shipped connectors and an irreversible,
// an unprovable and a weakly proven one besides.
func Environment() policy.Environment {
	return policy.Environment{
		Actions: []policy.Action{
			{Connector: "s3", Verb: "remove-public-access", Once: remedy.OnceLookup, Reversibility: 1, Undoable: true,
				Probe: "anonymous-get", Continuity: "authorized-get", Params: []string{"bucket", "region"}},
			{Connector: "s3", Verb: "block-public-access", Once: remedy.OnceLookup, Reversibility: 1, Undoable: true,
				Probe: "anonymous-get", Continuity: "authorized-get", Params: []string{"bucket", "region"}},
			{Connector: "oauth", Verb: "reduce-scope", Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Probe: "introspect", Continuity: "lower-scope-works", Params: []string{"grant", "scope"}},
			{Connector: "oauth", Verb: "revoke", Once: remedy.OnceLookup, Reversibility: 3,
				Probe: "introspect", Params: []string{"token"}},
			{Connector: "webhook", Verb: "call", Once: remedy.OnceKey, Reversibility: 1, Undoable: true,
				Probe: "get", Params: []string{"url", "body"}},
			{Connector: "kubernetes", Verb: "remove-subject", Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Probe: "access", Continuity: "needed-calls", Params: []string{"subject", "binding"}, Required: []string{"binding"}},
			{Connector: "minio", Verb: "disable-key", Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Probe: "bogus-secret", Continuity: "kept-keys-work", Params: []string{"key"}},
			{Connector: "nftables", Verb: "block-host", Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Probe: "packets", Continuity: "reference-answers", Params: []string{"address", "timeout"}},
			{Connector: "postgres", Verb: "revoke-login", Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Probe: "login", Continuity: "others-login", Params: []string{"role"}},
			{Connector: "fake", Verb: "tag", Once: remedy.OnceKey, Reversibility: 0, Undoable: true,
				Probe: "look", Params: []string{"name", "value"}, Required: []string{"value"}},
			{Connector: "fake", Verb: "shout", Once: remedy.OnceNone, Reversibility: 1},
			{Connector: "fake", Verb: "wipe", Once: remedy.OnceKey, Reversibility: 3, Undoable: true, Probe: "look"},
			{Connector: "fake", Verb: "isolate", Once: remedy.OnceKey, Reversibility: 2, Undoable: true, Probe: "look"},
		},
		Probes: []policy.Probe{
			{Connector: "s3", Verb: "anonymous-get", Grade: remedy.P3, Params: []string{"bucket", "region", "object"}},
			{Connector: "s3", Verb: "authorized-get", Grade: remedy.P2, Params: []string{"bucket", "region", "object", "health_url"}},
			{Connector: "oauth", Verb: "introspect", Grade: remedy.P2, Params: []string{"token"}},
			{Connector: "oauth", Verb: "lower-scope-works", Grade: remedy.P2, Params: []string{"url"}},
			{Connector: "webhook", Verb: "get", Grade: remedy.P2, Params: []string{"url"}},
			{Connector: "kubernetes", Verb: "access", Grade: remedy.P3, Params: []string{"subject", "risky"}, Required: []string{"risky"}},
			{Connector: "kubernetes", Verb: "needed-calls", Grade: remedy.P3, Params: []string{"subject", "needs"}, Required: []string{"needs"}},
			{Connector: "minio", Verb: "bogus-secret", Grade: remedy.P2, Params: []string{"key"}},
			{Connector: "minio", Verb: "kept-keys-work", Grade: remedy.P2},
			{Connector: "nftables", Verb: "packets", Grade: remedy.P3, Params: []string{"address", "port", "reference"}},
			{Connector: "nftables", Verb: "reference-answers", Grade: remedy.P3, Params: []string{"reference"}},
			{Connector: "postgres", Verb: "login", Grade: remedy.P3, Params: []string{"role"}},
			{Connector: "postgres", Verb: "others-login", Grade: remedy.P3, Params: []string{"keep"}},
			{Connector: "fake", Verb: "look", Grade: remedy.P2},
			{Connector: "fake", Verb: "echo", Grade: remedy.P1},
		},
		Systems:  []string{"tracker"},
		Channels: []string{"webhook"},
	}
}
