// Package minio is the connector to the users of a MinIO server, whose names
// are access keys: it turns a leaked key off, and proves it with the key id
// and a wrong secret: a live key answers that the signature does not match, a
// dead one that there is no such key.
//
// It may import connector, remedy, finding and the AWS signer. The admin calls
// are our own (MinIO's client is under the AGPL); those used here have no
// encrypted body. Invariants: the secret of a leaked key is never asked for or
// needed; the probe goes to the S3 side with a credential of its own; a user
// is changed only from the state the plan was made from.
//
// The admin API knows no condition: a change by somebody else in the
// milliseconds between our read and our write is not seen. Nor does it show
// that a user got another secret.
package minio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Config sets up one connector. Secrets are values, resolved by the caller.
type Config struct {
	// Name is the connector's name, "minio" if empty.
	Name string
	// Endpoint is the address of the server, Region its region (us-east-1 if
	// empty).
	Endpoint, Region string
	// AccessKey and SecretKey are the connector's own credential.
	AccessKey, SecretKey string
	// Keep are secrets of keys that must go on working, by key id.
	Keep map[string]string
	// Place names where the probe looks from, "casement" if empty.
	Place string
	HTTP  connector.HTTPOptions
	// Now is the clock of signatures, UTC; the machine's if nil.
	Now func() time.Time
}

// The verbs.
const (
	VerbDisable  = "disable-key"
	VerbBogus    = "bogus-secret"
	VerbReplaced = "kept-keys-work"
)

// Connector is the MinIO connector. It is safe for concurrent use.
type Connector struct {
	cfg    Config
	client *http.Client
}

// New checks the configuration and returns the connector. Nothing is dialled.
func New(cfg Config) (*Connector, error) {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, x := range []struct {
		v *string
		d string
	}{{&cfg.Name, "minio"}, {&cfg.Region, "us-east-1"}, {&cfg.Place, "casement"}} {
		if *x.v == "" {
			*x.v = x.d
		}
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return time.Now().UTC() }
	}
	cfg.Endpoint = strings.TrimSuffix(cfg.Endpoint, "/")
	if u, err := url.Parse(cfg.Endpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" {
		say("endpoint: want an http or https address without path and query, like https://minio.example.com")
	}
	if cfg.AccessKey == "" || cfg.SecretKey == "" {
		say("access_key and secret_key: both must be given")
	}
	for _, key := range slices.Sorted(maps.Keys(cfg.Keep)) {
		if cfg.Keep[key] == "" {
			say("keep.%s: the secret of this key is missing", key)
		}
	}
	return &Connector{cfg: cfg, client: connector.NewHTTPClient(cfg.HTTP)}, errors.Join(errs...)
}

// Secrets returns what must never be shown, for the redactor.
func (c *Connector) Secrets() []string {
	return append(slices.Collect(maps.Values(c.cfg.Keep)), c.cfg.SecretKey)
}

// Spec implements connector.Connector.
func (c *Connector) Spec() connector.Spec { return Describe(c.cfg.Name) }

// Describe is the Spec of a connector of that name, before there is one.
func Describe(name string) connector.Spec {
	key := []connector.Param{{Name: "key", Description: "id of the access key; by default the last part of the asset's uid"}}
	return connector.Spec{
		Name: name, Title: "MinIO access keys",
		Actions: []connector.ActionSpec{
			{Verb: VerbDisable, Description: "Turn an access key off; its policies and groups stay, so that it can be turned on again",
				Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Permissions: []string{"admin:GetUser", "admin:EnableUser", "admin:DisableUser"},
				Params:      key, Probe: VerbBogus, Continuity: VerbReplaced,
				Example: "do: minio/disable-key"},
		},
		Probes: []connector.ProbeSpec{
			{Verb: VerbBogus, Description: "Ask for the list of buckets with the key id and a wrong secret", Grade: remedy.P2,
				Proves:      "whether the server still takes signatures of this key: a live one says SignatureDoesNotMatch, a dead one InvalidAccessKeyId",
				Cannot:      "what the key may do, other keys of the same person, and whether what was read with it is elsewhere",
				Permissions: []string{"none: the caller has no valid credential"}, Params: key},
			{Verb: VerbReplaced, Description: "Use the keys that must go on working", Grade: remedy.P2,
				Proves:      "each of them still lists its buckets",
				Cannot:      "what applications do with them; without a key to keep it says only that the connector's own works",
				Permissions: []string{"the secrets of the keys in keep; s3:ListAllMyBuckets for them"}},
		},
	}
}

// keyForm holds what MinIO takes as the name of a user.
func keyForm() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._@+=-]{3,128}$`) }

// keyOf returns the key a request speaks of.
func (c *Connector) keyOf(r connector.Request) (string, error) {
	key := r.Params["key"]
	if key == "" {
		key = r.Asset.UID[strings.LastIndexAny(r.Asset.UID, "/:")+1:]
	}
	if !keyForm().MatchString(key) {
		return "", connector.Errorf(connector.KindConfig, "no key: parameter \"key\" is %q and asset %q names none", r.Params["key"], r.Asset.UID)
	}
	return key, nil
}

// send makes one signed request without a body.
func (c *Connector) send(ctx context.Context, what, method, path string, query url.Values, key, secret string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.Endpoint+path, nil)
	if err != nil {
		return nil, connector.Errorf(connector.KindConfig, "%s: the address can't be used", what)
	}
	req.URL.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	empty := sha256.Sum256(nil)
	hash := hex.EncodeToString(empty[:])
	req.Header.Set("X-Amz-Content-Sha256", hash)
	err = v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, req, hash, "s3", c.cfg.Region, c.cfg.Now(),
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return nil, connector.Errorf(connector.KindConfig, "%s: the request can't be signed", what)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, connector.TransportError(what, err)
	}
	return resp, nil
}

// word is the error code in an answer of the S3 or the admin side, "" if it
// holds none.
func word(resp *http.Response) string {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if err != nil {
		return ""
	}
	var x struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
	}
	var j struct{ Code string }
	if xml.Unmarshal(b, &x) != nil && json.Unmarshal(b, &j) == nil {
		return j.Code
	}
	return x.Code
}

func (c *Connector) admin(ctx context.Context, r connector.Request, what, method, call string, query url.Values, out any) error {
	resp, err := c.send(ctx, what, method, "/minio/admin/v3/"+call, query, c.cfg.AccessKey, c.cfg.SecretKey)
	if err != nil {
		return err
	}
	defer connector.Finish(resp)
	if e := connector.StatusError(what, resp, r.Now); e != nil {
		said := word(resp)
		if said != "" {
			e.Msg += " (" + said + ")"
		}
		if said == "XMinioAdminNoSuchUser" {
			e.Kind, e.Msg = connector.KindRefused, what+": there is no such user"
		}
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return connector.Errorf(connector.KindRetry, "%s: the answer is not the JSON that was expected", what)
	}
	return nil
}
