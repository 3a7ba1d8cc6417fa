package measure

import (
	"bufio"
	"fmt"
	"io"
	"slices"
)

// Hit is a document of a ranking.
type Hit struct {
	Document string
	Score    float64
}

// Best merges passages, best first, into documents: each stands where its best passage stands.
func Best(passages []Hit) []Hit {
	seen := make(map[string]bool, len(passages))
	var documents []Hit
	for _, p := range passages {
		if !seen[p.Document] {
			seen[p.Document] = true
			documents = append(documents, p)
		}
	}
	return documents
}

// Documents returns the ids of hits.
func Documents(hits []Hit) []string {
	ids := make([]string, len(hits))
	for i, h := range hits {
		ids[i] = h.Document
	}
	return ids
}

// WriteRun writes rankings by query id in TREC's format: query id, the word Q0, document id, rank from 1, score, and tag.
// trec_eval orders by score and ignores the rank, so a score that does not fall (a tie, or a rescored order) is replaced by
// the number just below the one before it: what is measured elsewhere is the order that was returned.
func WriteRun(w io.Writer, queries []string, rankings map[string][]Hit, tag string) error {
	out := bufio.NewWriter(w)
	for _, query := range queries {
		last := 0.0
		for i, h := range slices.All(rankings[query]) {
			score := h.Score
			if i > 0 && !(score < last-step) {
				score = last - step
			}
			last = score
			if _, err := fmt.Fprintf(out, "%s Q0 %s %d %.6f %s\n", query, h.Document, i+1, score, tag); err != nil {
				return fmt.Errorf("write run: %w", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	return nil
}

// step is large enough to survive in the single precision that trec_eval reads scores with.
const step = 1e-4
