package parse

import (
	"context"
	"strings"
)

// parsePlain keeps the lines of a text as they are; blank lines separate its paragraphs.
func (r *Registry) parsePlain(_ context.Context, s Source) (Document, error) {
	c := r.canon()
	if err := c.paragraphs(clean(string(s.Data))); err != nil {
		return Document{}, err
	}
	return c.document(""), nil
}

// paragraphs adds a plain text that is clean.
func (c *canon) paragraphs(s string) error {
	var paragraph []string
	flush := func() error {
		err := c.add(Paragraph, 0, strings.Join(paragraph, "\n"))
		paragraph = paragraph[:0]
		return err
	}
	for l := range strings.Lines(s) {
		l = strings.TrimRight(l, " \t\n")
		if l != "" {
			paragraph = append(paragraph, l)
			continue
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return flush()
}
