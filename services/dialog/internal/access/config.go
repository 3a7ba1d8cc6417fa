package access

import (
	"fmt"
	"net"
	"strings"

	"github.com/ragmesh/ragmesh/libs/config"
)

// Config says how callers show who they are.
type Config struct {
	BootstrapKey config.Secret `yaml:"bootstrap_key" doc:"API key with all rights, for the first start and for emergencies. Giving one turns authentication on."`
	Required     bool          `yaml:"required" doc:"Refuse callers without a good API key even when no bootstrap key is given."`
	AllowedHosts []string      `yaml:"allowed_hosts" doc:"Names besides loopback that requests may be addressed to while no authentication is configured, without port."`
}

// Configured reports whether callers have to show who they are.
func (c Config) Configured() bool { return c.Required || !c.BootstrapKey.IsZero() }

// CheckBind refuses to serve anyone but this machine's own users while no authentication is configured.
func (c Config) CheckBind(addr string) error {
	if c.Configured() {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("check address %q: %w", addr, err)
	}
	if !loopback(host) {
		return fmt.Errorf("address %s can be reached from other machines, and no authentication is configured: bind 127.0.0.1, or give auth.bootstrap_key", addr)
	}
	return nil
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	for i, h := range c.AllowedHosts {
		if h == "" || strings.ContainsAny(h, ":/* ") {
			return config.Invalid(fmt.Sprintf("allowed_hosts[%d]", i), "must be a host name without scheme, port and wildcard, not %q", h)
		}
	}
	return nil
}
