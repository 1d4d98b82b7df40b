package catalog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/owner"
)

const ownersYAML = `people:
  - id: alice
    name: Alice A.
    email: alice@example.com
    logins: [alice-gh]
    team: payments
    manager: carol
    away:
      - {from: 2026-12-20, until: 2027-01-03T00:00:00Z}
  - {id: carol, team: payments}
teams:
  - {id: payments, lead: carol, members: [alice]}
  - {id: platform, members: [carol]}
components:
  - {name: checkout, owner: payments, repositories: [acme/checkout], assets: ["arn:aws:s3:::acme-*"]}
accounts: {"123456789012": platform}
aliases: {old-payments: payments}
fallback: platform
operations_lead: carol
overrides:
  - {asset: "arn:aws:s3:::special", owner: platform, until: 2027-01-01, reason: migration}
delegations:
  - {from: carol, to: alice, start: 2026-11-01, until: 2026-12-01, reason: travel}
`

const backstageYAML = `apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: Search
  annotations: {casement.dev/lead: user:default/dora}
spec:
  type: team
  profile: {displayName: Search team}
  parent: nowhere
  children: []
  members: [dora, ghost]
---
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {name: dora}
spec:
  profile: {displayName: Dora, email: dora@example.com}
  memberOf: [search, group:default/payments]
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: Finder
  annotations:
    github.com/project-slug: acme/finder
    backstage.io/source-location: url:https://github.com/Acme/tools/tree/main/finder
spec: {type: service, lifecycle: production, system: discovery}
---
apiVersion: backstage.io/v1alpha1
kind: System
metadata: {name: discovery, namespace: default}
spec: {owner: search}
---
apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: finder-api}
spec: {owner: search}
`

func read(t *testing.T, files ...File) (owner.Data, []string) {
	t.Helper()
	d, notes, err := Read(files...)
	if err != nil {
		t.Fatal(err)
	}
	return d, notes
}

func TestReadBoth(t *testing.T) {
	data, notes := read(t, File{Name: "catalog-info.yaml", Data: []byte(backstageYAML)}, File{Name: "owners.yaml", Data: []byte(ownersYAML)},
		File{Name: "CODEOWNERS", Repository: "acme/docs", Data: []byte("* @acme/search\n")})
	d, err := owner.New(data)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		f      finding.Finding
		owner  string
		source owner.Source
	}{
		{"own component by asset", finding.Finding{Asset: finding.Asset{UID: "arn:aws:s3:::acme-logs"}}, "payments", owner.FromCatalog},
		{"Backstage component by name, owner of its system", finding.Finding{Asset: finding.Asset{UID: "x", App: "finder"}}, "search", owner.FromCatalog},
		{"by entity reference", finding.Finding{Asset: finding.Asset{UID: "x", App: "component:default/Finder"}}, "search", owner.FromCatalog},
		{"by project slug", finding.Finding{Location: finding.Location{Repository: "https://github.com/Acme/Finder.git"}}, "search", owner.FromCatalog},
		{"by source location", finding.Finding{Location: finding.Location{Repository: "acme/tools"}}, "search", owner.FromCatalog},
		{"CODEOWNERS", finding.Finding{Location: finding.Location{Repository: "acme/docs", File: "a.md"}}, "search", owner.FromCodeowners},
		{"account", finding.Finding{Asset: finding.Asset{UID: "x", Account: "123456789012"}}, "platform", owner.FromAccount},
		{"override", finding.Finding{Asset: finding.Asset{UID: "arn:aws:s3:::special"}}, "platform", owner.FromOverride},
		{"Backstage user by mail", finding.Finding{Asset: finding.Asset{Tags: map[string]string{"Owner": "Dora@example.com"}}}, "dora", owner.FromTag},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := owner.Resolve(d, owner.Question{Finding: test.f, At: at})
			if a.Owner != test.owner || a.Source != test.source {
				t.Errorf("got %s by %s: %+v", a.Owner, a.Source, a.Chain)
			}
		})
	}
	if got := fmt.Sprint(d.Members("payments")); got != "[alice carol]" {
		t.Errorf("members of payments: %s", got)
	}
	for _, want := range []string{`parent "nowhere"`, `member "ghost"`, "kind API"} {
		if !strings.Contains(strings.Join(notes, "\n"), want) {
			t.Errorf("no note of %s in %q", want, notes)
		}
	}
	p, _ := d.Person("alice")
	if want := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC); len(p.Away) != 1 || !p.Away[0].From.Equal(want) {
		t.Errorf("away: %v", p.Away)
	}
}

// What people write in our own file completes what a catalog says.
func TestOwnFileWins(t *testing.T) {
	data, _ := read(t, File{Name: "c.yaml", Data: []byte(backstageYAML)}, File{Name: "o.yaml", Data: []byte(`
people:
  - {id: Dora, manager: erik}
  - {id: erik}
teams:
  - {id: search, on_call: erik}
`)})
	d, err := owner.New(data)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := d.Person("Dora")
	if p.Manager != "erik" || p.Email != "dora@example.com" || p.Team != "search" {
		t.Errorf("got %+v", p)
	}
}

func TestFaultsHavePlaces(t *testing.T) {
	_, _, err := Read(File{Name: "o.yaml", Data: []byte("people:\n  - id: a\n    emial: x\n  - {id: b, left: maybe}\nteems: []\n")},
		File{Name: "list.yaml", Data: []byte("- a\n")}, File{Name: "broken.yaml", Data: []byte("a: [b\nc: d\n")},
		File{Name: "noname.yaml", Data: []byte("apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {}\n")},
		File{Name: "mixed.yaml", Data: []byte("apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: x}\n---\nteams: []\n")})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"o.yaml:3:", "emial", "o.yaml:4:", "o.yaml:5:", "teems", "list.yaml:1:1: want a mapping", "broken.yaml:2:", "noname.yaml:1:1: User without", "mixed.yaml:5:1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in:\n%v", want, err)
		}
	}
	data, _ := read(t, File{Name: "o.yaml", Data: []byte("people:\n  - {id: a, manager: nobody}\n")})
	if _, err := owner.New(data); err == nil || !strings.Contains(err.Error(), "o.yaml:2:5: person a: manager") {
		t.Errorf("got %v", err)
	}
}

func TestHostileFiles(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	for name, data := range map[string]string{
		"alias bomb": bomb.String(), "deep": strings.Repeat("[", 20000), "huge": strings.Repeat("#", maxFile+1),
		"not UTF-8": "people: [\xff\xfe]\n", "duplicate key": "teams: []\nteams: []\n",
	} {
		if _, _, err := Read(File{Name: "x.yaml", Data: []byte(data)}); err == nil || !strings.Contains(err.Error(), "x.yaml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Read(File{Name: "empty.yaml"}, File{Name: "null.yaml", Data: []byte("---\n---\n")}); err != nil {
		t.Errorf("empty files: %v", err)
	}
}

// No bytes make the readers or the directory panic.
func FuzzRead(f *testing.F) {
	f.Add([]byte(ownersYAML))
	f.Add([]byte(backstageYAML))
	f.Add([]byte("people: [{id: a, team: a}]\n"))
	f.Add([]byte("aliases: {a: b, b: a}\nfallback: x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, _, err := Read(File{Name: "x", Data: data})
		if err != nil {
			return
		}
		dir, err := owner.New(d)
		if err != nil {
			return
		}
		q := owner.Question{At: time.Unix(1_790_000_000, 0), Finding: finding.Finding{Asset: finding.Asset{UID: "x", App: "a", Tags: map[string]string{"owner": "a"}}}}
		if a := owner.Resolve(dir, q); a.Owner == "" {
			t.Fatal("no owner")
		}
	})
}
