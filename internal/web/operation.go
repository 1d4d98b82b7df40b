package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/casement/casement/internal/auth"
)

// Operation is one line of the API's table: what it is, what it demands, and
// what it does.
type Operation struct {
	Method, Path string
	Need         auth.Permission
	// ID is the operation's stable name for generated clients.
	ID string
	// Summary is one line; its first word is a verb.
	Summary string
	// mount registers the operation; problem words its errors.
	mount func(api huma.API, op huma.Operation, problem func(ctx context.Context, method, path string, err error) error)
}

// reply is an answer with a JSON body.
type reply[O any] struct {
	ETag string `header:"ETag" doc:"The version of the case, for If-Match."`
	Body O
}

// plainReply is an answer without a version.
type plainReply[O any] struct{ Body O }

// tagged is a body that has a version; it becomes the answer's ETag.
type tagged interface{ etag() string }

// Op returns an operation. I is a struct of parameters (tags path, query,
// header, doc) and perhaps a field Body; O is the JSON of the answer. do gets
// the principal, who holds the permission.
func Op[I, O any](method, path string, need auth.Permission, id, summary string, do func(ctx context.Context, p auth.Principal, in *I) (O, error)) Operation {
	o := Operation{Method: method, Path: path, Need: need, ID: id, Summary: summary}
	o.mount = func(api huma.API, op huma.Operation, problem func(ctx context.Context, method, path string, err error) error) {
		run := func(ctx context.Context, in *I) (out O, err error) {
			if out, err = do(ctx, auth.FromContext(ctx), in); err != nil {
				err = problem(ctx, method, path, err)
			}
			return out, err
		}
		var body O
		if _, ok := any(body).(tagged); !ok {
			huma.Register(api, op, func(ctx context.Context, in *I) (*plainReply[O], error) {
				out, err := run(ctx, in)
				return &plainReply[O]{out}, err
			})
			return
		}
		huma.Register(api, op, func(ctx context.Context, in *I) (*reply[O], error) {
			out, err := run(ctx, in)
			r := &reply[O]{Body: out}
			if t, ok := any(out).(tagged); ok && err == nil {
				r.ETag = t.etag()
			}
			return r, err
		})
	}
	return o
}

// streamed is an answer that is written while it is made.
type streamed struct {
	ContentType string `header:"Content-Type"`
	Body        func(huma.Context)
}

// StreamOp returns an operation without parameters whose answer is written by
// do. What goes wrong after the first byte is do's to tell in the stream.
func StreamOp(method, path string, need auth.Permission, id, summary, kind string, do func(ctx context.Context, p auth.Principal, w io.Writer)) Operation {
	o := Operation{Method: method, Path: path, Need: need, ID: id, Summary: summary}
	o.mount = func(api huma.API, op huma.Operation, _ func(ctx context.Context, method, path string, err error) error) {
		op.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{kind: {}}}
		huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*streamed, error) {
			return &streamed{kind, func(hc huma.Context) {
				hc.SetHeader("Content-Type", kind)
				do(ctx, auth.FromContext(ctx), hc.BodyWriter())
			}}, nil
		})
	}
	return o
}

// RawRoute is a route that stands outside sessions, forms and this package's
// limit of bodies: its handler verifies the sender itself, over the raw body.
type RawRoute struct {
	Method, Pattern string
	// Need is what the handler demands; Public where a signature decides.
	Need auth.Permission
	// ID and Summary as of an Operation; Proof says how the sender is known.
	ID, Summary, Proof string
	Handler            http.Handler
}

// guardedMux puts the guard of its permission before every operation.
type guardedMux struct {
	*http.ServeMux
	s    *server
	need map[string]auth.Permission
}

// HandleFunc implements humago.Mux. A pattern without a permission is a fault
// of ours that shows at start.
func (m guardedMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	need, ok := m.need[pattern]
	if !ok {
		panic("web: operation " + pattern + " has no permission")
	}
	method, p, _ := strings.Cut(pattern, " ")
	m.Handle(pattern, m.s.guard(route{method, p, need, func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}}))
}

// apiVersion is the version of the API; the path has its major number.
const apiVersion = "1"

// mountAPI mounts all operations; the OpenAPI document is written when it is asked for.
func (s *server) mountAPI(mux *http.ServeMux) {
	m := guardedMux{mux, s, map[string]auth.Permission{}}
	schemas := huma.NewMapRegistry("#/components/schemas/", schemaName)
	errSchema := schemas.Schema(reflect.TypeFor[problem](), true, "")
	json := huma.DefaultJSONFormat
	api := humago.New(m, huma.Config{OpenAPI: &huma.OpenAPI{OpenAPI: "3.1.0", Info: &huma.Info{Title: "Casement", Version: apiVersion,
		Description: "Cases, commands to them, and the running of an install. Errors are RFC 9457 problems. " +
			"Approving is not here: only a person who signed in approves, on the page that shows the plan."},
		Components: &huma.Components{Schemas: schemas, SecuritySchemes: map[string]*huma.SecurityScheme{
			"token":   {Type: "http", Scheme: "bearer", Description: "A token made by casement token create. It never decides."},
			"session": {Type: "apiKey", In: "cookie", Name: auth.CookieName, Description: "The session of a person who signed in."},
			"signature": {Type: "apiKey", In: "header", Name: "webhook-signature",
				Description: "A signature over the raw body by the secret of the source: Standard Webhooks, or what the source's kind says."}}}},
		Formats: map[string]huma.Format{"application/json": json, "json": json}, DefaultFormat: "application/json",
		RejectUnknownQueryParameters: true, Transformers: []huma.Transformer{tidy}})
	responses := func() map[string]*huma.Response {
		return map[string]*huma.Response{"default": {Description: "What was wrong, and how to mend it",
			Content: map[string]*huma.MediaType{"application/problem+json": {Schema: errSchema}}}}
	}
	for _, o := range s.operations() {
		m.need[o.Method+" "+o.Path] = o.Need
		o.mount(api, huma.Operation{Method: o.Method, Path: o.Path, OperationID: o.ID, Summary: o.Summary, Tags: []string{tagOf(o.Path)},
			Description: "Needs the permission “" + o.Need.String() + "”.", Extensions: map[string]any{"x-permission": o.Need.String()},
			Responses: responses(), Security: securityFor(o.Need), MaxBodyBytes: maxBody}, s.worded)
	}
	for _, rt := range s.Raw {
		op := &huma.Operation{Method: rt.Method, Path: rt.Pattern, OperationID: rt.ID, Summary: rt.Summary, Description: rt.Proof, Tags: []string{"alerts"},
			Extensions: map[string]any{"x-permission": rt.Need.String()}, Responses: responses(),
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}}}
		for _, m := range pathParams(rt.Pattern) {
			op.Parameters = append(op.Parameters, &huma.Param{Name: m, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
		op.Security = []map[string][]string{{"token": {}}}
		if rt.Need == auth.Public {
			op.Security = []map[string][]string{{"signature": {}}}
		}
		op.Responses["200"] = &huma.Response{Description: "Every record is stored, with a result per record"}
		op.Responses["202"] = &huma.Response{Description: "The body is stored and will be worked on"}
		api.OpenAPI().AddOperation(op)
	}
	delete(schemas.Map(), "HumaErrorModel")                 // tidy turns it into Problem before it is written
	s.document = sync.OnceValues(api.OpenAPI().MarshalJSON) // a fifth of a start, and few ask for it
}

// openapi serves the API's document.
func (s *server) openapi(w http.ResponseWriter, _ *http.Request) error {
	doc, err := s.document()
	if err != nil {
		return fmt.Errorf("write the API's document: %w", err)
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(doc) // the reader is gone if this fails
	return nil
}

func securityFor(need auth.Permission) []map[string][]string {
	if need == auth.Decide {
		return []map[string][]string{{"session": {}}}
	}
	return []map[string][]string{{"token": {}}, {"session": {}}}
}

// pathParams are the names in braces of a pattern.
func pathParams(pattern string) []string {
	var out []string
	for part := range strings.SplitSeq(pattern, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			out = append(out, strings.TrimSuffix(name, "}"))
		}
	}
	return out
}

// tagOf groups operations by the noun of their path.
func tagOf(p string) string {
	noun, _, _ := strings.Cut(strings.TrimPrefix(p, "/api/v1/"), "/")
	return noun
}

// schemaName names a schema by package and type; those of the API's own rooms
// by type alone.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	pkg := path.Base(t.PkgPath())
	if t.Name() == "" || pkg == "web" || pkg == "app" || pkg == "." {
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

// worded turns an error of an operation into what its caller is told.
func (s *server) worded(ctx context.Context, method, path string, err error) error {
	return s.problemOf(ctx, method, path, err)
}

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.retry.Seconds())+1))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="casement"`)
	}
	return h
}

// fieldProblem is what is wrong with one part of a request.
type fieldProblem struct {
	Location string `json:"location" doc:"Where it is, such as body.until."`
	Message  string `json:"message"`
}

// tidy puts what the API's library says of a request into our problem. The
// rejected values are left out: they may be passwords.
func tidy(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &problem{Status: m.Status, Title: http.StatusText(m.Status), Detail: m.Detail}
	switch m.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		p.Title = "The request is not what is wanted"
	case http.StatusRequestEntityTooLarge:
		p.Title, p.Detail = "The request is too large", "At most 1 MiB is read. Nothing was done."
	case http.StatusUnsupportedMediaType:
		p.Title, p.Detail = "The body is not JSON", "Send it with the header Content-Type: application/json."
	}
	var parts []string
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, fieldProblem{e.Location, e.Message})
		parts = append(parts, strings.TrimPrefix(e.Location+": "+e.Message, ": "))
	}
	if len(parts) > 0 && m.Status != http.StatusUnsupportedMediaType {
		p.Detail = strings.Join(parts, "; ")
	}
	return p, nil
}

// writeProblem writes a problem to a program.
func writeProblem(w http.ResponseWriter, p *problem) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}
