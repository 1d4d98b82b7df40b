package witness

import (
	"fmt"
	"strings"
	"time"
)

// promise is what the story has to claim at least n times in a part.
type promise struct {
	part          int
	kind, subject string
	want          string
	n             int
}

// promises is the story, written down a second time: a demo that claims less
// than it promises does not pass. An empty want is any.
func promises(rejected bool) []promise {
	fixed := func(part int, subject string, acts int) []promise {
		return []promise{{part, "before-probe", subject, "exposed", 1}, {part, "action", subject, "acted", acts},
			{part, "after-probe", subject, "not_exposed", acts}, {part, "proven", subject, "proven", 1}}
	}
	out := []promise{{1, "outside", "s3/acme-payroll", "200", 1}, {1, "outside", "s3/acme-payroll", "403", 1}}
	out = append(out, fixed(1, "s3/acme-payroll", 2)...)
	out = append(out, promise{2, "outside", "s3/acme-reports", "200", 1}, promise{2, "pending", "s3/acme-reports", "open", 1},
		promise{2, "no-effect", "s3/acme-reports", "said done", 1})
	out = append(out, fixed(2, "s3/acme-reports", 1)...)
	windows := 4
	if rejected {
		out = append(out, promise{3, "rejected", "s3/acme-shop-images", "untouched", 1})
	} else {
		windows = 5
		out = append(out, promise{3, "void", "s3/acme-shop-images", "void", 1}, promise{3, "approved", "s3/acme-shop-images", "", 1})
		out = append(out, fixed(3, "s3/acme-shop-images", 1)...)
	}
	out = append(out, promise{4, "budget", "s3/acme-sandbox-*", "5", 1}, promise{4, "held", "s3/acme-sandbox-", "held", 1},
		promise{4, "held", "s3/acme-customers", "held", 1}, promise{4, "broke", "s3/acme-storefront", "broken", 1},
		promise{4, "undone", "s3/acme-storefront", "undone", 1})
	out = append(out, promise{5, "refuted", "s3/acme-sandbox-", "reopened", 1}, promise{5, "storm", "build-03", "5000 alerts, 1 case, 1 message", 1},
		promise{5, "gate", "acme/shop", "exit 4", 1}, promise{5, "gate", "acme/shop", "exit 0", 1}, promise{5, "twin", "acme/shop", "the same case", 1})
	out = append(out, fixed(5, "oauth/grant-7", 1)...)
	out = append(out, promise{6, "kill", "s3/acme-backups", "intended", 1}, promise{6, "once", "s3/acme-backups", "1", 1})
	out = append(out, fixed(6, "s3/acme-backups", 1)...)
	return append(out, promise{7, "window", "", "", windows})
}

// story looks for promises nobody claimed.
func (c *court) story() {
	rejected := false
	for _, x := range c.claims {
		rejected = rejected || x.Kind == "rejected"
	}
	first := 0
	var missing []string
	for _, p := range promises(rejected) {
		n := 0
		for _, x := range c.claims {
			if x.Scene == p.part && x.Kind == p.kind && strings.HasPrefix(x.Subject, p.subject) && (p.want == "" || x.Want == p.want) {
				n++
			}
		}
		if n >= p.n {
			c.rep.Parts = max(c.rep.Parts, p.part)
			continue
		}
		if first == 0 {
			first = p.part
		}
		missing = append(missing, p.kind+" of "+p.subject)
	}
	if len(missing) > 0 {
		c.rep.Faults = append(c.rep.Faults, fmt.Sprintf("the story is not whole: %d of its promises were not claimed, the first in part %d: %s", len(missing), first, missing[0]))
	}
}

func sameTime(text string, x claim) bool {
	t, err := time.Parse(time.RFC3339Nano, text)
	return err == nil && t.Equal(x.Opened)
}
