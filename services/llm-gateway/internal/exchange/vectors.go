package exchange

import (
	"errors"
	"fmt"
	"math"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Vectors checks the vectors of r's texts: of one dimension, of numbers, and pointing somewhere. Prompt is how many tokens the
// provider says it has read; 0 where it says nothing.
func Vectors(r provider.EmbedRequest, vectors [][]float32, prompt int) (provider.Embedded, error) {
	for _, v := range vectors {
		if len(v) == 0 || len(v) != len(vectors[0]) {
			return provider.Embedded{}, Unreadable(fmt.Errorf("vectors of %d and %d dimensions", len(vectors[0]), len(v)))
		}
		sum := 0.0
		for _, f := range v {
			sum += float64(f) * float64(f)
		}
		if sum == 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
			return provider.Embedded{}, Unreadable(errors.New("a vector has no direction"))
		}
	}
	usage := provider.Usage{Prompt: prompt}
	if prompt <= 0 {
		usage = provider.EstimateTexts(r.Texts)
	}
	return provider.Embedded{Vectors: vectors, Usage: usage}, nil
}
