package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// NewKey hashes all that an answer depends on. Parts are told apart: ("ab", "c") is not ("a", "bc").
func NewKey(parts ...[]byte) string {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(size[:], uint64(len(p)))
		_, _ = h.Write(size[:])
		_, _ = h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// recording is an answer as it is kept.
type recording struct {
	made   time.Time
	end    []byte
	pieces [][]byte
}

// layout is the first byte of what is kept; others are not read.
const layout = 1

func (r recording) encode() []byte {
	size := 32 + len(r.end)
	for _, p := range r.pieces {
		size += len(p) + binary.MaxVarintLen32
	}
	b := append(make([]byte, 0, size), layout)
	b = binary.AppendVarint(b, r.made.UnixMilli())
	b = append(binary.AppendUvarint(b, uint64(len(r.end))), r.end...)
	for _, p := range r.pieces {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return b
}

// decode reads what is kept; what it can't read is not there.
func decode(b []byte) (recording, bool) {
	if len(b) == 0 || b[0] != layout {
		return recording{}, false
	}
	b = b[1:]
	made, n := binary.Varint(b)
	if n <= 0 {
		return recording{}, false
	}
	b = b[n:]
	r := recording{made: time.UnixMilli(made)}
	next := func() ([]byte, bool) {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		p := b[n : n+int(size)]
		b = b[n+int(size):]
		return p, true
	}
	var ok bool
	if r.end, ok = next(); !ok {
		return recording{}, false
	}
	for len(b) > 0 {
		p, ok := next()
		if !ok {
			return recording{}, false
		}
		r.pieces = append(r.pieces, p)
	}
	return r, true
}
