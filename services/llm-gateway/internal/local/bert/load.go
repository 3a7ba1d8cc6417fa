package bert

import (
	"fmt"
	"math"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/weights"
)

// Load reads a model's weights and packs them for a set of kernels.
func Load(spec manifest.Model, file *weights.File, set *kernel.Set) (*Model, error) {
	l := loader{file: file, set: set}
	// Models with a head keep the encoder under the family's name, bare ones mostly do not.
	if _, ok := file.Shape(spec.Family.String() + ".embeddings.word_embeddings.weight"); ok {
		l.prefix = spec.Family.String() + "."
	}
	m := &Model{spec: spec, set: set, layers: make([]layer, 0, spec.Layers)}
	hidden := spec.Hidden
	m.words = l.table("embeddings.word_embeddings.weight", spec.Vocabulary, hidden)
	m.positions = l.floats("embeddings.position_embeddings.weight", spec.Positions, hidden)
	m.types = l.floats("embeddings.token_type_embeddings.weight", spec.Types, hidden)
	m.embedded = l.norm("embeddings.LayerNorm", hidden)
	for i := range spec.Layers {
		if l.err != nil {
			break
		}
		m.layers = append(m.layers, l.layer(fmt.Sprintf("encoder.layer.%d.", i), spec))
	}
	if spec.Kind == manifest.Reranker {
		m.head = l.head(spec)
	}
	if l.err != nil {
		return nil, fmt.Errorf("load model: %w", l.err)
	}
	return m, nil
}

// loader reads tensors until the first error.
type loader struct {
	file   *weights.File
	set    *kernel.Set
	prefix string
	err    error
}

func (l *loader) floats(name string, shape ...int) []float32 {
	if l.err != nil {
		return nil
	}
	var v []float32
	v, l.err = l.file.Floats(l.prefix+name, shape...)
	return v
}

func (l *loader) table(name string, rows, columns int) *weights.Table {
	if l.err != nil {
		return nil
	}
	var t *weights.Table
	t, l.err = l.file.Table(l.prefix+name, rows, columns)
	return t
}

func (l *loader) norm(name string, n int) norm {
	// Older files have the names that TensorFlow gave them.
	if _, old := l.file.Shape(l.prefix + name + ".gamma"); old {
		return norm{l.floats(name+".gamma", n), l.floats(name+".beta", n)}
	}
	return norm{l.floats(name+".weight", n), l.floats(name+".bias", n)}
}

func (l *loader) linear(name string, k, n int) *kernel.Matrix {
	w, b := l.floats(name+".weight", n, k), l.floats(name+".bias", n)
	if l.err != nil {
		return nil
	}
	return l.set.Pack(w, b, k, n)
}

func (l *loader) layer(name string, spec manifest.Model) layer {
	hidden := spec.Hidden
	var w, b []float32
	for _, part := range []string{"query", "key", "value"} {
		w = append(w, l.floats(name+"attention.self."+part+".weight", hidden, hidden)...)
		b = append(b, l.floats(name+"attention.self."+part+".bias", hidden)...)
		if part == "query" {
			scale := float32(1 / math.Sqrt(float64(hidden/spec.Heads)))
			times(w, scale)
			times(b, scale)
		}
	}
	if l.err != nil {
		return layer{}
	}
	return layer{
		qkv:      l.set.Pack(w, b, hidden, 3*hidden),
		out:      l.linear(name+"attention.output.dense", hidden, hidden),
		attended: l.norm(name+"attention.output.LayerNorm", hidden),
		up:       l.linear(name+"intermediate.dense", hidden, spec.Intermediate),
		down:     l.linear(name+"output.dense", spec.Intermediate, hidden),
		fed:      l.norm(name+"output.LayerNorm", hidden),
	}
}

func (l *loader) head(spec manifest.Model) head {
	if spec.Family == manifest.RoBERTa {
		l.prefix = ""
		return head{l.linear("classifier.dense", spec.Hidden, spec.Hidden), l.linear("classifier.out_proj", spec.Hidden, 1)}
	}
	dense := l.linear("pooler.dense", spec.Hidden, spec.Hidden)
	l.prefix = ""
	return head{dense, l.linear("classifier", spec.Hidden, 1)}
}

func times(v []float32, f float32) {
	for i := range v {
		v[i] *= f
	}
}
