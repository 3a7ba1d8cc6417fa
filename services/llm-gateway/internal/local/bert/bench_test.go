package bert_test

import (
	"fmt"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/sample"
)

func BenchmarkRun(b *testing.B) {
	m := open(b, generate(b, sample.MiniLM()), kernel.Best())
	spaces, scratch := make([]bert.Space, 1), &bert.Scratch{}
	for _, shape := range []struct{ texts, tokens int }{{1, 12}, {1, 256}, {4, 128}} {
		b.Run(fmt.Sprintf("%dx%d", shape.texts, shape.tokens), func(b *testing.B) {
			sequences := make([]*bert.Sequence, shape.texts)
			for i := range sequences {
				sequences[i] = &bert.Sequence{IDs: make([]int32, shape.tokens), Out: make([]float32, m.Width())}
				for j := range sequences[i].IDs {
					sequences[i].IDs[j] = int32(i*997 + j*31)
				}
			}
			for b.Loop() {
				m.Run(bert.Alone{}, spaces, scratch, sequences)
			}
			b.ReportMetric(float64(shape.texts*shape.tokens*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
