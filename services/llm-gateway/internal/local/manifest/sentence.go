package manifest

import (
	"fmt"
	"path"
	"strings"
)

// modules reads modules.json: what comes after the transformer. Without it a text's vector is the mean, as sentence-transformers has it.
func (m *Model) modules(dir string) error {
	if m.Kind == Reranker {
		return nil
	}
	m.Pooling = Mean
	var modules []struct {
		Type string `json:"type"`
		Path string `json:"path"`
	}
	if _, err := load(dir, "modules.json", &modules); err != nil {
		return err
	}
	for i, module := range modules {
		// The full name is that of a class, which has moved between versions.
		switch name := module.Type[strings.LastIndex(module.Type, ".")+1:]; {
		case name == "Transformer" && i == 0:
			if module.Path != "" && module.Path != "." {
				return fmt.Errorf("modules.json: the transformer is in %q, not in the folder itself", module.Path)
			}
		case name == "Pooling" && i == 1:
			if err := m.pooling(dir, path.Join(module.Path, "config.json")); err != nil {
				return err
			}
		case name == "Normalize" && i == len(modules)-1 && i > 0:
			m.Normalize = true
		default:
			return fmt.Errorf("modules.json: %q in place %d can't be run; Transformer, Pooling and Normalize, in this order, can", module.Type, i)
		}
	}
	return nil
}

func (m *Model) pooling(dir, name string) error {
	var c struct {
		Mode      string `json:"pooling_mode"`
		CLS       bool   `json:"pooling_mode_cls_token"`
		Mean      bool   `json:"pooling_mode_mean_tokens"`
		Max       bool   `json:"pooling_mode_max_tokens"`
		Root      bool   `json:"pooling_mode_mean_sqrt_len_tokens"`
		Weighted  bool   `json:"pooling_mode_weightedmean_tokens"`
		Last      bool   `json:"pooling_mode_lasttoken"`
		Prompt    *bool  `json:"include_prompt"`
		Dimension int    `json:"word_embedding_dimension"`
	}
	found, err := load(dir, name, &c)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%s is missing, which modules.json names", name)
	}
	if c.Max || c.Root || c.Weighted || c.Last || (c.CLS && c.Mean) || (c.Mode != "" && c.Mode != "mean" && c.Mode != "cls") {
		return fmt.Errorf("%s: this pooling can't be run; either of mean and cls can", name)
	}
	if c.Prompt != nil && !*c.Prompt {
		return fmt.Errorf("%s: include_prompt false can't be run", name)
	}
	if c.Dimension != 0 && c.Dimension != m.Hidden {
		return fmt.Errorf("%s: word_embedding_dimension is %d, hidden_size %d", name, c.Dimension, m.Hidden)
	}
	switch {
	case c.CLS || c.Mode == "cls":
		m.Pooling = CLS
	case !c.Mean && c.Mode == "":
		return fmt.Errorf("%s: names no pooling", name)
	}
	return nil
}

// length finds how long a text may be: what the model was made for, and never more than there are positions.
func (m *Model) length(dir string) error {
	m.MaxTokens = m.Positions - m.Offset
	var c struct {
		Max *int `json:"max_seq_length"`
	}
	if _, err := load(dir, "sentence_bert_config.json", &c); err != nil {
		return err
	}
	if c.Max == nil {
		return nil
	}
	if *c.Max < 3 {
		return fmt.Errorf("sentence_bert_config.json: max_seq_length is %d, which leaves no room for a text", *c.Max)
	}
	m.MaxTokens = min(m.MaxTokens, *c.Max)
	return nil
}

func (m *Model) prompts(dir string) error {
	var c struct {
		Prompts map[string]string `json:"prompts"`
	}
	_, err := load(dir, "config_sentence_transformers.json", &c)
	m.Prompts = c.Prompts
	return err
}
