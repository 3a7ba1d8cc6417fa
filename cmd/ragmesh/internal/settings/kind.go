package settings

import (
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/eval"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/retriever"
	"github.com/ragmesh/ragmesh/services/tools"
)

// Kind is one service's kind of configuration.
type Kind[C any] struct {
	// Service is the service's name.
	Service string
	// Defaults returns the configuration without any file.
	Defaults func() C
	// Host returns the process's part of a configuration.
	Host func(*C) *process.Config
}

// Load reads the service's configuration alone.
func (k Kind[C]) Load(src Source) (config.Loaded[C], error) {
	defaults := k.Defaults()
	if src.LogLevel != "" {
		k.Host(&defaults).Log.Level = src.LogLevel
	}
	return config.Load(k.Service, defaults, config.Source{
		Dir: src.Dir, Environ: src.Environ, Flags: src.Set[k.Service], FlagNames: src.FlagNames[k.Service],
	})
}

// Dialog is dialog's configuration.
func Dialog() Kind[dialog.Config] {
	return Kind[dialog.Config]{identity.Dialog, dialog.Defaults, func(c *dialog.Config) *process.Config { return &c.Config }}
}

// Retriever is retriever's configuration.
func Retriever() Kind[retriever.Config] {
	return Kind[retriever.Config]{identity.Retriever, retriever.Defaults, func(c *retriever.Config) *process.Config { return &c.Config }}
}

// Tools is tools' configuration.
func Tools() Kind[tools.Config] {
	return Kind[tools.Config]{identity.Tools, tools.Defaults, func(c *tools.Config) *process.Config { return &c.Config }}
}

// Gateway is llm-gateway's configuration.
func Gateway() Kind[llmgateway.Config] {
	return Kind[llmgateway.Config]{identity.Gateway, llmgateway.Defaults, func(c *llmgateway.Config) *process.Config { return &c.Config }}
}

// Eval is eval's configuration.
func Eval() Kind[eval.Config] {
	return Kind[eval.Config]{identity.Eval, eval.Defaults, func(c *eval.Config) *process.Config { return &c.Config }}
}
