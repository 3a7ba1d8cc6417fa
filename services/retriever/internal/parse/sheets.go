package parse

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/xuri/excelize/v2"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// maxMerged bounds how large a workbook may be, expanded, for cells that are merged to be known as such: that takes the whole sheet in
// memory.
const maxMerged = 48 << 20

// sheets reads an XLSX: a section per visible sheet, its rows with the headings of their columns. Values are as Excel shows them,
// dates as 2006-01-02; of a formula it is the value that was computed last.
func (r *Registry) sheets(ctx context.Context, s Source, p *pack) (_ Document, err error) {
	total := uint64(0)
	for _, f := range p.files {
		if total += min(f.UncompressedSize64, 1<<40); total > uint64(max(s.spent.expanded, 0)) {
			return Document{}, tooLarge("the workbook expands to more than %d MiB; split it", s.spent.limits.Expanded>>20)
		}
	}
	s.spent.expanded -= int64(total)
	defer func() { // what excelize can't take it may panic about
		if recover() != nil {
			err = malformed("the workbook is damaged")
		}
	}()
	file, err := excelize.OpenReader(bytes.NewReader(s.Data), excelize.Options{
		UnzipSizeLimit: int64(total) + 1, UnzipXMLSizeLimit: int64(total) + 1, // all in memory, nothing in temporary files
		ShortDatePattern: "yyyy-mm-dd", LongDatePattern: "yyyy-mm-dd", LongTimePattern: "hh:mm:ss",
	})
	if err != nil {
		if errors.Is(err, excelize.ErrWorkbookFileFormat) || errors.Is(err, excelize.ErrWorkbookPassword) {
			return Document{}, fault.New(fault.Invalid, fault.EncryptedDocument, "the workbook is protected by a password")
		}
		return Document{}, malformed("the workbook is damaged")
	}
	defer func() { _ = file.Close() }()
	c := r.canon()
	names := file.GetSheetList()
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return Document{}, err
		}
		if visible, err := file.GetSheetVisible(name); err == nil && !visible {
			continue
		}
		w := sheetReader{ctx: ctx, file: file, name: name, rows: rows{c: &c, spent: s.spent}}
		if total <= maxMerged {
			w.merged()
		}
		if err := w.read(); err != nil {
			return Document{}, err
		}
	}
	doc := c.document(p.title())
	doc.ContentType = typeSheets
	return doc, nil
}

type sheetReader struct {
	ctx   context.Context
	file  *excelize.File
	name  string
	rows  rows
	areas []area
}

// area is a range of cells that are merged, from 1; all are what the first is.
type area struct {
	left, top, right, bottom int
	text                     string
}

const maxAreas = 10_000

func (w *sheetReader) merged() {
	cells, err := w.file.GetMergeCells(w.name)
	if err != nil || len(cells) > maxAreas {
		return
	}
	for _, m := range cells {
		left, top, err := excelize.CellNameToCoordinates(m.GetStartAxis())
		if err != nil {
			continue
		}
		right, bottom, err := excelize.CellNameToCoordinates(m.GetEndAxis())
		if err != nil || right-left > maxSpan || bottom-top > maxSpan*10 {
			continue
		}
		w.areas = append(w.areas, area{left, top, right, bottom, cell(m.GetCellValue())})
	}
}

// fill writes what merged cells hold into every one of a row.
func (w *sheetReader) fill(cells []string, row int) []string {
	for _, a := range w.areas {
		if row < a.top || row > a.bottom || a.text == "" {
			continue
		}
		if a.left == 1 && a.right >= max(len(cells), 3) && a.top == a.bottom { // a title across the sheet
			continue
		}
		for len(cells) < a.right {
			cells = append(cells, "")
		}
		for column := a.left; column <= a.right; column++ {
			cells[column-1] = a.text
		}
	}
	return cells
}

// read writes the sheet. Rows above the first that could be headings are text, as titles and remarks are.
func (w *sheetReader) read() error {
	it, err := w.file.Rows(w.name)
	if err != nil {
		return nil // a chart, or a sheet that is not there
	}
	defer func() { _ = it.Close() }()
	headed, written := false, false
	begin := func() error {
		if written {
			return nil
		}
		written = true
		return w.rows.c.add(Heading, 1, cell(w.name))
	}
	for row := 1; it.Next(); row++ {
		if row%256 == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		cells, err := it.Columns()
		if err != nil {
			return malformed("sheet %s is damaged", shown(w.name))
		}
		if len(cells) > maxColumns {
			return tooLarge("a table has more than %d columns", maxColumns)
		}
		filled := 0
		for i := range cells {
			if cells[i] = cell(cells[i]); cells[i] != "" {
				filled++
			}
		}
		if filled == 0 {
			continue
		}
		if err := begin(); err != nil {
			return err
		}
		if !headed && filled == 1 {
			if err := errors.Join(w.rows.spent.row(), w.rows.c.add(Paragraph, 0, strings.TrimSpace(strings.Join(cells, " ")))); err != nil {
				return err
			}
			continue
		}
		cells = w.fill(cells, row)
		if !headed && looksLikeHead(cells) {
			headed = true
			w.rows.head(cells)
			if err := w.rows.spent.row(); err != nil {
				return err
			}
			continue
		}
		headed = true
		if err := w.rows.add(cells); err != nil {
			return err
		}
	}
	return w.rows.flush()
}
