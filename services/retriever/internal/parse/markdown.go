package parse

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	gmtext "github.com/yuin/goldmark/text"
	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/text"
)

// maxMarkdown bounds a Markdown page in bytes. Its syntax tree takes some ten times that.
const maxMarkdown = 8 << 20

// parseMarkdown reads CommonMark with tables, definition lists, task lists and strike-through, and what documentation
// sites put around it: front matter, comments, shortcodes and heading anchors.
func (r *Registry) parseMarkdown(ctx context.Context, s Source) (Document, error) {
	if len(s.Data) > maxMarkdown {
		return Document{}, tooLarge("the page is larger than %d MiB; split it", maxMarkdown>>20)
	}
	title, body := frontMatter(clean(string(s.Data)))
	body = stripComments(body)
	body = expandShortcodes(body, text.Language(body) == text.Chinese)
	source := []byte(body)
	if err := bounded(source); err != nil {
		return Document{}, err
	}
	markdown := goldmark.New(goldmark.WithExtensions(
		extension.Table, extension.DefinitionList, extension.TaskList, extension.Strikethrough))
	root := markdown.Parser().Parse(gmtext.NewReader(source))
	if err := ctx.Err(); err != nil {
		return Document{}, err
	}
	w := renderer{source: source, canon: r.canon()}
	if err := w.blocks(root, 0); err != nil {
		return Document{}, err
	}
	if title == "" {
		title = w.title
	}
	return w.canon.document(title), nil
}

// maxMarks bounds the characters of a paragraph that may open emphasis or a link: goldmark's time grows with their square.
const maxMarks = 5_000

// bounded refuses pages that would take goldmark quadratic time.
func bounded(source []byte) error {
	marks := 0
	for l := range bytes.Lines(source) {
		depth, rest := containers(l)
		if depth > maxDepth && !thematic(l) {
			return tooDeep()
		}
		if depth > 0 || len(rest) == 0 || rest[0] == '|' || rest[0] == '#' {
			marks = 0 // another paragraph
		}
		for _, c := range rest {
			if c == '*' || c == '_' || c == '[' || c == '~' {
				marks++
			}
		}
		if marks > maxMarks && rest[0] != '|' {
			return fault.New(fault.Invalid, fault.MalformedDocument,
				"a paragraph has more than %d emphasis and link marks", maxMarks)
		}
	}
	return nil
}

// containers counts the quotation and list markers that l opens with and returns what follows them.
func containers(l []byte) (depth int, rest []byte) {
	for {
		l = bytes.TrimLeft(l, " \t\n")
		digits := 0
		for digits < len(l) && digits < 9 && '0' <= l[digits] && l[digits] <= '9' {
			digits++
		}
		switch {
		case len(l) > 0 && l[0] == '>':
			l = l[1:]
		case len(l) > 1 && (l[0] == '-' || l[0] == '*' || l[0] == '+') && (l[1] == ' ' || l[1] == '\t'):
			l = l[2:]
		case digits > 0 && len(l) > digits+1 && (l[digits] == '.' || l[digits] == ')') && (l[digits+1] == ' ' || l[digits+1] == '\t'):
			l = l[digits+2:]
		default:
			return depth, l
		}
		depth++
	}
}

// thematic reports whether l is a rule such as "- - -".
func thematic(l []byte) bool {
	l = bytes.TrimSpace(l)
	return len(l) > 0 && l[0] != '>' && len(bytes.Trim(l, string(l[0])+" \t")) == 0
}

func tooDeep() error {
	return fault.New(fault.Invalid, fault.MalformedDocument, "lists or quotations are nested more than %d deep", maxDepth)
}

// frontMatter cuts the metadata off the top of a page and returns its title, if it has one.
func frontMatter(s string) (title, body string) {
	const fence = "---\n"
	if !strings.HasPrefix(s, fence) {
		return "", s
	}
	head, body, found := strings.Cut(s[len(fence):], "\n---")
	if !found || body != "" && body[0] != '\n' {
		return "", s
	}
	var meta struct {
		Title string `yaml:"title"`
	}
	if err := yaml.Unmarshal([]byte(head), &meta); err != nil {
		for l := range strings.Lines(head) { // what is no YAML may still have a line with the title
			if value, ok := strings.CutPrefix(l, "title:"); ok {
				meta.Title = strings.Trim(strings.TrimSpace(value), `"'`)
				break
			}
		}
	}
	return strings.Join(strings.Fields(expandShortcodes(meta.Title, false)), " "), body
}

// renderer writes a syntax tree as canonical text.
type renderer struct {
	canon
	source []byte
	title  string // the first heading of level 1
}

// blocks writes the children of n, each as a block of its own; quotations and the like are written as what they hold.
func (r *renderer) blocks(n ast.Node, depth int) error {
	if depth > maxDepth {
		return tooDeep()
	}
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if err := r.block(c, depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *renderer) block(n ast.Node, depth int) error {
	switch n := n.(type) {
	case *ast.Heading:
		s := strings.ReplaceAll(withoutAnchor(r.inline(n)), "\n", " ")
		if n.Level == 1 && r.title == "" {
			r.title = s
		}
		return r.add(Heading, n.Level, s)
	case *ast.List, *extast.DefinitionList:
		s, err := r.list(n, depth)
		if err != nil {
			return err
		}
		return r.add(List, 0, s)
	case *extast.Table:
		return r.add(Table, 0, r.table(n))
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		return r.add(Code, 0, r.code(n))
	case *ast.HTMLBlock:
		return r.add(Paragraph, 0, htmlText(r.raw(n)))
	case *ast.ThematicBreak:
		return nil
	case *ast.Paragraph, *ast.TextBlock:
		return r.add(Paragraph, 0, r.inline(n))
	}
	return r.blocks(n, depth+1)
}

// list writes a list with simple markers; what an item holds is indented below it.
func (r *renderer) list(n ast.Node, depth int) (string, error) {
	if depth > maxDepth {
		return "", tooDeep()
	}
	var b strings.Builder
	number, ordered := 0, false
	if l, ok := n.(*ast.List); ok && l.IsOrdered() {
		number, ordered = l.Start, true
	}
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		marker := "- "
		switch {
		case item.Kind() == extast.KindDefinitionTerm:
			marker = ""
		case ordered:
			marker = strconv.Itoa(number) + ". "
			number++
		}
		s, err := r.item(item, depth)
		if err != nil {
			return "", err
		}
		if s == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(marker + indent(s, strings.Repeat(" ", len(marker))))
	}
	return b.String(), nil
}

// item writes what a list item holds: paragraphs, code, tables and lists, one below the other.
func (r *renderer) item(n ast.Node, depth int) (string, error) {
	if n.Kind() == extast.KindDefinitionTerm {
		return r.inline(n), nil
	}
	var parts []string
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		var s string
		var err error
		switch c := c.(type) {
		case *ast.List, *extast.DefinitionList:
			s, err = r.list(c, depth+1)
		case *extast.Table:
			s = r.table(c)
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			s = r.code(c)
		case *ast.HTMLBlock:
			s = htmlText(r.raw(c))
		case *ast.Blockquote:
			if depth > maxDepth {
				return "", tooDeep()
			}
			s, err = r.item(c, depth+1)
		default:
			s = r.inline(c)
		}
		if err != nil {
			return "", err
		}
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "\n"), nil
}

// table writes one line per row; the bars at both ends mark it as a row wherever its text is read. Every cell carries its
// column's heading ("Fee: 12 euros"), because a row is read, found and cited without the rows above it.
func (r *renderer) table(n ast.Node) string {
	var rows, headings []string
	for row := n.FirstChild(); row != nil; row = row.NextSibling() {
		_, heading := row.(*extast.TableHeader)
		if heading && row.NextSibling() != nil {
			headings = r.cells(row)
			continue
		}
		cells := r.cells(row)
		if strings.Join(cells, "") == "" {
			continue
		}
		for i, cell := range cells {
			if cell != "" && i < len(headings) && headings[i] != "" {
				cells[i] = headings[i] + ": " + cell
			}
		}
		rows = append(rows, "| "+strings.Join(cells, " | ")+" |")
	}
	return strings.Join(rows, "\n")
}

func (r *renderer) cells(row ast.Node) []string {
	var cells []string
	for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
		cells = append(cells, strings.ReplaceAll(r.inline(cell), "\n", " "))
	}
	return cells
}

// code writes a code block with its fences, its lines untouched.
func (r *renderer) code(n ast.Node) string {
	body := strings.TrimLeft(strings.TrimRight(r.raw(n), "\n \t"), "\n")
	if strings.TrimSpace(body) == "" {
		return ""
	}
	language := ""
	if f, ok := n.(*ast.FencedCodeBlock); ok {
		language = string(f.Language(r.source))
	}
	mark := "```"
	for strings.Contains(body, mark) {
		mark += "`"
	}
	return mark + language + "\n" + body + "\n" + mark
}

func (r *renderer) raw(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		b.Write(segment.Value(r.source))
	}
	if h, ok := n.(*ast.HTMLBlock); ok && h.HasClosure() {
		b.Write(h.ClosureLine.Value(r.source))
	}
	return b.String()
}

// withoutAnchor drops the anchor and attributes at the end of a heading: "Management {#management}".
func withoutAnchor(s string) string {
	if !strings.HasSuffix(s, "}") {
		return s
	}
	if at := strings.LastIndexByte(s, '{'); at >= 0 && at+1 < len(s) && (s[at+1] == '#' || s[at+1] == '.') {
		return strings.TrimSpace(s[:at])
	}
	return s
}
