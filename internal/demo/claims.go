package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The files a run leaves behind for the checker, in its folder.
const (
	claimsFile   = "claims.jsonl"
	ledgerFile   = "ledger.jsonl"
	targetsFile  = "targets.jsonl"
	verifierFile = "ledger.pub"
)

// claim is one line of claims.jsonl: what was shown to the reader, so that
// somebody else can hold it against the ledger and the targets' own logs. The
// format is described in docs/demo.md; the checker (internal/witness) has its
// own reader of it.
type claim struct {
	N     int       `json:"n"`
	At    time.Time `json:"at"`
	Scene int       `json:"scene"`
	// Kind is what is claimed: before-probe, action, after-probe, undone …
	Kind string `json:"kind"`
	// Case, Action and Subject (service/object at the targets) say of what.
	Case    string `json:"case,omitempty"`
	Action  string `json:"action,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Want is what the story promises, Saw what was observed.
	Want string `json:"want"`
	Saw  string `json:"saw"`
	// State is what the target has to be in when the claim is true.
	State string `json:"state,omitempty"`
	// Detail is a word the ledger has to contain, File another file of the run.
	Detail string `json:"detail,omitempty"`
	File   string `json:"file,omitempty"`
	// Times of an exposure window, for kind window.
	Opened    time.Time `json:"opened,omitzero"`
	Contained time.Time `json:"contained,omitzero"`
	Closed    time.Time `json:"closed,omitzero"`
}

// claims writes claims as they are made.
type claims struct {
	f     *os.File
	n     int
	scene int
	// off names the first claim that is not as promised.
	off string
}

func newClaims(dir string) (*claims, error) {
	f, err := os.OpenFile(filepath.Join(dir, claimsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &claims{f: f}, err
}

// put writes one claim.
func (c *claims) put(x claim) error {
	c.n++
	x.N, x.At, x.Scene = c.n, time.Now().UTC(), c.scene
	if x.Want != x.Saw && c.off == "" {
		c.off = fmt.Sprintf("%s of %s: promised %s, saw %s", x.Kind, x.Subject, x.Want, x.Saw)
	}
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if _, err := c.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", claimsFile, err)
	}
	return nil
}
