package all

import (
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/alertmanager"
	"github.com/casement/casement/internal/format/asff"
	"github.com/casement/casement/internal/format/github"
	"github.com/casement/casement/internal/format/jsonl"
	"github.com/casement/casement/internal/format/ocsf"
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
		// When an event was made and passed on, and a finding was seen last.
		ocsf.Name: {"time", "time_dt", "metadata.logged_time", "metadata.logged_time_dt", "metadata.processed_time", "metadata.processed_time_dt",
			"metadata.modified_time", "metadata.modified_time_dt", "finding_info.last_seen_time", "finding_info.last_seen_time_dt",
			"finding_info.modified_time", "finding_info.modified_time_dt", "finding.last_seen_time", "finding.modified_time"},
		// When GitHub last touched an alert or its repository.
		github.Name: {"updated_at", "alert.updated_at", "repository.updated_at", "repository.pushed_at"},
		// Since when an alert fires; when it ends says whether it still does.
		alertmanager.Name: {"startsAt", "updatedAt", "alerts.startsAt", "alerts.updatedAt"},
		jsonl.Name:        {"first_seen", "last_seen"},
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
