package dialog

import (
	"errors"
	"io"
	"net/url"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
	"github.com/ragmesh/ragmesh/services/dialog/internal/retain"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
	"github.com/ragmesh/ragmesh/services/dialog/internal/web"
)

// Port is where dialog serves calls when it is a process on a laptop.
const Port = 8080

// Config is dialog's configuration.
type Config struct {
	process.Config `yaml:",inline" doc:"-"`
	Auth           access.Config `yaml:"auth"`
	Peers          Peers         `yaml:"peers" revision:"-"`
	Web            web.Config    `yaml:"web"`
	Turn           turn.Config   `yaml:"turn" live:"true"`
	Limits         fair.Config   `yaml:"limits" live:"true"`
	Sessions       retain.Config `yaml:"sessions" live:"true"`
	Plan           plan.Config   `yaml:",inline" live:"true"`
}

// Peers says where the other services are. In the all-in-one they are in the same process.
type Peers struct {
	Retriever string `yaml:"retriever" doc:"Address of the retriever, http://host:port."`
	Tools     string `yaml:"tools" doc:"Address of tools, http://host:port."`
	LLM       string `yaml:"llm_gateway" doc:"Address of llm-gateway, http://host:port."`
	Eval      string `yaml:"eval" doc:"Address of eval, http://host:port."`
}

// Validate checks the addresses.
func (p Peers) Validate() error {
	var errs []error
	for _, peer := range []struct{ key, address string }{
		{"retriever", p.Retriever}, {"tools", p.Tools}, {"llm_gateway", p.LLM}, {"eval", p.Eval},
	} {
		u, err := url.Parse(peer.address)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, config.Invalid(peer.key, `must be http://host:port or https://host, not %q`, peer.address))
		}
	}
	return errors.Join(errs...)
}

// Defaults returns the configuration without any file.
func Defaults() Config {
	host := process.Defaults(Port)
	host.RPC.MaxInFlight = 1024 // room for turns that wait, beside as many as may run
	return Config{
		Config: host,
		Auth:   access.Defaults(),
		Peers:  Peers{Retriever: "http://127.0.0.1:8081", Tools: "http://127.0.0.1:8082", LLM: "http://127.0.0.1:8083", Eval: "http://127.0.0.1:8084"},
		Turn:   turn.Defaults(),
		Limits: fair.Defaults(),
		Plan:   plan.Defaults(),
	}
}

// Reference writes the page of dialog.yaml.
func Reference(w io.Writer) error { return config.Reference(w, "dialog", Defaults()) }

// Validate checks what no section can tell alone: that nobody outside reaches a server that asks nobody who they are.
func (c Config) Validate() error {
	if err := c.CheckBind(c.RPC.Addr); err != nil {
		return config.Invalid("rpc.addr", "can't be served: %s", err)
	}
	return nil
}

// CheckBind refuses an address that other machines reach while no authentication is configured.
func (c Config) CheckBind(addr string) error { return c.Auth.CheckBind(addr) }
