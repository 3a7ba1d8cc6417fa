// Package pdf reads PDF files: text in reading order with the page and box of every line, headings, tables as rows; page
// headers and footers, page numbers and watermarks left out.
//
// PDFium, compiled to WebAssembly, finds the characters and where they stand; what they mean is found here by geometry. It is
// meant for a process of its own, which can be ended: PDFium does not stop when asked to, and one instance takes some 100 MiB.
package pdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klippa-app/go-pdfium"
	pdfiumerrors "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/responses"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// Config is what can be chosen about reading.
type Config struct {
	Limits parse.Limits
	// Cache is a folder for compiled code; without it every process compiles PDFium anew, which takes a second or more.
	Cache string
	// Memory bounds PDFium's memory in bytes.
	Memory int64
}

// Reader reads PDF files, one at a time.
type Reader struct {
	config Config
	pool   pdfium.Pool
}

const wasmPage = 64 << 10

// Open starts PDFium. It sees no file system.
func Open(ctx context.Context, c Config) (*Reader, error) {
	runtime := wazero.NewRuntimeConfig().WithMemoryLimitPages(uint32(min(max(c.Memory/wasmPage, 512), 1<<16)))
	if c.Cache != "" {
		if cache, err := wazero.NewCompilationCacheWithDir(c.Cache); err == nil { // without it things are slower, and right
			runtime = runtime.WithCompilationCache(cache)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pool, err := webassembly.Init(webassembly.Config{
		MinIdle: 0, MaxIdle: 1, MaxTotal: 1, FSConfig: wazero.NewFSConfig(), RuntimeConfig: runtime, Stdout: io.Discard, Stderr: io.Discard,
	})
	if err != nil {
		return nil, fmt.Errorf("start PDFium: %w", err)
	}
	return &Reader{c, pool}, nil
}

// Close ends PDFium.
func (r *Reader) Close() error { return r.pool.Close() }

// Parse reads a document.
func (r *Reader) Parse(ctx context.Context, s parse.Source) (_ parse.Document, err error) {
	instance, err := r.pool.GetInstance(time.Minute)
	if err != nil {
		return parse.Document{}, fmt.Errorf("start PDFium: %w", err)
	}
	defer func() { _ = instance.Close() }()
	data := s.Data
	opened, err := instance.OpenDocument(&requests.OpenDocument{File: &data})
	if err != nil {
		return parse.Document{}, unreadable(err)
	}
	f := file{pdfium: instance, document: opened.Document, limits: r.config.Limits}
	count, err := instance.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: opened.Document})
	switch {
	case err != nil || count.PageCount == 0:
		return parse.Document{}, malformed("the PDF has no pages that could be found; it is damaged or cut off")
	case count.PageCount > r.config.Limits.Pages:
		return parse.Document{}, fault.New(fault.Invalid, fault.DocumentTooLarge, "the PDF has %d pages, more than %d; split it", count.PageCount, r.config.Limits.Pages)
	}
	var pages []page
	unread := 0
	for i := range count.PageCount {
		if err := ctx.Err(); err != nil {
			return parse.Document{}, err
		}
		p, err := f.page(i)
		if fault.KindOf(err) == fault.Invalid && err != nil {
			return parse.Document{}, err
		}
		if err != nil {
			unread++
		}
		pages = append(pages, p)
	}
	if unread == len(pages) {
		return parse.Document{}, malformed("none of the PDF's %d pages can be read; it is damaged or cut off", len(pages))
	}
	if err := legible(pages); err != nil {
		return parse.Document{}, err
	}
	return compose(f, pages)
}

// unreadable says why a file can't be opened.
func unreadable(err error) error {
	switch {
	case errors.Is(err, pdfiumerrors.ErrPassword):
		return fault.New(fault.Invalid, fault.EncryptedDocument, "the PDF is protected by a password")
	case errors.Is(err, pdfiumerrors.ErrSecurity):
		return fault.New(fault.Invalid, fault.EncryptedDocument, "the PDF is encrypted in a way that can't be read")
	case errors.Is(err, pdfiumerrors.ErrFile), errors.Is(err, pdfiumerrors.ErrFormat), errors.Is(err, pdfiumerrors.ErrUnknown), errors.Is(err, pdfiumerrors.ErrPage):
		return malformed("the PDF is damaged or cut off")
	case strings.Contains(err.Error(), "memory"):
		return fault.New(fault.Invalid, fault.DocumentTooLarge, "the PDF takes more memory than is allowed")
	}
	return malformed("the PDF can't be opened; it is damaged")
}

func malformed(format string, a ...any) error {
	return fault.New(fault.Invalid, fault.MalformedDocument, format, a...)
}

// legible refuses documents whose text can't be read: pictures of pages, and fonts that don't say what characters they show.
func legible(pages []page) error {
	letters, unmapped, written := 0, 0, 0
	for _, p := range pages {
		letters += p.letters
		unmapped += p.unmapped
		if p.letters+p.unmapped >= 20 {
			written++
		}
	}
	switch {
	case unmapped*3 > letters+unmapped && unmapped > 20:
		return fault.New(fault.Invalid, fault.OCRRequired, "the fonts of the PDF don't say what characters they show, so that its text can't be read without OCR")
	case letters == 0, written*10 < len(pages) && len(pages) > 3:
		return fault.New(fault.Invalid, fault.OCRRequired, "%d of the PDF's %d pages hold no text, only pictures such as scans, which can't be read without OCR", len(pages)-written, len(pages))
	}
	return nil
}

// bookmark is an entry of the outline.
type bookmark struct {
	title string
	level int // from 1
	page  int // from 0
}

const maxBookmarks = 20_000

// outline lists the bookmarks in their order.
func (f *file) outline() []bookmark {
	got, err := f.pdfium.GetBookmarks(&requests.GetBookmarks{Document: f.document})
	if err != nil {
		return nil
	}
	var out []bookmark
	var walk func(list []responses.GetBookmarksBookmark, level int)
	walk = func(list []responses.GetBookmarksBookmark, level int) {
		for _, b := range list {
			at := -1
			switch {
			case b.DestInfo != nil:
				at = b.DestInfo.PageIndex
			case b.ActionInfo != nil && b.ActionInfo.DestInfo != nil:
				at = b.ActionInfo.DestInfo.PageIndex
			}
			if len(out) == maxBookmarks {
				return
			}
			if at >= 0 {
				out = append(out, bookmark{b.Title, min(level, 6), at})
			}
			walk(b.Children, level+1)
		}
	}
	walk(got.Bookmarks, 1)
	return out
}

// title is what the file says its title is, where that is no file name.
func (f *file) title() string {
	got, err := f.pdfium.FPDF_GetMetaText(&requests.FPDF_GetMetaText{Document: f.document, Tag: "Title"})
	if err != nil {
		return ""
	}
	title := strings.Join(strings.Fields(parse.Clean(strings.ToValidUTF8(got.Value, ""))), " ")
	lower := strings.ToLower(title)
	for _, odd := range []string{".doc", ".docx", ".tex", ".dvi", ".indd", ".qxd", ".ppt", ".pptx", ".xls", ".xlsx", ".pdf", "untitled", "microsoft word", "microsoft powerpoint"} {
		if strings.HasSuffix(lower, odd) || strings.HasPrefix(lower, odd) {
			return ""
		}
	}
	return title
}
