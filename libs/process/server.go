package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ragmesh/ragmesh/libs/lifecycle"
)

// AdminComponent serves a handler made by health.Handler on addr. started is called with the address it listens on.
func AdminComponent(addr string, handler http.Handler, started func(net.Addr)) lifecycle.Component {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a CPU profile takes 30 s by default
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	var l net.Listener
	return lifecycle.Component{
		Name: "admin server",
		Start: func(ctx context.Context) (err error) {
			if l, err = listen(ctx, addr, "--admin-addr"); err == nil {
				started(l.Addr())
			}
			return err
		},
		Run: func(context.Context) error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		Stop: func(ctx context.Context) error {
			if err := server.Shutdown(ctx); err != nil {
				return errors.Join(err, server.Close())
			}
			return nil
		},
	}
}

// Server is what RPCComponent runs: an *rpc.Server.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// RPCComponent serves calls on addr. server is asked for when the component starts; started is called with the address it
// listens on.
func RPCComponent(addr string, server func() Server, started func(net.Addr)) lifecycle.Component {
	var l net.Listener
	return lifecycle.Component{
		Name: "rpc server",
		Start: func(ctx context.Context) (err error) {
			if l, err = listen(ctx, addr, "--rpc-addr"); err == nil {
				started(l.Addr())
			}
			return err
		},
		Run:  func(context.Context) error { return server().Serve(l) },
		Stop: func(ctx context.Context) error { return server().Shutdown(ctx) },
	}
}

// listen opens a port; the error says which flag chooses another one.
func listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with %s", err, flag)
	}
	return l, nil
}
