// Package spawn starts ragmesh from its binaries, as child processes on free ports of loopback, and meters them: everything in
// one process, or five around `ragmesh nats`. Whoever measures a system must not be part of it.
package spawn

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/port"
)

const (
	// readyTimeout bounds a start, stopTimeout a stop: it is above what a process gives its own calls to end.
	readyTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	poll         = 20 * time.Millisecond
)

// Options says what to start.
type Options struct {
	// Binary is the ragmesh command. The services' binaries stand beside it.
	Binary string
	// Data is the folder that everything is kept in, ConfigDir where the configuration is.
	Data, ConfigDir string
	// Set holds more configuration, SERVICE.KEY=VALUE.
	Set []string
	// Environ is the environment; what begins with RAGMESH_ is left out, so that only Options configures the system.
	Environ []string
}

// System is a running ragmesh.
type System struct {
	// Server is the edge's address.
	Server string
	// Startup is how long it took until everything was ready.
	Startup time.Duration

	children []*child
	client   *http.Client
}

// AllInOne starts everything in one process. It returns once that is ready.
func AllInOne(ctx context.Context, o Options) (_ *System, err error) {
	begin := time.Now()
	s := newSystem()
	defer func() { err = s.stopAfter(err) }()
	args := []string{"up", "--json", "--data", o.Data, "--addr", "127.0.0.1:0", "--config", o.ConfigDir}
	for _, pair := range o.Set {
		args = append(args, "--set", pair)
	}
	c, err := s.start(o, "ragmesh", args)
	if err != nil {
		return nil, err
	}
	var said struct{ Server, Admin string }
	if err := c.says(ctx, &said); err != nil {
		return nil, err
	}
	s.Server, c.admin, s.Startup = said.Server, said.Admin, time.Since(begin)
	return s, nil
}

// services are those of the mesh, callers after those they call.
func services() []string { return []string{"eval", "llm-gateway", "tools", "retriever", "dialog"} }

// Mesh starts NATS and the five services, each a process of its own. It returns once all are ready.
func Mesh(ctx context.Context, o Options) (_ *System, err error) {
	begin := time.Now()
	s := newSystem()
	defer func() { err = s.stopAfter(err) }()
	if err := run(ctx, o, "keys", "init", "--data", o.Data); err != nil {
		return nil, err
	}
	nats, err := s.start(o, "ragmesh", []string{"nats", "--json", "--data", o.Data, "--addr", "127.0.0.1:0"})
	if err != nil {
		return nil, err
	}
	var said struct{ URL string }
	if err := nats.says(ctx, &said); err != nil {
		return nil, err
	}
	names := services()
	ports, err := port.Free(ctx, 2*len(names))
	if err != nil {
		return nil, err
	}
	address := map[string]string{}
	for i, name := range names {
		address[name] = ports[2*i]
	}
	for i, name := range names {
		c, err := s.start(o, "ragmesh-"+name, serviceArgs(o, name, said.URL, address, ports[2*i+1]))
		if err != nil {
			return nil, err
		}
		c.admin = "http://" + ports[2*i+1]
	}
	for _, c := range s.children[1:] {
		if err := c.ready(ctx, s.client); err != nil {
			return nil, err
		}
	}
	s.Server, s.Startup = "http://"+address["dialog"], time.Since(begin)
	return s, nil
}

func serviceArgs(o Options, name, nats string, address map[string]string, admin string) []string {
	args := []string{
		"--data", o.Data, "--config", o.ConfigDir, "--rpc-addr", address[name], "--admin-addr", admin, "--nats-url", nats,
		"--set", "log.level=warn",
	}
	if name == "dialog" {
		for key, peer := range map[string]string{"retriever": "retriever", "tools": "tools", "llm_gateway": "llm-gateway", "eval": "eval"} {
			args = append(args, "--set", "peers."+key+"=http://"+address[peer])
		}
	}
	for _, pair := range o.Set {
		if service, rest, _ := strings.Cut(pair, "."); service == name {
			args = append(args, "--set", rest)
		}
	}
	return args
}

func newSystem() *System {
	return &System{client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
}

// start starts a program that belongs to the system from then on.
func (s *System) start(o Options, name string, args []string) (*child, error) {
	binary := o.Binary
	if name != "ragmesh" {
		binary = filepath.Join(filepath.Dir(o.Binary), name)
	}
	c, err := start(binary, o, args)
	if err != nil {
		return nil, err
	}
	s.children = append(s.children, c)
	return c, nil
}

// stopAfter ends what was started when something else could not be.
func (s *System) stopAfter(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, s.Stop())
}

// Stop ends the system, callers first, and says what did not end well.
func (s *System) Stop() error {
	var errs []error
	for _, c := range slices.Backward(s.children) {
		errs = append(errs, c.stop())
	}
	s.children = nil
	s.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// says reads the line of JSON with which a program says that it serves.
func (c *child) says(ctx context.Context, v any) error {
	line := make(chan []byte, 1)
	go func() { // ends with the program's output at the latest
		b, _ := bufio.NewReader(c.stdout).ReadBytes('\n')
		line <- b
	}()
	timer := time.NewTimer(readyTimeout)
	defer timer.Stop()
	select {
	case b := <-line:
		if err := json.Unmarshal(b, v); err != nil {
			return fmt.Errorf("%s did not start: %s", c.name, c.log)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("%s is not ready after %s: %s", c.name, readyTimeout, c.log)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ready waits until a program's admin port says that it is ready.
func (c *child) ready(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		if body, err := get(ctx, client, c.admin+"/health/ready"); err == nil {
			_ = body.Close()
			return nil
		}
		select {
		case <-ticker.C:
		case <-c.ended:
			return fmt.Errorf("%s did not start: %s", c.name, c.log)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s", c.name, context.Cause(ctx), c.log)
		}
	}
}

// environ leaves out what would configure the system besides its options.
func environ(all []string) []string {
	kept := slices.DeleteFunc(slices.Clone(all), func(pair string) bool { return strings.HasPrefix(pair, "RAGMESH_") })
	return slices.Clip(kept)
}

// Profile writes a CPU profile of the process that serves the edge, taken for d. It needs dialog.admin.pprof=true.
func (s *System) Profile(ctx context.Context, path string, d time.Duration) (err error) {
	client := &http.Client{Transport: s.client.Transport, Timeout: d + 10*time.Second}
	body, err := get(ctx, client, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.edge().admin, int(d.Seconds())))
	if err != nil {
		return fmt.Errorf("take profile: %w", err)
	}
	defer body.Close()
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.ReadFrom(body); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}

// edge is the process that serves the edge: the last one that was started.
func (s *System) edge() *child { return s.children[len(s.children)-1] }
