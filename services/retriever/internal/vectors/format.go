package vectors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// The file is a head and records, one after the other. Numbers are little endian.
//
//	head:   magic, size of the space, the space as JSON, checksum of all before
//	record: magic, kind, size of its description, rows, checksum of description and rows, checksum of all before but the
//	        kind; then the description as JSON and the rows, each as many float32 as the space has dimensions
//
// A record's kind is outside its checksum: it changes in place when the record is erased.
const (
	headMagic   = "ragmesh vectors 1\n"
	recordMagic = 0x76656331
	recordHead  = 24

	maxSpace       = 4 << 10
	maxDescription = 1 << 20
	maxRows        = 1 << 20
	maxDimension   = 8192
)

// The kinds of record.
const (
	kindPut     = 1 // vectors of a version
	kindErasing = 2 // was one; its bytes are being overwritten
	kindErased  = 3 // and have been
)

// errBroken marks bytes that are no record: from there on the file is cut off.
var errBroken = errors.New("broken record")

// description is what a record says of its rows.
type description struct {
	DocumentID string   `json:"document"`
	Hash       string   `json:"hash"`
	SourceURI  string   `json:"source"`
	Revision   string   `json:"revision"`
	Languages  []string `json:"languages"`
	Language   []byte   `json:"language"` // of each row: which of Languages
}

func encodeHead(s store.Space) ([]byte, error) {
	space, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if len(space) > maxSpace || s.Dimension < 1 || s.Dimension > maxDimension {
		return nil, fmt.Errorf("vectors of %d dimensions of model %q can't be kept", s.Dimension, s.Model)
	}
	out := append([]byte(headMagic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(out[len(headMagic):], uint32(len(space)))
	out = append(out, space...)
	return binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(out)), nil
}

// decodeHead reads the head of a file that begins with b, and returns its size.
func decodeHead(b []byte) (s store.Space, size int, err error) {
	at := len(headMagic)
	if len(b) < at+4 || string(b[:at]) != headMagic {
		return s, 0, errBroken
	}
	n := int(binary.LittleEndian.Uint32(b[at:]))
	if n > maxSpace || len(b) < at+4+n+4 {
		return s, 0, errBroken
	}
	end := at + 4 + n
	if crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) || json.Unmarshal(b[at+4:end], &s) != nil {
		return s, 0, errBroken
	}
	if s.Dimension < 1 || s.Dimension > maxDimension {
		return s, 0, errBroken
	}
	return s, end + 4, nil
}

// record is a record's own head.
type record struct {
	kind        uint32
	description int // bytes
	rows        int
	sum         uint32
}

// size is the whole record's, bytes.
func (r record) size(dimension int) int64 {
	return recordHead + int64(r.description) + int64(r.rows)*int64(dimension)*4
}

func (r record) encode(out []byte) []byte {
	at := len(out)
	for _, n := range []uint32{recordMagic, r.kind, uint32(r.description), uint32(r.rows), r.sum} {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return binary.LittleEndian.AppendUint32(out, headSum(out[at:]))
}

// headSum covers all of a record's head but the kind.
func headSum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:4]), crc32.IEEETable, b[8:recordHead-4])
}

func decodeRecord(b []byte) (r record, err error) {
	if len(b) < recordHead || binary.LittleEndian.Uint32(b) != recordMagic || headSum(b) != binary.LittleEndian.Uint32(b[recordHead-4:]) {
		return r, errBroken
	}
	r = record{
		kind: binary.LittleEndian.Uint32(b[4:]), description: int(binary.LittleEndian.Uint32(b[8:])),
		rows: int(binary.LittleEndian.Uint32(b[12:])), sum: binary.LittleEndian.Uint32(b[16:]),
	}
	if r.kind < kindPut || r.kind > kindErased || r.description > maxDescription || r.rows > maxRows {
		return r, errBroken
	}
	return r, nil
}

// decodeDescription reads what a record says of n rows.
func decodeDescription(b []byte, n int) (d description, err error) {
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("%w: %w", errBroken, err)
	}
	if len(d.Language) != n || d.DocumentID == "" || d.Hash == "" {
		return d, errBroken
	}
	for _, l := range d.Language {
		if int(l) >= len(d.Languages) {
			return d, errBroken
		}
	}
	return d, nil
}

func encodeRow(out []byte, row []float32) []byte {
	for _, f := range row {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(f))
	}
	return out
}

func decodeRow(b []byte, into []float32) {
	for i := range into {
		into[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

// encodeVersion makes the record of a version's vectors.
func encodeVersion(v store.Vectors, revision string, dimension int) ([]byte, description, error) {
	d := description{DocumentID: v.DocumentID, Hash: v.Hash, Revision: revision, Language: make([]byte, len(v.Rows)), Languages: []string{}}
	if len(v.Rows) != len(v.Chunks) || len(v.Rows) > maxRows {
		return nil, d, fmt.Errorf("%d vectors for %d chunks", len(v.Rows), len(v.Chunks))
	}
	for i, c := range v.Chunks {
		if c.Ordinal != i {
			return nil, d, fmt.Errorf("chunk %d stands at %d", c.Ordinal, i)
		}
		d.SourceURI = c.SourceURI
		at := 0
		for at < len(d.Languages) && d.Languages[at] != c.Language {
			at++
		}
		if at == len(d.Languages) {
			d.Languages = append(d.Languages, c.Language)
		}
		if at > math.MaxUint8 {
			return nil, d, errors.New("too many languages in one document")
		}
		d.Language[i] = byte(at)
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, d, err
	}
	if len(text) > maxDescription {
		return nil, d, fmt.Errorf("a document of %d chunks has too many for vectors", len(v.Chunks))
	}
	body := make([]byte, 0, recordHead+len(text)+len(v.Rows)*dimension*4)
	body = append(body, text...)
	for i, row := range v.Rows {
		if len(row) != dimension {
			return nil, d, fmt.Errorf("vector %d has %d dimensions, not %d", i, len(row), dimension)
		}
		body = encodeRow(body, row)
	}
	r := record{kind: kindPut, description: len(text), rows: len(v.Rows), sum: crc32.ChecksumIEEE(body)}
	return append(r.encode(make([]byte, 0, recordHead+len(body))), body...), d, nil
}
