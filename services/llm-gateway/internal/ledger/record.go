package ledger

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record is its payload's length and checksum, four bytes each, and the payload: a kind, then numbers as varints and texts with
// their length before them.
const (
	recordHead = 8
	maxRecord  = 64 << 10
)

// Kinds of records.
const (
	kindIntent  byte = iota + 1 // a provider is about to be asked
	kindTry                     // how a try ended
	kindEnd                     // nothing more comes of an intent
	kindCached                  // a cache answered
	kindLife                    // a workspace begins its next life
	kindRow                     // a row of a page, of a segment's first part: everything before it
	kindBegun                   // a segment's first part ends here; what follows happened since
	kindSegment                 // a segment begins
)

var errRecord = errors.New("record is damaged")

func checksum(payload []byte) uint32 {
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}

// appendRecord appends a record whose payload fill appends.
func appendRecord(b []byte, fill func([]byte) []byte) []byte {
	at := len(b)
	b = fill(append(b, 0, 0, 0, 0, 0, 0, 0, 0))
	payload := b[at+recordHead:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[at+4:], checksum(payload))
	return b
}

// readRecord splits the first record off b. It fails on what is no whole record.
func readRecord(b []byte) (payload, rest []byte, err error) {
	if len(b) < recordHead {
		return nil, b, errRecord
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n == 0 || n > maxRecord || n > len(b)-recordHead {
		return nil, b, errRecord
	}
	payload = b[recordHead : recordHead+n]
	if checksum(payload) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, b, errRecord
	}
	return payload, b[recordHead+n:], nil
}

// maxText bounds a text of a record.
const maxText = 1024

func appendText(b []byte, texts ...string) []byte {
	for _, s := range texts {
		s = s[:min(len(s), maxText)]
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendIntent(b []byte, id uint64, in intent) []byte {
	b = appendNumbers(append(b, kindIntent), id, in.life, in.most.Prompt, in.most.Completion, in.most.Cost)
	return appendText(b, in.payer.Workspace, in.payer.Key, in.route)
}

const (
	flagAnswered = 1 << iota
	flagUnpriced
	flagEstimated
)

func appendTry(b []byte, id uint64, day Day, t Try) []byte {
	var flags uint64
	if t.Answered {
		flags |= flagAnswered
	}
	if t.Unpriced {
		flags |= flagUnpriced
	}
	if t.Estimated {
		flags |= flagEstimated
	}
	b = appendNumbers(append(b, kindTry), id, uint64(day), flags, t.Prompt, t.CachedPrompt, t.Completion, t.Cost)
	return appendText(b, t.Route, t.Provider, t.Model)
}

func appendEnd(b []byte, id uint64) []byte { return appendNumbers(append(b, kindEnd), id) }

func appendCached(b []byte, day Day, in intent) []byte {
	b = appendNumbers(append(b, kindCached), uint64(day), in.life)
	return appendText(b, in.payer.Workspace, in.payer.Key, in.route)
}

func appendLife(b []byte, workspace string, life uint64) []byte {
	return appendText(appendNumbers(append(b, kindLife), life), workspace)
}

func appendRow(b []byte, p pageKey, r rowKey, n Numbers) []byte {
	b = appendNumbers(append(b, kindRow), uint64(p.day), p.life)
	b = appendText(b, p.workspace, r.key, r.Route, r.Provider, r.Model)
	return appendNumbers(b, n.Requests, n.Cached, n.Failed, n.Unsettled, n.Prompt, n.CachedPrompt, n.Completion, n.Cost, n.UnsettledCost, n.Unpriced, n.Estimated)
}

func appendSegment(b []byte, next uint64) []byte { return appendNumbers(append(b, kindSegment), next) }

// fields reads a payload. Its first failure stays.
type fields struct {
	b   []byte
	err error
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 {
		f.b, f.err = nil, errRecord
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) day() Day {
	n := f.number()
	if n > maxDay {
		f.err = errRecord
		return 0
	}
	return Day(n)
}

func (f *fields) text() string {
	n := f.number()
	if n > maxText || n > uint64(len(f.b)) {
		f.b, f.err = nil, errRecord
		return ""
	}
	s := string(f.b[:n])
	f.b = f.b[n:]
	return s
}
