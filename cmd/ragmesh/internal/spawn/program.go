package spawn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Program is one program of a measurement that is no whole system.
type Program struct {
	c      *child
	client *http.Client
}

// Start starts a program on one processor, or on all of them when cpu is below 0.
func Start(binary string, o Options, cpu int, args ...string) (*Program, error) {
	var c *child
	err := On(cpu, func() (err error) {
		c, err = start(binary, o, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Program{c: c, client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}, nil
}

// Says reads the line of JSON with which the program says that it serves.
func (p *Program) Says(ctx context.Context, v any) error { return p.c.says(ctx, v) }

// Ready waits until the program's admin port, an address without http://, says that it is ready.
func (p *Program) Ready(ctx context.Context, admin string) error {
	p.c.admin = "http://" + admin
	return p.c.ready(ctx, p.client)
}

// Usage reads what the program uses.
func (p *Program) Usage(ctx context.Context) (Usage, error) {
	s := &System{children: []*child{p.c}, client: p.client}
	return s.Usage(ctx)
}

// RSS is the memory of the program that is resident now, in bytes.
func (p *Program) RSS() (int64, error) {
	_, rss, err := meter(p.c.cmd.Process.Pid)
	return rss, err
}

// Kill ends the program as a power cut would.
func (p *Program) Kill() error {
	if err := p.c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.c.name, err)
	}
	<-p.c.ended
	p.client.CloseIdleConnections()
	return p.c.stdout.Close()
}

// Stop asks the program to end, and kills it when it does not.
func (p *Program) Stop() error {
	p.client.CloseIdleConnections()
	return p.c.stop()
}

// Profile writes a CPU profile of the program, taken for d. It needs admin.pprof=true.
func (p *Program) Profile(ctx context.Context, path string, d time.Duration) error {
	s := &System{children: []*child{p.c}, client: p.client}
	return s.Profile(ctx, path, d)
}

// Run runs the ragmesh command to its end.
func Run(ctx context.Context, o Options, args ...string) error { return run(ctx, o, args...) }
