// Package parse turns a document's bytes into canonical text and structure. The canonical text is what people read, what is
// chunked and searched, and what citation offsets point into; the structure says where its headings, paragraphs, lists,
// tables and code stand.
//
// A format is one [Format] value in a [Registry]; a new one needs nothing else. Parsing is pure: the same bytes and
// [Revision] give the same text on every machine.
package parse

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/text"
)

// Revision changes whenever the same bytes come out as another text. It goes into chunk ids, so that chunks of two
// revisions are never taken for each other.
const Revision = "1"

// Bounds of every format. A document beyond them is refused rather than cut.
const (
	maxBlocks = 200_000
	maxDepth  = 100 // of nested lists and quotations
)

// Kind tells blocks apart.
type Kind uint8

// The kinds of block.
const (
	Paragraph Kind = iota
	Heading
	List
	Table // one "| Heading: cell | ... |" line per row
	Code  // with its fences
)

// Block is a structural piece of the canonical text: Text[Start:End], never empty.
type Block struct {
	Kind       Kind
	Level      int // of a heading, 1 to 6
	Start, End int // half-open range of UTF-8 bytes
}

// Document is what parsing gives.
type Document struct {
	Title       string
	Text        string // valid UTF-8, \n line ends, blocks separated by blank lines
	Blocks      []Block
	Language    string // "en", "zh", "mixed" or ""
	ContentType string // of the format it was read as
}

// Source is a document's bytes and what its uploader said of them.
type Source struct {
	URI         string // a path or a URL; its last element names the document
	ContentType string // may be empty
	Data        []byte
}

// name is the last element of the URI without its extension.
func (s Source) name() string {
	base := path.Base(strings.TrimRight(strings.ReplaceAll(s.URI, `\`, "/"), "/"))
	return strings.ToValidUTF8(strings.TrimSuffix(base, path.Ext(base)), "")
}

// extension is the URI's, lower-case, with its dot.
func (s Source) extension() string {
	uri, _, _ := strings.Cut(s.URI, "?")
	uri, _, _ = strings.Cut(uri, "#")
	return strings.ToLower(path.Ext(uri))
}

// Format is one kind of file that can be read.
type Format struct {
	// ContentType is what documents of this format are recorded as.
	ContentType string
	// Aliases are further media types of the format, Extensions its file extensions with their dots.
	Aliases, Extensions []string
	// Parse reads the document. Errors that are the document's fault are *fault.Error.
	Parse func(ctx context.Context, s Source) (Document, error)
}

func (f Format) named(contentType string) bool {
	return f.ContentType == contentType || slices.Contains(f.Aliases, contentType)
}

// Registry knows the formats and chooses among them.
type Registry struct {
	formats  []Format
	fallback Format
}

// NewRegistry returns a registry of Markdown and plain text; text that nothing else claims is read as plain text.
func NewRegistry() *Registry {
	plain := Format{
		ContentType: "text/plain",
		Extensions:  []string{".txt", ".text", ".log"},
		Parse:       parsePlain,
	}
	markdown := Format{
		ContentType: "text/markdown",
		Aliases:     []string{"text/x-markdown"},
		Extensions:  []string{".md", ".markdown", ".mdown", ".mkd"},
		Parse:       parseMarkdown,
	}
	return &Registry{formats: []Format{markdown, plain}, fallback: plain}
}

// ContentType tells which content type s will be read as: by what was said at upload, else by extension. It is empty when
// only the content can tell.
func (r *Registry) ContentType(s Source) string {
	if f, ok := r.declared(s); ok {
		return f.ContentType
	}
	return ""
}

// Parse reads s. Besides cancellation every error is a *fault.Error about the document: UNSUPPORTED_FORMAT,
// MALFORMED_DOCUMENT or EMPTY_DOCUMENT.
func (r *Registry) Parse(ctx context.Context, s Source) (Document, error) {
	if err := ctx.Err(); err != nil {
		return Document{}, err
	}
	if len(bytes.TrimSpace(s.Data)) == 0 {
		return Document{}, empty()
	}
	if name := binary(s.Data); name != "" {
		return Document{}, fault.New(fault.Invalid, fault.UnsupportedFormat,
			"%s cannot be read yet; Markdown and plain text can", name)
	}
	format, ok := r.declared(s)
	if !ok {
		if unreadable(s) {
			return Document{}, fault.New(fault.Invalid, fault.UnsupportedFormat,
				"this kind of file cannot be read yet; Markdown and plain text can")
		}
		format = r.fallback
	}
	if at := invalidUTF8(s.Data); at >= 0 {
		return Document{}, fault.New(fault.Invalid, fault.MalformedDocument,
			"the text is not valid UTF-8 at byte %d; save it as UTF-8 and send it again", at)
	}
	doc, err := format.Parse(ctx, s)
	if err != nil {
		return Document{}, err
	}
	if len(doc.Blocks) == 0 {
		return Document{}, empty()
	}
	if doc.Title == "" {
		doc.Title = s.name()
	}
	doc.Language, doc.ContentType = text.Language(doc.Text), format.ContentType
	return doc, nil
}

// declared finds the format by the media type given at upload, else by extension.
func (r *Registry) declared(s Source) (Format, bool) {
	mediaType, _, _ := strings.Cut(s.ContentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	generic := mediaType == "" || mediaType == "application/octet-stream" || mediaType == "text/plain"
	if !generic {
		for _, f := range r.formats {
			if f.named(mediaType) {
				return f, true
			}
		}
		return Format{}, false
	}
	// Browsers and curl send text/plain and octet-stream for anything, so the extension says more.
	extension := s.extension()
	for _, f := range r.formats {
		if slices.Contains(f.Extensions, extension) {
			return f, true
		}
	}
	if mediaType == r.fallback.ContentType {
		return r.fallback, true
	}
	return Format{}, false
}

// binary names what data is by its first bytes when it is no text at all, else it returns "".
func binary(data []byte) string {
	for _, magic := range [...]struct{ prefix, name string }{
		{"%PDF-", "PDF"},
		{"PK\x03\x04", "a ZIP archive (DOCX, XLSX and PPTX are such)"},
		{"\xd0\xcf\x11\xe0", "an old Office file"},
		{"\x1f\x8b", "a gzip archive"},
		{"\x89PNG", "an image"},
		{"\xff\xd8\xff", "an image"},
		{"GIF8", "an image"},
		{"\xff\xfe", "UTF-16 text"},
		{"\xfe\xff", "UTF-16 text"},
	} {
		if bytes.HasPrefix(data, []byte(magic.prefix)) {
			return magic.name
		}
	}
	if bytes.IndexByte(data[:min(len(data), 64<<10)], 0) >= 0 {
		return "a binary file"
	}
	return ""
}

// unreadable reports whether s, though text, is of a kind that reading as plain text would only pretend to understand.
func unreadable(s Source) bool {
	switch s.extension() {
	case ".html", ".htm", ".xhtml", ".xml", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".rtf", ".eml":
		return true
	}
	if s.ContentType != "" && !strings.HasPrefix(s.ContentType, "text/plain") &&
		!strings.HasPrefix(s.ContentType, "application/octet-stream") {
		return true
	}
	head := bytes.ToLower(bytes.TrimSpace(s.Data[:min(len(s.Data), 1024)]))
	return bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html")) ||
		bytes.HasPrefix(head, []byte(`{\rtf`))
}

// invalidUTF8 returns the offset of the first byte that is not valid UTF-8, or -1.
func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

func empty() error {
	return fault.New(fault.Invalid, fault.EmptyDocument, "the document holds no text")
}
