package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// testSteps are the manual steps of the playbook "by-hand" of the tests.
func testSteps(playbook string) []string {
	if playbook != "by-hand" {
		return nil
	}
	return []string{"Disable the key; keep the evidence.", "Issue a new one.", "Try the old one: it must be refused."}
}

// TestSteps: the case's page lists what a person has to do, in order, and who
// says what is done; a word closes nothing, and a claim starts a probe.
func TestSteps(t *testing.T) {
	w := newWorld(t)
	c := w.storyByHand()
	page := func(who string) string { return text(w.status(200, who, "GET", "/cases/"+c.ID, "")) }
	contains(t, page("vic"), "Steps for a person", "0 of 3 said to be done", "1 Disable the key; keep the evidence.", "2 Issue a new one.", "3 Try the old one")
	if strings.Contains(page("vic"), "It is fixed") {
		t.Error("a viewer may say that it is fixed")
	}
	step := "step=" + url.QueryEscape("Issue a new one.")
	w.status(http.StatusForbidden, "vic", "POST", "/cases/c-hand/step", step)
	if rec := w.do("lee", "POST", "/cases/c-hand/step", step, "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
		t.Errorf("from another site: status %d", rec.Code)
	}
	contains(t, text(w.status(http.StatusConflict, "lee", "POST", "/cases/c-hand/step", "step=Pray")), "The playbook has no such step")
	rec := w.do("lee", "POST", "/cases/c-hand/step", step)
	if rec.Code != http.StatusSeeOther {
		t.Fatalf("status %d: %s", rec.Code, text(rec.Body.String()))
	}
	contains(t, text(w.status(200, "lee", "GET", strings.TrimSuffix(rec.Header().Get("Location"), "#steps"), "")), "Noted in the timeline", "1 of 3 said to be done", "Done, says lee", "said that a step is done: Issue a new one.")
	contains(t, w.status(200, "lee", "GET", "/api/v1/cases/c-hand", ""), `{"text":"Issue a new one.","done":true,"by":"lee"`, `{"text":"Disable the key; keep the evidence.","done":false}`)
	w.status(http.StatusSeeOther, "lee", "POST", "/cases/c-hand/step", step+"&done=no")
	contains(t, page("lee"), "0 of 3 said to be done", "said that a step is not done: Issue a new one.")
	contains(t, w.status(200, "lee", "POST", "/api/v1/cases/c-hand/commands/step", `{"step":"Issue a new one.","text":"ticket 9 has it"}`), `"state":"open"`)
	contains(t, page("lee"), "1 of 3 said to be done", "ticket 9 has it")

	w.status(http.StatusSeeOther, "lee", "POST", "/cases/c-hand/claim", "")
	contains(t, page("lee"), "Said to be fixed by lee", "the probe has not answered yet")
	after, err := w.model.Load(context.Background(), "c-hand")
	if err != nil || !after.Open() || after.Probe.Purpose != remedy.ProbeClaim {
		t.Errorf("after the claim: %s, probe %+v (%v)", after.State(), after.Probe, err)
	}
}

// TestSplitPage: the page says what a split does, and which findings can't be
// chosen; the form leads to the new case.
func TestSplitPage(t *testing.T) {
	w := newWorld(t)
	w.seed()
	w.status(http.StatusForbidden, "vic", "GET", "/cases/c-media/split", "")
	w.status(http.StatusForbidden, "vic", "POST", "/cases/c-media/split", "finding=x&text=y")
	w.status(http.StatusNotFound, "lee", "GET", "/cases/none/split", "")
	c := w.storyByHand()
	uid := c.Members[1].UID
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-hand/split", "")), "Split findings off to a new case", "What will happen", "Its deadlines count from when the findings came")
	contains(t, w.status(200, "lee", "GET", "/cases/c-hand/split", ""), `name="finding" value="`+uid+`"`)
	if rec := w.do("lee", "POST", "/cases/c-hand/split", "finding="+uid+"&text=x", "Origin", "https://evil.example"); rec.Code != http.StatusForbidden {
		t.Errorf("from another site: status %d", rec.Code)
	}
	contains(t, text(w.status(http.StatusUnprocessableEntity, "lee", "POST", "/cases/c-hand/split", "text=why")), "No finding was chosen")
	w.status(http.StatusUnprocessableEntity, "lee", "POST", "/cases/c-hand/split", "finding="+uid+"&text=+")
	rec := w.do("lee", "POST", "/cases/c-hand/split", "finding="+uid+"&text=another+key")
	if rec.Code != http.StatusSeeOther || strings.HasPrefix(rec.Header().Get("Location"), "/cases/c-hand") {
		t.Fatalf("split: status %d to %s: %s", rec.Code, rec.Header().Get("Location"), text(rec.Body.String()))
	}
	contains(t, text(w.status(200, "lee", "GET", rec.Header().Get("Location"), "")), "This is the new case", "Split from c-hand")
	if strings.Contains(w.status(200, "lee", "GET", "/cases/c-hand", ""), "Split…") {
		t.Error("a case of one finding offers a split")
	}
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-hand/split", "")), "Not possible now")
}

// TestMergeConfirm: before a merge the page says what happens, offers cases of
// the same asset, and takes evidence of an alias from an approver only.
func TestMergeConfirm(t *testing.T) {
	w := newWorld(t)
	w.seed()
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-ssh/merge", "")), "No other open case is of this asset")
	contains(t, text(w.status(http.StatusNotFound, "lee", "GET", "/cases/c-ssh/merge?case=none", "")), "There is no case none here.")
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-ssh/merge?case=c-media", "")), "Not possible now:", "c-media is closed")
	lee := w.status(200, "lee", "GET", "/cases/c-ssh/merge?case=c-xss", "")
	contains(t, text(lee), "Ends here", "Goes on", "The assets are not the same", "an approver who signed in can merge")
	if strings.Contains(lee, `id="merge"`) {
		t.Error("a responder may say that two assets are one")
	}
	dana := w.status(200, "dana", "GET", "/cases/c-ssh/merge?case=c-xss", "")
	contains(t, dana, `id="merge"`, `name="evidence"`, `action="/cases/c-ssh/merge-alias"`)
	w.status(http.StatusForbidden, "lee", "POST", "/cases/c-ssh/merge-alias", "case=c-xss&text=same&evidence=seen")
	w.status(http.StatusUnprocessableEntity, "dana", "POST", "/cases/c-ssh/merge-alias", "case=c-xss&text=same&evidence=+")
	w.status(http.StatusSeeOther, "dana", "POST", "/cases/c-ssh/merge-alias", "case=c-xss&text=same&evidence=CMDB+12")
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-ssh", "")), "Merged into c-xss", "CMDB 12")
}

// storyByHand: two tools report one leaked key that a person has to replace.
func (w *world) storyByHand() remedy.Case {
	a := finding.Asset{UID: "acme/billing", Type: "repository", Name: "acme/billing", Environment: "production"}
	j := judged(deadline.K3, "secret-in-code", "a secret lies in code", remedy.ModeTicket, "team-checkout", s3Probe())
	j.Decision.Playbook = "by-hand"
	f := finding.Finding{Source: "gitleaks", Rule: "generic-key", Title: "Key in config.yaml", Class: finding.SecretInCode, Severity: finding.SeverityHigh, Asset: a}
	l := w.open("c-hand", 3*hour, f, j)
	f.Source = "trufflehog"
	return l.see("c-hand", 2*hour, f, j, "same exposure: the secret's keyed hash").keep()
}

// TestLongTimeline: a page shows the newest entries, and all when asked.
func TestLongTimeline(t *testing.T) {
	w := newWorld(t)
	f := publicBucket("aws.securityhub", "S3.2", bucket("b-long", "production", ""))
	l := w.open("c-long", 300*minute, f, judged(deadline.K3, "r", "w", remedy.ModeTicket, "team", remedy.ProbeSpec{}))
	for i := range maxTimeline + 5 {
		l.at(time.Duration(maxTimeline+10-i)*minute, person("u-lee"), remedy.Comment{Note: l.note(fmt.Sprintf("word-%d-", i))})
	}
	l.keep()
	short := w.status(200, "lee", "GET", "/cases/c-long", "")
	contains(t, text(short), "not shown.", "word-204-")
	if strings.Contains(short, "word-3-") {
		t.Error("the page shows the oldest entries")
	}
	all := w.status(200, "lee", "GET", "/cases/c-long?all=yes&kind=", "")
	contains(t, all, "word-3-", "word-204-")
}
