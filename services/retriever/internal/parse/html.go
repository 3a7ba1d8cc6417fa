package parse

import (
	"bytes"
	"context"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	// maxHTML bounds a page in bytes. Its tree takes some ten times that.
	maxHTML = 32 << 20
	// maxElements bounds how deep elements are nested.
	maxElements = 400
)

// parseHTML reads a page's main content: headings, paragraphs, lists, tables and code. What surrounds it on every page of a
// site is left out: navigation, headers and footers, forms, banners.
func (r *Registry) parseHTML(ctx context.Context, s Source) (Document, error) {
	if len(s.Data) > maxHTML {
		return Document{}, tooLarge("the page is larger than %d MiB; split it", maxHTML>>20)
	}
	root, err := html.Parse(bytes.NewReader(s.Data))
	if err != nil {
		return Document{}, malformed("the page can't be read: %v", err)
	}
	if err := ctx.Err(); err != nil {
		return Document{}, err
	}
	p := page{canon: r.canon(), spent: s.spent, strict: true}
	p.survey(root, 0)
	main := p.main
	if main == nil {
		main = p.body
	}
	if main == nil {
		main = root
	}
	if err := p.children(main, 0); err != nil {
		return Document{}, err
	}
	if err := p.flush(); err != nil {
		return Document{}, err
	}
	if len(p.canon.blocks) == 0 { // a page of links alone, say
		p = page{canon: r.canon(), spent: s.spent, title: p.title, heading: p.heading}
		if err := p.children(root, 0); err != nil {
			return Document{}, err
		}
		if err := p.flush(); err != nil {
			return Document{}, err
		}
	}
	return p.canon.document(p.name()), nil
}

// page writes a tree as canonical text.
type page struct {
	canon   canon
	spent   *budget
	strict  bool // leave out what looks like navigation
	running line // text that stands in no block of its own

	main, body *html.Node
	title      string
	heading    string // the first of level 1
}

// survey finds the page's title and where its main content is: in <main>, else in its only <article>.
func (p *page) survey(root *html.Node, _ int) {
	var articles []*html.Node
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch {
		case n.DataAtom == atom.Body && p.body == nil:
			p.body = n
		case n.DataAtom == atom.Title && p.title == "" && n.Namespace == "":
			p.title = words(n)
		case n.DataAtom == atom.Meta && attribute(n, "property") == "og:title" && attribute(n, "content") != "":
			p.title = cell(attribute(n, "content"))
		case n.DataAtom == atom.H1 && p.heading == "":
			p.heading = strings.TrimRight(words(n), "¶#§ ")
		case (n.DataAtom == atom.Main || attribute(n, "role") == "main") && p.main == nil:
			p.main = n
		case n.DataAtom == atom.Article:
			articles = append(articles, n)
		}
	}
	if p.main == nil && len(articles) == 1 {
		p.main = articles[0]
	}
	// A <main> that holds next to nothing is a shell that a script would have filled.
	if p.main != nil && p.body != nil && size(p.main)*10 < size(p.body) && size(p.main) < 500 {
		p.main = nil
	}
}

// name is the page's title. "Fees - Example Bank" under the heading "Fees" is "Fees".
func (p *page) name() string {
	if p.heading != "" && (p.title == "" || strings.Contains(p.title, p.heading)) {
		return p.heading
	}
	return p.title
}

// size is how many bytes of text are in n, those of scripts apart.
func size(n *html.Node) int {
	total := 0
	for d := range n.Descendants() {
		if d.Type == html.TextNode && (d.Parent == nil || !silent(d.Parent.DataAtom)) {
			total += len(strings.TrimSpace(d.Data))
		}
	}
	return total
}

// words is the text of n in one line.
func words(n *html.Node) string {
	var l line
	for d := range n.Descendants() {
		if d.Type == html.TextNode && (d.Parent == nil || !silent(d.Parent.DataAtom)) {
			l.write(clean(d.Data))
		} else if d.DataAtom == atom.Br {
			l.write(" ")
		}
	}
	return strings.ReplaceAll(l.String(), "\n", " ")
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// silent are elements whose content is never read by people as text.
func silent(a atom.Atom) bool {
	switch a {
	case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Svg, atom.Iframe, atom.Object, atom.Embed, atom.Canvas,
		atom.Select, atom.Datalist, atom.Input, atom.Textarea, atom.Button, atom.Audio, atom.Video, atom.Map, atom.Noframes, atom.Head:
		return true
	}
	return false
}

// boilerplate matches names of what surrounds the content of a page.
var boilerplate = regexp.MustCompile(`(?i)(^|[\s_-])(navheader|navfooter|cookies?|consent|gdpr|breadcrumbs?|navbar|nav|navigation|sidebar|site-?header|site-?footer|skip-?(link|nav|to-content)|social|share(-?(bar|buttons?|links?))?|newsletter|advert(isement)?|ads?|promo|popup|modal|toc|table-of-contents|pagination|pager|prev-?next|edit-?(page|link)|feedback|headerlink|anchor-?link|page-?meta|on-this-page|back-?to-?top)([\s_-]|$)`)

// left reports whether n is left out.
func (p *page) left(n *html.Node) bool {
	if silent(n.DataAtom) {
		return true
	}
	if attribute(n, "aria-hidden") == "true" && n.DataAtom != atom.Body || n.DataAtom == atom.Dialog {
		return true
	}
	for _, a := range n.Attr {
		if a.Key == "hidden" && a.Val != "until-found" {
			return true
		}
		if a.Key == "style" && strings.Contains(strings.ReplaceAll(strings.ToLower(a.Val), " ", ""), "display:none") {
			return true
		}
	}
	if !p.strict || n.DataAtom == atom.Body || n.DataAtom == atom.Html || n == p.main || n.DataAtom == atom.Article {
		return false
	}
	switch attribute(n, "role") {
	case "navigation", "banner", "contentinfo", "search", "dialog", "alertdialog", "menu", "menubar", "toolbar":
		return true
	}
	switch n.DataAtom {
	case atom.Nav, atom.Footer:
		return true
	case atom.Aside:
		return p.main == nil // inside the content it is a note
	case atom.Header:
		return p.main == nil && !within(n, atom.Article, atom.Section)
	case atom.Form:
		return size(n) < 400 // some sites wrap the whole page
	case atom.H1, atom.H2, atom.H3, atom.P, atom.Table, atom.Pre, atom.Code, atom.Td, atom.Tr, atom.Tbody:
		return false
	case atom.Ul, atom.Ol, atom.Div, atom.Section:
		if p.main == nil && links(n) {
			return true
		}
	}
	for _, a := range n.Attr {
		if (a.Key == "class" || a.Key == "id") && boilerplate.MatchString(a.Val) {
			return size(n) < 4_000 || links(n) // a name that covers a whole article means something else
		}
	}
	return false
}

func within(n *html.Node, atoms ...atom.Atom) bool {
	for up := n.Parent; up != nil; up = up.Parent {
		for _, a := range atoms {
			if up.DataAtom == a {
				return true
			}
		}
	}
	return false
}

// links reports whether n is a list of links and little else.
func links(n *html.Node) bool {
	const looked = 2_000 // nodes
	linked, all, count, seen := 0, 0, 0, 0
	for d := range n.Descendants() {
		if seen++; seen > looked {
			return false
		}
		switch {
		case d.Type == html.ElementNode && d.DataAtom == atom.A:
			count++
		case d.Type == html.TextNode:
			size := len(strings.TrimSpace(d.Data))
			all += size
			for up := d.Parent; up != nil && up != n; up = up.Parent {
				if up.DataAtom == atom.A {
					linked += size
					break
				}
			}
		}
	}
	return count >= 4 && linked*10 >= all*9
}

// children writes what is in n.
func (p *page) children(n *html.Node, depth int) error {
	if depth > maxElements {
		return malformed("the page's elements are nested more than %d deep", maxElements)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if err := p.node(c, depth); err != nil {
			return err
		}
	}
	return nil
}

// flush ends the paragraph that is being written.
func (p *page) flush() error {
	s := p.running.String()
	p.running = line{}
	return p.canon.add(Paragraph, 0, s)
}

func (p *page) node(n *html.Node, depth int) error {
	switch {
	case n.Type == html.TextNode:
		p.running.write(clean(n.Data))
		return nil
	case n.Type == html.DocumentNode:
		return p.children(n, depth+1)
	case n.Type != html.ElementNode || p.left(n):
		return nil
	}
	switch n.DataAtom {
	case atom.Br:
		p.running.breakLine()
		return nil
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		if err := p.flush(); err != nil {
			return err
		}
		return p.canon.add(Heading, int(n.Data[1]-'0'), strings.TrimRight(words(n), "¶#§ "))
	case atom.Ul, atom.Ol, atom.Dl, atom.Menu:
		if err := p.flush(); err != nil {
			return err
		}
		s, err := p.list(n, depth+1)
		if err != nil {
			return err
		}
		return p.canon.add(List, 0, s)
	case atom.Table:
		if err := p.flush(); err != nil {
			return err
		}
		if layout(n) {
			return p.children(n, depth+1)
		}
		return p.table(n)
	case atom.Pre:
		if err := p.flush(); err != nil {
			return err
		}
		return p.canon.add(Code, 0, fenced(raw(n)))
	}
	if !blocky(n.DataAtom) {
		return p.children(n, depth+1)
	}
	if err := p.flush(); err != nil {
		return err
	}
	if err := p.children(n, depth+1); err != nil {
		return err
	}
	return p.flush()
}

// blocky are elements that begin and end a paragraph.
func blocky(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.Section, atom.Article, atom.Main, atom.Header, atom.Footer, atom.Aside, atom.Blockquote, atom.Figure,
		atom.Figcaption, atom.Address, atom.Details, atom.Summary, atom.Hr, atom.Form, atom.Fieldset, atom.Legend, atom.Body, atom.Center,
		atom.Li, atom.Dt, atom.Dd, atom.Tr, atom.Td, atom.Th, atom.Caption, atom.Nav, atom.Hgroup:
		return true
	}
	return false
}

// raw is the text of n with its white space.
func raw(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		switch {
		case d.Type == html.TextNode:
			b.WriteString(d.Data)
		case d.DataAtom == atom.Br:
			b.WriteByte('\n')
		}
	}
	return clean(b.String())
}

// fenced writes code with fences around it.
func fenced(code string) string {
	code = strings.TrimLeft(strings.TrimRight(code, "\n \t"), "\n")
	if strings.TrimSpace(code) == "" {
		return ""
	}
	mark := "```"
	for strings.Contains(code, mark) {
		mark += "`"
	}
	return mark + "\n" + code + "\n" + mark
}
