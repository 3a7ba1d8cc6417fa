package parse

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/html/charset"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// pack is an opened ZIP archive whose members are read within the budget.
type pack struct {
	files []*zip.File
	spent *budget
}

// unpack opens the archive in s. Nothing of it is ever written to a disk, so where its names point to does not matter.
func unpack(s Source) (*pack, error) {
	r, err := zip.NewReader(bytes.NewReader(s.Data), int64(len(s.Data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, malformed("the ZIP archive is damaged or cut off")
	}
	if len(r.File) > s.spent.limits.Files {
		return nil, tooLarge("the archive holds more than %d files; split it", s.spent.limits.Files)
	}
	if err := disjoint(r.File); err != nil {
		return nil, err
	}
	return &pack{r.File, s.spent}, nil
}

// disjoint refuses archives whose members share bytes: that is how a small file is made to hold a lot.
func disjoint(files []*zip.File) error {
	type extent struct{ from, to int64 }
	extents := make([]extent, 0, len(files))
	for _, f := range files {
		at, err := f.DataOffset()
		if err != nil {
			return malformed("the ZIP archive is damaged or cut off")
		}
		if f.CompressedSize64 > 0 {
			extents = append(extents, extent{at, at + int64(min(f.CompressedSize64, 1<<60))})
		}
	}
	slices.SortFunc(extents, func(a, b extent) int { return int(min(max(a.from-b.from, -1), 1)) })
	for i := 1; i < len(extents); i++ {
		if extents[i].from < extents[i-1].to {
			return malformed("the ZIP archive's files overlap")
		}
	}
	return nil
}

// file finds a member by its name, letter case apart as Office does.
func (p *pack) file(name string) *zip.File {
	name = strings.TrimPrefix(name, "/")
	for _, f := range p.files {
		if strings.EqualFold(f.Name, name) {
			return f
		}
	}
	return nil
}

const encryptedFlag = 1

// open reads a member.
func (p *pack) open(f *zip.File) (io.ReadCloser, error) {
	if f.Flags&encryptedFlag != 0 {
		return nil, fault.New(fault.Invalid, fault.EncryptedDocument, "the archive is protected by a password")
	}
	r, err := f.Open()
	if err != nil {
		return nil, malformed("%s in the archive can't be read", shown(f.Name))
	}
	return struct {
		io.Reader
		io.Closer
	}{p.spent.reader(r), r}, nil
}

// shown makes a member's name fit for people.
func shown(name string) string {
	name = strings.Join(strings.Fields(clean(strings.ToValidUTF8(strings.ReplaceAll(name, `\`, "/"), "?"))), " ")
	const most = 300
	if len(name) > most {
		name = "…" + strings.ToValidUTF8(name[len(name)-most:], "")
	}
	return name
}

// read returns a whole member of at most limit bytes.
func (p *pack) read(f *zip.File, limit int64) ([]byte, error) {
	r, err := p.open(f)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case fault.ReasonOf(err) == fault.DocumentTooLarge:
		return nil, err
	case err != nil:
		return nil, malformed("%s in the archive is damaged", shown(f.Name))
	case int64(len(data)) > limit:
		return nil, tooLarge("%s in the archive is larger than %d MiB", shown(f.Name), limit>>20)
	}
	return data, nil
}

// part reads XML: elements one by one, in bounded depth.
type part struct {
	d     *xml.Decoder
	depth int
	close func() error
}

// maxXML bounds how deep the elements of a part are nested.
const maxXML = 256

// part opens a member that is XML.
func (p *pack) part(f *zip.File) (*part, error) {
	r, err := p.open(f)
	if err != nil {
		return nil, err
	}
	d := xml.NewDecoder(r)
	d.CharsetReader = charset.NewReaderLabel
	return &part{d: d, close: r.Close}, nil
}

// next returns the next token, nil at the end. Entities that a document defines itself are never expanded.
func (x *part) next() (xml.Token, error) {
	t, err := x.d.RawToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case fault.ReasonOf(err) == fault.DocumentTooLarge:
		return nil, err
	case err != nil:
		return nil, malformed("the document's XML is broken")
	}
	switch t.(type) {
	case xml.StartElement:
		if x.depth++; x.depth > maxXML {
			return nil, malformed("the document's XML is nested more than %d deep", maxXML)
		}
	case xml.EndElement:
		x.depth--
	}
	return t, nil
}

// skip passes over what is left of the element that was just begun.
func (x *part) skip() error {
	for until := x.depth - 1; x.depth > until; {
		t, err := x.next()
		if err != nil {
			return err
		}
		if t == nil {
			return malformed("the document's XML is cut off")
		}
	}
	return nil
}

// value returns an attribute by its local name.
func value(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// on reports whether a switch such as <w:b/> is on: it is unless it says otherwise.
func on(e xml.StartElement) bool {
	v := value(e, "val")
	return v != "0" && v != "false" && v != "off" && v != "none"
}

// each calls do for every element of a part; do may read on.
func (p *pack) each(name string, do func(x *part, e xml.StartElement) error) error {
	f := p.file(name)
	if f == nil {
		return nil
	}
	x, err := p.part(f)
	if err != nil {
		return err
	}
	defer func() { _ = x.close() }()
	for {
		t, err := x.next()
		if err != nil || t == nil {
			return err
		}
		if e, ok := t.(xml.StartElement); ok {
			if err := do(x, e); err != nil {
				return err
			}
		}
	}
}

// contents maps the types of the parts of an Office file to their names.
func (p *pack) contents() (map[string]string, error) {
	out := map[string]string{}
	err := p.each("[Content_Types].xml", func(_ *part, e xml.StartElement) error {
		if e.Name.Local == "Override" && len(out) < p.spent.limits.Files {
			if kind := value(e, "ContentType"); out[kind] == "" {
				out[kind] = value(e, "PartName")
			}
		}
		return nil
	})
	return out, err
}

// relation is what a part refers to.
type relation struct{ kind, target string }

// relations are those of a part, by id. Targets outside of the file are left out.
func (p *pack) relations(name string) (map[string]relation, error) {
	name = strings.TrimPrefix(name, "/")
	out := map[string]relation{}
	err := p.each(path.Dir(name)+"/_rels/"+path.Base(name)+".rels", func(_ *part, e xml.StartElement) error {
		if e.Name.Local != "Relationship" || value(e, "TargetMode") == "External" {
			return nil
		}
		target := value(e, "Target")
		if !strings.HasPrefix(target, "/") {
			target = path.Join(path.Dir(name), target)
		}
		out[value(e, "Id")] = relation{path.Base(value(e, "Type")), path.Clean("/" + target)}
		return nil
	})
	return out, err
}

// title is the one in an Office file's properties.
func (p *pack) title() string {
	title := ""
	_ = p.each("docProps/core.xml", func(x *part, e xml.StartElement) error {
		if e.Name.Local == "title" && title == "" {
			s, err := x.text()
			title = cell(s)
			return err
		}
		return nil
	})
	return title
}

// text is the character data in the element that was just begun.
func (x *part) text() (string, error) {
	var b strings.Builder
	for until := x.depth - 1; x.depth > until; {
		t, err := x.next()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case nil:
			return "", malformed("the document's XML is cut off")
		case xml.CharData:
			b.Write(t)
		}
	}
	return b.String(), nil
}

// regular reports whether a member is a file that somebody wrote, and not a folder, a link, or what systems leave behind.
func regular(name string, mode fs.FileMode) bool {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	return mode.IsRegular() && !strings.HasSuffix(name, "/") && !strings.HasPrefix(base, ".") && base != "Thumbs.db" && base != "desktop.ini" &&
		!strings.HasPrefix(name, "__MACOSX/")
}
