package token

import (
	"unicode/utf8"
)

// wordPiece cuts a word into the longest pieces that the vocabulary has, from its beginning; a word with a piece that it
// lacks is unknown as a whole. Schuster and Nakajima, Japanese and Korean Voice Search, 2012; as in BERT.
type wordPiece struct {
	words   map[string]int32 // that begin a word
	parts   map[string]int32 // that go on, without their prefix
	longest int              // bytes of the longest piece
	unknown int32
	// most is how many characters a word may have.
	most int
}

func newWordPiece(vocab map[string]int32, hidden map[int32]bool, prefix string, unknown int32, most int) *wordPiece {
	w := &wordPiece{words: make(map[string]int32, len(vocab)), parts: make(map[string]int32), unknown: unknown, most: most}
	for s, id := range vocab {
		if hidden[id] || id == unknown {
			continue
		}
		w.words[s] = id
		w.longest = max(w.longest, len(s))
		if len(s) > len(prefix) && s[:len(prefix)] == prefix {
			w.parts[s[len(prefix):]] = id
		}
	}
	return w
}

func (w *wordPiece) append(ids []int32, word string) ([]int32, int) {
	if len(word) > w.most && utf8.RuneCountInString(word) > w.most {
		return append(ids, w.unknown), 1
	}
	before, vocab := len(ids), w.words
	for rest := word; rest != ""; vocab = w.parts {
		n := min(len(rest), w.longest)
		for n < len(rest) && n > 0 && !utf8.RuneStart(rest[n]) {
			n--
		}
		var id int32
		found := false
		for n > 0 {
			if id, found = vocab[rest[:n]]; found {
				break
			}
			_, size := utf8.DecodeLastRuneInString(rest[:n])
			n -= size
		}
		if !found {
			return append(ids[:before], w.unknown), 1
		}
		ids, rest = append(ids, id), rest[n:]
	}
	return ids, 0
}
