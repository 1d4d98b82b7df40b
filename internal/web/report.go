package web

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/report"
)

// reportData is what the report page shows.
type reportData struct {
	frame
	Days   string
	Tables []ReportTable
	Report report.Closure
}

// reportWindows are the windows that the page offers, in days; 0 is all time.
func reportWindows() []int { return []int{7, 30, 90, 365, 0} }

func windowWord(days int) string {
	if days == 0 {
		return "All time"
	}
	return plural(days, "day", "days")
}

func (s *server) reportPage(w http.ResponseWriter, r *http.Request) error {
	const usual = "30"
	d := reportData{frame: s.frame(r, "Report", "report"), Days: cmp.Or(r.URL.Query().Get("days"), usual)}
	days, err := strconv.Atoi(d.Days)
	if err != nil || !slices.Contains(reportWindows(), days) {
		return &problem{Status: http.StatusBadRequest, Title: "The window can't be read", Detail: "days: want 7, 30, 90, 365, or 0 for all time."}
	}
	var since time.Time
	if days > 0 {
		since = s.Now().UTC().AddDate(0, 0, -days)
	}
	if d.Report, err = s.Report(r.Context(), auth.FromContext(r.Context()), since); err != nil {
		return err
	}
	d.Tables = ReportTables(d.Report)
	s.render(w, r, http.StatusOK, reportView(d))
	return nil
}
