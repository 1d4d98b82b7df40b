package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Secret is a reference to a credential: env:NAME, file:PATH or cmd:PROGRAM
// ARGS. It holds no credential itself and prints as ***.
type Secret struct {
	ref string
	dir string
}

// Secrets is one reference or a list of them.
type Secrets []Secret

// mask is what stands for a secret wherever one is printed.
const mask = "***"

// NewSecret returns the reference for tests and for references that come from
// elsewhere than a file; relative paths are taken from dir.
func NewSecret(ref, dir string) (Secret, error) {
	if why := notReference(ref); why != "" {
		return Secret{}, errors.New(why)
	}
	return Secret{ref: ref, dir: dir}, nil
}

// IsZero reports whether nothing is referred to.
func (s Secret) IsZero() bool { return s.ref == "" }

// String returns "***", or "" for no secret.
func (s Secret) String() string {
	if s.ref == "" {
		return ""
	}
	return mask
}

// GoString hides the reference from %#v.
func (s Secret) GoString() string { return "config.Secret(" + s.String() + ")" }

// LogValue hides the reference from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON hides the reference.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText hides the reference.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Kind returns env, file or cmd, "" for no secret: what may be shown of it.
func (s Secret) Kind() string {
	k, _, _ := strings.Cut(s.ref, ":")
	return k
}

// notReference says why a word is no reference, without repeating it.
func notReference(word string) string {
	kind, rest, ok := strings.Cut(word, ":")
	switch {
	case !ok || kind != "env" && kind != "file" && kind != "cmd":
		return "a literal secret"
	case strings.TrimSpace(rest) == "":
		return "the reference " + kind + ": names nothing"
	case kind == "env" && !envName.MatchString(rest):
		return "the reference env: wants the name of a variable (letters, digits and _)"
	}
	return ""
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const (
	maxSecret     = 64 << 10
	secretTimeout = 10 * time.Second
)

// Resolve reads the credential. A final line break is cut off. Errors name the
// reference's kind and what failed, never what was read.
func (s Secret) Resolve(ctx context.Context) (string, error) {
	kind, rest, _ := strings.Cut(s.ref, ":")
	var v string
	var err error
	switch kind {
	case "env":
		v = os.Getenv(rest)
		if v == "" {
			err = fmt.Errorf("variable %s is not set or empty", rest)
		}
	case "file":
		v, err = readSecret(s.path(rest))
	case "cmd":
		v, err = s.run(ctx, strings.Fields(rest))
	default:
		return "", errors.New("no secret is set")
	}
	if err != nil {
		return "", fmt.Errorf("secret reference %s: %w", kind, err)
	}
	v = strings.TrimSuffix(strings.TrimSuffix(v, "\n"), "\r")
	if v == "" {
		return "", fmt.Errorf("secret reference %s: what it leads to is empty", kind)
	}
	return v, nil
}

func (s Secret) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.dir, p)
}

// SecretFiles returns the files that references lead to, and for each the key of
// the configuration that names it.
func (l *Loaded) SecretFiles() map[string]string {
	out := map[string]string{}
	add := func(key string, s Secret) {
		if kind, rest, _ := strings.Cut(s.ref, ":"); kind == "file" {
			out[s.path(rest)] = "the secret of " + key
		}
	}
	for name, x := range l.Sources {
		for _, s := range x.Secret {
			add("sources."+name, s)
		}
	}
	for name, x := range l.Connectors {
		for key, s := range x.Secrets {
			add("connectors."+name+".secrets."+key, s)
		}
	}
	for name, x := range l.Streams {
		for key, s := range x.Secrets() {
			add("streams."+name+"."+key, s)
		}
	}
	add("data.key", l.Data.Key)
	add("database.password", l.Database.Password)
	return out
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		err = fmt.Errorf("%s is larger than 64 KiB", path)
	}
	return string(b), err
}

// run starts a program without a shell and takes its standard output.
func (s Secret) run(ctx context.Context, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = s.dir
	cmd.WaitDelay = time.Second
	out := &bounded{left: maxSecret}
	cmd.Stdout = out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s did not finish within %s", argv[0], secretTimeout)
	case err != nil:
		return "", fmt.Errorf("%s failed: %w", argv[0], err)
	case out.over:
		return "", fmt.Errorf("%s wrote more than 64 KiB", argv[0])
	}
	return out.buf.String(), nil
}

// bounded keeps the first bytes written to it.
type bounded struct {
	buf  bytes.Buffer
	left int
	over bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.buf.Write(p[:n])
	b.left -= n
	b.over = b.over || n < len(p)
	return len(p), nil
}

// secretKey matches names of settings that hold credentials.
var secretKey = regexp.MustCompile(`(?i)(^|[_.-])(password|passwd|passphrase|secret|secret_?key|token|api_?key|access_?key|private_?key|credentials?|signing_?key)$`)

// secretValue matches well-known shapes of credentials, wherever they stand.
var secretValue = regexp.MustCompile(`^(whsec_|csm_pat_|gh[opsur]_|github_pat_|glpat-|xox[abps]-|sk_live_|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY)`)

// userInfo matches a URL with a password in it.
var userInfo = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@`)

// literalSecret reports whether a raw setting looks like a credential.
func literalSecret(key, value string) bool {
	if value == "" || notReference(value) == "" {
		return false
	}
	return secretKey.MatchString(key) || secretValue.MatchString(value) || userInfo.MatchString(value)
}
