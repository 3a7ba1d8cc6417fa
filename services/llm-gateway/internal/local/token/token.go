// Package token cuts text into the tokens of a model, as its tokenizer.json says: WordPiece, as BERT and MiniLM have it, and
// Unigram, as XLM-R and multilingual E5 have it. What comes out is what Hugging Face's tokenizers make of the same text, with
// one exception on purpose: a text that spells a special token, such as "[SEP]", is text, and never that token.
//
// The file is untrusted: whatever it says, loading ends in a tokenizer whose ids are all below Size or in an error.
package token

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// File is the name of the file in a model's folder.
const File = "tokenizer.json"

// Bounds of a tokenizer.
const (
	maxFile    = 64 << 20
	maxTokens  = 1 << 20
	maxToken   = 1 << 10 // bytes
	maxSpecial = 16      // tokens around a text
	maxText    = 4 << 20 // bytes of a text on its way: a file's rules could make it grow without end
)

// Encoding is a text as a model reads it.
type Encoding struct {
	IDs []int32
	// Types says of each id which of a pair's texts it belongs to, 0 or 1.
	Types []int32
	// Unknown counts the ids that stand for something the model has no token for.
	Unknown int
}

// Tokenizer cuts texts. Safe for concurrent use; it does not change.
type Tokenizer struct {
	normalize []normalizer
	split     []splitter
	model     model
	single    frame
	pair      frame
	size      int
}

// normalizer rewrites a text.
type normalizer func(string) string

// splitter cuts pieces into smaller ones. first says of a piece that it is the text's beginning.
type splitter func(pieces []string) []string

// model makes tokens of a piece. It appends to ids and returns how many of the appended are unknown.
type model interface {
	append(ids []int32, piece string) ([]int32, int)
}

// Load reads the tokenizer of the model in dir.
func Load(dir string) (*Tokenizer, error) {
	f, err := os.Open(filepath.Join(dir, File))
	if err != nil {
		return nil, fmt.Errorf("open tokenizer: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", File, maxFile>>20)
	}
	t, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", File, err)
	}
	return t, nil
}

// Size is one more than the highest id.
func (t *Tokenizer) Size() int { return t.size }

// Special is how many tokens stand around a text.
func (t *Tokenizer) Special() int { return t.single.fixed }

// Encode returns the tokens of text, those around it included, at most limit in all: what is too long is cut at its end. A
// limit that has no room for a text leaves the tokens around it.
func (t *Tokenizer) Encode(text string, limit int) Encoding {
	ids, unknown := t.tokens(text)
	return t.single.put(cut(ids, limit-t.single.fixed), nil, unknown.within(limit-t.single.fixed))
}

// EncodePair returns the tokens of two texts, those around them included, at most limit in all: the longer one is cut first.
func (t *Tokenizer) EncodePair(a, b string, limit int) Encoding {
	first, unknownFirst := t.tokens(a)
	second, unknownSecond := t.tokens(b)
	n, m := longestFirst(len(first), len(second), max(0, limit-t.pair.fixed))
	return t.pair.put(first[:n], second[:m], unknownFirst.within(n)+unknownSecond.within(m))
}

// positions are where unknown tokens stand.
type positions []int

// within counts those before limit.
func (p positions) within(limit int) int {
	n := 0
	for _, at := range p {
		if at < limit {
			n++
		}
	}
	return n
}

func (t *Tokenizer) tokens(text string) ([]int32, positions) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	for _, n := range t.normalize {
		text = bounded(n(text))
	}
	pieces := []string{text}
	for _, s := range t.split {
		pieces = s(pieces)
	}
	ids := make([]int32, 0, len(text)/3+8)
	var unknown positions
	for _, p := range pieces {
		before, missing := len(ids), 0
		ids, missing = t.model.append(ids, p)
		for i := before; missing > 0 && i < len(ids); i++ {
			if t.unknown(ids[i]) {
				unknown = append(unknown, i)
				missing--
			}
		}
	}
	return ids, unknown
}

// bounded cuts a text that has grown too long, between characters.
func bounded(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (t *Tokenizer) unknown(id int32) bool {
	switch m := t.model.(type) {
	case *wordPiece:
		return id == m.unknown
	case *unigram:
		return id == m.unknown
	}
	return false
}

func cut(ids []int32, limit int) []int32 { return ids[:min(len(ids), max(0, limit))] }

// longestFirst is how much of two texts of n and m tokens is kept where limit are allowed: the longer one is cut until it is
// as short as the other one, then both.
func longestFirst(n, m, limit int) (int, int) {
	if n+m <= limit {
		return n, m
	}
	short := min(n, m)
	long := max(short, limit-short)
	if short+long > limit {
		short = limit / 2
		long = short + limit%2
	}
	if n > m {
		return long, short
	}
	return short, long
}

// frame is what stands around and between texts.
type frame struct {
	parts []part
	fixed int // tokens that are not a text's
}

// part is a token, or a text where text is not 0.
type part struct {
	id   int32
	kind int32
	text int // 1 or 2
}

func newFrame(parts []part) (frame, error) {
	f := frame{parts: parts}
	for _, p := range parts {
		if p.text == 0 {
			f.fixed++
		}
	}
	if f.fixed > maxSpecial {
		return frame{}, errors.New("more tokens around a text than any model has")
	}
	return f, nil
}

func (f frame) put(first, second []int32, unknown int) Encoding {
	n := f.fixed + len(first) + len(second)
	e := Encoding{IDs: make([]int32, 0, n), Types: make([]int32, 0, n), Unknown: unknown}
	for _, p := range f.parts {
		text := []int32{p.id}
		switch p.text {
		case 1:
			text = first
		case 2:
			text = second
		}
		e.IDs = append(e.IDs, text...)
		for range text {
			e.Types = append(e.Types, p.kind)
		}
	}
	return e
}
