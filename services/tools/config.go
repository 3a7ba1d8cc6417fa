package tools

import (
	"errors"
	"io"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/tools/internal/builtin"
	"github.com/ragmesh/ragmesh/services/tools/internal/httptool"
)

// Port is where tools serves calls when it is a process on a laptop.
const Port = 8082

// Config is tools' configuration. Plugins are files of their own, tools/<name>.yaml.
type Config struct {
	process.Config `yaml:",inline" doc:"-"`
	EnabledPlugins []string `yaml:"enabled_plugins" live:"true" doc:"Names of the tools that exist for callers: built-in (calculator, current_time) and declared in tools/*.yaml. Up to 128."`
	Limits         Limits   `yaml:"limits"`
}

// Limits bounds the service's work.
type Limits struct {
	Concurrent int           `yaml:"concurrent" doc:"Calls that run at once; more are refused as overloaded. Count, 1 to 10000."`
	AuditQueue int           `yaml:"audit_queue" doc:"Audit records that may wait for NATS; more go to the log. Count, 1 to 100000."`
	AuditWait  time.Duration `yaml:"audit_wait" doc:"How long one audit record may take to publish. Duration, 100ms to 1m."`
}

const maxPlugins = 128

// Defaults returns the configuration without any file: the built-in tools.
func Defaults() Config {
	return Config{
		Config:         process.Defaults(Port),
		EnabledPlugins: []string{builtin.CalculatorName, builtin.CurrentTimeName},
		Limits:         Limits{Concurrent: 64, AuditQueue: 1024, AuditWait: 2 * time.Second},
	}
}

// Reference writes the page of tools.yaml and of tools.
func Reference(w io.Writer) error {
	if err := config.Reference(w, "tools", Defaults()); err != nil {
		return err
	}
	_, _ = io.WriteString(w, "\n")
	return config.ReferencePart(w, "tools/*.yaml",
		"One HTTP tool per file, of tools; its name is the file's without the ending. It exists for callers once `enabled_plugins` names it.", httptool.Spec{}, true)
}

// PluginSchema returns what a tool's file may hold, as a JSON Schema.
func PluginSchema() map[string]any { return config.JSONSchema(httptool.Spec{}) }

// Validate checks the values against their bounds.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, key, format string, a ...any) {
		if !ok {
			errs = append(errs, config.Invalid(key, format, a...))
		}
	}
	seen := make(map[string]bool)
	for _, name := range c.EnabledPlugins {
		check(!seen[name], "enabled_plugins", "names %q twice", name)
		seen[name] = true
	}
	l := c.Limits
	check(len(c.EnabledPlugins) <= maxPlugins, "enabled_plugins", "must be at most %d, not %d", maxPlugins, len(c.EnabledPlugins))
	check(l.Concurrent >= 1 && l.Concurrent <= 10_000, "limits.concurrent", "must be 1 to 10000, not %d", l.Concurrent)
	check(l.AuditQueue >= 1 && l.AuditQueue <= 100_000, "limits.audit_queue", "must be 1 to 100000, not %d", l.AuditQueue)
	check(l.AuditWait >= 100*time.Millisecond && l.AuditWait <= time.Minute, "limits.audit_wait", "must be 100ms to 1m, not %v", l.AuditWait)
	return errors.Join(errs...)
}
