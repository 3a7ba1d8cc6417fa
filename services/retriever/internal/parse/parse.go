// Package parse turns a document's bytes into canonical text and structure. The canonical text is what people read, what is
// chunked and searched, and what citation offsets point into; the structure says where its headings, paragraphs, lists,
// tables and code stand, and on which pages.
//
// What a file is follows from its content; its name and the media type given at upload only choose among kinds of text. A
// format is one [Format] value in a [Registry]. Parsing is pure: the same bytes and [Revision] give the same text on every
// machine.
package parse

import (
	"bytes"
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/text"
)

// Revision changes whenever the same bytes come out as another text. It goes into chunk ids, so that chunks of two
// revisions are never taken for each other.
const Revision = "2"

// Bounds of every format. A document beyond them is refused rather than cut.
const (
	maxBlocks = 200_000
	maxDepth  = 100 // of nested lists and quotations
)

// Limits bound what reading one document may take. A document beyond them is refused rather than cut.
type Limits struct {
	Text     int64 // bytes of canonical text
	Expanded int64 // bytes that everything compressed in it expands to
	Pages    int   // of a paginated document
	Rows     int   // of all its tables together
	Files    int   // in an archive, those in its archives included
}

// DefaultLimits returns the limits that hold where nothing else is said.
func DefaultLimits() Limits {
	return Limits{Text: 64 << 20, Expanded: 512 << 20, Pages: 5_000, Rows: 2_000_000, Files: 10_000}
}

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

// Box is a rectangle on a page, in points (1/72 inch) from the lower left corner. The zero value is none.
type Box struct{ Left, Bottom, Right, Top float32 }

// Place says where on a page a piece of the canonical text stands.
type Place struct {
	Start, End int // half-open range of UTF-8 bytes
	Page       int // from 1
	Box        Box
}

// Document is what parsing gives.
type Document struct {
	Title       string
	Text        string // valid UTF-8, \n line ends, blocks separated by blank lines
	Blocks      []Block
	Places      []Place // of paginated documents, in the order of the text
	Language    string  // "en", "zh", "mixed" or ""
	ContentType string  // of the format it was read as
}

// Source is a document's bytes and what its uploader said of them.
type Source struct {
	URI         string // a path or a URL; its last element names the document
	ContentType string // may be empty
	Data        []byte

	spent *budget // of the limits, while it is read
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

// mediaType is what was said at upload, in lower case and without parameters. What is said of anything counts as not said.
func (s Source) mediaType() string {
	mediaType, _, _ := strings.Cut(s.ContentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	if mediaType == "application/octet-stream" {
		return ""
	}
	return mediaType
}

// Format is one kind of file that can be read.
type Format struct {
	// ContentType is what documents of this format are recorded as.
	ContentType string
	// Aliases are further media types of the format, Extensions its file extensions with their dots.
	Aliases, Extensions []string
	// Binary formats get the bytes as they are; the others get UTF-8.
	Binary bool
	// Parse reads the document. Errors that are the document's fault are *fault.Error.
	Parse func(ctx context.Context, s Source) (Document, error)
}

func (f Format) named(contentType string) bool {
	return f.ContentType == contentType || slices.Contains(f.Aliases, contentType)
}

// Config is what can be chosen about reading.
type Config struct {
	Limits Limits
	// PDF reads PDF files; without it they are refused.
	PDF func(ctx context.Context, s Source) (Document, error)
	// Isolated reads what is not to be read in this process; without it everything is read here.
	Isolated func(ctx context.Context, s Source) (Document, error)
}

// Registry knows the formats and chooses among them.
type Registry struct {
	config  Config
	formats []Format
}

// NewRegistry returns a registry of every format, with the default limits, that reads in this process and no PDF.
func NewRegistry() *Registry { return New(Config{Limits: DefaultLimits()}) }

// The media types of the formats.
const (
	typePlain    = "text/plain"
	typeMarkdown = "text/markdown"
	typeHTML     = "text/html"
	typePDF      = "application/pdf"
	typeZIP      = "application/zip"
	typeCSV      = "text/csv"
	typeJSON     = "application/json"

	typeJSONLines = "application/x-ndjson"

	office     = "application/vnd.openxmlformats-officedocument."
	typeWord   = office + "wordprocessingml.document"
	typeSlides = office + "presentationml.presentation"
	typeSheets = office + "spreadsheetml.sheet"
)

// New returns a registry of every format.
func New(c Config) *Registry {
	r := &Registry{config: c}
	r.formats = []Format{
		{ContentType: typeMarkdown, Aliases: []string{"text/x-markdown"}, Extensions: []string{".md", ".markdown", ".mdown", ".mkd"}, Parse: r.parseMarkdown},
		{ContentType: typePlain, Extensions: []string{".txt", ".text", ".log"}, Parse: r.parsePlain},
		{ContentType: typeHTML, Aliases: []string{"application/xhtml+xml"}, Extensions: []string{".html", ".htm", ".xhtml"}, Parse: r.parseHTML},
		{ContentType: typeCSV, Aliases: []string{"text/tab-separated-values", "application/csv"}, Extensions: []string{".csv", ".tsv", ".tab"}, Parse: r.parseTable},
		{ContentType: typeJSONLines, Aliases: []string{"application/jsonl", "application/json-lines"}, Extensions: []string{".jsonl", ".ndjson"}, Parse: r.parseRecords},
		{ContentType: typeJSON, Aliases: []string{"text/json"}, Extensions: []string{".json"}, Parse: r.parseRecords},
		{ContentType: typeWord, Extensions: []string{".docx", ".docm", ".dotx"}, Binary: true, Parse: r.parseArchive},
		{ContentType: typeSlides, Extensions: []string{".pptx", ".pptm", ".ppsx"}, Binary: true, Parse: r.parseArchive},
		{ContentType: typeSheets, Extensions: []string{".xlsx", ".xlsm", ".xltx"}, Binary: true, Parse: r.parseArchive},
		{ContentType: typeZIP, Aliases: []string{"application/x-zip-compressed"}, Extensions: []string{".zip"}, Binary: true, Parse: r.parseArchive},
	}
	if c.PDF != nil {
		r.formats = append(r.formats, Format{ContentType: typePDF, Extensions: []string{".pdf"}, Binary: true, Parse: c.PDF})
	}
	return r
}

// canon returns an empty canonical text within the limits.
func (r *Registry) canon() canon { return canon{limit: r.config.Limits.Text} }

// format returns the format of a media type.
func (r *Registry) format(contentType string) (Format, bool) {
	for _, f := range r.formats {
		if f.named(contentType) {
			return f, true
		}
	}
	return Format{}, false
}

// ContentType tells which content type s is likely to be read as: by what was said at upload, else by extension. It is empty
// when only the content can tell.
func (r *Registry) ContentType(s Source) string {
	f, _ := r.declared(s)
	return f.ContentType
}

// declared finds the format by the media type given at upload, else by extension. Browsers and curl send text/plain for
// anything, so the extension says more than that.
func (r *Registry) declared(s Source) (Format, bool) {
	mediaType := s.mediaType()
	if mediaType != "" && mediaType != typePlain {
		if f, ok := r.format(mediaType); ok {
			return f, true
		}
	}
	if extension := s.extension(); extension != "" {
		for _, f := range r.formats {
			if slices.Contains(f.Extensions, extension) {
				return f, true
			}
		}
	}
	return r.format(mediaType)
}

// largeText is the size in bytes from which text is read where binary files are.
const largeText = 1 << 20

// Isolated reports whether s is read in another process: anything that is not a short text. It depends on the bytes only.
func (r *Registry) Isolated(s Source) bool {
	return r.config.Isolated != nil && (len(s.Data) > largeText || signature(s.Data).binary())
}

// Parse reads s. Besides cancellation every error about the document is a *fault.Error of kind Invalid.
func (r *Registry) Parse(ctx context.Context, s Source) (Document, error) {
	if err := ctx.Err(); err != nil {
		return Document{}, err
	}
	if len(bytes.TrimSpace(s.Data)) == 0 {
		return Document{}, empty()
	}
	if r.Isolated(s) {
		return r.config.Isolated(ctx, s)
	}
	format, s, err := r.choose(s)
	if err != nil {
		return Document{}, err
	}
	if s.spent == nil {
		s.spent = newBudget(r.config.Limits)
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
	if doc.ContentType == "" {
		doc.ContentType = format.ContentType
	}
	doc.Language = text.Language(doc.Text)
	return doc, nil
}

func empty() error {
	return fault.New(fault.Invalid, fault.EmptyDocument, "the document holds no text")
}

func malformed(format string, a ...any) error {
	return fault.New(fault.Invalid, fault.MalformedDocument, format, a...)
}

func tooLarge(format string, a ...any) error {
	return fault.New(fault.Invalid, fault.DocumentTooLarge, format, a...)
}

func unsupported(format string, a ...any) error {
	return fault.New(fault.Invalid, fault.UnsupportedFormat, format, a...)
}

// Check reports what about a document is not as a document must be. It is for documents that come from elsewhere.
func (d Document) Check(l Limits) error {
	if int64(len(d.Text)) > l.Text || !utf8.ValidString(d.Text) || !utf8.ValidString(d.Title) {
		return errors.New("the text is too long or not UTF-8")
	}
	end := 0
	for _, b := range d.Blocks {
		if b.Start < end || b.End <= b.Start || b.End > len(d.Text) || b.Level < 0 || b.Level > 6 || !characters(d.Text, b.Start, b.End) {
			return errors.New("a block is out of order or bounds")
		}
		end = b.End
	}
	start := 0
	for _, p := range d.Places {
		if p.Start < start || p.End < p.Start || p.End > len(d.Text) || p.Page < 1 {
			return errors.New("a place is out of order or bounds")
		}
		start = p.Start
	}
	return nil
}

// characters reports whether a range of a text begins and ends between characters.
func characters(s string, start, end int) bool {
	return utf8.RuneStart(s[start]) && (end == len(s) || utf8.RuneStart(s[end]))
}
