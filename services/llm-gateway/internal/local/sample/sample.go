// Package sample writes model folders for tests and the benchmark: weights by a seeded generator, laid out as sentence-transformers does.
package sample

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Shape is a model to generate.
type Shape struct {
	Family                                         string // model_type: bert or xlm-roberta
	Reranker, CLS, Normalize                       bool
	Layers, Hidden, Heads, Intermediate            int
	Vocabulary, Positions, Types, Padding, MaxText int
	DType                                          string // F32, F16 or BF16
	Prefix                                         string // before the encoder's tensors
}

// Tiny returns a model that is large enough to go wrong in every way that a real one can.
func Tiny() Shape {
	return Shape{
		Family: "bert", Normalize: true, Layers: 2, Hidden: 64, Heads: 4, Intermediate: 96, Vocabulary: 120, Positions: 80, Types: 2, MaxText: 64, DType: "F32",
	}
}

// MiniLM returns one of the size of all-MiniLM-L6-v2.
func MiniLM() Shape {
	return Shape{
		Family: "bert", Normalize: true, Layers: 6, Hidden: 384, Heads: 12, Intermediate: 1536, Vocabulary: 30522, Positions: 512, Types: 2, MaxText: 256, DType: "F32",
	}
}

// Write writes the model into an empty folder, all but its tokenizer.
func Write(dir string, s Shape) error {
	architecture := map[string]string{"bert": "Bert", "xlm-roberta": "XLMRoberta"}[s.Family]
	config := map[string]any{
		"model_type": s.Family, "architectures": []string{architecture + "Model"}, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
		"num_hidden_layers": s.Layers, "hidden_size": s.Hidden, "num_attention_heads": s.Heads, "intermediate_size": s.Intermediate,
		"vocab_size": s.Vocabulary, "max_position_embeddings": s.Positions, "type_vocab_size": s.Types, "pad_token_id": s.Padding,
	}
	files := map[string]any{"config.json": config, "sentence_bert_config.json": map[string]any{"max_seq_length": s.MaxText}}
	if s.Reranker {
		config["architectures"] = []string{architecture + "ForSequenceClassification"}
		config["id2label"] = map[string]string{"0": "LABEL_0"}
	} else {
		modules := []map[string]any{{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}}
		if s.Normalize {
			modules = append(modules, map[string]any{"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
		}
		files["modules.json"] = modules
		files["1_Pooling/config.json"] = map[string]any{"word_embedding_dimension": s.Hidden, "pooling_mode_cls_token": s.CLS, "pooling_mode_mean_tokens": !s.CLS}
	}
	for name, value := range files {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "model.safetensors"), s.weights(), 0o644)
}

// Tensor is one tensor of a file.
type Tensor struct {
	Name  string
	Shape []int
	// Around and By say what its values are: around so much, by so much more or less.
	Around, By float64
}

// Tensors lists what a model of the shape consists of.
func (s Shape) Tensors() []Tensor {
	var all []Tensor
	add := func(name string, around, by float64, shape ...int) {
		all = append(all, Tensor{name, shape, around, by})
	}
	linear := func(name string, k, n int) {
		add(name+".weight", 0, math.Sqrt(3/float64(k)), n, k)
		add(name+".bias", 0, 0.1, n)
	}
	norm := func(name string) {
		add(name+".weight", 1, 0.3, s.Hidden)
		add(name+".bias", 0, 0.2, s.Hidden)
	}
	add(s.Prefix+"embeddings.word_embeddings.weight", 0, 0.8, s.Vocabulary, s.Hidden)
	add(s.Prefix+"embeddings.position_embeddings.weight", 0, 0.3, s.Positions, s.Hidden)
	add(s.Prefix+"embeddings.token_type_embeddings.weight", 0, 0.3, s.Types, s.Hidden)
	norm(s.Prefix + "embeddings.LayerNorm")
	for i := range s.Layers {
		layer := fmt.Sprintf("%sencoder.layer.%d.", s.Prefix, i)
		for _, part := range []string{"query", "key", "value"} {
			linear(layer+"attention.self."+part, s.Hidden, s.Hidden)
		}
		linear(layer+"attention.output.dense", s.Hidden, s.Hidden)
		norm(layer + "attention.output.LayerNorm")
		linear(layer+"intermediate.dense", s.Hidden, s.Intermediate)
		linear(layer+"output.dense", s.Intermediate, s.Hidden)
		norm(layer + "output.LayerNorm")
	}
	switch {
	case s.Reranker && s.Family == "bert":
		linear(s.Prefix+"pooler.dense", s.Hidden, s.Hidden)
		linear("classifier", s.Hidden, 1)
	case s.Reranker:
		linear("classifier.dense", s.Hidden, s.Hidden)
		linear("classifier.out_proj", s.Hidden, 1)
	}
	return all
}

func (s Shape) weights() []byte {
	random := rand.New(rand.NewPCG(20261121, uint64(s.Hidden))) //nolint:gosec // the same weights every time
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]entry{}
	var data []byte
	for _, t := range s.Tensors() {
		from, n := len(data), 1
		for _, d := range t.Shape {
			n *= d
		}
		for range n {
			data = appendFloat(data, s.DType, float32(t.Around+t.By*(2*random.Float64()-1)))
		}
		header[t.Name] = entry{s.DType, t.Shape, [2]int{from, len(data)}}
	}
	text, _ := json.Marshal(header)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(out, text...), data...)
}

// appendFloat cuts off what a type has no room for.
func appendFloat(to []byte, dtype string, v float32) []byte {
	bits := math.Float32bits(v)
	switch dtype {
	case "BF16":
		return binary.LittleEndian.AppendUint16(to, uint16(bits>>16))
	case "F16":
		exponent := int(bits>>23&255) - 127 + 15
		if exponent <= 0 {
			return binary.LittleEndian.AppendUint16(to, uint16(bits>>31)<<15)
		}
		return binary.LittleEndian.AppendUint16(to, uint16(bits>>31)<<15|uint16(exponent)<<10|uint16(bits>>13&1023))
	default:
		return binary.LittleEndian.AppendUint32(to, bits)
	}
}
