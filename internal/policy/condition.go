package policy

import (
	"fmt"
	"sort"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"go.yaml.in/yaml/v4"
)

// CostLimit bounds one evaluation of a condition, in CEL cost units; a
// condition whose worst case is above it does not load.
const CostLimit = 100_000

// Sizes that the worst case of a condition is computed with.
const (
	sizeString = 1024
	sizeList   = 256
)

// condition is one compiled CEL expression. It is immutable and safe for
// concurrent use.
type condition struct {
	src  string
	at   pos
	prog cel.Program
	// reads are the variables the expression names.
	reads map[string]bool
	// conjuncts are the normalized parts of a chain of &&: a condition that has
	// all parts of another is implied by it. nil for "true".
	conjuncts []string
}

// verdict of a condition.
type verdict struct {
	result outcome
	cost   uint64
	// unknown are the facts the result hangs on, when it is maybe.
	unknown []string
	err     string
}

type outcome uint8

const (
	never outcome = iota
	maybe         // it depends on unknown facts
	holds
	failed
)

// compiler makes conditions of texts.
type compiler struct {
	env  *cel.Env
	vars map[string]Variable
}

func newCompiler(vs []Variable) (*compiler, error) {
	env, err := environment(vs)
	if err != nil {
		return nil, err
	}
	c := &compiler{env: env, vars: make(map[string]Variable, len(vs))}
	for _, v := range vs {
		c.vars[v.Name] = v
	}
	return c, nil
}

// condition compiles a text; every fault is recorded where it stands and ok is
// false.
func (c *compiler) condition(t text) (cond condition, ok bool) {
	if strings.TrimSpace(t.s) == "" {
		t.at.failf("write true for a rule that always applies", "condition is empty")
		return cond, false
	}
	checked, iss := c.env.Compile(t.s)
	if iss.Err() != nil {
		for _, e := range iss.Errors() {
			msg, mend := firstLine(e.Message), ""
			if strings.HasPrefix(msg, "found no matching overload") {
				mend = "compare text with text and numbers with numbers; severity is a number: LOW, MEDIUM, HIGH, CRITICAL"
			}
			t.inside(e.Location.Line(), e.Location.Column()).failf(mend, "condition: %s", msg)
		}
		return cond, false
	}
	if checked.OutputType() != cel.BoolType {
		t.at.failf("compare it with something", "condition is of type %s, not bool", checked.OutputType())
		return cond, false
	}
	cond = condition{src: t.s, at: t.at, reads: map[string]bool{}}
	if !c.inspect(t, checked, cond.reads) {
		return cond, false
	}
	est, err := c.env.EstimateCost(checked, sizes{})
	if err != nil {
		t.at.failf("", "condition: its cost cannot be estimated: %v", err)
		return cond, false
	}
	if est.Max > CostLimit {
		t.at.failf("split it into several rules or drop the nested exists and all", "condition may cost %s units, more than %d", bound(est.Max), CostLimit)
		return cond, false
	}
	cond.prog, err = c.env.Program(checked, cel.CostLimit(CostLimit), cel.CostTracking(nil), cel.EvalOptions(cel.OptPartialEval, cel.OptOptimize))
	if err != nil {
		t.at.failf("", "condition: %s", firstLine(err.Error()))
		return cond, false
	}
	cond.conjuncts = conjuncts(checked)
	return cond, true
}

// eval judges the condition by facts. unknown names facts that count as
// unknown; the caller passes nil to evaluate with their stand-in values.
func (c condition) eval(a activation, unknown []string) verdict {
	var in any = a.vars
	var patterns []*cel.AttributePatternType
	for _, name := range unknown {
		if c.reads[name] {
			patterns = append(patterns, cel.AttributePattern(name))
		}
	}
	if len(patterns) > 0 {
		p, err := cel.PartialVars(a.vars, patterns...)
		if err != nil {
			return verdict{result: failed, err: err.Error()}
		}
		in = p
	}
	val, details, err := c.prog.Eval(in)
	v := verdict{}
	if details != nil && details.ActualCost() != nil {
		v.cost = *details.ActualCost()
	}
	if err != nil {
		v.result, v.err = failed, firstLine(err.Error())
		return v
	}
	switch x := val.(type) {
	case types.Bool:
		if x {
			v.result = holds
		}
	case *types.Unknown:
		v.result, v.unknown = maybe, trails(x)
	default:
		v.result, v.err = failed, fmt.Sprintf("condition gave %s, not a bool", val.Type())
	}
	return v
}

// trails names the variables an unknown result hangs on.
func trails(u *types.Unknown) []string {
	seen := map[string]bool{}
	for _, id := range u.IDs() {
		ts, _ := u.GetAttributeTrails(id)
		for _, t := range ts {
			seen[t.Variable()] = true
		}
	}
	out := make([]string, 0, len(seen))
	for name := range seen {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// inspect walks the expression: collects the variables it reads, refuses loops
// over maps and comparisons with words a variable can never have.
func (c *compiler) inspect(t text, checked *cel.Ast, reads map[string]bool) bool {
	good := true
	native := checked.NativeRep()
	at := func(e ast.Expr) pos {
		l := native.SourceInfo().GetStartLocation(e.ID())
		return t.inside(l.Line(), l.Column())
	}
	ast.PreOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			if _, ok := c.vars[e.AsIdent()]; ok {
				reads[e.AsIdent()] = true
			}
		case ast.ComprehensionKind:
			over := native.GetType(e.AsComprehension().IterRange().ID())
			if over != nil && over.Kind() != types.ListKind {
				at(e).failf("look a key up instead, e.g. tags.value(\"team\")", "condition loops over a %s: only lists can be looped over", over)
				good = false
			}
		case ast.CallKind:
			if !c.comparison(e.AsCall(), at) {
				good = false
			}
		}
	}))
	return good
}

// comparison checks variable == "word", "word" == variable and
// variable in ["word", …] against the variable's closed set.
func (c *compiler) comparison(call ast.CallExpr, at func(ast.Expr) pos) bool {
	name := call.FunctionName()
	if (name != operators.Equals && name != operators.NotEquals && name != operators.In) || len(call.Args()) != 2 {
		return true
	}
	left, right := call.Args()[0], call.Args()[1]
	if name != operators.In && left.Kind() == ast.LiteralKind {
		left, right = right, left
	}
	if left.Kind() != ast.IdentKind {
		return true
	}
	v, ok := c.vars[left.AsIdent()]
	if !ok || v.Words == nil {
		return true
	}
	literals := []ast.Expr{right}
	if name == operators.In && right.Kind() == ast.ListKind {
		literals = right.AsList().Elements()
	}
	good := true
	for _, l := range literals {
		if l.Kind() != ast.LiteralKind {
			continue
		}
		if s, isText := l.AsLiteral().(types.String); isText && !v.isWord(string(s)) {
			at(l).failf(v.wordsHint(string(s)), "%s is never %s", v.Name, quote(string(s)))
			good = false
		}
	}
	return good
}

// conjuncts returns the normalized parts of a chain of &&, sorted.
func conjuncts(checked *cel.Ast) []string {
	info := checked.NativeRep().SourceInfo()
	var parts []string
	var walk func(e ast.Expr)
	walk = func(e ast.Expr) {
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
			for _, a := range e.AsCall().Args() {
				walk(a)
			}
			return
		}
		if e.Kind() == ast.LiteralKind && e.AsLiteral() == types.True {
			return
		}
		s, err := cel.ExprToString(e, info)
		if err != nil {
			s = fmt.Sprintf("expression %d", e.ID()) // stands for itself only
		}
		parts = append(parts, s)
	}
	walk(checked.NativeRep().Expr())
	sort.Strings(parts)
	return parts
}

// implies reports whether c holds only where d does: c has all parts of d.
func (c condition) implies(d condition) bool {
	for _, p := range d.conjuncts {
		if !contains(c.conjuncts, p) {
			return false
		}
	}
	return true
}

// inside turns a place in the expression (line from 1, column from 0) into the
// place in the file, as far as the YAML style allows.
func (t text) inside(line, col int) pos {
	p := t.at
	if p.src == nil || t.node == nil || line < 1 {
		return p
	}
	switch t.node.Style {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		at := p.line + line
		if at > len(p.src.lines) {
			return p
		}
		l := p.src.lines[at-1]
		indent := len(l) - len(strings.TrimLeft(l, " "))
		if t.node.Style == yaml.FoldedStyle && line == 1 && col > len(l)-indent {
			return pos{p.src, at, indent + 1}
		}
		return pos{p.src, at, indent + col + 1}
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		col++
	}
	if line > 1 || col+p.col > len(p.src.lines[p.line-1])+1 {
		return p
	}
	return pos{p.src, p.line, p.col + col}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func bound(n uint64) string {
	if n > 1<<60 {
		return "an unbounded number of"
	}
	return fmt.Sprint(n)
}

// sizes tells the cost estimator how large facts can get.
type sizes struct{}

// EstimateSize bounds variables and what is in them.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if len(n.Path()) == 0 {
		return nil
	}
	switch n.Type().Kind() {
	case types.ListKind, types.MapKind:
		return &cost.SizeEstimate{Max: sizeList}
	case types.StringKind:
		return &cost.SizeEstimate{Max: sizeString}
	}
	return nil
}

// EstimateCallCost gives our own functions a small fixed cost.
func (sizes) EstimateCallCost(function, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	switch function {
	case "is_yes", "is_no", "not_no", "not_yes", "is_unknown", "value":
		return &cost.CallEstimate{CostEstimate: cost.FixedCostEstimate(2), ResultSize: &cost.SizeEstimate{Max: sizeString}}
	}
	return nil
}
