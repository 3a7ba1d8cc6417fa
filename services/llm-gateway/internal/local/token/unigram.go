package token

import (
	"slices"
	"unicode/utf8"
)

// unigram cuts a text into the tokens whose probabilities have the greatest product (Kudo, Subword Regularization, 2018), by
// Viterbi's algorithm over the text's bytes. What no token covers costs 10 more than the least probable token, and becomes
// one unknown token with its neighbours of that kind.
type unigram struct {
	tokens  tree
	scores  []float64 // by id
	unknown int32
	penalty float64 // score of a character that no token covers
	// bytes are the tokens of single bytes, where what is unknown is spelt with them; nil where it is not.
	bytes *[256]int32
}

func newUnigram(tokens []string, scores []float64, unknown int32, bytes *[256]int32) *unigram {
	return &unigram{tokens: newTree(tokens), scores: scores, unknown: unknown, penalty: slices.Min(scores) - 10, bytes: bytes}
}

// step is the best way to a place in the text.
type step struct {
	from  int32 // where its last token begins; -1 when there is no way yet
	id    int32
	score float64
}

func (u *unigram) append(ids []int32, piece string) ([]int32, int) {
	steps := make([]step, len(piece)+1)
	for i := 1; i < len(steps); i++ {
		steps[i].from = -1
	}
	for at := 0; at < len(piece); {
		_, char := utf8.DecodeRuneInString(piece[at:])
		here, single := steps[at].score, false
		reach := func(to int, id int32, score float64) {
			if s := &steps[to]; s.from < 0 || here+score > s.score {
				*s = step{from: int32(at), id: id, score: here + score}
			}
		}
		n := root
		for to := at; to < len(piece); {
			if n = u.tokens.next(n, piece[to]); n == nowhere {
				break
			}
			to++
			if id := u.tokens.nodes[n].id; id >= 0 {
				reach(to, id, u.scores[id])
				single = single || to-at == char
			}
		}
		if !single {
			reach(at+char, u.unknown, u.penalty)
		}
		at += char
	}
	return u.collect(ids, piece, steps)
}

// collect walks the best way backwards.
func (u *unigram) collect(ids []int32, piece string, steps []step) ([]int32, int) {
	before, unknown := len(ids), 0
	for to := len(piece); to > 0; {
		s := steps[to]
		from := int(s.from)
		if s.id != u.unknown {
			ids = append(ids, s.id)
			to = from
			continue
		}
		for from > 0 && steps[from].id == u.unknown {
			from = int(steps[from].from)
		}
		switch {
		case u.bytes != nil:
			for i := to - 1; i >= from; i-- {
				ids = append(ids, u.bytes[piece[i]])
			}
		default:
			ids = append(ids, u.unknown)
			unknown++
		}
		to = from
	}
	for i, j := before, len(ids)-1; i < j; i, j = i+1, j-1 {
		ids[i], ids[j] = ids[j], ids[i]
	}
	return ids, unknown
}
