package format

import (
	"strings"
	"testing"
)

// TestRedactUnread: of a body that no reader knows people see the shape, and no
// secret, wherever it stands.
func TestRedactUnread(t *testing.T) {
	for name, c := range map[string]struct{ body, secret, keep string }{
		"a member by its name":    {`{"alert":"x","client_secret":"sesame open"}`, "sesame", `"alert":"x"`},
		"a path of the reader":    {`{"alert":{"raw":"sesame"}}`, "sesame", `{"alert":{"raw":`},
		"a token in prose":        {`{"msg":"found ghp_16C7e42F292c6912E7710c838347Ae178b4a in main.go"}`, "ghp_", `in main.go`},
		"a cloud key":             {`key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY here`, "wJalr", `here`},
		"YAML":                    {"rule: open\npassword: sesame\nhost: web-1", "sesame", "host: web-1"},
		"XML":                     {`<a><Password>sesame</Password><host>web-1</host></a>`, "sesame", `<host>web-1</host>`},
		"an attribute":            {`<a api_key="sesame" host="web-1"/>`, "sesame", `host="web-1"`},
		"an option":               {`run --token sesame --host web-1`, "sesame", `--host web-1`},
		"a header":                {`Authorization: Bearer sesame`, "sesame", `Authorization:`},
		"a header in an option":   {`curl --header=Authorization: Bearer sesame web-1`, "sesame", `web-1`},
		"an address":              {`see https://bob:sesame@example.com/x`, "sesame", `example.com/x`},
		"a longer small letter":   {`{"msg":"run ȺȺȺȺȺȺȺȺȺtoken=sesame --host web-1"}`, "sesame", `ȺȺȺȺȺȺȺȺȺtoken=[redacted] --host web-1`},
		"not UTF-8, in JSON":      {"{\"msg\":\"run \xff\xff\xff\xff\xfftoken=sesame --host web-1\"}", "sesame", `token=[redacted] --host web-1`},
		"a private key":           {"cert\n-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----\nhost", "sesame", "host"},
		"JSON that breaks off":    {`{"a":"web-1","password":"sesame`, "sesame", `web-1`},
		"not UTF-8":               {"web-1 \xff password=sesame", "sesame", "web-1"},
		"names of things are not": {`arn:aws:iam::111122223333:role/my-long-role-name-of-2026 550e8400-e29b-41d4-a716-446655440000 /usr/lib/python3/dist-packages/x`, "sesame", `my-long-role-name-of-2026 550e8400-e29b-41d4-a716-446655440000 /usr/lib/python3/dist-packages/x`},
	} {
		got := string(RedactUnread([]byte(c.body), []string{"alert.raw"}))
		if strings.Contains(got, c.secret) || !strings.Contains(got, c.keep) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// FuzzRedactUnread: it never fails, and a member by the name of a secret never
// shows its text.
func FuzzRedactUnread(f *testing.F) {
	f.Add(`<a password="x">`, "mystory")
	f.Add("a: b\n", "pillow")
	f.Add("[\"\xff\xff\xfftoken= x\"", "pillow")
	f.Fuzz(func(t *testing.T, before, secret string) {
		for _, c := range secret {
			if c < 'g' || c > 'z' {
				return // no plain word
			}
		}
		if len(secret) < 6 || strings.Contains(before, secret) || strings.Contains("password redacted", secret) {
			return
		}
		if got := RedactUnread([]byte(before+"\npassword="+secret+"\n"), nil); strings.Contains(string(got), secret) && !strings.ContainsAny(before, "{[") {
			t.Errorf("%q shows %q", got, secret)
		}
	})
}
