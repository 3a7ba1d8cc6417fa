package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// file is what matters of tokenizer.json. Its own truncation and padding do not: texts are cut to what the model can read,
// and packed.
type file struct {
	Added         []added         `json:"added_tokens"`
	Normalizer    *section        `json:"normalizer"`
	PreTokenizer  *section        `json:"pre_tokenizer"`
	PostProcessor *postProcessor  `json:"post_processor"`
	Model         json.RawMessage `json:"model"`
}

type added struct {
	ID      int32  `json:"id"`
	Content string `json:"content"`
}

// section is a normalizer or a pre-tokenizer of any kind.
type section struct {
	Type string `json:"type"`

	Normalizers   []section `json:"normalizers"`
	PreTokenizers []section `json:"pretokenizers"`

	CleanText    *bool `json:"clean_text"`
	Chinese      *bool `json:"handle_chinese_chars"`
	StripAccents *bool `json:"strip_accents"`
	Lowercase    *bool `json:"lowercase"`

	StripLeft  bool `json:"strip_left"`
	StripRight bool `json:"strip_right"`

	CharsMap []byte `json:"precompiled_charsmap"`

	Pattern struct {
		String *string `json:"String"`
		Regex  *string `json:"Regex"`
	} `json:"pattern"`
	Content string `json:"content"`

	Replacement    string `json:"replacement"`
	PrependScheme  string `json:"prepend_scheme"`
	AddPrefixSpace *bool  `json:"add_prefix_space"`
	Split          *bool  `json:"split"`
}

// Bounds of a tokenizer's steps.
const (
	maxSections = 32
	maxContent  = 64 // bytes of what a step puts in
)

// Parse reads a tokenizer.json.
func Parse(raw []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	t := &Tokenizer{}
	var err error
	if t.normalize, err = f.Normalizer.normalizers(0); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if len(t.normalize) > maxSections {
		return nil, errors.New("normalizer: has too many steps")
	}
	if t.split, err = f.PreTokenizer.splitters(0); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if len(t.split) > maxSections {
		return nil, errors.New("pre_tokenizer: has too many steps")
	}
	build, vocab, err := t.readModel(f.Model)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	hidden := make(map[int32]bool)
	for _, a := range f.Added {
		if a.ID < 0 || a.ID >= maxTokens {
			return nil, fmt.Errorf("added_tokens: %q has id %d", a.Content, a.ID)
		}
		vocab[a.Content] = a.ID
		hidden[a.ID] = true
		t.size = max(t.size, int(a.ID)+1)
	}
	if t.single, t.pair, err = f.PostProcessor.frames(vocab); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	for _, p := range append(t.single.parts, t.pair.parts...) {
		if p.id < 0 || int(p.id) >= t.size {
			return nil, fmt.Errorf("post_processor: id %d is no token's", p.id)
		}
		hidden[p.id] = hidden[p.id] || p.text == 0
	}
	t.model = build(hidden)
	return t, nil
}

func yes(b *bool) bool { return b == nil || *b }

func (s *section) normalizers(depth int) ([]normalizer, error) {
	if s == nil {
		return nil, nil
	}
	if depth > 4 || len(s.Normalizers) > maxSections {
		return nil, errors.New("has too many steps")
	}
	one := func(n normalizer) ([]normalizer, error) { return []normalizer{n}, nil }
	switch s.Type {
	case "Sequence":
		var out []normalizer
		for _, step := range s.Normalizers {
			n, err := step.normalizers(depth + 1)
			if err != nil {
				return nil, err
			}
			out = append(out, n...)
		}
		return out, nil
	case "BertNormalizer":
		accents := yes(s.Lowercase)
		if s.StripAccents != nil {
			accents = *s.StripAccents
		}
		return bertText(yes(s.CleanText), yes(s.Chinese), accents, yes(s.Lowercase)), nil
	case "Lowercase":
		return one(lowered)
	case "StripAccents":
		return one(withoutAccents)
	case "Strip":
		return one(trimmed(s.StripLeft, s.StripRight))
	case "NFC":
		return one(norm.NFC.String)
	case "NFD":
		return one(norm.NFD.String)
	case "NFKC":
		return one(norm.NFKC.String)
	case "NFKD":
		return one(norm.NFKD.String)
	case "Precompiled":
		if len(s.CharsMap) == 0 {
			return nil, nil
		}
		m, err := readCharsMap(s.CharsMap)
		if err != nil {
			return nil, fmt.Errorf("precompiled_charsmap: %w", err)
		}
		return one(m.replace)
	case "Replace":
		n, err := s.replacer()
		if err != nil {
			return nil, err
		}
		return one(n)
	default:
		return nil, fmt.Errorf("%q is not supported", s.Type)
	}
}

// replacer replaces a text, or what a pattern matches, by a text.
func (s *section) replacer() (normalizer, error) {
	switch {
	case len(s.Content) > maxContent:
		return nil, fmt.Errorf("a Replace puts in %d bytes", len(s.Content))
	case s.Pattern.String != nil && *s.Pattern.String != "":
		from, to := *s.Pattern.String, s.Content
		return func(text string) string { return strings.ReplaceAll(text, from, to) }, nil
	case s.Pattern.Regex != nil && len(*s.Pattern.Regex) <= maxToken:
		re, err := regexp.Compile(*s.Pattern.Regex)
		if err != nil {
			return nil, fmt.Errorf("in a Replace: %w", err)
		}
		to := s.Content
		return func(text string) string { return re.ReplaceAllLiteralString(text, to) }, nil
	default:
		return nil, errors.New("a Replace has no pattern")
	}
}

func (s *section) splitters(depth int) ([]splitter, error) {
	if s == nil {
		return nil, nil
	}
	if depth > 4 || len(s.PreTokenizers) > maxSections {
		return nil, errors.New("has too many steps")
	}
	one := func(sp splitter) ([]splitter, error) { return []splitter{sp}, nil }
	switch s.Type {
	case "Sequence":
		var out []splitter
		for _, step := range s.PreTokenizers {
			sp, err := step.splitters(depth + 1)
			if err != nil {
				return nil, err
			}
			out = append(out, sp...)
		}
		return out, nil
	case "BertPreTokenizer":
		return one(bertWords)
	case "WhitespaceSplit":
		return one(words)
	case "Punctuation":
		return one(punctuated)
	case "Metaspace":
		mark, prepend := s.Replacement, s.PrependScheme
		if mark == "" {
			mark = "▁"
		}
		if len(mark) > maxContent {
			return nil, fmt.Errorf("a Metaspace has a mark of %d bytes", len(mark))
		}
		if prepend == "" {
			prepend = prependAlways
			if !yes(s.AddPrefixSpace) {
				prepend = prependNever
			}
		}
		if prepend != prependAlways && prepend != prependFirst && prepend != prependNever {
			return nil, fmt.Errorf("a Metaspace: prepend_scheme %q is not supported", prepend)
		}
		return one(metaspace(mark, prepend, yes(s.Split)))
	default:
		return nil, fmt.Errorf("%q is not supported", s.Type)
	}
}

// builder makes a model that never takes the hidden tokens for text.
type builder func(hidden map[int32]bool) model

// readModel reads the vocabulary and returns what makes the model of it, and the ids of its tokens.
func (t *Tokenizer) readModel(raw json.RawMessage) (builder, map[string]int32, error) {
	var m struct {
		Type         string          `json:"type"`
		Unknown      string          `json:"unk_token"`
		Prefix       *string         `json:"continuing_subword_prefix"`
		MaxChars     *int            `json:"max_input_chars_per_word"`
		UnknownID    *int32          `json:"unk_id"`
		ByteFallback bool            `json:"byte_fallback"`
		Vocab        json.RawMessage `json:"vocab"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, nil, fmt.Errorf("decode: %w", err)
	}
	switch m.Type {
	case "WordPiece":
		vocab, err := readWords(m.Vocab)
		if err != nil {
			return nil, nil, err
		}
		unknown, ok := vocab[m.Unknown]
		if !ok {
			return nil, nil, fmt.Errorf("unk_token %q is not in the vocabulary", m.Unknown)
		}
		prefix, most := "##", 100
		if m.Prefix != nil {
			prefix = *m.Prefix
		}
		if m.MaxChars != nil {
			most = *m.MaxChars
		}
		if most < 1 || most > maxToken {
			return nil, nil, fmt.Errorf("max_input_chars_per_word is %d", most)
		}
		for _, id := range vocab {
			t.size = max(t.size, int(id)+1)
		}
		return func(hidden map[int32]bool) model { return newWordPiece(vocab, hidden, prefix, unknown, most) }, vocab, nil
	case "Unigram":
		return t.readUnigram(m.Vocab, m.UnknownID, m.ByteFallback)
	default:
		return nil, nil, fmt.Errorf("%q is not supported; WordPiece and Unigram are", m.Type)
	}
}

func readWords(raw json.RawMessage) (map[string]int32, error) {
	var vocab map[string]int32
	if err := json.Unmarshal(raw, &vocab); err != nil {
		return nil, fmt.Errorf("decode vocabulary: %w", err)
	}
	if len(vocab) == 0 || len(vocab) > maxTokens {
		return nil, fmt.Errorf("a vocabulary of %d tokens", len(vocab))
	}
	for s, id := range vocab {
		if id < 0 || id >= maxTokens || len(s) > maxToken {
			return nil, fmt.Errorf("token %.40q of %d bytes has id %d", s, len(s), id)
		}
	}
	return vocab, nil
}

// scored is a token of a Unigram model: ["token", score].
type scored struct {
	text  string
	score float64
}

// UnmarshalJSON reads the pair.
func (s *scored) UnmarshalJSON(raw []byte) error {
	pair := []any{&s.text, &s.score}
	if err := json.Unmarshal(raw, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("a token is a text and its score")
	}
	return nil
}

func (t *Tokenizer) readUnigram(raw json.RawMessage, unknown *int32, byteFallback bool) (builder, map[string]int32, error) {
	var pieces []scored
	if err := json.Unmarshal(raw, &pieces); err != nil {
		return nil, nil, fmt.Errorf("decode vocabulary: %w", err)
	}
	switch {
	case len(pieces) == 0 || len(pieces) > maxTokens:
		return nil, nil, fmt.Errorf("a vocabulary of %d tokens", len(pieces))
	case unknown == nil || *unknown < 0 || int(*unknown) >= len(pieces):
		return nil, nil, errors.New("unk_id names no token")
	}
	vocab := make(map[string]int32, len(pieces))
	tokens, scores := make([]string, len(pieces)), make([]float64, len(pieces))
	for id, p := range pieces {
		if len(p.text) > maxToken || p.score > 1e6 || p.score < -1e6 {
			return nil, nil, fmt.Errorf("token %d of %d bytes has score %g", id, len(p.text), p.score)
		}
		tokens[id], scores[id] = p.text, p.score
		if _, ok := vocab[p.text]; !ok {
			vocab[p.text] = int32(id)
		}
	}
	var bytes *[256]int32
	if byteFallback {
		bytes = new([256]int32)
		for b := range bytes {
			id, ok := vocab[fmt.Sprintf("<0x%02X>", b)]
			if !ok {
				return nil, nil, fmt.Errorf("byte_fallback without a token <0x%02X>", b)
			}
			bytes[b] = id
		}
	}
	t.size = len(pieces)
	return func(hidden map[int32]bool) model {
		for id := range hidden {
			if int(id) < len(tokens) {
				tokens[id] = "" // never found
			}
		}
		tokens[*unknown] = ""
		return newUnigram(tokens, scores, *unknown, bytes)
	}, vocab, nil
}
