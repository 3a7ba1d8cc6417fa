package wire

import llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"

// Model is a model of the kind that runs in llm-gateway's process, opened to be looked at.
type Model = llmgateway.LocalModel

// ModelFacts is what there is to know of a Model.
type ModelFacts = llmgateway.LocalFacts

// OpenModel opens a model's folder as llm-gateway would.
func OpenModel(folder string) (*Model, error) { return llmgateway.OpenLocalModel(folder) }
