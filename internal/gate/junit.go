package gate

import (
	"encoding/xml"
	"strconv"
	"strings"
)

// The JUnit XML that CI systems read: suites, suites' cases, failures.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Timestamp string      `xml:"timestamp,attr"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Class     string        `xml:"classname,attr"`
		File      string        `xml:"file,attr,omitempty"`
		Failure   *junitMessage `xml:"failure"`
		Skipped   *junitMessage `xml:"skipped"`
		SystemOut string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as JUnit XML: one test case per exposure, blocked
// ones fail, excepted ones are skipped. An empty report has one passed case, so
// that a CI system does not mistake it for a missing one.
func (r Report) JUnit() ([]byte, error) {
	suite := junitSuite{Name: name("casement gate", r.Project), Timestamp: r.At.UTC().Format("2006-01-02T15:04:05")}
	for _, x := range r.Results {
		c := junitCase{Name: text(x.Weakness + " in " + x.Label()), Class: text(name(string(x.Class), x.Project)), File: text(x.File)}
		switch x.Outcome {
		case Blocked:
			suite.Failures++
			c.Failure = &junitMessage{Message: text(x.Do), Type: x.Risk.String(), Text: text(x.Title + "\n" + x.Reason() + "\nto do: " + x.Do)}
		case Excepted:
			suite.Skipped++
			c.Skipped = &junitMessage{Message: text(x.Reason())}
		case Warned:
			c.SystemOut = text("warning: " + x.Reason() + "\nto do: " + x.Do)
		}
		suite.Cases = append(suite.Cases, c)
	}
	if r.Unlisted > 0 {
		suite.Cases = append(suite.Cases, junitCase{Name: strconv.Itoa(r.Unlisted) + " less pressing exposures are not listed", Class: "casement.gate"})
	}
	if len(suite.Cases) == 0 {
		suite.Cases = []junitCase{{Name: "no findings", Class: "casement.gate"}}
	}
	suite.Tests = len(suite.Cases)
	out := junitSuites{Name: "casement gate", Tests: suite.Tests, Failures: suite.Failures, Skipped: suite.Skipped, Suites: []junitSuite{suite}}
	b, err := xml.MarshalIndent(out, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

func name(a, b string) string {
	if b == "" {
		return a
	}
	return a + "." + b
}

// text drops control characters that XML 1.0 can't hold.
func text(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return ' '
		}
		return r
	}, s)
}
