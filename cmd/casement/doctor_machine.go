package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
)

// The bounds at which the doctor speaks up.
const (
	// slowSync is what reference figures call a slow disk: every latency of an
	// install is a multiple of its fsync.
	slowSync = 5 * time.Millisecond
	// syncTries is the number of 4 KiB appends that are measured.
	syncTries = 64
	// skewWarn and skewBad are differences of clocks; the engine pauses
	// enforcement when a clock jumps by a minute.
	skewWarn = 2 * time.Second
	skewBad  = time.Minute
	// lagWarn and lagBad are how long something due may wait.
	lagWarn = time.Minute
	lagBad  = 15 * time.Minute
	// endsSoon is the time before the end of a certificate or token.
	endsSoon = 21 * 24 * time.Hour
	// oldToken is the age at which a token that never ends should be replaced.
	oldToken = 365 * 24 * time.Hour
)

// examineDisk measures what an append and its fsync cost in the data folder.
func (c *cli) examineDisk(p *patient, dir string) {
	took, err := syncTimes(dir)
	if err != nil {
		p.add("disk", "bad", "look at rights and room of "+shellWord(dir), "a file in %s can't be written: %v", dir, err)
		return
	}
	p.sync(took)
}

// sync judges measured times of append and fsync.
func (p *patient) sync(took []time.Duration) {
	slices.Sort(took)
	mid, high := took[len(took)/2], took[(len(took)-1)*99/100]
	if mid > slowSync {
		p.add("fsync", "warn", "put the data folder on a faster disk; every answer to a sender waits for it", "an fsync takes %s (p99 %s), more than %s", mid.Round(10*time.Microsecond), high.Round(10*time.Microsecond), slowSync)
		return
	}
	p.ok("fsync", "%s, p99 %s", mid.Round(10*time.Microsecond), high.Round(10*time.Microsecond))
}

func syncTimes(dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, "doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}()
	block := make([]byte, 4096)
	for range syncTries {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

// examineFiles looks who can read files that hold secrets.
func (c *cli) examineFiles(p *patient, dir string, l *config.Loaded) {
	closed := map[string]string{
		filepath.Join(dir, "install.key"):     "the install key",
		filepath.Join(dir, "casement.db"):     "the database",
		filepath.Join(dir, "casement.db-wal"): "the database",
		filepath.Join(dir, app.AddressFile):   "the token of commands on this machine",
		l.Server.TLS.KeyFile:                  "the server's private key",
	}
	for path, what := range l.SecretFiles() {
		closed[path] = what
	}
	bad := 0
	for _, path := range slices.Sorted(maps.Keys(closed)) {
		info, err := os.Stat(path)
		if path == "" || err != nil || info.Mode().Perm()&0o077 == 0 {
			continue // one that can't be read is told elsewhere
		}
		bad++
		mend := "chmod 600 " + shellWord(path)
		if closed[path] == "the install key" {
			mend += ", and make a new install if others may have read it"
		}
		p.add("rights", "bad", mend, "others on this machine can read %s (%s, mode %04o)", closed[path], path, info.Mode().Perm())
	}
	if bad == 0 {
		p.ok("rights", "keys, database and secrets are their owner's alone")
	}
}

// examineCertificate looks when the server's certificate ends.
func (c *cli) examineCertificate(p *patient, l *config.Loaded, now time.Time) {
	file := l.Server.TLS.CertFile
	if file == "" {
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return // told by the configuration
	}
	block, _ := pem.Decode(b)
	if block == nil {
		p.add("certificate", "bad", "", "%s holds no PEM certificate", file)
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		p.add("certificate", "bad", "", "%s: %v", file, err)
		return
	}
	p.ends("certificate", "renew it, and restart casement serve", "the server's certificate", cert.NotAfter, now)
}

// ends judges when something ends.
func (p *patient) ends(what, mend, name string, at, now time.Time) {
	day := at.UTC().Format(time.DateOnly)
	switch left := at.Sub(now); {
	case left <= 0:
		p.add(what, "bad", mend, "%s ended on %s", name, day)
	case left < endsSoon:
		p.add(what, "warn", mend, "%s ends on %s, in %s", name, day, plural(int(left.Hours()/24), "day"))
	default:
		p.ok(what, "%s ends on %s", name, day)
	}
}

// tokenAge is what the doctor reads of a token.
type tokenAge struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created_at"`
	Expires time.Time `json:"expires_at"`
}

// examineTokens looks at ends and ages of tokens.
func (c *cli) examineTokens(ctx context.Context, p *patient, k *client, now time.Time) {
	var out struct {
		Tokens []tokenAge `json:"tokens"`
	}
	if err := k.call(ctx, "GET", "/api/v1/tokens", nil, &out); err != nil {
		if codeOf(err) != codeAuth { // one that may not look
			p.add("tokens", "bad", "", "%v", err)
		}
		return
	}
	p.tokens(out.Tokens, now)
}

func (p *patient) tokens(list []tokenAge, now time.Time) {
	before := len(p.checks)
	const mend = "casement token create a new one, give it to its user, and casement token revoke the old one"
	for _, t := range list {
		name := fmt.Sprintf("the token %q", t.Name)
		switch {
		case !t.Expires.IsZero() && t.Expires.Sub(now) < endsSoon:
			p.ends("tokens", mend, name, t.Expires, now)
		case t.Expires.IsZero() && now.Sub(t.Created) > oldToken:
			p.add("tokens", "warn", mend, "%s is of %s and never ends", name, t.Created.UTC().Format(time.DateOnly))
		}
	}
	if len(list) > 0 && len(p.checks) == before {
		p.ok("tokens", "%s, none ends soon or is older than a year", plural(len(list), "token"))
	}
}

// queues judges what waits in an install.
func (p *patient) queues(h app.Health) {
	p.ok("schema", "version %d", h.Schema)
	skew := time.Duration(h.SkewMillis) * time.Millisecond
	if abs := max(skew, -skew); abs > skewWarn {
		result := "warn"
		if abs > skewBad {
			result = "bad"
		}
		p.add("clock", result, "let NTP set both clocks", "the database's clock differs from this machine's by %s", skew.Round(10*time.Millisecond))
	} else {
		p.ok("clock", "the database's differs by %s", skew)
	}
	before := len(p.checks)
	p.lag("intake", "look into the server's log", "a body answered with 202", h.Inbox.Oldest, h.Now)
	for _, q := range h.Effects {
		door := q.Door
		if door == "" {
			door = "no system"
		}
		p.lag("effects", "casement serve does them; look into its log", fmt.Sprintf("the oldest of %s for %s", plural(q.Due, "effect"), door), q.Oldest, h.Now)
		if q.Stuck > 0 {
			p.add("effects", "bad", "casement connectors test "+shellWord(door)+" may say why; the log says what the target answered",
				"%s for %s failed again and again", plural(q.Stuck, "effect"), door)
		}
	}
	if len(p.checks) == before {
		p.ok("queues", "nothing due waits longer than %s", lagWarn)
	}
}

// lag judges how long something due waits.
func (p *patient) lag(what, mend, name string, since, now time.Time) {
	if since.IsZero() {
		return
	}
	switch wait := now.Sub(since); {
	case wait > lagBad:
		p.add(what, "bad", mend, "%s waits for %s", name, wait.Round(time.Second))
	case wait > lagWarn:
		p.add(what, "warn", mend, "%s waits for %s", name, wait.Round(time.Second))
	}
}
