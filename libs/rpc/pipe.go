package rpc

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Pipe is a listener in memory: what dials it is connected to what accepts from it, with everything a network connection
// has but the network.
type Pipe struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*Pipe)(nil)

// NewPipe returns an open pipe.
func NewPipe() *Pipe {
	return &Pipe{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Target is how clients reach what serves the pipe. The name appears in traces only.
func (p *Pipe) Target(name string) Target {
	return Target{URL: "http://" + name + ".pipe", Dial: p.DialContext}
}

// DialContext connects to the pipe, whatever network and address say.
func (p *Pipe) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := connectedPair()
	var err error
	select {
	case p.accept <- server:
		return client, nil
	case <-p.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = client.Close()
	_ = server.Close()
	return nil, fmt.Errorf("dial pipe: %w", err)
}

// Accept implements [net.Listener].
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, fmt.Errorf("accept from pipe: %w", net.ErrClosed)
	}
}

// Close implements [net.Listener]. Connections that are open stay so.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements [net.Listener].
func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
