package parse

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// headSize is how much of a file is looked at to tell what it is.
const headSize = 64 << 10

// nature is what a file's first bytes say it is.
type nature struct {
	contentType string // of a binary format that can be read
	name        string // of one that cannot, for people
	encrypted   bool
}

// binary reports whether it is no text.
func (n nature) binary() bool { return n.contentType != "" || n.name != "" }

// signature looks at the first bytes of a file. What it does not know counts as text, in whatever encoding.
func signature(data []byte) nature {
	head := data[:min(len(data), headSize)]
	switch {
	case isPDF(data):
		return nature{contentType: typePDF}
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return nature{contentType: typeZIP} // which of the many kinds takes reading its directory
	case readable(head):
		return textual(head)
	}
	if _, ok := utf16Kind(head); ok {
		return nature{}
	}
	m := mimetype.Detect(head)
	if m.Is("application/x-ole-storage") && bytes.Contains(data, []byte("E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00")) {
		return nature{name: "an Office file that is protected by a password", encrypted: true}
	}
	for _, known := range [...]struct{ mime, name string }{
		{"application/x-ole-storage", "an old Office file (.doc, .xls, .ppt)"},
		{"application/gzip", "a gzip archive"},
		{"application/x-tar", "a tar archive"},
		{"application/x-7z-compressed", "a 7-Zip archive"},
		{"application/x-rar-compressed", "a RAR archive"},
		{"application/x-elf", "a program"},
		{"application/vnd.microsoft.portable-executable", "a program"},
	} {
		for at := m; at != nil; at = at.Parent() {
			if at.Is(known.mime) {
				return nature{name: known.name}
			}
		}
	}
	kind, _, _ := strings.Cut(m.String(), "/")
	switch {
	case kind == "image":
		return nature{name: "an image"}
	case kind == "audio", kind == "video":
		return nature{name: "an " + kind + " file"}
	case bytes.IndexByte(head, 0) >= 0 && !strings.HasPrefix(m.String(), "text/"):
		return nature{name: "a binary file"}
	}
	return nature{}
}

// textual tells of UTF-8 text that is no text for people.
func textual(head []byte) nature {
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	switch {
	case bytes.HasPrefix(trimmed, []byte(`{\rtf`)):
		return nature{name: "an RTF file"}
	case bytes.HasPrefix(trimmed, []byte("%!PS")):
		return nature{name: "a PostScript file"}
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN ")):
		return nature{name: "a key or certificate"}
	case isMail(trimmed):
		return nature{name: "an e-mail"}
	}
	return nature{}
}

// isPDF reports whether data is a PDF file, be it with some bytes before its header, as readers of PDF allow.
func isPDF(data []byte) bool {
	head := data[:min(len(data), 1024)]
	at := bytes.Index(head, []byte("%PDF-"))
	switch {
	case at < 0:
		return false
	case len(bytes.TrimSpace(bytes.TrimPrefix(head[:at], []byte("\ufeff")))) == 0:
		return true
	}
	return bytes.Contains(data[max(0, len(data)-2048):], []byte("%%EOF")) && !readable(data[:min(len(data), headSize)])
}

// readable reports whether head is UTF-8 without control characters; it may end within a character.
func readable(head []byte) bool {
	for cut := 0; cut < utf8.UTFMax && cut < len(head); cut++ {
		if last := len(head) - 1 - cut; utf8.RuneStart(head[last]) {
			if !utf8.FullRune(head[last:]) {
				head = head[:last]
			}
			break
		}
	}
	return utf8.Valid(head) && !controls(head)
}

// controls reports whether head holds control characters that no text has.
func controls(head []byte) bool {
	for _, c := range head {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != '\v' && c != 0x1b && c != '\b' {
			return true
		}
	}
	return false
}

// isMail reports whether head begins as an e-mail with its headers does.
func isMail(head []byte) bool {
	headers, _, _ := bytes.Cut(bytes.ReplaceAll(head, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	lower := bytes.ToLower(append([]byte("\n"), headers...))
	return bytes.Contains(lower, []byte("\nmime-version:")) && bytes.Contains(lower, []byte("\nfrom:"))
}

// isHTML reports whether text is a page.
func isHTML(head []byte) bool {
	head = bytes.ToLower(bytes.TrimLeft(head[:min(len(head), 4096)], "\ufeff \t\r\n\f"))
	for { // a page may begin with comments and an XML declaration
		rest, found := bytes.CutPrefix(head, []byte("<!--"))
		end := "-->"
		if !found {
			if rest, found = bytes.CutPrefix(head, []byte("<?xml")); !found {
				break
			}
			end = "?>"
		}
		_, rest, closed := bytes.Cut(rest, []byte(end))
		if !closed {
			return false
		}
		head = bytes.TrimLeft(rest, " \t\r\n\f")
	}
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body"} {
		rest, found := bytes.CutPrefix(head, []byte(tag))
		if found && (len(rest) == 0 || strings.IndexByte(" \t\r\n\f>/", rest[0]) >= 0) {
			return true
		}
	}
	return false
}

// isXML reports whether text is XML. It is asked of what is no page.
func isXML(head []byte) bool {
	head = bytes.TrimLeft(head, "\ufeff \t\r\n\f")
	return bytes.HasPrefix(head, []byte("<?xml")) || bytes.HasPrefix(head, []byte("<svg")) || bytes.HasPrefix(bytes.ToLower(head), []byte("<!doctype "))
}

// choose finds the format of s by its content, with its name and declared type as hints, and returns s as that wants it.
func (r *Registry) choose(s Source) (Format, Source, error) {
	n := signature(s.Data)
	if n.encrypted {
		return Format{}, s, fault.New(fault.Invalid, fault.EncryptedDocument, "this is %s", n.name)
	}
	if n.name != "" {
		return Format{}, s, unsupported("this is %s; %s can be read", n.name, readableFormats)
	}
	if n.contentType != "" {
		f, ok := r.format(n.contentType)
		if !ok {
			return Format{}, s, unsupported("this is a %s file, which cannot be read yet; %s can", strings.ToUpper(path.Base(n.contentType)), readableFormats)
		}
		return f, s, nil
	}
	decoded, err := decode(s)
	if err != nil {
		return Format{}, s, err
	}
	s.Data = decoded
	head := decoded[:min(len(decoded), headSize)]
	if n := textual(head); n.name != "" {
		return Format{}, s, unsupported("this is %s; %s can be read", n.name, readableFormats)
	}
	f, ok := r.textFormat(s, head)
	if !ok {
		return Format{}, s, unsupported("this kind of file cannot be read yet; %s can", readableFormats)
	}
	return f, s, nil
}

// readableFormats is what people are told can be read.
const readableFormats = "PDF, DOCX, PPTX, XLSX, CSV, HTML, Markdown, JSON, text and ZIP archives of these"

// textFormat chooses among the formats of text.
func (r *Registry) textFormat(s Source, head []byte) (Format, bool) {
	switch {
	case isHTML(head):
		return r.format(typeHTML)
	case isXML(head):
		return Format{}, false
	}
	f, ok := r.declared(s)
	if f.ContentType == typeHTML || f.ContentType == typeMarkdown || f.ContentType == typeCSV {
		return f, true
	}
	records := isRecords(head)
	switch {
	case records && (f.ContentType == typeJSON || f.ContentType == typeJSONLines || !ok):
		return r.format(typeJSONLines)
	case isTable(head):
		return r.format(typeCSV)
	}
	return r.format(typePlain) // also of what goes under another name
}

// isRecords reports whether text is JSON, a list or an object at least.
func isRecords(head []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(head))
	first, err := decoder.Token()
	if _, ok := first.(json.Delim); err != nil || !ok {
		return false
	}
	if first == json.Delim('{') { // a key follows, or nothing
		key, err := decoder.Token()
		_, named := key.(string)
		return err == nil && (named || key == json.Delim('}'))
	}
	_, err = decoder.Token()
	return err == nil
}

// isTable reports whether text that does not say so is a table: many lines of the same number of short values, three at least,
// or two between tabs.
func isTable(head []byte) bool {
	comma := delimiter(head)
	if comma == ',' && bytes.Count(head, []byte(", "))*2 > bytes.Count(head, []byte(",")) { // prose
		return false
	}
	reader := csv.NewReader(bytes.NewReader(head))
	reader.Comma = comma
	reader.FieldsPerRecord = -1
	width, n, size := 0, 0, 0
	for ; n < 50; n++ {
		record, err := reader.Read()
		if err != nil {
			if !errors.Is(err, io.EOF) && reader.InputOffset() < int64(len(head)) {
				return false
			}
			break
		}
		if n == 0 {
			width = len(record)
			if !looksLikeHead(record) {
				return false
			}
		}
		if len(record) != width {
			if reader.InputOffset() == int64(len(head)) && len(head) == headSize { // cut within a row
				break
			}
			return false
		}
		for _, v := range record {
			size += len(v)
		}
	}
	least := 3
	if comma == '\t' {
		least = 2
	}
	return n >= 3 && width >= least && size/(n*width) <= 60
}
