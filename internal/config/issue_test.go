package config

import "testing"

// TestHarmless: a line is shown only if no secret can be on it, also where the
// key is misspelt or the value is one of many words.
func TestHarmless(t *testing.T) {
	for line, want := range map[string]bool{
		"server:": true, "  litsen: 127.0.0.1:7410": true, "  kind: githab": true, "  pprof: true": true, "  max_body: 1048576": true, "  secret: env:GH_SECRET": false,
		"  value: env:GH_SECRET": true, "  passwrod: hunter": false, "  password:": true, "  signing: hunter": false, "  url: https://bob:pw@host/x": false,
		"  dir: Tr0ub4dor": false, "  name: correct horse": false, "  name: correcthorsebattery": false, "- hunter": false, "hunter": false, "  name: hunter # two": false,
		"  a: &x hunter": false, "  apiKey: hunter": false, "  pin: 12345678901234567": false,
	} {
		if got := harmless(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
