package settings

import (
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/eval"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/retriever"
	"github.com/ragmesh/ragmesh/services/tools"
)

// Schema is what a service reads, as JSON Schemas.
type Schema struct {
	// File is its own file.
	File map[string]any
	// Entry is one file of its folder (prompts, retrieval or tools); nil for services without one.
	Entry map[string]any
}

// Schemas returns every service's schema by its name. The Helm charts check values against them.
func Schemas() map[string]Schema {
	return map[string]Schema{
		identity.Dialog:    {File: config.JSONSchema(dialog.Defaults())},
		identity.Retriever: {File: config.JSONSchema(retriever.Defaults()), Entry: retriever.StrategySchema()},
		identity.Tools:     {File: config.JSONSchema(tools.Defaults()), Entry: tools.PluginSchema()},
		identity.Gateway:   {File: config.JSONSchema(llmgateway.Defaults()), Entry: llmgateway.PromptSchema()},
		identity.Eval:      {File: config.JSONSchema(eval.Defaults())},
	}
}
