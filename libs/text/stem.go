package text

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// remembered is how many folded words are kept at most, a power of two; about 3 MB when all are. English text of one field has
// some 10,000 different words, and a corpus several times that: with a quarter of the places, a fifth of the time of reading it
// went into stemming words anew.
const remembered = 1 << 15

// memory keeps what fold made of words, by their hash: a word displaces the one that was in its place. Whatever is or is not
// in it, the answer is the same.
type memory struct {
	seed  maphash.Seed
	words [remembered]atomic.Pointer[folded]
}

// folded is what fold made of a word.
type folded struct {
	raw, term string
	stop      bool
}

// stems is shared by all: stemming is the dear part of reading a text, and texts share their words.
var stems = &memory{seed: maphash.MakeSeed()} //nolint:gochecknoglobals // a cache of a pure function, bounded

// fold is fold of a word in ASCII, remembered.
func (m *memory) fold(raw string) (term string, stop bool) {
	place := &m.words[maphash.String(m.seed, raw)%remembered]
	if f := place.Load(); f != nil && f.raw == raw {
		return f.term, f.stop
	}
	raw = strings.Clone(raw) // not to keep the whole text
	f := &folded{raw: raw}
	f.term, f.stop = fold(raw, true, false)
	place.Store(f)
	return f.term, f.stop
}
