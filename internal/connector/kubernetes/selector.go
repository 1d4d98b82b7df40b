package kubernetes

import (
	"encoding/json"
	"slices"
)

// selector is a label selector (meta/v1).
type selector struct {
	MatchLabels      map[string]string `json:"matchLabels,omitempty"`
	MatchExpressions []expression      `json:"matchExpressions,omitempty"`
}

type expression struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// String is its JSON; map keys are sorted, so equal selectors have equal texts.
func (s selector) String() string {
	b, err := json.Marshal(s)
	if err != nil { // strings: cannot fail
		return err.Error()
	}
	return string(b)
}

// matches: all of it holds; an empty selector matches everything. An operator
// nobody knows does not match.
func (s selector) matches(labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if has, ok := labels[k]; !ok || has != v {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		v, has := labels[e.Key]
		ok := false
		switch e.Operator {
		case "In":
			ok = has && slices.Contains(e.Values, v)
		case "NotIn":
			ok = !has || !slices.Contains(e.Values, v)
		case "Exists":
			ok = has
		case "DoesNotExist":
			ok = !has
		}
		if !ok {
			return false
		}
	}
	return true
}
