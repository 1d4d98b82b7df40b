package owner

import (
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/finding"
)

// Gap is one thing to mend, with what suffers from it.
type Gap struct {
	Gap string `json:"gap"`
	// Findings is the number of findings it touches, Assets some of their ids.
	Findings int      `json:"findings"`
	Assets   []string `json:"assets"`
}

// maxGapAssets is how many assets a gap names.
const maxGapAssets = 5

// Gaps lists what is missing to route the findings, most findings first.
func Gaps(d *Directory, findings []finding.Finding, at time.Time) []Gap {
	index := make(map[string]int)
	var gaps []Gap
	for _, f := range findings {
		for _, text := range Resolve(d, Question{Finding: f, At: at}).Gaps {
			i, ok := index[text]
			if !ok {
				i = len(gaps)
				index[text] = i
				gaps = append(gaps, Gap{Gap: text})
			}
			g := &gaps[i]
			g.Findings++
			if len(g.Assets) < maxGapAssets && !slices.Contains(g.Assets, f.Asset.UID) {
				g.Assets = append(g.Assets, f.Asset.UID)
			}
		}
	}
	slices.SortStableFunc(gaps, func(a, b Gap) int {
		if a.Findings != b.Findings {
			return b.Findings - a.Findings
		}
		return strings.Compare(a.Gap, b.Gap)
	})
	return gaps
}
