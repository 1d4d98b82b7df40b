package jira

import "strings"

// maxDocument bounds the text of a document, in bytes; Jira takes 32,767
// characters.
const maxDocument = 30_000

// node is a part of an Atlassian document.
type node struct {
	Type    string         `json:"type"`
	Version int            `json:"version,omitempty"`
	Text    string         `json:"text,omitempty"`
	Attrs   map[string]any `json:"attrs,omitempty"`
	Marks   []node         `json:"marks,omitempty"`
	Content []node         `json:"content,omitempty"`
}

// document writes plain text as an Atlassian document: blank lines part
// paragraphs, other line breaks stay. more are lines of a paragraph of their
// own, link leads to the case.
func document(text string, more []string, link string) node {
	if len(text) > maxDocument {
		text = strings.ToValidUTF8(text[:maxDocument], "") + " …"
	}
	doc := node{Type: "doc", Version: 1}
	for part := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		if p, ok := paragraph(strings.Split(part, "\n")); ok {
			doc.Content = append(doc.Content, p)
		}
	}
	if p, ok := paragraph(more); ok {
		doc.Content = append(doc.Content, p)
	}
	if link != "" {
		doc.Content = append(doc.Content, node{Type: "paragraph", Content: []node{{Type: "text", Text: "Open the case in Casement",
			Marks: []node{{Type: "link", Attrs: map[string]any{"href": link}}}}}})
	}
	return doc
}

func paragraph(lines []string) (node, bool) {
	p := node{Type: "paragraph"}
	for _, l := range lines {
		if l = strings.TrimRight(l, " \t"); l == "" {
			continue
		}
		if len(p.Content) > 0 {
			p.Content = append(p.Content, node{Type: "hardBreak"})
		}
		p.Content = append(p.Content, node{Type: "text", Text: l})
	}
	return p, len(p.Content) > 0
}
