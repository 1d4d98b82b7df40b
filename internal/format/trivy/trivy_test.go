package trivy

import (
	"os"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

func read(t *testing.T, body string, opt format.Options) format.Result {
	t.Helper()
	opt.Now = time.Unix(1.8e9, 0).UTC()
	res, err := Reader{}.Read([]byte(body), opt)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return res
}

const misconfigured = `"Results":[{"Target":"Dockerfile","Class":"config","Misconfigurations":[{"ID":"DS002","Title":"t","Message":"m","Severity":"HIGH","Status":"FAIL"}]}]}`

func TestAsset(t *testing.T) {
	repo := finding.Asset{UID: "example/shop", Type: "repository"}
	for _, c := range []struct {
		head, uid, typ string
		opt            format.Options
	}{
		{`{"SchemaVersion":2,"ArtifactName":"x.tar","ArtifactType":"container_image","Metadata":{"RepoTags":["reg/app:1"]},`, "reg/app:1", "image", format.Options{}},
		{`{"SchemaVersion":2,"ArtifactName":"https://github.com/o/r.git","ArtifactType":"repository",`, "github.com/o/r", "repository", format.Options{}},
		{`{"SchemaVersion":2,"ArtifactName":".","ArtifactType":"filesystem",`, ".", "filesystem", format.Options{}},
		{`{"SchemaVersion":2,"ArtifactName":".","ArtifactType":"filesystem",`, "example/shop", "repository", format.Options{Asset: repo}},
		{`{"SchemaVersion":2,"ArtifactName":"disk.img","ArtifactType":"vm",`, "disk.img", "host", format.Options{}},
	} {
		if a := read(t, c.head+misconfigured, c.opt).Findings[0].Asset; a.UID != c.uid || a.Type != c.typ {
			t.Errorf("%s: %+v, want %s %s", c.head, a, c.uid, c.typ)
		}
	}
}

// Findings made from one report share nothing: setting a parameter of one
// does not show in another.
func TestFindingsShareNothing(t *testing.T) {
	body, err := os.ReadFile("testdata/image.json")
	if err != nil {
		t.Fatal(err)
	}
	res := read(t, string(body), format.Options{})
	for _, f := range res.Findings {
		f.Params["touched"] = f.UID
	}
	seen := map[string]bool{}
	for _, f := range res.Findings {
		if seen[f.Params["touched"]] {
			t.Fatal("two findings share their parameters")
		}
		seen[f.Params["touched"]] = true
	}
}

// The cluster report and the operator's report of one check are one exposure
// when they name the workload alike, and one check has one control id.
func TestControlIsOne(t *testing.T) {
	cluster := read(t, `{"ClusterName":"","Resources":[{"Namespace":"pay","Kind":"Deployment","Name":"api","Results":[{"Target":"x","Class":"config","Misconfigurations":[{"ID":"KSV017","Message":"m","Title":"t","Severity":"HIGH","Status":"FAIL"}]}]}]}`, format.Options{})
	operator := read(t, `{"apiVersion":"aquasecurity.github.io/v1alpha1","kind":"ConfigAuditReport","metadata":{"labels":{"trivy-operator.resource.kind":"Deployment","trivy-operator.resource.name":"api","trivy-operator.resource.namespace":"pay"}},"report":{"checks":[{"checkID":"AVD-KSV-0017","title":"t","severity":"HIGH","success":false,"messages":["m"]}]}}`, format.Options{})
	if a, b := finding.ExposureKey(cluster.Findings[0]), finding.ExposureKey(operator.Findings[0]); a != b {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestCVSS(t *testing.T) {
	head := `{"SchemaVersion":2,"ArtifactName":"x","Results":[{"Target":"t","Class":"os-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-2025-1","PkgName":"p","Severity":"LOW",`
	for more, want := range map[string]int{
		`"SeveritySource":"redhat","CVSS":{"nvd":{"V3Score":9.8},"redhat":{"V3Score":5.5}}`: 55,
		`"SeveritySource":"debian","CVSS":{"nvd":{"V3Score":9.8},"redhat":{"V3Score":5.5}}`: 98,
		`"CVSS":{"ghsa":{"V40Score":7.1},"other":{"V2Score":3}}`:                            71,
		`"CVSS":{}`: 0,
	} {
		if got := read(t, head+more+`}]}]}`, format.Options{}).Findings[0].Weakness.CVSS; got != want {
			t.Errorf("%s: %d, want %d", more, got, want)
		}
	}
}
