package sim

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

// The credential of the object store. Signatures are taken as given; the key
// must be this one.
const (
	S3AccessKey = "AKIASIMULATED0000000"
	S3SecretKey = "simulated-secret-key-0000000000000000000"
)

type objectStore struct {
	w       *World
	mu      sync.Mutex
	buckets map[string]*Bucket
}

func newObjectStore(w *World) *objectStore {
	return &objectStore{w: w, buckets: map[string]*Bucket{}}
}

// Bucket is one bucket of the object store.
type Bucket struct {
	s       *objectStore
	name    string
	objects map[string]string
	// shown is what the control plane answers, real what outsiders meet. They
	// differ only where the target lies.
	shown, real settings
}

type settings struct {
	policy string
	acl    string
	block  *blockDoc
}

type blockDoc struct {
	XMLName          xml.Name `xml:"PublicAccessBlockConfiguration"`
	BlockPublicAcls  bool     `xml:"BlockPublicAcls"`
	IgnorePublicAcls bool     `xml:"IgnorePublicAcls"`
	BlockPolicy      bool     `xml:"BlockPublicPolicy"`
	Restrict         bool     `xml:"RestrictPublicBuckets"`
}

const ownerID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func privateACL() string {
	return `<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>` + ownerID + `</ID></Owner><AccessControlList><Grant>` +
		`<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>` + ownerID + `</ID></Grantee>` +
		`<Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>`
}

// Bucket returns the bucket of a name and makes it, private and with one
// object readme.txt, if there is none.
func (w *World) Bucket(name string) *Bucket {
	w.s3.mu.Lock()
	defer w.s3.mu.Unlock()
	b := w.s3.buckets[name]
	if b == nil {
		b = &Bucket{s: w.s3, name: name, objects: map[string]string{"readme.txt": "This is " + name + ".\n"}}
		b.shown.acl, b.real.acl = privateACL(), privateACL()
		w.s3.buckets[name] = b
	}
	return b
}

// Put stores an object.
func (b *Bucket) Put(key, body string) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.objects[key] = body
}

// SetPolicy replaces the bucket policy, as somebody at the console would; ""
// removes it.
func (b *Bucket) SetPolicy(text string) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.shown.policy, b.real.policy = text, text
}

// PublicPolicy is a policy that lets everybody read the objects.
func (b *Bucket) PublicPolicy(sid string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":%q,"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/*"}]}`, sid, b.name)
}

// MakePublic lets everybody read the objects.
func (b *Bucket) MakePublic() { b.SetPolicy(b.PublicPolicy("PublicRead")) }

// Delete removes the bucket with its objects.
func (b *Bucket) Delete() {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	delete(b.s.buckets, b.name)
}

// Public reports whether an outsider can really read an object.
func (b *Bucket) Public() bool {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for key := range b.objects {
		if b.real.open(b.name, key) {
			return true
		}
	}
	return false
}

// State is everything that decides who may read, as one comparable text.
func (b *Bucket) State() string {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return fmt.Sprintf("%s|%s|%+v", b.real.policy, b.real.acl, b.real.block)
}

// ARN is the name by which alerts know the bucket.
func (b *Bucket) ARN() string { return "arn:aws:s3:::" + b.name }

// URL is the address of an object for outsiders.
func (b *Bucket) URL(key string) string { return b.s.w.URL(ServiceS3) + "/" + b.name + "/" + key }

// open reports whether everybody may read an object: an allow for everybody
// without condition, no deny, no block.
func (s settings) open(bucket, key string) bool {
	if s.block != nil && s.block.Restrict {
		return false
	}
	var doc struct {
		Statement []struct {
			Effect    string
			Principal any
			Action    any
			Resource  any
			Condition map[string]any
		}
	}
	if json.Unmarshal([]byte(s.policy), &doc) != nil {
		return false
	}
	allowed := false
	for _, x := range doc.Statement {
		if !matches(x.Action, "s3:GetObject") || !matches(x.Resource, "arn:aws:s3:::"+bucket+"/"+key) || !everybody(x.Principal) || len(x.Condition) > 0 {
			continue
		}
		if x.Effect == "Deny" {
			return false
		}
		allowed = allowed || x.Effect == "Allow"
	}
	return allowed
}

func everybody(p any) bool {
	switch v := p.(type) {
	case string:
		return v == "*"
	case []any:
		return slices.ContainsFunc(v, everybody)
	case map[string]any:
		return everybody(v["AWS"])
	}
	return false
}

func matches(p any, want string) bool {
	switch v := p.(type) {
	case string:
		if before, ok := strings.CutSuffix(v, "*"); ok && !strings.ContainsAny(before, "*?") {
			return strings.HasPrefix(want, before)
		}
		ok, err := path.Match(v, want)
		return err == nil && ok
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return matches(x, want) })
	}
	return false
}

// ServeHTTP implements the part of the S3 REST API the connector uses, path
// style.
func (s *objectStore) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	v, ok := s.w.enter(rw, r, ServiceS3, name)
	if !ok {
		return
	}
	if err != nil {
		v.s3error(http.StatusBadRequest, "IncompleteBody")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b != nil {
		v.entry.State = b.state()
	}
	auth := r.Header.Get("Authorization")
	switch {
	case auth != "" && !strings.Contains(auth, "Credential="+S3AccessKey+"/"):
		v.s3error(http.StatusForbidden, "InvalidAccessKeyId")
	case b == nil:
		v.s3error(http.StatusNotFound, "NoSuchBucket")
	case key != "":
		b.object(v, key)
	case v.entry.Anonymous:
		v.s3error(http.StatusForbidden, "AccessDenied")
	default:
		b.control(v, string(body))
	}
}

func (v *visit) s3error(status int, code string) {
	v.answer(status, "application/xml", `<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+code+`</Code><Message>`+http.StatusText(status)+`</Message></Error>`)
}

func (b *Bucket) object(v *visit, key string) {
	body, there := b.objects[key]
	switch {
	case v.r.Method != http.MethodGet && v.r.Method != http.MethodHead:
		v.s3error(http.StatusNotImplemented, "NotImplemented")
	case v.entry.Anonymous && (v.fault.ProbeLies || !b.meets(v).open(b.name, key)):
		v.s3error(http.StatusForbidden, "AccessDenied")
	case !there:
		v.s3error(http.StatusNotFound, "NoSuchKey")
	case v.r.Header.Get("Range") != "" && body != "":
		v.rw.Header().Set("Content-Range", fmt.Sprintf("bytes 0-0/%d", len(body)))
		v.answer(http.StatusPartialContent, "text/plain", body[:1])
	default:
		v.answer(http.StatusOK, "text/plain", body)
	}
}

// meets are the settings that decide what an outsider meets.
func (b *Bucket) meets(v *visit) settings {
	if v.fault.ProbeShows {
		return b.shown
	}
	return b.real
}

// control answers the calls of the control plane.
func (b *Bucket) control(v *visit, body string) {
	q := v.r.URL.Query()
	switch {
	case q.Has("policy"):
		b.policy(v, body)
	case q.Has("publicAccessBlock"):
		b.accessBlock(v, body)
	case q.Has("acl") && v.r.Method == http.MethodGet:
		v.answer(http.StatusOK, "application/xml", b.shown.acl)
	case q.Has("acl") && v.r.Method == http.MethodPut:
		b.change(v, "acl", http.StatusOK, func(s *settings) { s.acl = body })
	case v.r.Method == http.MethodHead:
		v.answer(http.StatusOK, "", "")
	case v.r.Method == http.MethodGet && q.Get("list-type") == "2":
		b.list(v)
	default:
		v.s3error(http.StatusNotImplemented, "NotImplemented")
	}
}

// change makes one change of a part ("policy", "block", "acl"), or pretends to.
func (b *Bucket) change(v *visit, part string, status int, f func(*settings)) {
	next := b.real
	f(&next)
	if v.fault.UndoFails && b.opens(next) && !b.opens(b.real) {
		v.s3error(http.StatusInternalServerError, "InternalError")
		return
	}
	f(&b.shown)
	if !v.fault.Lie && v.fault.LieAbout != part {
		b.real = next
		v.changed()
	}
	v.entry.State = b.state()
	v.answer(status, "", "")
}

// state is what is really so: "open" or "private".
func (b *Bucket) state() string {
	if b.opens(b.real) {
		return "open"
	}
	return "private"
}

func (b *Bucket) opens(s settings) bool {
	for key := range b.objects {
		if s.open(b.name, key) {
			return true
		}
	}
	return false
}

func (b *Bucket) policy(v *visit, body string) {
	switch v.r.Method {
	case http.MethodGet:
		if b.shown.policy == "" {
			v.s3error(http.StatusNotFound, "NoSuchBucketPolicy")
			return
		}
		v.answer(http.StatusOK, "application/json", b.shown.policy)
	case http.MethodPut:
		if !json.Valid([]byte(body)) {
			v.s3error(http.StatusBadRequest, "MalformedPolicy")
			return
		}
		if b.real.block != nil && b.real.block.BlockPolicy && b.opens(settings{policy: body}) {
			v.s3error(http.StatusForbidden, "AccessDenied")
			return
		}
		b.change(v, "policy", http.StatusNoContent, func(s *settings) { s.policy = body })
	case http.MethodDelete:
		b.change(v, "policy", http.StatusNoContent, func(s *settings) { s.policy = "" })
	default:
		v.s3error(http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (b *Bucket) accessBlock(v *visit, body string) {
	switch v.r.Method {
	case http.MethodGet:
		if b.shown.block == nil {
			v.s3error(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration")
			return
		}
		out, err := xml.Marshal(b.shown.block)
		if err != nil { // booleans: cannot fail
			out = nil
		}
		v.answer(http.StatusOK, "application/xml", string(out))
	case http.MethodPut:
		var doc blockDoc
		if xml.Unmarshal([]byte(body), &doc) != nil {
			v.s3error(http.StatusBadRequest, "MalformedXML")
			return
		}
		b.change(v, "block", http.StatusOK, func(s *settings) { s.block = &doc })
	case http.MethodDelete:
		b.change(v, "block", http.StatusNoContent, func(s *settings) { s.block = nil })
	default:
		v.s3error(http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (b *Bucket) list(v *visit) {
	type content struct {
		Key  string
		Size int
	}
	out := struct {
		XMLName     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		Name        string
		KeyCount    int
		IsTruncated bool
		Contents    []content
	}{Name: b.name, KeyCount: len(b.objects)}
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		out.Contents = append(out.Contents, content{key, len(b.objects[key])})
	}
	doc, err := xml.Marshal(out)
	if err != nil { // strings and numbers: cannot fail
		doc = nil
	}
	v.answer(http.StatusOK, "application/xml", string(doc))
}
