package sarif

import (
	"encoding/json"
	"sort"
	"strconv"
	"strings"

	"github.com/casement/casement/internal/format"
)

// The parts of the SARIF 2.1.0 schema that are read.

type run struct {
	Tool struct {
		Driver     component   `json:"driver"`
		Extensions []component `json:"extensions"`
	} `json:"tool"`
	Results     []json.RawMessage `json:"results"`
	Artifacts   []artifact        `json:"artifacts"`
	Invocations []invocation      `json:"invocations"`
	Provenance  []struct {
		Repository format.String `json:"repositoryUri"`
		Branch     format.String `json:"branch"`
	} `json:"versionControlProvenance"`
	Automation struct {
		ID format.String `json:"id"`
	} `json:"automationDetails"`
	External struct {
		Results []json.RawMessage `json:"results"`
	} `json:"externalPropertyFileReferences"`
	Properties properties `json:"properties"`
}

type component struct {
	Name    format.String `json:"name"`
	Version format.String `json:"version"`
	Rules   []*rule       `json:"rules"`
}

type rule struct {
	ID      format.String `json:"id"`
	Name    format.String `json:"name"`
	Short   message       `json:"shortDescription"`
	Full    message       `json:"fullDescription"`
	Help    message       `json:"help"`
	HelpURI format.String `json:"helpUri"`
	Default struct {
		Level format.String `json:"level"`
	} `json:"defaultConfiguration"`
	Relationships []struct {
		Target reference `json:"target"`
	} `json:"relationships"`
	Messages   map[string]message `json:"messageStrings"`
	Properties properties         `json:"properties"`
}

func (r *rule) id() string { return string(r.ID) }

type message struct {
	Text      format.String  `json:"text"`
	Markdown  format.String  `json:"markdown"`
	ID        format.String  `json:"id"`
	Arguments format.Strings `json:"arguments"`
}

// text returns the message with its {0} placeholders filled in; template is
// used when the message names one by id instead of having text.
func (m message) text(template string) string {
	t := strings.TrimSpace(format.First(string(m.Text), template, string(m.Markdown)))
	for i, a := range m.Arguments {
		t = strings.ReplaceAll(t, "{"+strconv.Itoa(i)+"}", a)
	}
	return t
}

type artifact struct {
	Location artifactLocation `json:"location"`
}

type artifactLocation struct {
	URI   format.String `json:"uri"`
	Index *int          `json:"index"`
}

type invocation struct {
	Start     format.String `json:"startTimeUtc"`
	End       format.String `json:"endTimeUtc"`
	Overrides []struct {
		Descriptor    reference `json:"descriptor"`
		Configuration struct {
			Level format.String `json:"level"`
		} `json:"configuration"`
	} `json:"ruleConfigurationOverrides"`
}

type reference struct {
	ID        format.String `json:"id"`
	Index     *int          `json:"index"`
	Component struct {
		Name  format.String `json:"name"`
		Index *int          `json:"index"`
	} `json:"toolComponent"`
}

type result struct {
	RuleID        format.String    `json:"ruleId"`
	RuleIndex     *int             `json:"ruleIndex"`
	Rule          reference        `json:"rule"`
	Kind          format.String    `json:"kind"`
	Level         format.String    `json:"level"`
	Message       message          `json:"message"`
	Locations     []location       `json:"locations"`
	Fingerprints  format.StringMap `json:"fingerprints"`
	Partial       format.StringMap `json:"partialFingerprints"`
	BaselineState format.String    `json:"baselineState"`
	Taxa          []reference      `json:"taxa"`
	Suppressions  []struct {
		Kind          format.String `json:"kind"`
		State         format.String `json:"state"`
		Justification format.String `json:"justification"`
	} `json:"suppressions"`
	Provenance struct {
		First           format.String `json:"firstDetectionTimeUtc"`
		Last            format.String `json:"lastDetectionTimeUtc"`
		InvocationIndex *int          `json:"invocationIndex"`
	} `json:"provenance"`
	HostedViewer format.String  `json:"hostedViewerUri"`
	WorkItems    format.Strings `json:"workItemUris"`
	Fixes        []struct {
		Description message `json:"description"`
	} `json:"fixes"`
	Properties properties `json:"properties"`
}

type location struct {
	Physical struct {
		Artifact artifactLocation `json:"artifactLocation"`
		Region   region           `json:"region"`
		Context  region           `json:"contextRegion"`
	} `json:"physicalLocation"`
	Logical []struct {
		Full format.String `json:"fullyQualifiedName"`
		Name format.String `json:"name"`
		Kind format.String `json:"kind"`
	} `json:"logicalLocations"`
	Message message `json:"message"`
}

type region struct {
	StartLine format.Number `json:"startLine"`
	Snippet   struct {
		Text format.String `json:"text"`
	} `json:"snippet"`
}

// properties is a property bag: any value under any key.
type properties map[string]json.RawMessage

// UnmarshalJSON reads an object and ignores anything else: bags are the tool's
// own business.
func (p *properties) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, (*map[string]json.RawMessage)(p))
}

// text returns a scalar of the bag as text; the key's case does not matter.
func (p properties) text(key string) string {
	raw, ok := p[key]
	if !ok {
		names := make([]string, 0, 1)
		for k := range p {
			if strings.EqualFold(k, key) {
				names = append(names, k)
			}
		}
		if len(names) == 0 {
			return ""
		}
		sort.Strings(names)
		raw = p[names[0]]
	}
	var s format.String
	if s.UnmarshalJSON(raw) != nil {
		return ""
	}
	return string(s)
}

// list returns a list of texts of the bag; one text counts as a list of one.
func (p properties) list(key string) []string {
	var l format.Strings
	if raw, ok := p[key]; !ok || l.UnmarshalJSON(raw) != nil {
		return nil
	}
	return l
}
