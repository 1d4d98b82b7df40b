// Package slack delivers notices to a Slack channel by an incoming webhook. An
// approval is a card with a button that leads to the approval page: the
// decision is made there, by a person who signed in, never in the channel.
//
// It may import connector and its rest kit. Invariants: what came from an
// alert is escaped, so that it can mention nobody and hide no link; payloads
// and secrets are never in a card; the webhook's address, a secret, is in no
// error.
package slack

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/rest"
)

// Config sets up one channel.
type Config struct {
	// Name is the connector's name, "slack" if empty.
	Name string
	// URL is the address of the incoming webhook. It is a secret.
	URL  string
	HTTP connector.HTTPOptions
	// Wrap goes round the transport; tests record and play by it.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Now is the clock, UTC; the machine's if nil.
	Now func() time.Time
}

// Slack is one channel. It is safe for concurrent use.
type Slack struct {
	name string
	rest *rest.Client
}

var _ connector.Notifier = (*Slack)(nil)

// New checks the configuration; nothing is dialled.
func New(cfg Config) (*Slack, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Path == "" || u.Path == "/" {
		return nil, errors.New("url: want the address of an incoming webhook, https://hooks.slack.com/services/… (as a secret reference)")
	}
	if cfg.Now == nil {
		cfg.Now = connector.WallClock{}.Now
	}
	c, err := rest.New(rest.Options{Base: cfg.URL, Secrets: []string{cfg.URL, u.EscapedPath(), u.Path}, HTTP: cfg.HTTP, Wrap: cfg.Wrap, Now: cfg.Now})
	if cfg.Name == "" {
		cfg.Name = "slack"
	}
	return &Slack{cfg.Name, c}, err
}

// Describe is what a Slack channel can do, by its name.
func Describe(name string) connector.Spec {
	return connector.Spec{Name: name, Title: "Slack messages by incoming webhook", Permissions: []string{"incoming-webhook, for one channel"}}
}

// Spec implements connector.Connector.
func (s *Slack) Spec() connector.Spec { return Describe(s.name) }

// Notify implements connector.Notifier. Incoming webhooks know no once-key: a
// lost answer may lead to a second message, never to a lost one.
func (s *Slack) Notify(ctx context.Context, n connector.Notice) error {
	_, err := s.rest.Do(ctx, rest.Call{What: "posting to Slack", Method: http.MethodPost, In: Card(n)})
	return err
}

// Slack's bounds: characters of a header, a text object and a fallback text.
const (
	maxHeader = 150
	maxText   = 3000
)

// Card renders a notice. An approval has the order of the approval page: what
// will change, why now, blast radius and undo, who is asked and until when.
func Card(n connector.Notice) *slack.WebhookMessage {
	title := oneLine(n.Title)
	if title == "" {
		title = "Casement"
	}
	f := n.Fields
	blocks := []slack.Block{slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, cut(title, maxHeader), false, false))}
	button, style := "Open the case", slack.StyleDefault
	if f["plan"] != "" {
		button, style = "Review and decide", slack.StylePrimary
		blocks = append(blocks,
			section("*What will change*\n"+escape(f["plan"])),
			section(lines("*Why now* ", f["why"])+lines("\n*Blast radius* ", f["blast"])+lines("\n*Undo* ", f["undo"])),
			section(lines("*Asked* ", f["asked"])+lines("   *Backup* ", f["backup"])+until(f["answer_by"])))
	} else {
		blocks = append(blocks, section(escape(n.Text)))
		if len(n.To) > 0 {
			blocks = append(blocks, section("*For* "+escape(strings.Join(n.To, ", "))))
		}
	}
	if c := facts(f); c != "" {
		blocks = append(blocks, slack.NewContextBlock("", slack.NewTextBlockObject(slack.MarkdownType, cut(c, maxText), false, false)))
	}
	if n.Link != "" {
		b := slack.NewButtonBlockElement("open", n.CaseID, slack.NewTextBlockObject(slack.PlainTextType, button, false, false)).WithStyle(style)
		b.URL = n.Link
		blocks = append(blocks, slack.NewActionBlock("", b))
	}
	return &slack.WebhookMessage{Text: cut(escape(oneLine(title+": "+n.Text)), maxText), Blocks: &slack.Blocks{BlockSet: blocks}}
}

// facts are the case's facts in one line.
func facts(f map[string]string) string {
	var out []string
	for _, k := range []string{"risk", "class", "asset", "environment", "owner"} {
		if f[k] != "" {
			out = append(out, k+" "+escape(oneLine(f[k])))
		}
	}
	if at, err := time.Parse(time.RFC3339, f["due"]); err == nil {
		out = append(out, "due "+at.UTC().Format("2 Jan 15:04 UTC"))
	}
	return strings.Join(out, "  ·  ")
}

func until(v string) string {
	at, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return ""
	}
	return "\n*Answer by* " + at.UTC().Format("2 Jan 15:04 UTC")
}

func lines(label, v string) string {
	if v == "" {
		return ""
	}
	return label + escape(v)
}

func section(text string) slack.Block {
	if text = strings.TrimSpace(text); text == "" {
		text = "-" // Slack refuses an empty text
	}
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, cut(text, maxText), false, false), nil, nil)
}

// escape takes the meaning from Slack's three control characters, and from the
// marks that would format a stranger's text.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", "∗", "`", "ˋ", "~", "∼").Replace(s)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// cut bounds a text by runes, not bytes, and never inside an escape.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	s = string(r[:n-1])
	if i := strings.LastIndexByte(s, '&'); i >= 0 && !strings.Contains(s[i:], ";") {
		s = s[:i]
	}
	return s + "…"
}
