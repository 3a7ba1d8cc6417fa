package manifest

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of a model. Real ones stay far below them; nothing is allocated by them before the weights were found to match.
const (
	maxLayers     = 256
	maxHidden     = 1 << 14
	maxVocabulary = 1 << 22
	maxPositions  = 1 << 20
)

// transformer reads config.json.
func (m *Model) transformer(dir string) error {
	var c struct {
		Type          string            `json:"model_type"`
		Architectures []string          `json:"architectures"`
		Layers        int               `json:"num_hidden_layers"`
		Hidden        int               `json:"hidden_size"`
		Heads         int               `json:"num_attention_heads"`
		Intermediate  int               `json:"intermediate_size"`
		Vocabulary    int               `json:"vocab_size"`
		Positions     int               `json:"max_position_embeddings"`
		Types         *int              `json:"type_vocab_size"`
		Padding       *int              `json:"pad_token_id"`
		Epsilon       *float64          `json:"layer_norm_eps"`
		Activation    string            `json:"hidden_act"`
		PositionType  string            `json:"position_embedding_type"`
		Labels        map[string]string `json:"id2label"`
		Decoder       bool              `json:"is_decoder"`
	}
	found, err := load(dir, "config.json", &c)
	if err != nil {
		return err
	}
	if !found {
		return errors.New("config.json is missing; is it a model's folder?")
	}
	switch c.Type {
	case "bert":
		m.Family = BERT
	case "roberta", "xlm-roberta", "camembert":
		m.Family = RoBERTa
	default:
		return fmt.Errorf("config.json: model_type %q can't be run; bert, roberta, xlm-roberta and camembert can", c.Type)
	}
	if c.Activation != "" && c.Activation != "gelu" {
		return fmt.Errorf("config.json: hidden_act %q can't be run; gelu can", c.Activation)
	}
	if c.PositionType != "" && c.PositionType != "absolute" {
		return fmt.Errorf("config.json: position_embedding_type %q can't be run; absolute can", c.PositionType)
	}
	if c.Decoder {
		return errors.New("config.json: is_decoder is set; this runs encoders")
	}
	m.Layers, m.Hidden, m.Heads, m.Intermediate = c.Layers, c.Hidden, c.Heads, c.Intermediate
	m.Vocabulary, m.Positions, m.Types = c.Vocabulary, c.Positions, orElse(c.Types, 2)
	m.Epsilon = float32(orElse(c.Epsilon, 1e-12))
	if err := m.kind(c.Architectures, len(c.Labels)); err != nil {
		return err
	}
	if m.Family == RoBERTa {
		m.Offset = orElse(c.Padding, 1) + 1
	}
	return m.bounds()
}

// kind tells a cross-encoder by its head.
func (m *Model) kind(architectures []string, labels int) error {
	m.Kind = Embedder
	for _, a := range architectures {
		switch {
		case strings.HasSuffix(a, "ForSequenceClassification"):
			if labels > 1 {
				return fmt.Errorf("config.json: the classifier has %d labels; a reranker has one", labels)
			}
			m.Kind = Reranker
		case strings.Contains(a, "For") && !strings.HasSuffix(a, "ForMaskedLM") && !strings.HasSuffix(a, "ForPreTraining"):
			return fmt.Errorf("config.json: architecture %q can't be run; encoders and ...ForSequenceClassification can", a)
		}
	}
	return nil
}

func (m *Model) bounds() error {
	for _, b := range []struct {
		key         string
		value, most int
	}{
		{"num_hidden_layers", m.Layers, maxLayers},
		{"hidden_size", m.Hidden, maxHidden},
		{"num_attention_heads", m.Heads, m.Hidden},
		{"intermediate_size", m.Intermediate, 8 * maxHidden},
		{"vocab_size", m.Vocabulary, maxVocabulary},
		{"max_position_embeddings", m.Positions, maxPositions},
		{"type_vocab_size", m.Types, 1 << 8},
	} {
		if b.value < 1 || b.value > b.most {
			return fmt.Errorf("config.json: %s is %d; it may be 1 to %d", b.key, b.value, b.most)
		}
	}
	if m.Hidden%m.Heads != 0 {
		return fmt.Errorf("config.json: hidden_size %d can't be divided among %d heads", m.Hidden, m.Heads)
	}
	if m.Offset < 0 || m.Positions-m.Offset < 3 {
		return fmt.Errorf("config.json: %d positions, of which the first is %d, leave no room for a text", m.Positions, m.Offset)
	}
	if !(m.Epsilon > 0 && m.Epsilon < 1) {
		return fmt.Errorf("config.json: layer_norm_eps is %g; it may be more than 0 and less than 1", m.Epsilon)
	}
	return nil
}

func orElse[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
