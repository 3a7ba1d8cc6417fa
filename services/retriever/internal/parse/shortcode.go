package parse

import (
	"bytes"
	"strings"
)

// maxShortcode bounds a shortcode's tag in bytes; figures carry whole diagrams in a link.
const maxShortcode = 4 << 10

// expandShortcodes replaces the shortcodes of Hugo sites by the text a reader of the site would see: a tooltip by its word,
// a note by its body. What would need the site to resolve (an included file, a glossary entry) is left out.
func expandShortcodes(s string, chinese bool) string {
	if !strings.Contains(s, "{{") {
		return s
	}
	e := expander{rest: s, out: make([]byte, 0, len(s)), chinese: chinese, endless: map[string]bool{}}
	for e.next() {
	}
	return string(e.out)
}

type expander struct {
	rest    string
	out     []byte
	chinese bool
	closers []closer        // what the end tags still to come turn into
	endless map[string]bool // shortcodes that have no end tag any more
}

type closer struct{ name, text string }

// shortcode is one tag: {{< name key="value" >}} or {{% /name %}}.
type shortcode struct {
	name   string
	end    bool
	first  string // first positional parameter
	params map[string]string
}

// next copies text up to the next tag and expands that; it reports false at the end.
func (e *expander) next() bool {
	at := strings.Index(e.rest, "{{")
	if at < 0 || len(e.rest) < at+3 {
		e.write(e.rest)
		return false
	}
	e.write(e.rest[:at])
	e.rest = e.rest[at:]
	tail := ""
	switch e.rest[2] {
	case '<':
		tail = ">}}"
	case '%':
		tail = "%}}"
	default: // a template's own braces
		e.write("{{")
		e.rest = e.rest[2:]
		return true
	}
	window := e.rest[:min(len(e.rest), maxShortcode)]
	end := strings.Index(window, tail)
	if end < 0 {
		e.write(e.rest[:3])
		e.rest = e.rest[3:]
		return true
	}
	tag := strings.TrimSpace(window[3:end])
	e.rest = e.rest[end+len(tail):]
	if strings.HasPrefix(tag, "/*") { // a shortcode that is shown, not run
		e.write(strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(tag, "/*"), "*/")))
		return true
	}
	e.expand(parseShortcode(tag))
	return true
}

func (e *expander) write(s string) { e.out = append(e.out, s...) }

func (e *expander) expand(c shortcode) {
	if c.end {
		e.close(c.name)
		return
	}
	switch c.name {
	case "glossary_tooltip", "link":
		e.write(c.either("text", strings.ReplaceAll(c.params["term_id"], "-", " ")))
	case "heading":
		e.write(siteHeading(c.first, e.chinese))
	case "feature-state":
		e.write(featureState(c, e.chinese))
	case "skew", "param", "latest-version", "latest-semver":
		e.dropVersion()
	case "figure":
		e.paragraph(c.either("caption", c.either("title", c.params["alt"])))
	case "table":
		e.paragraph(c.params["caption"])
	case "tab":
		e.paragraph(c.params["name"])
		if language := c.params["codelang"]; language != "" {
			e.write("```" + language + "\n")
			e.closers = append(e.closers, closer{"tab", "\n```\n"})
		}
	case "highlight":
		e.highlight(c)
	case "comment", "mermaid":
		e.skipBody(c.name)
	default:
		e.write(c.either("text", c.either("title", c.params["caption"])))
	}
}

// highlight turns highlighted code into a code block, or into a code span when it stands in running text.
func (e *expander) highlight(c shortcode) {
	if strings.HasPrefix(e.rest, "\n") {
		e.write("```" + c.first)
		e.closers = append(e.closers, closer{c.name, "\n```\n"})
		return
	}
	e.write("`")
	e.closers = append(e.closers, closer{c.name, "`"})
}

func (e *expander) close(name string) {
	if n := len(e.closers) - 1; n >= 0 && e.closers[n].name == name {
		e.write(e.closers[n].text)
		e.closers = e.closers[:n]
	}
}

// skipBody drops everything up to the end tag of name, if there is one.
func (e *expander) skipBody(name string) {
	for from := 0; !e.endless[name]; {
		at := strings.Index(e.rest[from:], "{{")
		if at < 0 {
			e.endless[name] = true
			return
		}
		at += from
		window := e.rest[at:min(len(e.rest), at+len(name)+16)]
		if end := strings.Index(window, "}}"); end > 3 {
			if c := parseShortcode(strings.Trim(window[2:end], "<>% ")); c.end && c.name == name {
				e.rest = e.rest[at+end+2:]
				return
			}
		}
		from = at + 2
	}
}

// dropVersion stands for a version number that only the site knows: it takes a "v" directly before it along,
// and the space before a comma.
func (e *expander) dropVersion() {
	if bytes.HasSuffix(e.out, []byte(" v")) || bytes.HasSuffix(e.out, []byte("\nv")) {
		e.out = e.out[:len(e.out)-1]
	}
	if e.rest != "" && strings.IndexByte(",.;:)", e.rest[0]) >= 0 {
		e.out = bytes.TrimRight(e.out, " ")
	}
}

// paragraph writes s as a paragraph of its own.
func (e *expander) paragraph(s string) {
	if s != "" {
		e.write("\n\n" + s + "\n\n")
	}
}

func (c shortcode) either(key, otherwise string) string {
	if v := c.params[key]; v != "" {
		return v
	}
	return otherwise
}

// parseShortcode reads what stands between the braces: a name, then parameters with or without a key, quoted or not.
func parseShortcode(tag string) shortcode {
	var c shortcode
	if strings.HasPrefix(tag, "/") {
		c.end = true
		tag = strings.TrimSpace(tag[1:])
	}
	c.name, tag, _ = strings.Cut(tag, " ")
	c.name = strings.TrimSpace(c.name)
	c.params = map[string]string{}
	for tag = strings.TrimSpace(tag); tag != ""; tag = strings.TrimSpace(tag) {
		key := ""
		if n := strings.IndexAny(tag, "= \"`\n"); n > 0 {
			if rest := strings.TrimLeft(tag[n:], " \n"); strings.HasPrefix(rest, "=") {
				key, tag = tag[:n], strings.TrimLeft(rest[1:], " \n")
			}
		}
		var value string
		value, tag = parameter(tag)
		switch {
		case key != "":
			c.params[key] = value
		case c.first == "":
			c.first = value
		}
	}
	return c
}

// parameter cuts one value, quoted or not, off the front of s.
func parameter(s string) (value, rest string) {
	if s == "" {
		return "", ""
	}
	if q := s[0]; q == '"' || q == '`' {
		if end := strings.IndexByte(s[1:], q); end >= 0 {
			return s[1 : 1+end], s[end+2:]
		}
		return s[1:], ""
	}
	if end := strings.IndexAny(s, " \n\t"); end >= 0 {
		return s[:end], s[end:]
	}
	return s, ""
}

// siteHeading is the heading that a documentation site keeps under a name in its translations.
func siteHeading(name string, chinese bool) string {
	en, zh := "", ""
	switch name {
	case "whatsnext":
		en, zh = "What's next", "接下来"
	case "prerequisites":
		en, zh = "Before you begin", "准备开始"
	case "objectives":
		en, zh = "Objectives", "教程目标"
	case "seealso":
		en, zh = "See also", "另请参见"
	case "cleanup":
		en, zh = "Clean up", "清理现场"
	case "synopsis":
		en, zh = "Synopsis", "概要"
	case "options":
		en, zh = "Options", "选项"
	default:
		return name
	}
	if chinese {
		return zh
	}
	return en
}

func featureState(c shortcode, chinese bool) string {
	version, state := c.params["for_k8s_version"], c.params["state"]
	if version == "" || state == "" {
		return ""
	}
	label := "Feature state: "
	if chinese {
		label = "特性状态："
	}
	return label + "Kubernetes " + version + " [" + state + "]"
}
