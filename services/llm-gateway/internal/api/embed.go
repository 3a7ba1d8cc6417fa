package api

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"net/http"

	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/vector"
)

// embedRequest is the body of POST /v1/embeddings.
type embedRequest struct {
	Model          string `json:"model"`
	Input          inputs `json:"input"`
	EncodingFormat string `json:"encoding_format"`
	Dimensions     *int   `json:"dimensions"`
}

// inputs is a text or a list of texts. Tokens in place of texts are a model's own, which no route can promise.
type inputs []string

// UnmarshalJSON implements [json.Unmarshaler].
func (i *inputs) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*i = inputs{one}
		return nil
	}
	if json.Unmarshal(data, (*[]string)(i)) != nil {
		return errors.New("a text or a list of texts is expected")
	}
	return nil
}

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"`
}

// Bounds of OpenAI's own.
const maxInputs = 2048

// embed answers with vectors of texts.
func (h *Handler) embed(w http.ResponseWriter, r *request) error {
	body, err := r.body(w)
	if err != nil {
		return err
	}
	var in embedRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return refusal.Invalid("", "We could not parse the JSON body of your request: %s.", refusal.Clip(err.Error(), 200))
	}
	switch {
	case in.Model == "":
		return refusal.Invalid("model", "you must provide a model parameter")
	case len(in.Input) == 0 || len(in.Input) > maxInputs:
		return refusal.Invalid("input", "Invalid 'input': 1 to %d texts are expected.", maxInputs)
	case in.EncodingFormat != "" && in.EncodingFormat != "float" && in.EncodingFormat != "base64":
		return refusal.Invalid("encoding_format", "Invalid value: '%s'. Supported values are: 'float' and 'base64'.", refusal.Clip(in.EncodingFormat, 32))
	}
	for _, text := range in.Input {
		if text == "" {
			return refusal.Invalid("input", "Invalid 'input': a text is empty.")
		}
	}
	if !r.embeds(in.Model) {
		return refusal.NoModel(in.Model)
	}
	if r.onlyCached() { // vectors aren't
		return cache.NotKept()
	}
	got, err := r.serving.Vectors.Embed(r.Context(), account.Who{Workspace: r.key.Workspace, Key: r.key.Name}, in.Model, vector.Symmetric, in.Input)
	if err != nil {
		return err
	}
	if in.Dimensions != nil && len(got.Vectors) > 0 && *in.Dimensions != len(got.Vectors[0]) {
		return refusal.Invalid("dimensions", "The model '%s' has %d dimensions; llm-gateway.yaml says how many.", refusal.Clip(in.Model, 128), len(got.Vectors[0]))
	}
	list := make([]embedding, len(got.Vectors))
	for i, v := range got.Vectors {
		list[i] = embedding{Object: "embedding", Index: i, Embedding: v}
		if in.EncodingFormat == "base64" {
			list[i].Embedding = encoded(v)
		}
	}
	refusal.JSON(w, http.StatusOK, map[string]any{
		"object": "list", "data": list, "model": got.Model,
		"usage": map[string]int{"prompt_tokens": got.Usage.Prompt, "total_tokens": got.Usage.Prompt},
	})
	return nil
}

// embeds says whether the caller may ask an embedding model, and it is there.
func (r *request) embeds(name string) bool {
	all, _ := r.serving.Vectors.Embeddings()
	for _, e := range all {
		if e.Name == name {
			return r.key.May(name)
		}
	}
	return false
}

// encoded is a vector as OpenAI's clients ask for it: little-endian float32 in base64.
func encoded(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
