package isolate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// The kinds of frame. A frame is its kind, the size of what it carries as four bytes, and that. To the child go a hello with the
// settings and, for each document, an order and its bytes; back come a ready, and for each document its text, its blocks and its
// places in pieces, and an end or a failure.
const (
	kindHello  = 'H'
	kindReady  = 'R'
	kindOrder  = 'O'
	kindData   = 'D'
	kindText   = 'T'
	kindBlocks = 'B'
	kindPlaces = 'P'
	kindEnd    = 'E'
	kindFailed = 'F'
)

const (
	maxFrame = 1 << 20
	piece    = 256 << 10 // of text or data in one frame
	batch    = 2_000     // blocks or places in one frame
)

// errProtocol is what makes a child of no further use.
var errProtocol = errors.New("the parser's answer makes no sense")

func writeFrame(w io.Writer, kind byte, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("%w: a frame of %d bytes", errProtocol, len(payload))
	}
	head := [5]byte{kind}
	binary.BigEndian.PutUint32(head[1:], uint32(len(payload)))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

func writeJSON(w io.Writer, kind byte, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, kind, payload)
}

func readFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", errProtocol, size)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

// order asks for a document to be read; its bytes follow.
type order struct {
	URI         string `json:"uri"`
	ContentType string `json:"content_type"`
	Size        int64  `json:"size"`
}

// end is what is sent of a document besides its text and structure.
type end struct {
	Title       string `json:"title"`
	Language    string `json:"language"`
	ContentType string `json:"content_type"`
}

// failure is why a document can't be read.
type failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// writeDocument sends what a document was read as.
func writeDocument(w io.Writer, doc parse.Document) error {
	for rest := doc.Text; rest != ""; {
		n := min(len(rest), piece)
		if err := writeFrame(w, kindText, []byte(rest[:n])); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for part := range slices.Chunk(doc.Blocks, batch) {
		rows := make([][4]int, len(part))
		for i, b := range part {
			rows[i] = [4]int{int(b.Kind), b.Level, b.Start, b.End}
		}
		if err := writeJSON(w, kindBlocks, rows); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(doc.Places, batch) {
		if err := writeJSON(w, kindPlaces, part); err != nil {
			return err
		}
	}
	return writeJSON(w, kindEnd, end{doc.Title, doc.Language, doc.ContentType})
}

// bounds of what a child may send besides text.
const (
	maxBlocks = 1_000_000
	maxPlaces = 4_000_000
	maxTitle  = 64 << 10
)

// readDocument receives a document. The error is the child's *fault.Error about the document, or one that makes the child of no
// further use: it may have been taken over by what it read, so that nothing it sends is believed.
func readDocument(r io.Reader, limits parse.Limits) (parse.Document, error) {
	var doc parse.Document
	var text bytes.Buffer
	for {
		kind, payload, err := readFrame(r)
		if err != nil {
			return parse.Document{}, err
		}
		switch kind {
		case kindText:
			if int64(text.Len()+len(payload)) > limits.Text {
				return parse.Document{}, fmt.Errorf("%w: too much text", errProtocol)
			}
			text.Write(payload)
		case kindBlocks:
			var rows [][4]int
			if err := json.Unmarshal(payload, &rows); err != nil || len(doc.Blocks)+len(rows) > maxBlocks {
				return parse.Document{}, fmt.Errorf("%w: blocks", errProtocol)
			}
			for _, row := range rows {
				if row[0] < 0 || row[0] > int(parse.Code) {
					return parse.Document{}, fmt.Errorf("%w: kind of block", errProtocol)
				}
				doc.Blocks = append(doc.Blocks, parse.Block{Kind: parse.Kind(row[0]), Level: row[1], Start: row[2], End: row[3]})
			}
		case kindPlaces:
			var places []parse.Place
			if err := json.Unmarshal(payload, &places); err != nil || len(doc.Places)+len(places) > maxPlaces {
				return parse.Document{}, fmt.Errorf("%w: places", errProtocol)
			}
			doc.Places = append(doc.Places, places...)
		case kindEnd:
			var e end
			if err := json.Unmarshal(payload, &e); err != nil || len(e.Title) > maxTitle || len(e.Language) > 16 || len(e.ContentType) > 200 {
				return parse.Document{}, fmt.Errorf("%w: end", errProtocol)
			}
			doc.Text, doc.Title, doc.Language, doc.ContentType = text.String(), e.Title, e.Language, e.ContentType
			if err := doc.Check(limits); err != nil {
				return parse.Document{}, fmt.Errorf("%w: %w", errProtocol, err)
			}
			return doc, nil
		case kindFailed:
			var f failure
			if err := json.Unmarshal(payload, &f); err != nil || len(f.Message) > 2_000 {
				return parse.Document{}, fmt.Errorf("%w: failure", errProtocol)
			}
			return parse.Document{}, fault.New(fault.Invalid, reason(f.Reason), "%s", f.Message)
		default:
			return parse.Document{}, fmt.Errorf("%w: kind of frame", errProtocol)
		}
	}
}

// reason is the one a child names, if it is one that a document may fail with.
func reason(name string) fault.Reason {
	switch r := fault.ParseReason(name); r {
	case fault.UnsupportedFormat, fault.EmptyDocument, fault.MalformedDocument, fault.EncryptedDocument, fault.OCRRequired, fault.DocumentTooLarge, fault.UnknownEncoding:
		return r
	}
	return fault.ParserFailed
}
