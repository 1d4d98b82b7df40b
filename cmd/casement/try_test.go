package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/casement/casement/internal/backtest"
)

// TestTryWritesAllInOrder: json and jsonl hold all cases, the most pressing
// first, whether they fit in memory or not, and the document is one as if it had
// been written at once.
func TestTryWritesAllInOrder(t *testing.T) {
	var alerts strings.Builder
	for i := range 6000 { // more than a pile keeps as they are
		fmt.Fprintf(&alerts, `{"source":"acme","native_id":"%d","rule":"r","title":"Bucket <b%d>","class":"storage.public","severity":%q,"asset":{"uid":"b%d","type":"bucket"}}`+"\n",
			i, i%5000, []string{"low", "critical", "medium"}[i%3], i%5000)
	}
	for body, cases := range map[string]int{alerts.String(): 5000, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"T"}},"results":[]}]}`: 0} {
		code, doc, errs := execute(t, body, "try", "-o", "json", "-")
		var trial backtest.Trial
		if err := json.Unmarshal([]byte(doc), &trial); err != nil || code != codeOK || trial.Cases != len(trial.Items) || len(trial.Items) != cases {
			t.Fatalf("code %d, %d cases, %d items, want %d: %v %s", code, trial.Cases, len(trial.Items), cases, err, errs)
		}
		var again bytes.Buffer
		e := json.NewEncoder(&again)
		e.SetIndent("", "  ")
		if err := e.Encode(trial); err != nil || again.String() != doc {
			t.Errorf("the document is not the one of %d cases (%v)", cases, err)
		}
		_, lines, _ := execute(t, body, "try", "-o", "jsonl", "-")
		var want bytes.Buffer
		last := backtest.Rank{}
		for _, x := range trial.Items {
			if r := (backtest.Rank{Risk: x.Risk, Alerts: x.Alerts}); r.Compare(last) < 0 {
				t.Errorf("%s presses more than what stands before it", x.Key)
			} else {
				last = r
			}
			b, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			want.Write(append(b, '\n'))
		}
		if lines != want.String() {
			t.Errorf("the lines are not the items of the document")
		}
	}
}
