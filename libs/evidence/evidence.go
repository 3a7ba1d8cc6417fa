// Package evidence decides from passages alone, without a model, whether they
// can answer a question, which of their own sentences answer it, and whether a
// sentence of an answer is borne out by the quote it cites.
//
// It reads a question as the words, names and numbers an answering sentence has
// to share with it and the kind of thing asked for (a person, a time, a number
// with its unit ...), measures every sentence against that, and weighs the
// result with two small linear models whose weights are committed in weights.go; TestFit says
// how they were obtained, TestMeasure how good they are.
//
// Everything here is deterministic, safe for concurrent use, and linear in the
// size of the passages; a Reader is faster at passages it has met, and no wiser.
package evidence

// Passage is one retrieved piece of a document.
type Passage struct {
	Title    string   // of the document; "" when unknown
	Headings []string // path of headings above the passage, outermost first
	Text     string   // plain text or Markdown, UTF-8
	Score    float64  // the retriever's, on any scale; passages of equal Score (all 0) are taken as given best first
}

// Sentence is a verbatim piece of a passage that is worth quoting: a sentence,
// or two or three when one alone would not be understood ("It ...", "... :").
type Sentence struct {
	Passage    int     // index into the passages
	Start, End int     // half-open byte range in Passage.Text
	Text       string  // Passage.Text[Start:End]
	Score      float64 // share of 0..1 in the belief that this sentence answers, among all sentences
}

// Verdict is what the passages are worth for a question.
type Verdict struct {
	// Score is the estimated probability, 0..1, that the passages hold the answer.
	Score float64
	// Answerable is Score >= Threshold.
	Answerable bool
	// Sentences are those worth quoting, best first, at most MaxSentences; none
	// when no passage has anything in common with the question.
	Sentences []Sentence
	// Missing are the content words of the question, as written there and in its
	// order, that no passage mentions; at most MaxMissing.
	Missing []string
}

// Bounds of a Verdict, and of what Judge reads: a question beyond MaxQuestion
// bytes is cut there.
const (
	MaxSentences = 5
	MaxMissing   = 8
	MaxQuestion  = 2048
)

// Judge decides whether passages can answer question and which of their
// sentences do. No passages, or a question without a content word, give the zero
// Verdict.
func Judge(question string, passages []Passage) Verdict { return judge(question, passages, read) }

func judge(question string, passages []Passage, read func(string) *reading) Verdict {
	q := parse(clip(question, MaxQuestion), true)
	if len(q.units) == 0 || len(passages) == 0 {
		return Verdict{}
	}
	a := analyse(&q, passages, read)
	if len(a.sentences) == 0 {
		return Verdict{}
	}
	ranked := a.rank()
	score := a.verdict(ranked)
	return Verdict{
		Score:      score,
		Answerable: score >= Threshold,
		Sentences:  a.choose(ranked, passages),
		Missing:    a.missing(),
	}
}
