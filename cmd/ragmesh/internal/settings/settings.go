// Package settings loads the configuration of all five services as one: to run them in one process, and to check, show and
// compare it.
package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/eval"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/retriever"
	"github.com/ragmesh/ragmesh/services/tools"
)

// Source is where the configuration comes from.
type Source struct {
	// Dir holds the files; empty for the defaults.
	Dir string
	// Environ is the environment as os.Environ returns it.
	Environ []string
	// Set holds keys by service.
	Set map[string]map[string]string
	// FlagNames says which flag a key of Set came from, where that is not --set.
	FlagNames map[string]map[string]string
	// LogLevel is every service's log.level where nothing sets it; empty for the services' own default.
	LogLevel string
}

// Settings is every service's configuration.
type Settings struct {
	// Source is where it came from, and Fingerprint the folder's before it was read; empty for no folder.
	Source      Source
	Fingerprint string

	Dialog    config.Loaded[dialog.Config]
	Retriever config.Loaded[retriever.Config]
	Tools     config.Loaded[tools.Config]
	Gateway   config.Loaded[llmgateway.Config]
	Eval      config.Loaded[eval.Config]
}

// Load reads every service's configuration. The error joins the problems of all.
func Load(src Source) (*Settings, error) {
	s := &Settings{Source: src}
	var err error
	if s.Fingerprint, err = process.Fingerprint(src.Dir); err != nil {
		return s, err
	}
	errs := []error{config.CheckEnviron(src.Environ, identity.Services()), config.CheckDir(src.Dir, identity.Services())}
	for service := range src.Set {
		if !slices.Contains(identity.Services(), service) {
			errs = append(errs, fmt.Errorf("flag --set %s: there is no such service; write it as one of %s, then a dot and the key",
				service, strings.Join(identity.Services(), ", ")))
		}
	}
	errs = append(errs, load(src, Dialog(), &s.Dialog), load(src, Retriever(), &s.Retriever), load(src, Tools(), &s.Tools),
		load(src, Gateway(), &s.Gateway), load(src, Eval(), &s.Eval))
	return s, errors.Join(errs...)
}

func load[C any](src Source, k Kind[C], into *config.Loaded[C]) (err error) {
	*into, err = k.Load(src)
	return err
}

// Document is one service's effective configuration.
type Document struct {
	Service string `json:"service"`
	// Revision is that of the file alone. Answers carry one that covers prompts, strategies and tools too: see wire.Check.
	Revision string   `json:"revision"`
	Files    []string `json:"files"`
	YAML     string   `json:"yaml"`
}

// Documents returns every service's effective configuration as YAML, secrets as references, in the services' order.
func (s *Settings) Documents() ([]Document, error) {
	var all []Document
	var errs []error
	for _, one := range []struct {
		service, revision string
		files             []string
		value             any
	}{
		{identity.Dialog, s.Dialog.Revision, s.Dialog.Files, s.Dialog.Value},
		{identity.Retriever, s.Retriever.Revision, s.Retriever.Files, s.Retriever.Value},
		{identity.Tools, s.Tools.Revision, s.Tools.Files, s.Tools.Value},
		{identity.Gateway, s.Gateway.Revision, s.Gateway.Files, s.Gateway.Value},
		{identity.Eval, s.Eval.Revision, s.Eval.Files, s.Eval.Value},
	} {
		text, err := config.Effective(one.value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", one.service, err))
		}
		all = append(all, Document{Service: one.service, Revision: one.revision, Files: slices.Clone(one.files), YAML: string(text)})
	}
	return all, errors.Join(errs...)
}
