package deadline

import (
	"archive/zip"
	_ "embed" // the tz database is compiled in
	"fmt"
	"io"
	"strings"
	"time"
)

// ZoneVersion is the release of the IANA tz database in zoneinfo.zip. It is
// stored with every deadline, so that an old one can be derived again. The file
// is lib/time/zoneinfo.zip of the Go distribution; a test ties the two together.
const ZoneVersion = "2025c"

// zoneData is read here and not by time.LoadLocation: that function prefers the
// files of the host, so two nodes could give one case two deadlines.
//
//go:embed zoneinfo.zip
var zoneData string

// LoadZone returns a zone of the embedded tz database by its IANA name, e.g.
// "Europe/Paris". "UTC" and "" are UTC. Host settings play no part; "Local" is
// refused because it means something else on each machine.
func LoadZone(name string) (*time.Location, error) {
	switch name {
	case "", "UTC":
		return time.UTC, nil
	case "Local":
		return nil, fmt.Errorf(`zone "Local" depends on the machine: name an IANA zone such as Europe/Paris`)
	}
	archive, err := zip.NewReader(strings.NewReader(zoneData), int64(len(zoneData)))
	if err != nil {
		return nil, fmt.Errorf("embedded tz database: %w", err)
	}
	for _, f := range archive.File {
		if f.Name != name || strings.HasSuffix(f.Name, "/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", name, err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", name, err)
		}
		return time.LoadLocationFromTZData(name, data)
	}
	return nil, fmt.Errorf("zone %q is not in the tz database %s: use an IANA name such as Europe/Paris", name, ZoneVersion)
}
