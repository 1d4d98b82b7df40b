package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/casement/casement/"

// room is one package (or family of packages) and what it may import of ours.
type room struct {
	// may lists rooms; "x" covers x and its sub-packages.
	may  []string
	pure bool
	// third lists module path prefixes a pure room may import.
	third []string
	// spawns: may start goroutines.
	spawns bool
}

var (
	words     = []string{"finding", "deadline"}
	core      = append(slices.Clone(words), "remedy")
	judgement = append(slices.Clone(core), "correlate", "policy", "owner", "ledger")
	doors     = append(slices.Clone(judgement), "judge", "report", "backtest", "format", "connector", "record")
)

// house is the map. A package without a line here fails the test.
var house = map[string]room{
	"recent":     {pure: true},
	"trace":      {},
	"finding":    {pure: true},
	"deadline":   {pure: true},
	"remedy":     {may: words, pure: true},
	"correlate":  {may: core, pure: true},
	"policy":     {may: core, pure: true, third: []string{"cel.dev/", "go.yaml.in/", "google.golang.org/protobuf", "google.golang.org/genproto"}},
	"owner":      {may: append(slices.Clone(core), "owner"), pure: true, third: []string{"go.yaml.in/", "github.com/hmarr/codeowners"}},
	"ledger":     {may: core, pure: true, third: []string{"golang.org/x/mod"}},
	"judge":      {may: judgement, pure: true},
	"report":     {may: append(slices.Clone(core), "ledger"), pure: true},
	"backtest":   {may: append(slices.Clone(judgement), "judge", "report"), pure: true},
	"gate":       {may: append(slices.Clone(judgement), "judge"), pure: true},
	"record":     {may: core, pure: true},
	"format":     {may: append(slices.Clone(words), "format"), pure: true, third: []string{"go.yaml.in/"}},
	"connector":  {may: append(slices.Clone(core), "connector", "trace")},
	"need":       {},
	"pgtest":     {may: []string{"need"}},
	"pagetest":   {may: []string{"need"}, spawns: true},
	"natstest":   {},
	"kafkatest":  {},
	"store":      {may: append(slices.Clone(core), "ledger", "record", "recent", "store", "pgtest")},
	"dispatch":   {may: append(slices.Clone(core), "record", "dispatch"), spawns: true},
	"auth":       {may: append(slices.Clone(core), "record")},
	"config":     {may: core},
	"engine":     {may: append(slices.Clone(judgement), "connector", "record")},
	"intake":     {may: append(slices.Clone(doors), "engine", "recent", "store", "trace", "pgtest")},
	"web":        {may: append(slices.Clone(doors), "engine", "store", "auth", "config", "web", "pagetest")},
	"sim":        {may: append(slices.Clone(doors), "engine", "store", "sim"), spawns: true},
	"simulation": {may: append(slices.Clone(doors), "engine", "store", "dispatch")},
	"app":        {may: []string{"*"}, spawns: true},
	"demo":       {may: []string{"*"}, spawns: true},
	"witness":    {may: []string{"ledger"}, pure: true, third: []string{"golang.org/x/mod"}},
	"house":      {},
}

// restKit is what connectors of REST systems are built from: no connector
// itself.
const restKit = "connector/rest"

// banned are the imports of a pure room.
var banned = []string{"os", "net", "context", "sync", "log", "math/rand", "crypto/rand", "unsafe", "syscall", "database/sql", "runtime", "testing"}

// bannedTime are the names of package time that read the clock or wait.
var bannedTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker", "LoadLocation"}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// eachFile parses the Go files below internal; rel is slash-separated.
func eachFile(t *testing.T, f func(rel string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	base := filepath.Join(root(t), "internal")
	n := 0
	err := filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "testdata" {
			return errOrSkip(err)
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(base, p)
		f(filepath.ToSlash(rel), file, fset)
		n++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 20 {
		t.Fatalf("only %d files looked at", n)
	}
}

func errOrSkip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

func isTest(rel string) bool {
	return strings.HasSuffix(rel, "_test.go") || strings.Contains(rel, "test/") || strings.Contains(rel, "mutants/")
}

func roomOf(rel string) string { r, _, _ := strings.Cut(rel, "/"); return r }

func TestImportsKeepToTheMap(t *testing.T) {
	eachFile(t, func(rel string, file *ast.File, fset *token.FileSet) {
		name := roomOf(rel)
		r, ok := house[name]
		if !ok {
			t.Errorf("internal/%s: no such room in the map; add it there and to ARCHITECTURE.md with its reason", name)
			return
		}
		if isTest(rel) {
			return
		}
		for _, im := range file.Imports {
			p := strings.Trim(im.Path.Value, `"`)
			ours, is := strings.CutPrefix(p, module+"internal/")
			switch {
			case is:
				to, _, _ := strings.Cut(ours, "/")
				if to != name && !slices.Contains(r.may, to) && !slices.Contains(r.may, "*") {
					t.Errorf("%s: room %s may not import %s", fset.Position(im.Pos()), name, ours)
				}
				if name == "connector" && to == name && strings.Count(ours, "/") == 1 && ours != restKit && !strings.HasPrefix(rel, "connector/all/") && path.Dir(rel) != ours && path.Dir(rel) != "connector/connectortest" {
					t.Errorf("%s: connectors never import each other", fset.Position(im.Pos()))
				}
			case !r.pure:
			case strings.Contains(strings.Split(p, "/")[0], "."):
				if !slices.ContainsFunc(r.third, func(x string) bool { return strings.HasPrefix(p, x) }) {
					t.Errorf("%s: pure room %s may not import %s", fset.Position(im.Pos()), name, p)
				}
			default:
				for _, b := range banned {
					if p == "net/url" || p == "net/netip" || p == "net/mail" {
						continue // parsing only
					}
					if p == b || strings.HasPrefix(p, b+"/") {
						t.Errorf("%s: pure room %s may not import %s", fset.Position(im.Pos()), name, p)
					}
				}
				if im.Name != nil && p == "time" {
					t.Errorf("%s: package time may not be renamed in a pure room", fset.Position(im.Pos()))
				}
			}
		}
	})
}

func TestPureRoomsReadNoClockAndStartNothing(t *testing.T) {
	eachFile(t, func(rel string, file *ast.File, fset *token.FileSet) {
		r := house[roomOf(rel)]
		if isTest(rel) {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.GoStmt:
				if !r.spawns {
					t.Errorf("%s: only app (and the runners of dispatch and sim) start goroutines", fset.Position(x.Pos()))
				}
			case *ast.SelectorExpr:
				if id, ok := x.X.(*ast.Ident); ok && r.pure && id.Name == "time" && slices.Contains(bannedTime, x.Sel.Name) {
					t.Errorf("%s: pure room reads the clock: time.%s", fset.Position(x.Pos()), x.Sel.Name)
				}
			case *ast.FuncDecl:
				if x.Recv == nil && x.Name.Name == "init" {
					t.Errorf("%s: no init functions", fset.Position(x.Pos()))
				}
			}
			return true
		})
	})
}

// TestNoMutablePackageVariables allows sentinel errors, interface guards,
// embedded files and compiled patterns.
func TestNoMutablePackageVariables(t *testing.T) {
	eachFile(t, func(rel string, file *ast.File, fset *token.FileSet) {
		if isTest(rel) || strings.HasSuffix(rel, "_templ.go") {
			return
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for i, id := range v.Names {
					if id.Name == "_" || strings.HasPrefix(strings.ToLower(id.Name), "err") || isEmbed(v) || i < len(v.Values) && isConstantCall(v.Values[i]) {
						continue
					}
					t.Errorf("%s: package variable %s: make it a constant, a function or a field", fset.Position(id.Pos()), id.Name)
				}
			}
		}
	})
}

func isEmbed(v *ast.ValueSpec) bool {
	if s, ok := v.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "FS" {
		return true
	}
	return v.Values == nil && v.Type != nil
}

func isConstantCall(e ast.Expr) bool {
	c, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	s, ok := c.Fun.(*ast.SelectorExpr)
	return ok && strings.HasPrefix(s.Sel.Name, "Must")
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said, seen := map[string]bool{}, map[string]bool{}
	eachFile(t, func(rel string, file *ast.File, _ *token.FileSet) {
		if strings.HasSuffix(rel, "_test.go") {
			return
		}
		dir := path.Dir(rel)
		seen[dir] = true
		said[dir] = said[dir] || file.Doc != nil && len(file.Doc.Text()) > 80
	})
	for dir := range seen {
		if !said[dir] {
			t.Errorf("internal/%s has no package comment that says what it is and may import", dir)
		}
		if strings.Contains(dir, "util") || strings.Contains(dir, "common") || strings.Contains(dir, "helper") {
			t.Errorf("internal/%s: name a package by what it holds", dir)
		}
	}
}

// TestPicture holds ARCHITECTURE.md against the tree: every room has a line,
// and every function named in the walk exists.
func TestPicture(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root(t), "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name := range house {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md has no line for room %s", name)
		}
	}
	defined := map[string]bool{}
	eachFile(t, func(rel string, file *ast.File, _ *token.FileSet) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				pkg := file.Name.Name
				if f.Recv != nil && len(f.Recv.List) == 1 {
					defined[pkg+".("+recv(f.Recv.List[0].Type)+")."+f.Name.Name] = true
				} else {
					defined[pkg+"."+f.Name.Name] = true
				}
			}
		}
	})
	names := 0
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "| ") || !strings.Contains(line, "`") {
			continue
		}
		for i, part := range strings.Split(line, "`") {
			if i%2 == 1 && strings.HasSuffix(part, "()") {
				names++
				if !defined[strings.TrimSuffix(part, "()")] {
					t.Errorf("ARCHITECTURE.md names %s, which does not exist", part)
				}
			}
		}
	}
	if names < 10 {
		t.Errorf("the walk names only %d functions", names)
	}
}

func recv(e ast.Expr) string {
	if s, ok := e.(*ast.StarExpr); ok {
		return "*" + recv(s.X)
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return "?"
}
