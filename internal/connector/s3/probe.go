package s3

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// samples is how many objects of a bucket the probe asks for.
const samples = 5

func (c *Connector) observe(r connector.Request, res remedy.Result, format string, args ...any) remedy.Observation {
	return remedy.Observation{Result: res, Grade: remedy.P3, Place: c.cfg.Place, At: r.Now, Detail: fmt.Sprintf(format, args...)}
}

// objectsOf returns keys of existing objects: the one named, or a spread of
// the first thousand. gone is true when the server says, twice and to an
// authorized caller, that the bucket does not exist.
func (c *Connector) objectsOf(ctx context.Context, bucket string, r connector.Request) (keys []string, gone bool, err error) {
	if key := r.Params["object"]; key != "" {
		_, err := c.api.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &bucket, Key: &key}, c.region(r))
		if err == nil {
			return []string{key}, false, nil
		}
		// A HEAD answer names no reason: listing tells a lost object from a
		// lost bucket.
		if _, gone, lerr := c.list(ctx, bucket, r); lerr != nil || gone {
			return nil, gone, lerr
		}
		return nil, false, fail("looking for object "+key+" in bucket "+bucket, r, err)
	}
	all, gone, err := c.list(ctx, bucket, r)
	if err != nil || gone || len(all) <= samples {
		return all, gone, err
	}
	for i := range samples {
		keys = append(keys, all[i*(len(all)-1)/(samples-1)])
	}
	return keys, false, nil
}

func (c *Connector) list(ctx context.Context, bucket string, r connector.Request) (keys []string, gone bool, err error) {
	out, err := c.api.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: aws.Int32(1000)}, c.region(r))
	if err != nil {
		if code(err) == "NoSuchBucket" {
			_, herr := c.api.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &bucket}, c.region(r))
			if resp, ok := status(herr); ok && resp.StatusCode == http.StatusNotFound {
				return nil, true, nil
			}
		}
		return nil, false, fail("listing bucket "+bucket, r, err)
	}
	for _, o := range out.Contents {
		if k := aws.ToString(o.Key); k != "" && !strings.HasSuffix(k, "/") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys, false, nil
}

func (c *Connector) probeAnonymous(ctx context.Context, r connector.Request) (remedy.Observation, error) {
	bucket, err := bucketOf(r)
	if err != nil {
		return remedy.Observation{}, err
	}
	keys, gone, err := c.objectsOf(ctx, bucket, r)
	switch {
	case gone:
		return c.observe(r, remedy.Gone, "bucket %s does not exist any more", bucket), nil
	case err != nil:
		return c.observe(r, remedy.Inconclusive, "%v", err), nil
	case len(keys) == 0:
		return c.observe(r, remedy.Inconclusive, "bucket %s holds no object to ask for; name one by parameter \"object\"", bucket), nil
	}
	var unclear string
	for _, key := range keys {
		u, err := c.publicURL(bucket, key, r)
		if err != nil {
			return remedy.Observation{}, connector.Errorf(connector.KindConfig, "no public address for bucket %s: %v", bucket, err)
		}
		res, detail := c.knock(ctx, u)
		switch res {
		case remedy.Exposed:
			return c.observe(r, res, "%s", detail), nil
		case remedy.Inconclusive:
			unclear = detail
		}
	}
	if unclear != "" {
		return c.observe(r, remedy.Inconclusive, "%s", unclear), nil
	}
	return c.observe(r, remedy.NotExposed, "GET without a credential is refused for %d object(s) of %s, among them %s", len(keys), bucket, keys[0]), nil
}

// knock asks for one object as an outsider, at most its first byte.
func (c *Connector) knock(ctx context.Context, address string) (remedy.Result, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return remedy.Inconclusive, "the address of the object can't be asked"
	}
	req.Header.Set("Range", "bytes=0-0")
	resp, err := c.outside.Do(req)
	if err != nil {
		return remedy.Inconclusive, connector.TransportError("GET without a credential", err).Msg
	}
	defer connector.Finish(resp)
	said := fmt.Sprintf("GET %s without a credential answers %d", address, resp.StatusCode)
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		// 416: an empty object was open to read.
		return remedy.Exposed, said
	case http.StatusUnauthorized, http.StatusForbidden:
		if word := errorCode(resp); word != "" && word != "AccessDenied" && word != "AllAccessDisabled" {
			return remedy.Inconclusive, said + " (" + word + ")"
		}
		return remedy.NotExposed, said
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return remedy.Inconclusive, said + ": set region or public_endpoint to where the bucket is"
	}
	return remedy.Inconclusive, said
}

// errorCode is the code of an S3 error document, "" if the body is none.
func errorCode(resp *http.Response) string {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if err != nil {
		return ""
	}
	var doc struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
	}
	if xml.Unmarshal(b, &doc) != nil {
		return ""
	}
	return doc.Code
}

// publicURL is the address under which outsiders reach an object.
func (c *Connector) publicURL(bucket, key string, r connector.Request) (string, error) {
	base := c.cfg.PublicEndpoint
	if base == "" {
		base = c.cfg.Endpoint
	}
	path := "/" + key
	if base == "" {
		region := c.cfg.Region
		if v := r.Params["region"]; v != "" {
			region = v
		} else if r.Asset.Region != "" {
			region = r.Asset.Region
		}
		base = "https://s3." + region + ".amazonaws.com"
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + bucket + path
	u.RawPath = strings.ReplaceAll(u.EscapedPath(), "+", "%2B") // S3 may read + as a blank
	return u.String(), nil
}

// probeAuthorized is the continuity probe: NotExposed means that reading
// works, Exposed that it is broken.
func (c *Connector) probeAuthorized(ctx context.Context, r connector.Request) (remedy.Observation, error) {
	o := func(res remedy.Result, format string, args ...any) (remedy.Observation, error) {
		x := c.observe(r, res, format, args...)
		x.Grade = remedy.P2
		return x, nil
	}
	if h := r.Params["health_url"]; h != "" {
		res, detail := c.health(ctx, h)
		return o(res, "%s", detail)
	}
	bucket, err := bucketOf(r)
	if err != nil {
		return remedy.Observation{}, err
	}
	keys, gone, err := c.objectsOf(ctx, bucket, r)
	switch {
	case gone:
		return o(remedy.Exposed, "bucket %s does not exist any more", bucket)
	case denied(err):
		return o(remedy.Exposed, "the credential may not read bucket %s any more: %v", bucket, err)
	case err != nil:
		return o(remedy.Inconclusive, "%v", err)
	case len(keys) == 0:
		return o(remedy.Inconclusive, "bucket %s holds no object to read", bucket)
	}
	out, err := c.api.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &keys[0], Range: aws.String("bytes=0-0")}, c.region(r))
	if err == nil {
		_ = out.Body.Close() // one byte, not read
		return o(remedy.NotExposed, "the credential reads %s of bucket %s", keys[0], bucket)
	}
	if resp, ok := status(err); ok && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return o(remedy.NotExposed, "the credential reads %s of bucket %s (empty)", keys[0], bucket)
	}
	e := fail("reading "+keys[0]+" of bucket "+bucket, r, err)
	if denied(e) {
		return o(remedy.Exposed, "%v", e)
	}
	return o(remedy.Inconclusive, "%v", e)
}

// denied: the target answered that the credential may not.
func denied(err error) bool { return code(err) == "AccessDenied" || code(err) == "Forbidden" }

// health asks an application how it is: 2xx works, 500 and 503 say that it
// does not; what a gateway or the network says is no word of the application.
func (c *Connector) health(ctx context.Context, address string) (remedy.Result, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return remedy.Inconclusive, "health_url is not an address"
	}
	resp, err := c.outside.Do(req)
	if err != nil {
		return remedy.Inconclusive, connector.TransportError("health check", err).Msg
	}
	defer connector.Finish(resp)
	said := fmt.Sprintf("health check at %s answers %d", req.URL.Host, resp.StatusCode)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return remedy.NotExposed, said
	case resp.StatusCode == http.StatusInternalServerError, resp.StatusCode == http.StatusServiceUnavailable:
		return remedy.Exposed, said
	}
	return remedy.Inconclusive, said
}
