// Package s3 is the connector to Amazon S3 and servers that speak its REST
// API: it takes public access from a bucket and proves it by asking for an
// object without a credential.
//
// It may import connector, remedy, finding and the AWS SDK. Invariants: a
// change is made only from the state the plan was made from (policy and ACL
// are compared in canonical form); the SDK never repeats a call by itself; the
// anonymous probe uses its own client and no credential.
//
// The S3 API has no conditional write for policies: a change by somebody else
// in the milliseconds between our read and our write is overwritten. The undo
// handle holds what we read.
package s3

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Config sets up one S3 connector. Secrets are values, resolved by the caller.
type Config struct {
	// Name is the connector's name, "s3" if empty.
	Name string
	// Region is the default region, us-east-1 if empty.
	Region string
	// Endpoint is the address of an S3 server, empty for Amazon's own.
	Endpoint string
	// PublicEndpoint is where outsiders reach the buckets, path style; empty
	// for Endpoint, and for Amazon's own the address of the bucket.
	PublicEndpoint string
	// PathStyle puts the bucket into the path; always on with Endpoint.
	PathStyle bool
	// AccessKey, SecretKey and SessionToken are the credential; Credentials
	// takes their place when set.
	AccessKey, SecretKey, SessionToken string
	Credentials                        aws.CredentialsProvider
	// Place names where the probe looks from, "casement" if empty.
	Place string
	// HTTP sets up both clients.
	HTTP connector.HTTPOptions
}

// Connector is the S3 connector. It is safe for concurrent use.
type Connector struct {
	cfg Config
	api *awss3.Client
	// outside has no credential: it is the outsider of the probe.
	outside *http.Client
}

// New checks the configuration and returns the connector. Nothing is dialled.
func New(cfg Config) (*Connector, error) {
	var errs []error
	if cfg.Name == "" {
		cfg.Name = "s3"
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Place == "" {
		cfg.Place = "casement"
	}
	for name, v := range map[string]string{"endpoint": cfg.Endpoint, "public_endpoint": cfg.PublicEndpoint} {
		if v == "" {
			continue
		}
		u, err := url.Parse(v)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.User != nil {
			errs = append(errs, fmt.Errorf("%s: want an http or https address without query and user, like https://s3.example.com", name))
		}
	}
	if cfg.Credentials == nil {
		if cfg.AccessKey == "" || cfg.SecretKey == "" {
			errs = append(errs, errors.New("access_key and secret_key: both must be given"))
		}
		cfg.Credentials = credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	cfg.Endpoint = strings.TrimSuffix(cfg.Endpoint, "/")
	cfg.PublicEndpoint = strings.TrimSuffix(cfg.PublicEndpoint, "/")
	o := awss3.Options{
		Region:                     cfg.Region,
		Credentials:                aws.NewCredentialsCache(cfg.Credentials),
		HTTPClient:                 connector.NewHTTPClient(cfg.HTTP),
		Retryer:                    aws.NopRetryer{},
		UsePathStyle:               cfg.PathStyle || cfg.Endpoint != "",
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if cfg.Endpoint != "" {
		o.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	return &Connector{cfg: cfg, api: awss3.New(o), outside: connector.NewHTTPClient(cfg.HTTP)}, nil
}

// The verbs.
const (
	VerbRemovePublic = "remove-public-access"
	VerbBlockPublic  = "block-public-access"
	VerbAnonymousGet = "anonymous-get"
	VerbAuthorized   = "authorized-get"
)

// Spec implements connector.Connector.
func (c *Connector) Spec() connector.Spec { return Describe(c.cfg.Name) }

// Describe is the Spec of an S3 connector of this name.
func Describe(name string) connector.Spec {
	bucket := []connector.Param{
		{Name: "bucket", Description: "name of the bucket; by default taken from the asset (arn:aws:s3:::name)"},
		{Name: "region", Description: "region of the bucket; by default the asset's or the connector's"},
	}
	object := append(bucket[:2:2], connector.Param{Name: "object", Description: "key of an existing object; by default objects are found by listing"})
	return connector.Spec{
		Name: name, Title: "Amazon S3 and compatible object storage",
		Actions: []connector.ActionSpec{
			{Verb: VerbRemovePublic, Description: "Take everybody out of the bucket policy and the bucket ACL; named principals keep what they have",
				Once: remedy.OnceLookup, Reversibility: 1, Undoable: true,
				Permissions: []string{"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "s3:GetBucketAcl", "s3:PutBucketAcl"},
				Params:      bucket, Probe: VerbAnonymousGet, Continuity: VerbAuthorized,
				Example: "do: " + name + "/" + VerbRemovePublic},
			{Verb: VerbBlockPublic, Description: "Turn on all four settings of the bucket's public access block; stronger than removing, as it also holds for later policies",
				Once: remedy.OnceLookup, Reversibility: 1, Undoable: true,
				Permissions: []string{"s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"},
				Params:      bucket, Probe: VerbAnonymousGet, Continuity: VerbAuthorized,
				Example: "do: " + name + "/" + VerbBlockPublic},
		},
		Probes: []connector.ProbeSpec{
			{Verb: VerbAnonymousGet, Description: "Ask for existing objects of the bucket without a credential", Grade: remedy.P3,
				Proves:      "what an outsider at this place can read now: any object asked for is exposed if one answer is 200",
				Cannot:      "objects it did not ask for, and networks other than its own; an empty bucket tells nothing",
				Permissions: []string{"s3:ListBucket", "s3:GetObject"}, Params: object},
			{Verb: VerbAuthorized, Description: "Read an object with the credential, or ask a health address of an application", Grade: remedy.P2,
				Proves:      "authorized reading still works, or the application says that it is well",
				Cannot:      "principals other than its own, unless a health address is given",
				Permissions: []string{"s3:ListBucket", "s3:GetObject"},
				Params:      append(object[:3:3], connector.Param{Name: "health_url", Description: "address that answers 2xx while the application works"})},
		},
	}
}

func bucketName() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`) }

// bucketOf returns the bucket a request speaks of.
func bucketOf(r connector.Request) (string, error) {
	b := r.Params["bucket"]
	if b == "" {
		if _, after, ok := strings.Cut(r.Asset.UID, ":s3:::"); ok {
			b, _, _ = strings.Cut(after, "/")
		} else if after, ok := strings.CutPrefix(r.Asset.UID, "s3://"); ok {
			b, _, _ = strings.Cut(after, "/")
		} else {
			b = r.Asset.Name
		}
	}
	if !bucketName().MatchString(b) || strings.Contains(b, "..") || net.ParseIP(b) != nil {
		return "", connector.Errorf(connector.KindConfig, "no bucket: parameter \"bucket\" is %q and asset %q names none (want 3 to 63 of a-z, 0-9, dot and dash)", r.Params["bucket"], r.Asset.UID)
	}
	return b, nil
}

// region returns per-call options for the region of a request.
func (c *Connector) region(r connector.Request) func(*awss3.Options) {
	return func(o *awss3.Options) {
		if v := r.Params["region"]; v != "" {
			o.Region = v
		} else if r.Asset.Region != "" && c.cfg.Endpoint == "" {
			o.Region = r.Asset.Region
		}
	}
}

// code is the error code of the S3 answer, "" if it was none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func status(err error) (*http.Response, bool) {
	var re *awshttp.ResponseError
	if errors.As(err, &re) && re.HTTPResponse() != nil {
		return re.HTTPResponse().Response, true
	}
	return nil, false
}

// fail classifies an SDK error of a call that changes something.
func fail(what string, r connector.Request, err error) *connector.Error {
	resp, answered := status(err)
	word := code(err)
	switch word {
	case "NotImplemented", "MethodNotAllowed":
		return &connector.Error{Kind: connector.KindRefused, Msg: what + ": the server does not offer this (" + word + "); use another action", Err: err}
	case "SlowDown", "Throttling", "RequestLimitExceeded", "ServiceUnavailable":
		e := &connector.Error{Kind: connector.KindRetry, Msg: what + ": the server is busy (" + word + ")", Err: err}
		if answered {
			if s := connector.StatusError(what, resp, r.Now); s != nil {
				e.After = s.After
			}
		}
		return e
	}
	if !answered || resp.StatusCode < 300 {
		var api smithy.APIError
		if errors.As(err, &api) { // 200 with an error in the body
			return &connector.Error{Kind: connector.KindUnsure, Msg: what + ": the server answered " + word, Err: err}
		}
		return connector.TransportError(what, err)
	}
	e := connector.StatusError(what, resp, r.Now)
	if word != "" && word != "UnknownError" {
		e.Msg += " (" + word + ")"
	}
	e.Err = err
	return e
}
