// Package rpctest serves handlers in memory for tests, with the same interceptors, tokens and protocol as in production.
package rpctest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// stopTimeout bounds the end of a test's server; requests still running then are a failure, and not of a busy machine.
const stopTimeout = time.Minute

// Serve serves mux in memory until the test ends and returns where. Requests that outlive the test fail it.
func Serve(tb testing.TB, mux *rpc.Mux) rpc.Target {
	tb.Helper()
	local := rpc.NewLocal()
	serve(tb, mux, func(server *rpc.Server) error { return server.ServeLocal(local) })
	return local.Target("test")
}

// Listen is [Serve] for those who need a port: it returns host and port.
func Listen(tb testing.TB, mux *rpc.Mux) string {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	serve(tb, mux, func(server *rpc.Server) error { return server.Serve(l) })
	return l.Addr().String()
}

func serve(tb testing.TB, mux *rpc.Mux, by func(*rpc.Server) error) {
	tb.Helper()
	server := rpc.NewServer(mux, rpc.ServerOptions{})
	served := make(chan error, 1)
	go func() { served <- by(server) }()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			tb.Errorf("shut down: %v", err)
		}
		if err := <-served; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
}

// Service serves what register adds, as a service of that name, and returns a connection to it as dialog has. Calls need
// a principal in their context, e.g. from [As].
func Service(tb testing.TB, name string, register func(*rpc.Mux)) rpc.Conn {
	tb.Helper()
	keys, err := identity.GenerateKeys()
	if err != nil {
		tb.Fatal(err)
	}
	mux := rpc.NewMux(rpc.MuxOptions{Telemetry: telemetry.Nop(name), Verifier: identity.NewVerifier(keys.Set(), nil)})
	register(mux)
	signer, err := keys.Signer(identity.Dialog, nil)
	if err != nil {
		tb.Fatal(err)
	}
	conn := rpc.Dial(Serve(tb, mux), rpc.ClientOptions{Telemetry: telemetry.Nop(identity.Dialog), Signer: signer, Audience: name})
	tb.Cleanup(conn.Close)
	return conn
}

// As returns a context whose calls are made for an editor of a workspace.
func As(ctx context.Context, workspace string) context.Context {
	return identity.NewContext(ctx, identity.Principal{Subject: "tester", Workspace: workspace, Role: identity.Editor})
}
