// Package manifest reads what a model's folder says of the model: the files beside the weights that Hugging Face's
// transformers and sentence-transformers write. What is said there and can't be done here is refused with the reason, so that no
// model runs in another way than it was trained for.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Kind is what a model is for.
type Kind uint8

// The kinds of model.
const (
	// Embedder makes a vector of a text.
	Embedder Kind = iota + 1
	// Reranker scores a text against a query: a cross-encoder.
	Reranker
)

// String returns the kind as people read it.
func (k Kind) String() string {
	if k == Reranker {
		return "reranker"
	}
	return "embedder"
}

// Family is how an encoder's layers are named and its positions counted.
type Family uint8

// The families.
const (
	BERT    Family = iota + 1
	RoBERTa        // and XLM-R: positions begin after the padding's, the classifier is two layers
)

// String returns the prefix that tensors of the family have in files of models with a head.
func (f Family) String() string {
	if f == RoBERTa {
		return "roberta"
	}
	return "bert"
}

// Pooling is how a text's vector comes from its tokens'.
type Pooling uint8

// The poolings.
const (
	Mean Pooling = iota + 1
	CLS          // the first token's
)

// String returns the pooling's name.
func (p Pooling) String() string {
	if p == CLS {
		return "cls"
	}
	return "mean"
}

// Model is what a folder says.
type Model struct {
	Kind   Kind
	Family Family

	Layers, Hidden, Heads, Intermediate int
	Vocabulary, Positions, Types        int
	// Offset is the position of the first token.
	Offset  int
	Epsilon float32

	// Pooling and Normalize say how an embedder's vectors are made.
	Pooling   Pooling
	Normalize bool
	// MaxTokens is how long a text may be, special tokens counted. The rest is cut off.
	MaxTokens int
	// Prompts are what stands before texts, by what they are for, such as query and passage.
	Prompts map[string]string
	// Weights is the path of the weights.
	Weights string
}

// Read reads a folder's files.
func Read(dir string) (Model, error) {
	m, err := read(dir)
	if err != nil {
		return Model{}, fmt.Errorf("read model folder %s: %w", dir, err)
	}
	return m, nil
}

func read(dir string) (Model, error) {
	var m Model
	if err := m.transformer(dir); err != nil {
		return Model{}, err
	}
	if err := m.modules(dir); err != nil {
		return Model{}, err
	}
	if err := m.length(dir); err != nil {
		return Model{}, err
	}
	if err := m.prompts(dir); err != nil {
		return Model{}, err
	}
	m.Weights = filepath.Join(dir, "model.safetensors")
	if _, err := os.Stat(m.Weights); err != nil {
		return Model{}, noWeights(dir, err)
	}
	return m, nil
}

// noWeights says what to do about weights in another form.
func noWeights(dir string, cause error) error {
	for name, advice := range map[string]string{
		"pytorch_model.bin":            "pickles are programs and are not read; convert it to model.safetensors",
		"model.safetensors.index.json": "weights in several files are not read",
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("model.safetensors is missing, there is %s: %s", name, advice)
		}
	}
	return cause
}

// maxFile bounds the files beside the weights.
const maxFile = 4 << 20

// load decodes one of the folder's JSON files, and says whether it is there.
func load(dir, name string, into any) (bool, error) {
	if !filepath.IsLocal(name) {
		return false, fmt.Errorf("read %s: outside the folder", name)
	}
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxFile {
		return false, fmt.Errorf("read %s: larger than %d bytes", name, maxFile)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return true, nil
}
