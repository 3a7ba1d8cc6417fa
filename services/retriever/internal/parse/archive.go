package parse

import (
	"archive/zip"
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
)

const (
	maxMember  = 128 << 20 // bytes of one file in an archive
	maxArchive = 3         // archives within archives
)

// parseArchive reads what a ZIP archive is: an Office file, or an archive of files. An archive is one document, in which every
// file is a section under its path. A file that can't be read is named with the reason; when none can, the archive can't.
func (r *Registry) parseArchive(ctx context.Context, s Source) (Document, error) {
	p, err := unpack(s)
	if err != nil {
		return Document{}, err
	}
	if p.file("[Content_Types].xml") != nil {
		return r.parseOffice(ctx, s, p)
	}
	if f := p.file("mimetype"); f != nil {
		kind, _ := p.read(f, 1<<10)
		switch {
		case strings.HasPrefix(string(kind), "application/vnd.oasis.opendocument"):
			return Document{}, unsupported("this is an OpenDocument file, which cannot be read; save it as DOCX, XLSX or PPTX")
		case strings.HasPrefix(string(kind), "application/epub"):
			return Document{}, unsupported("this is an EPUB book, which cannot be read yet; %s can", readableFormats)
		}
	}
	if s.spent.depth == maxArchive {
		return Document{}, malformed("archives are nested more than %d deep", maxArchive)
	}
	s.spent.depth++
	defer func() { s.spent.depth-- }()
	return r.members(ctx, s, p)
}

func (r *Registry) members(ctx context.Context, s Source, p *pack) (Document, error) {
	files := slices.Clone(p.files)
	slices.SortStableFunc(files, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	c := r.canon()
	var first error
	read := 0
	for _, f := range files {
		if !regular(f.Name, f.Mode()) {
			continue
		}
		if err := s.spent.file(); err != nil {
			return Document{}, err
		}
		name := path.Clean("/" + shown(f.Name))[1:]
		doc, err := r.member(ctx, s, p, f, name)
		switch {
		case ctx.Err() != nil:
			return Document{}, ctx.Err()
		case fault.ReasonOf(err) == fault.EmptyDocument:
			if first == nil {
				first = err
			}
			continue
		case err != nil && s.spent.gone():
			return Document{}, err
		}
		if err := c.add(Heading, 1, name); err != nil {
			return Document{}, err
		}
		if err != nil {
			if shown := fault.As(err); shown.Kind != fault.Invalid {
				return Document{}, err
			} else if first == nil || fault.ReasonOf(first) == fault.EmptyDocument {
				first = shown
			}
			if err := c.add(Paragraph, 0, "(not read: "+fault.As(err).Message+")"); err != nil {
				return Document{}, err
			}
			continue
		}
		read++
		if err := c.include(doc, name); err != nil {
			return Document{}, err
		}
	}
	switch {
	case read > 0:
		return c.document(""), nil
	case first == nil:
		return Document{}, empty()
	}
	var shown *fault.Error
	if errors.As(first, &shown) && shown.Reason != fault.EmptyDocument {
		return Document{}, fault.New(fault.Invalid, shown.Reason, "no file in the archive can be read; the first: %s", shown.Message)
	}
	return Document{}, first
}

// member reads one file of an archive.
func (r *Registry) member(ctx context.Context, s Source, p *pack, f *zip.File, name string) (Document, error) {
	data, err := p.read(f, maxMember)
	if err != nil {
		return Document{}, err
	}
	if len(strings.TrimSpace(string(data[:min(len(data), 64)]))) == 0 && len(data) <= 64 {
		return Document{}, empty()
	}
	inner := Source{URI: name, Data: data, spent: s.spent}
	format, inner, err := r.choose(inner)
	if err != nil {
		return Document{}, err
	}
	return format.Parse(ctx, inner)
}

// include adds another document's blocks, its headings one level deeper.
func (c *canon) include(doc Document, name string) error {
	if doc.Title != "" && !strings.EqualFold(doc.Title, name) && (len(doc.Blocks) == 0 || doc.Text[doc.Blocks[0].Start:doc.Blocks[0].End] != doc.Title) {
		if err := c.add(Heading, 2, doc.Title); err != nil {
			return err
		}
	}
	places := doc.Places
	for _, b := range doc.Blocks {
		level := b.Level
		if b.Kind == Heading {
			level = min(level+1, 6)
		}
		var within []Place
		for len(places) > 0 && places[0].Start < b.End {
			if pl := places[0]; pl.Start >= b.Start {
				pl.Start, pl.End = pl.Start-b.Start, min(pl.End, b.End)-b.Start
				within = append(within, pl)
			}
			places = places[1:]
		}
		if err := c.addAt(b.Kind, level, doc.Text[b.Start:b.End], within); err != nil {
			return err
		}
	}
	return nil
}

// parseOffice reads an Office file by what its list of contents says it is.
func (r *Registry) parseOffice(ctx context.Context, s Source, p *pack) (Document, error) {
	contents, err := p.contents()
	if err != nil {
		return Document{}, err
	}
	for kind, name := range contents {
		switch {
		case strings.Contains(kind, "sheet.binary"):
			return Document{}, unsupported("this is a binary Excel file (.xlsb), which cannot be read; save it as .xlsx")
		case strings.Contains(kind, "word") && strings.HasSuffix(kind, ".main+xml"):
			return r.word(ctx, s, p, name)
		case (strings.Contains(kind, "presentation") || strings.Contains(kind, "slideshow") || strings.Contains(kind, "powerpoint")) && strings.HasSuffix(kind, ".main+xml"):
			return r.slides(ctx, s, p, name)
		case (strings.Contains(kind, "spreadsheet") || strings.Contains(kind, "excel")) && strings.HasSuffix(kind, ".main+xml"):
			return r.sheets(ctx, s, p)
		}
	}
	return Document{}, unsupported("this is an Office file of a kind that cannot be read")
}
