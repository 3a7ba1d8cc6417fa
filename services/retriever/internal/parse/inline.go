package parse

import (
	"html"
	"strings"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/util"
)

// inline returns the running text of n: links, emphasis and code keep their words and lose their marks.
func (r *renderer) inline(n ast.Node) string {
	var l line
	r.spans(&l, n)
	return l.String()
}

func (r *renderer) spans(l *line, n ast.Node) {
	// Iterative over the tree, since emphasis nests as deep as an author likes.
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			r.text(l, n)
		case *ast.String:
			l.write(string(n.Value))
		case *ast.AutoLink:
			l.write(string(n.Label(r.source)))
		case *ast.RawHTML:
			var b strings.Builder
			for i := range n.Segments.Len() {
				segment := n.Segments.At(i)
				b.Write(segment.Value(r.source))
			}
			if tag := tagName(b.String()); tag == "br" || tag == "br/" {
				l.breakLine()
			}
			return ast.WalkSkipChildren, nil
		case *extast.TaskCheckBox:
			if n.IsChecked {
				l.write("[x] ")
			} else {
				l.write("[ ] ")
			}
		}
		return ast.WalkContinue, nil
	})
}

func (r *renderer) text(l *line, n *ast.Text) {
	value := n.Segment.Value(r.source)
	if parent := n.Parent(); parent != nil && parent.Kind() == ast.KindCodeSpan || n.IsRaw() {
		l.write(string(value))
	} else {
		value = util.UnescapePunctuations(value)
		value = util.ResolveNumericReferences(value)
		value = util.ResolveEntityNames(value)
		l.write(clean(string(value)))
	}
	switch {
	case n.HardLineBreak():
		l.breakLine()
	case n.SoftLineBreak():
		l.write("\n")
	}
}

// htmlText returns the words of a piece of HTML: tags go, rows and items keep a line of their own.
func htmlText(s string) string {
	var b strings.Builder
	skip := "" // the element whose content is no text
	for s != "" {
		open := strings.IndexByte(s, '<')
		if open < 0 {
			open = len(s)
		}
		if skip == "" {
			b.WriteString(s[:open])
		}
		s = s[open:]
		end := strings.IndexByte(s, '>')
		if end < 0 {
			break
		}
		switch tag := tagName(s[:end+1]); {
		case skip != "":
			if tag == "/"+skip {
				skip = ""
			}
		case tag == "script" || tag == "style":
			skip = tag
		case tag == "br" || tag == "br/" || tag == "/p" || tag == "/li" || tag == "/tr" || tag == "/div" || tag == "/dt" || tag == "/summary":
			b.WriteByte('\n')
		case tag == "/td" || tag == "/th":
			b.WriteString(" | ")
		}
		s = s[end+1:]
	}
	var lines []string
	for l := range strings.Lines(clean(html.UnescapeString(b.String()))) {
		l = strings.TrimSuffix(strings.Join(strings.Fields(l), " "), " |")
		if l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "\n")
}

// tagName is the lower-case name in an HTML tag, with the slash of an end tag.
func tagName(tag string) string {
	tag = strings.TrimSuffix(strings.TrimPrefix(tag, "<"), ">")
	if n := strings.IndexAny(tag, " \t\n"); n >= 0 {
		tag = tag[:n]
	}
	return strings.ToLower(tag)
}
