package webhook

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
)

// maxText bounds the text of a notice, so that a whole message stays under the
// 20 kB that receivers of Standard Webhooks are advised to take.
const maxText = 8 << 10

type notice struct {
	Type      string     `json:"type"`
	Timestamp string     `json:"timestamp"`
	Data      noticeData `json:"data"`
}

type noticeData struct {
	Case   string            `json:"case,omitempty"`
	Title  string            `json:"title"`
	Text   string            `json:"text"`
	To     []string          `json:"to,omitempty"`
	Link   string            `json:"link,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
}

// Notify implements connector.Notifier.
func (c *Connector) Notify(ctx context.Context, n connector.Notice) error {
	if c.cfg.NotifyURL == "" {
		return connector.Errorf(connector.KindConfig, "connector %s has no notify_url", c.cfg.Name)
	}
	if len(n.Text) > maxText {
		n.Text = strings.ToValidUTF8(n.Text[:maxText], "") + " …"
	}
	var v any = notice{Type: "casement.notice." + n.Kind, Timestamp: n.At.UTC().Format(time.RFC3339),
		Data: noticeData{Case: n.CaseID, Title: n.Title, Text: n.Text, To: n.To, Link: n.Link, Fields: n.Fields}}
	if c.cfg.NotifyFormat == "slack" {
		v = map[string]string{"text": slackText(n)}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return connector.Errorf(connector.KindRefused, "the notice can't be written as JSON: %v", err)
	}
	return c.post(ctx, c.cfg.NotifyURL, n.Key, n.At, b)
}

// slackText renders a notice as mrkdwn. The three control characters are
// escaped, so that no text of an alert can mention people or hide a link.
func slackText(n connector.Notice) string {
	esc := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	var b strings.Builder
	if n.Title != "" {
		b.WriteString("*" + esc.Replace(strings.ReplaceAll(n.Title, "*", "")) + "*\n")
	}
	b.WriteString(esc.Replace(n.Text))
	if len(n.To) > 0 {
		b.WriteString("\nFor: " + esc.Replace(strings.Join(n.To, ", ")))
	}
	if n.Link != "" && !strings.ContainsAny(n.Link, "<>|") {
		b.WriteString("\n<" + n.Link + "|Open>")
	}
	return b.String()
}
