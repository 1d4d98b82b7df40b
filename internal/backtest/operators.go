package backtest

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/casement/casement/internal/remedy"
)

// Operator is what a person decided.
type Operator struct {
	// ID is a case id, an exposure key or a finding uid.
	ID   string
	Path remedy.Path
	Line int
}

// ReadOperators reads a CSV file with a header: one column case, key, uid or
// id, and one column path (or decision) with enforce, approve, ticket,
// incident, monitor or suppress. All bad lines are reported together.
func ReadOperators(name string, data []byte) ([]Operator, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: file is empty: want a header with case (or key, uid, id) and path", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	id, path := -1, -1
	for i, h := range header {
		switch strings.ToLower(strings.TrimSpace(h)) {
		case "case", "key", "uid", "id":
			if id < 0 {
				id = i
			}
		case "path", "decision":
			path = i
		}
	}
	if id < 0 || path < 0 {
		return nil, fmt.Errorf("%s:1: header %q: want a column case, key, uid or id and a column path", name, header)
	}
	var out []Operator
	var errs []error
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, errors.Join(errs...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			return nil, errors.Join(errs...)
		}
		line, _ := r.FieldPos(0)
		if len(rec) <= max(id, path) {
			errs = append(errs, fmt.Errorf("%s:%d: %d columns, the header has %d", name, line, len(rec), len(header)))
			continue
		}
		p := remedy.Path(strings.ToLower(strings.TrimSpace(rec[path])))
		if !known(p) {
			errs = append(errs, fmt.Errorf("%s:%d: path %.40q: want enforce, approve, ticket, incident, monitor or suppress", name, line, rec[path]))
			continue
		}
		out = append(out, Operator{strings.TrimSpace(rec[id]), p, line})
	}
}

func known(p remedy.Path) bool {
	for _, k := range Paths() {
		if k == p {
			return true
		}
	}
	return false
}

// Agreement compares people with policy.
type Agreement struct {
	// Compared counts operators' decisions for which policy has one.
	Compared int `json:"compared"`
	Agree    int `json:"agree"`
	// Matrix has the operator's path in rows and the policy's in columns.
	Matrix Matrix `json:"matrix"`
	// Kappa is Cohen's kappa: agreement beyond chance, 1 is full, 0 is chance;
	// NaN-free: 0 when it is not defined.
	Kappa float64 `json:"kappa"`
	// Bolder counts cases where policy would act without a person though the
	// person chose otherwise.
	Bolder   int        `json:"bolder"`
	Disagree []Disagree `json:"disagree"`
	// Unmatched are ids nobody here knows.
	Unmatched []string `json:"unmatched"`
}

// Disagree is one case people and policy judged differently.
type Disagree struct {
	ID       string      `json:"id"`
	Title    string      `json:"title"`
	Operator remedy.Path `json:"operator"`
	Policy   remedy.Path `json:"policy"`
	Rule     string      `json:"rule"`
	Why      string      `json:"why"`
}

// Against compares operators' decisions with those of history.
func Against(past []Past, ops []Operator) Agreement {
	byID := map[string]Past{}
	for _, p := range past {
		for _, uid := range p.UIDs {
			byID[uid] = p
		}
		byID[p.Key], byID[p.ID] = p, p
	}
	out := Agreement{Matrix: Matrix{}, Disagree: []Disagree{}, Unmatched: []string{}}
	rows, cols := map[remedy.Path]int{}, map[remedy.Path]int{}
	for _, o := range ops {
		p, ok := byID[o.ID]
		if !ok {
			p, ok = byBeginning(past, o.ID)
		}
		if !ok || o.ID == "" {
			out.Unmatched = append(out.Unmatched, o.ID)
			continue
		}
		label := Label(p.Decision)
		out.Compared++
		out.Matrix.add(o.Path, label)
		rows[o.Path]++
		cols[label]++
		if o.Path == label {
			out.Agree++
			continue
		}
		if label == remedy.PathEnforce {
			out.Bolder++
		}
		out.Disagree = append(out.Disagree, Disagree{o.ID, p.Title, o.Path, label, p.Decision.Rule, p.Decision.Why})
	}
	out.Kappa = kappa(out.Agree, out.Compared, rows, cols)
	return out
}

// minBeginning is the length of the shortest beginning of a key that names it:
// what casement try prints.
const minBeginning = 11

// byBeginning finds the one decision whose exposure key begins with s.
func byBeginning(past []Past, s string) (found Past, ok bool) {
	if len(s) < minBeginning {
		return found, false
	}
	for _, p := range past {
		if strings.HasPrefix(p.Key, s) {
			if ok && p.Key != found.Key {
				return Past{}, false
			}
			found, ok = p, true
		}
	}
	return found, ok
}

// kappa is (observed − expected) / (1 − expected) agreement.
func kappa(agree, n int, rows, cols map[remedy.Path]int) float64 {
	if n == 0 {
		return 0
	}
	expected := 0.0
	for _, p := range Paths() {
		expected += float64(rows[p]) * float64(cols[p]) / float64(n) / float64(n)
	}
	if expected >= 1 {
		return 0
	}
	return math.Round((float64(agree)/float64(n)-expected)/(1-expected)*1000) / 1000
}
