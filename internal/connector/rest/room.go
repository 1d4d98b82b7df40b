package rest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Room is what the target says is left of its rate limit.
type Room struct {
	// Known: the target has spoken of it. Left calls may be made until Reset
	// (UTC).
	Known bool
	Left  int
	Reset time.Time
}

// maxWait bounds how long a target can hold us back by its headers.
const maxWait = time.Hour

func (r Room) wait(now time.Time) time.Duration {
	if !r.Known || r.Left > 0 || !r.Reset.After(now) {
		return 0
	}
	return min(r.Reset.Sub(now), maxWait)
}

// Room returns what is known of the target's rate limit.
func (c *Client) Room() Room {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room
}

// learn reads the rate-limit headers: the IETF draft's RateLimit-*, the
// X-RateLimit-* of GitHub, Gitea and Jira, the X-Rate-Limit-* of Okta.
func (c *Client) learn(resp *http.Response) {
	for _, p := range []string{"RateLimit-", "X-RateLimit-", "X-Rate-Limit-"} {
		left, err := strconv.Atoi(strings.TrimSpace(resp.Header.Get(p + "Remaining")))
		if err != nil {
			continue
		}
		reset, ok := resetAt(resp.Header.Get(p+"Reset"), c.now())
		if !ok {
			continue
		}
		c.mu.Lock()
		c.room = Room{Known: true, Left: left, Reset: reset}
		c.mu.Unlock()
		return
	}
}

// resetAt reads an instant: seconds from now, Unix seconds, or RFC 3339.
func resetAt(v string, now time.Time) (time.Time, bool) {
	v = strings.TrimSpace(v)
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
		if n < 1e8 { // no Unix time of this age, no wait of this length
			return now.Add(time.Duration(min(n, 86400)) * time.Second), true
		}
		return time.Unix(n, 0).UTC(), true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z"} { // Jira leaves the seconds out
		if t, err := time.Parse(layout, v); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// NextLink returns the address of the next page in a Link header (RFC 8288),
// "" if there is none.
func NextLink(h http.Header) string {
	for _, line := range h.Values("Link") {
		for part := range strings.SplitSeq(line, ",") {
			target, params, _ := strings.Cut(strings.TrimSpace(part), ">")
			if !strings.HasPrefix(target, "<") {
				continue
			}
			for p := range strings.SplitSeq(params, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
				if strings.EqualFold(name, "rel") && slices.Contains(strings.Fields(strings.Trim(value, `"`)), "next") {
					return target[1:]
				}
			}
		}
	}
	return ""
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
