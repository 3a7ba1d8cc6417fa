package evidence

import (
	"time"

	"github.com/ragmesh/ragmesh/libs/recent"
	"github.com/ragmesh/ragmesh/libs/text"
)

// reading is a passage's text, read for any question.
type reading struct {
	text      string
	chinese   bool
	tokens    []text.Token
	sentences []readSentence
}

// readSentence is what a sentence is whatever is asked.
type readSentence struct {
	span     text.Span // without list markers and heading signs
	ordinal  int
	from, to int  // its tokens
	list     bool // introduces a list and includes it
	heading  bool
	code     bool
	negated  bool
	back     bool // begins as one that points back to the sentence before
}

// read reads a text.
func read(s string) *reading {
	r := &reading{text: s, chinese: text.Language(s) == text.Chinese, tokens: text.Tokens(s)}
	spans := text.Sentences(s)
	r.sentences = make([]readSentence, 0, min(len(spans), maxSentences))
	k := 0
	for i, full := range spans {
		span, heading := trimMarkup(s, full)
		for k < len(r.tokens) && r.tokens[k].Start < span.Start {
			k++
		}
		from := k
		for k < len(r.tokens) && r.tokens[k].Start < span.End {
			k++
		}
		to, list := k, false
		if end := listEnd(s, spans[i:]); end > span.End {
			span.End, list = end, true
			for to < len(r.tokens) && r.tokens[to].Start < end {
				to++
			}
		}
		if len(r.sentences) == maxSentences {
			break
		}
		if from == to {
			continue
		}
		tokens := r.tokens[from:to]
		r.sentences = append(r.sentences, readSentence{
			span: span, ordinal: i, from: from, to: to, list: list, heading: heading,
			code: isCode(s[tokens[0].Start:tokens[len(tokens)-1].End]), negated: negated(s, tokens),
			back: s[full.Start] == ':' || pointsBack(s, tokens), // ": It is ..." defines the term on the line above, in Markdown
		})
	}
	return r
}

// size is about how much memory a reading takes.
func (r *reading) size() int { return len(r.text) + 64*len(r.tokens) + 80*len(r.sentences) + 128 }

// Reader judges passages and remembers for a while how it read them: those of the documents that people ask about come again
// and again, and reading takes longer than holding a question against what was read. It is safe for concurrent use.
type Reader struct {
	kept *recent.Cache[string, *reading]
}

// NewReader returns a Reader that takes at most that many bytes, and forgets what nobody asked about for twice the age.
func NewReader(bytes int, age time.Duration) *Reader {
	return &Reader{kept: recent.New[string, *reading](bytes, age)}
}

// Judge is [Judge].
func (r *Reader) Judge(question string, passages []Passage) Verdict {
	return judge(question, passages, r.read)
}

func (r *Reader) read(s string) *reading {
	if known, ok := r.kept.Get(s); ok {
		return known
	}
	fresh := read(s)
	r.kept.Put(s, fresh, fresh.size())
	return fresh
}
