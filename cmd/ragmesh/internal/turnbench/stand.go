package turnbench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
)

// stand is what is measured: ragmesh in processes of its own, with the mock as its only provider and a folder for the time of the
// measurement.
type stand struct {
	system *spawn.System
	mock   *mockllm.Server
	base   string // where the mock is
	ends   []func() error
}

// Stop ends everything that was started, the last first, and leaves nothing behind.
func (s *stand) Stop() error {
	var errs []error
	for _, end := range slices.Backward(s.ends) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

func (o *Options) start(ctx context.Context) (_ *stand, err error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	dir, err := os.MkdirTemp("", "ragmesh-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &stand{mock: mockllm.New(o.Seed), ends: []func() error{func() error { return os.RemoveAll(dir) }}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	base, stop, err := serve(ctx, s.mock)
	if err != nil {
		return nil, err
	}
	s.base, s.ends = base, append(s.ends, func() error { stop(); return nil })
	if s.system, err = o.spawn(ctx, dir, base); err != nil {
		return nil, fmt.Errorf("start ragmesh: %w", err)
	}
	s.ends = append(s.ends, s.system.Stop)
	return s, nil
}

func (o *Options) spawn(ctx context.Context, dir, mock string) (*spawn.System, error) {
	configDir := filepath.Join(dir, "config")
	if err := writeConfig(configDir, mock, o.Models); err != nil {
		return nil, err
	}
	so := spawn.Options{Binary: o.Binary, Data: filepath.Join(dir, "data"), ConfigDir: configDir, Set: o.Set, Environ: o.Environ}
	if o.Profile != "" {
		so.Set = append(so.Set[:len(so.Set):len(so.Set)], "dialog.admin.pprof=true")
	}
	if o.Mesh {
		o.Say("starting NATS and five services")
		return spawn.Mesh(ctx, so)
	}
	o.Say("starting everything in one process")
	return spawn.AllInOne(ctx, so)
}

// writeConfig makes the mock the only provider.
func writeConfig(dir, mock string, names []string) error {
	type object = map[string]any
	models := object{}
	for _, name := range names {
		models[name] = object{"targets": []object{{"provider": "mock", "model": name}}}
	}
	b, err := yaml.Marshal(object{
		"default_model": names[0],
		"models":        models,
		"providers":     object{"mock": object{"type": "openai", "base_url": mock, "max_connections": MaxConcurrency}},
	})
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "llm-gateway.yaml"), b, 0o644); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// serve serves the mock on a free port of loopback.
func serve(ctx context.Context, h http.Handler) (base string, stop func(), err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("serve the mock: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until it is closed
	}()
	return "http://" + l.Addr().String() + "/v1", func() {
		_ = server.Close()
		<-done
	}, nil
}
