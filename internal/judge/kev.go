package judge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoKEV is in the error of a file that holds no list.
var ErrNoKEV = errors.New("no list of known exploited vulnerabilities")

// ReadKEV reads CISA's catalogue in its JSON form (catalogVersion,
// dateReleased, vulnerabilities with cveID). A list without a date or without
// ids is refused: it would turn "not known" into "not listed".
func ReadKEV(data []byte) (KEV, error) {
	var doc struct {
		Released        string `json:"dateReleased"`
		Vulnerabilities []struct {
			CVE string `json:"cveID"`
		} `json:"vulnerabilities"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil {
		return KEV{}, fmt.Errorf("%w: byte %d: %w (want the JSON file of CISA's catalogue)", ErrNoKEV, dec.InputOffset(), err)
	}
	at, err := time.Parse(time.RFC3339, doc.Released)
	if err != nil {
		return KEV{}, fmt.Errorf("%w: dateReleased %.40q is not an RFC 3339 time (want the JSON file of CISA's catalogue)", ErrNoKEV, doc.Released)
	}
	k := KEV{AsOf: at.UTC(), CVE: make(map[string]bool, len(doc.Vulnerabilities))}
	for _, v := range doc.Vulnerabilities {
		if id := strings.ToUpper(strings.TrimSpace(v.CVE)); strings.HasPrefix(id, "CVE-") {
			k.CVE[id] = true
		}
	}
	if len(k.CVE) == 0 {
		return KEV{}, fmt.Errorf("%w: it names no CVE (want the JSON file of CISA's catalogue)", ErrNoKEV)
	}
	return k, nil
}
