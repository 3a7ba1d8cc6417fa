package wire

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// What a service really opens is what it may call (the mesh resets the rest) and what its section peers can point elsewhere
// (where services are processes of their own, an address that can't be set is a call that can't be made).
func TestServicesDialWhatTheGraphAndTheirPeersName(t *testing.T) {
	t.Parallel()
	s, err := settings.Load(settings.Source{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := natsserver.Start(t.Context(), natsserver.Options{Dir: filepath.Join(t.TempDir(), "nats"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	keys, err := identity.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	graph := identity.CallGraph()
	configs := map[string]any{
		identity.Dialog: s.Dialog.Value, identity.Retriever: s.Retriever.Value, identity.Tools: s.Tools.Value,
		identity.Gateway: s.Gateway.Value, identity.Eval: s.Eval.Value,
	}
	parts := services(s, nil)
	if len(parts) != len(identity.Services()) {
		t.Fatalf("%d parts, %d services", len(parts), len(identity.Services()))
	}
	for _, p := range parts {
		opened := dials(t, p, server, keys)
		for _, callee := range opened {
			if !slices.Contains(graph[p.name], callee) {
				t.Errorf("%s dials %s, which libs/identity does not let it call", p.name, callee)
			}
		}
		if diff := cmp.Diff(opened, peers(t, configs[p.name])); diff != "" {
			t.Errorf("%s: what it dials, and the keys of its section peers (-dials +peers):\n%s", p.name, diff)
		}
	}
}

// dials builds a service and returns whom it opens connections to.
func dials(t *testing.T, p *part, server *natsserver.Server, keys *identity.Keys) []string {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{Name: p.name, InProcess: server})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureTopology(t.Context()); err != nil {
		t.Fatal(err)
	}
	signer, err := keys.Signer(p.name, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	opened := map[string]bool{}
	service, err := p.build(t.Context(), &process.Env{
		Telemetry: telemetry.Nop(p.name), Bus: b, Signer: signer, Verifier: identity.NewVerifier(keys.Set(), time.Now), DataDir: t.TempDir(),
		Dial: func(_, audience string) rpc.Conn {
			opened[audience] = true
			return rpc.Dial(rpc.NewLocal().Target(audience), rpc.ClientOptions{Telemetry: telemetry.Nop(p.name), Signer: signer, Audience: audience})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := service.Run(ended); err != nil && !errors.Is(err, context.Canceled) { // closes what the service holds
		t.Errorf("%s: %v", p.name, err)
	}
	return slices.Sorted(maps.Keys(opened))
}

// peers returns the services that a configuration's section peers has addresses for.
func peers(t *testing.T, cfg any) []string {
	t.Helper()
	text, err := config.Effective(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var sections struct {
		Peers map[string]string `yaml:"peers"`
	}
	if err := yaml.Unmarshal(text, &sections); err != nil {
		t.Fatal(err)
	}
	var names []string
	for key := range sections.Peers {
		names = append(names, strings.ReplaceAll(key, "_", "-"))
	}
	slices.Sort(names)
	return names
}
