package demo

import (
	"embed"
	"strconv"
	"strings"
	"time"
)

// The sample alerts, written after the real formats: JSON lines of our own
// schema, ASFF in an EventBridge event, a GitHub webhook, Trivy, SARIF.
//
//go:embed alerts
var samples embed.FS

// sample returns a sample alert with its placeholders filled in. The source's
// detection is the present: exposure windows of the demo are real.
func sample(name string, pairs ...string) []byte {
	b, err := samples.ReadFile("alerts/" + name)
	if err != nil { // embedded at build time
		return nil
	}
	pairs = append([]string{"@NOW@", time.Now().UTC().Format("2006-01-02T15:04:05.000Z")}, pairs...)
	return []byte(strings.NewReplacer(pairs...).Replace(string(b)))
}

// bucketAlert is a posture scanner's word on one bucket.
func bucketAlert(bucket, application string) []byte {
	return sample("posture.jsonl", "@BUCKET@", bucket, "@APP@", application)
}

// storm is n alerts of one detection, each with an id of its own.
func storm(n int) []byte {
	line := string(sample("beacon.jsonl"))
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Replace(line, "@N@", strconv.Itoa(i+1), 1))
	}
	return []byte(b.String())
}
