package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
)

const (
	config = `{"model_type":"bert","architectures":["BertModel"],"hidden_act":"gelu","num_hidden_layers":2,"hidden_size":8,"num_attention_heads":2,
		"intermediate_size":16,"vocab_size":30,"max_position_embeddings":512,"type_vocab_size":2,"layer_norm_eps":1e-12,"pad_token_id":0}`
	mean    = `{"pooling_mode_mean_tokens":true,"word_embedding_dimension":8}`
	modules = `[{"type":"sentence_transformers.models.Transformer","path":""},{"type":"sentence_transformers.models.Pooling","path":"1_Pooling"},
		{"type":"sentence_transformers.models.Normalize","path":"2_Normalize"}]`
)

// folder writes a good model's folder with some files replaced; an empty text leaves one out.
func folder(t testing.TB, replaced map[string]string) string {
	t.Helper()
	files := map[string]string{
		"config.json": config, "modules.json": modules, "1_Pooling/config.json": mean, "sentence_bert_config.json": `{"max_seq_length":256}`,
		"config_sentence_transformers.json": `{"prompts":{"query":"query: ","passage":"passage: "}}`, "model.safetensors": "x",
	}
	for name, text := range replaced {
		files[name] = text
	}
	dir := t.TempDir()
	for name, text := range files {
		if text == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolders(t *testing.T) {
	t.Parallel()
	full := manifest.Model{
		Kind: manifest.Embedder, Family: manifest.BERT, Layers: 2, Hidden: 8, Heads: 2, Intermediate: 16, Vocabulary: 30, Positions: 512, Types: 2,
		Epsilon: 1e-12, Pooling: manifest.Mean, Normalize: true, MaxTokens: 256, Prompts: map[string]string{"query": "query: ", "passage": "passage: "},
	}
	with := func(change func(*manifest.Model)) manifest.Model {
		m := full
		change(&m)
		return m
	}
	roberta := strings.NewReplacer(`"bert"`, `"xlm-roberta"`, "512", "514", `"pad_token_id":0`, `"pad_token_id":1`, `"type_vocab_size":2`, `"type_vocab_size":1`).Replace(config)
	for name, test := range map[string]struct {
		files map[string]string
		want  manifest.Model
	}{
		"everything":            {nil, full},
		"cls":                   {map[string]string{"1_Pooling/config.json": `{"pooling_mode_cls_token":true}`}, with(func(m *manifest.Model) { m.Pooling = manifest.CLS })},
		"cls by the newer key":  {map[string]string{"1_Pooling/config.json": `{"pooling_mode":"cls"}`}, with(func(m *manifest.Model) { m.Pooling = manifest.CLS })},
		"no modules":            {map[string]string{"modules.json": ""}, with(func(m *manifest.Model) { m.Normalize = false })},
		"longer than positions": {map[string]string{"sentence_bert_config.json": `{"max_seq_length":9999}`}, with(func(m *manifest.Model) { m.MaxTokens = 512 })},
		"no length":             {map[string]string{"sentence_bert_config.json": ""}, with(func(m *manifest.Model) { m.MaxTokens = 512 })},
		"length is null":        {map[string]string{"sentence_bert_config.json": `{"max_seq_length":null}`}, with(func(m *manifest.Model) { m.MaxTokens = 512 })},
		"no prompts":            {map[string]string{"config_sentence_transformers.json": ""}, with(func(m *manifest.Model) { m.Prompts = nil })},
		"positions begin with padding": {map[string]string{"config.json": roberta, "sentence_bert_config.json": ""}, with(func(m *manifest.Model) {
			m.Family, m.Positions, m.Offset, m.Types, m.MaxTokens = manifest.RoBERTa, 514, 2, 1, 512
		})},
		"reranker": {map[string]string{"config.json": strings.Replace(config, "BertModel", "BertForSequenceClassification", 1)}, with(func(m *manifest.Model) {
			m.Kind, m.Pooling, m.Normalize = manifest.Reranker, 0, false
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, test.files)
			test.want.Weights = filepath.Join(dir, "model.safetensors")
			got, err := manifest.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	t.Parallel()
	replace := func(from, to string) map[string]string {
		if !strings.Contains(config, from) {
			t.Fatalf("the configuration has no %s", from)
		}
		return map[string]string{"config.json": strings.Replace(config, from, to, 1)}
	}
	for reason, files := range map[string]map[string]string{
		"config.json is missing":             {"config.json": ""},
		"read config.json":                   {"config.json": "{"},
		`model_type "gpt2"`:                  replace(`"bert"`, `"gpt2"`),
		`hidden_act "relu"`:                  replace(`"gelu"`, `"relu"`),
		"hidden_size is 0":                   replace(`"hidden_size":8`, `"hidden_size":0`),
		"num_hidden_layers is 100000":        replace(`"num_hidden_layers":2`, `"num_hidden_layers":100000`),
		"divided among 3":                    replace(`"num_attention_heads":2`, `"num_attention_heads":3`),
		"leave no room":                      replace(`512`, `2`),
		"layer_norm_eps is 0":                replace(`1e-12`, `0`),
		"position_embedding_type":            replace(`"vocab_size"`, `"position_embedding_type":"relative_key","vocab_size"`),
		"is_decoder":                         replace(`"vocab_size"`, `"is_decoder":true,"vocab_size"`),
		"ForTokenClassification":             replace(`BertModel`, `BertForTokenClassification`),
		"has 3 labels":                       replace(`"architectures":["BertModel"]`, `"architectures":["BertForSequenceClassification"],"id2label":{"0":"a","1":"b","2":"c"}`),
		"Dense":                              {"modules.json": strings.Replace(modules, "Normalize\"", "Dense\"", 1)},
		`the transformer is in "0_T"`:        {"modules.json": strings.Replace(modules, `"path":""`, `"path":"0_T"`, 1)},
		"outside the folder":                 {"modules.json": strings.Replace(modules, "1_Pooling", "../..", 1)},
		"1_Pooling/config.json is missing":   {"1_Pooling/config.json": ""},
		"this pooling can't be run":          {"1_Pooling/config.json": `{"pooling_mode_max_tokens":true}`},
		"names no pooling":                   {"1_Pooling/config.json": `{}`},
		"include_prompt":                     {"1_Pooling/config.json": `{"pooling_mode_mean_tokens":true,"include_prompt":false}`},
		"word_embedding_dimension is 9":      {"1_Pooling/config.json": `{"pooling_mode_mean_tokens":true,"word_embedding_dimension":9}`},
		"max_seq_length is 2":                {"sentence_bert_config.json": `{"max_seq_length":2}`},
		"model.safetensors":                  {"model.safetensors": ""},
		"pickles are programs":               {"model.safetensors": "", "pytorch_model.bin": "x"},
		"weights in several files":           {"model.safetensors": "", "model.safetensors.index.json": "x"},
		"larger than":                        {"modules.json": strings.Repeat(" ", 5<<20)},
		"read config_sentence_transformers.": {"config_sentence_transformers.json": `{"prompts":1}`},
	} {
		if _, err := manifest.Read(folder(t, files)); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("got %v, want an error with %q", err, reason)
		}
	}
}

// FuzzRead tries any text as each of the files.
func FuzzRead(f *testing.F) {
	f.Add(config, modules, mean)
	f.Add(strings.Replace(config, "BertModel", "BertForSequenceClassification", 1), "[]", "{}")
	f.Fuzz(func(t *testing.T, config, modules, pooling string) {
		m, err := manifest.Read(folder(t, map[string]string{"config.json": config, "modules.json": modules, "1_Pooling/config.json": pooling}))
		if err == nil && (m.MaxTokens < 3 || m.MaxTokens > m.Positions-m.Offset || m.Hidden%m.Heads != 0) {
			t.Errorf("accepted %+v", m)
		}
	})
}
