package rank

import (
	"encoding/binary"

	"github.com/ragmesh/ragmesh/libs/text"
)

// Passage is a passage read for scoring: its tokens that carry content. Reading takes far longer than scoring, so stores do
// it once and keep what Encode returns.
type Passage struct {
	Head, Body []text.Token
}

// Read reads a passage. Head is its title and headings.
func Read(head, body string) Passage { return Passage{content(head), content(body)} }

// content returns the tokens of s but stop words.
func content(s string) []text.Token {
	all := text.Tokens(s)
	out := all[:0]
	for _, t := range all {
		if !t.Stop {
			out = append(out, t)
		}
	}
	return out
}

// Length is how long a passage counts as: its terms, those of the head doubled.
func (p Passage) Length() float64 { return headWeight*float64(len(p.Head)) + float64(len(p.Body)) }

// Encode returns the passage as bytes: the size of the head's section, the head's and the body's. In a section a token is its
// distance from the one before, in positions, with the kind in the lowest two bits; the size of its term; the term.
func (p Passage) Encode() []byte {
	head := encode(nil, p.Head)
	out := binary.AppendUvarint(make([]byte, 0, len(head)+8*len(p.Body)), uint64(len(head)))
	return encode(append(out, head...), p.Body)
}

const kindBits = 2

func encode(out []byte, tokens []text.Token) []byte {
	position := 0
	for _, t := range tokens {
		// A pair stands at the position of its first character, which came before it: distances are never negative.
		out = binary.AppendUvarint(out, uint64(t.Position-position)<<kindBits|uint64(t.Kind))
		out = binary.AppendUvarint(out, uint64(len(t.Term)))
		out = append(out, t.Term...)
		position = t.Position
	}
	return out
}

// sections takes an encoded passage apart. What is damaged is as if it were not there.
func sections(passage []byte) (head, body []byte) {
	size, n := binary.Uvarint(passage)
	if n <= 0 || size > uint64(len(passage)-n) {
		return nil, nil
	}
	rest := passage[n:]
	return rest[:size], rest[size:]
}

// encoded is a token in a section.
type encoded struct {
	gap  int // positions since the token before
	kind text.Kind
	term []byte
}

// next takes the first token off a section.
func next(section []byte) (t encoded, rest []byte, ok bool) {
	place, n := binary.Uvarint(section)
	if n <= 0 {
		return t, nil, false
	}
	section = section[n:]
	size, n := binary.Uvarint(section)
	if n <= 0 || size > uint64(len(section)-n) {
		return t, nil, false
	}
	section = section[n:]
	return encoded{int(place >> kindBits), text.Kind(place & (1<<kindBits - 1)), section[:size]}, section[size:], true
}
