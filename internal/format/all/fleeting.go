package all

import (
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/asff"
)

// FleetingPaths returns, by format, the places that can change neither identity
// nor exposure key nor decision digest. Only formats of which each value of a
// list or of lines is read by itself are there; all other bodies are read whole
// every time. A test holds each format to it.
func FleetingPaths() map[string][]string {
	return map[string][]string{
		// When Security Hub last touched a finding, and the customer's own notes,
		// which the reader does not read.
		asff.Name: {"UpdatedAt", "LastObservedAt", "ProcessedAt", "UserDefinedFields",
			"detail.findings.UpdatedAt", "detail.findings.LastObservedAt", "detail.findings.ProcessedAt", "detail.findings.UserDefinedFields",
			"Findings.UpdatedAt", "Findings.LastObservedAt", "Findings.ProcessedAt", "Findings.UserDefinedFields"},
	}
}

// Fleeting is FleetingPaths made ready for format.Sketches.
func Fleeting() map[string]*format.Fleeting {
	out := map[string]*format.Fleeting{}
	for name, paths := range FleetingPaths() {
		out[name] = format.NewFleeting(paths...)
	}
	return out
}
