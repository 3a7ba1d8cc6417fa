package isolate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ocr"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/pdf"
)

// Settings is what a child is told when it starts.
type Settings struct {
	Limits parse.Limits
	// Memory bounds what the child may take, bytes.
	Memory int64
	// Cache is a folder for compiled code, "" for none.
	Cache string
	// OCR is the command that gives PDF files text that have none; empty for none.
	OCR        []string
	OCRTimeout time.Duration
}

// Serve is the child: it reads documents from in and writes what they hold to out, until in ends.
func Serve(in io.Reader, out io.Writer) error {
	lastToLive()
	defer withParent()()
	r, w := bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)
	kind, payload, err := readFrame(r)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	var s Settings
	if err := json.Unmarshal(payload, &s); err != nil || kind != kindHello {
		return fmt.Errorf("read settings: %w", errors.Join(err, errProtocol))
	}
	confine(s.Memory)
	debug.SetMemoryLimit(s.Memory * 3 / 4)
	debug.SetGCPercent(50)
	files := &lazyPDF{settings: s}
	registry := parse.New(parse.Config{Limits: s.Limits, PDF: files.parse})
	if err := errors.Join(writeFrame(w, kindReady, []byte(parse.Revision)), w.Flush()); err != nil {
		return err
	}
	for {
		source, err := readOrder(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		doc, crashed, err := read(registry, source)
		switch {
		case err == nil:
			err = writeDocument(w, doc)
		default:
			shown := fault.As(err)
			if shown.Kind != fault.Invalid {
				return err // not the document's fault: another child may do better
			}
			err = writeJSON(w, kindFailed, failure{fault.ReasonName(shown.Reason), shown.Message})
		}
		if err := errors.Join(err, w.Flush()); err != nil {
			return err
		}
		if crashed {
			return errors.New("a parser panicked") // whatever it has left behind goes with the process
		}
		source.Data = nil
		debug.FreeOSMemory()
	}
}

// read keeps a parser's panic from being more than the document's failure.
func read(registry *parse.Registry, s parse.Source) (doc parse.Document, crashed bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			crashed = true
			err = fault.Wrap(fmt.Errorf("parser panicked: %v", p), fault.Invalid, fault.ParserFailed, "the document makes the parser fail; please report it")
		}
	}()
	doc, err = registry.Parse(context.Background(), s)
	return doc, false, err
}

// maxSource bounds the documents that a child takes: those that can be uploaded.
const maxSource = 1 << 30

func readOrder(r io.Reader) (parse.Source, error) {
	kind, payload, err := readFrame(r)
	if err != nil {
		return parse.Source{}, err
	}
	var o order
	if err := json.Unmarshal(payload, &o); err != nil || kind != kindOrder || o.Size < 0 || o.Size > maxSource {
		return parse.Source{}, fmt.Errorf("%w: order", errProtocol)
	}
	data := make([]byte, 0, o.Size)
	for int64(len(data)) < o.Size {
		kind, payload, err := readFrame(r)
		if err != nil {
			return parse.Source{}, err
		}
		if kind != kindData || int64(len(data)+len(payload)) > o.Size || len(payload) == 0 {
			return parse.Source{}, fmt.Errorf("%w: data", errProtocol)
		}
		data = append(data, payload...)
	}
	return parse.Source{URI: o.URI, ContentType: o.ContentType, Data: data}, nil
}

// lazyPDF starts PDFium with the first PDF file.
type lazyPDF struct {
	settings Settings
	reader   *pdf.Reader
}

func (l *lazyPDF) parse(ctx context.Context, s parse.Source) (parse.Document, error) {
	if l.reader == nil {
		if l.settings.Cache != "" {
			if err := os.MkdirAll(l.settings.Cache, 0o700); err != nil {
				l.settings.Cache = ""
			}
		}
		reader, err := pdf.Open(ctx, pdf.Config{Limits: l.settings.Limits, Cache: l.settings.Cache, Memory: l.settings.Memory * 3 / 4})
		if err != nil {
			return parse.Document{}, err
		}
		l.reader = reader
	}
	doc, err := l.reader.Parse(ctx, s)
	if fault.ReasonOf(err) != fault.OCRRequired || len(l.settings.OCR) == 0 {
		return doc, err
	}
	return ocr.Read(ctx, ocr.Config{Command: l.settings.OCR, Timeout: l.settings.OCRTimeout, Limits: l.settings.Limits, Reader: l.reader.Parse, Dir: filepath.Clean(os.TempDir())}, s)
}
