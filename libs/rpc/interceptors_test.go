package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// gateway is a service whose methods a test fills in.
type gateway struct {
	llmv1connect.UnimplementedLLMServiceHandler
	embed    func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error)
	generate func(context.Context, *llmv1.GenerateRequest, *connect.ServerStream[llmv1.GenerateResponse]) error
}

func (g *gateway) Embed(ctx context.Context, r *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
	return g.embed(ctx, r)
}

func (g *gateway) Generate(ctx context.Context, r *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
	return g.generate(ctx, r, s)
}

// installation is a served gateway and what it takes to call it.
type installation struct {
	keys   *identity.Keys
	server *Server
	local  *Local
	log    *bytes.Buffer // complete once stop has returned
	spans  *tracetest.SpanRecorder
	served chan error
	tel    *telemetry.Telemetry
	close  func() // closes the clients' connections; without it the server's polite end takes a second
}

func install(t *testing.T, g *gateway, o MuxOptions, so ServerOptions) *installation {
	t.Helper()
	keys, err := identity.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	in := &installation{keys: keys, local: NewLocal(), log: &bytes.Buffer{}, spans: tracetest.NewSpanRecorder(), served: make(chan error, 1), close: func() {}}
	in.tel = telemetry.Nop(identity.Gateway)
	in.tel.Log = zerolog.New(zerolog.SyncWriter(in.log))
	in.tel.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(in.spans))
	o.Telemetry = in.tel
	if !o.Edge && o.Verifier == nil {
		o.Verifier = identity.NewVerifier(keys.Set(), nil)
	}
	mux := NewMux(o)
	mux.Handle(llmv1connect.NewLLMServiceHandler(g, mux.HandlerOptions()...))
	in.server = NewServer(mux, so)
	go func() { in.served <- in.server.ServeLocal(in.local) }()
	t.Cleanup(func() { in.stop(t) })
	return in
}

// stop ends the server; afterwards the log may be read.
func (in *installation) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	in.close()
	if err := in.server.Shutdown(ctx); err != nil {
		t.Errorf("shut down: %v", err)
	}
	select {
	case err := <-in.served:
		if err != nil {
			t.Errorf("serve: %v", err)
		}
		in.served <- nil // for a second stop
	case <-ctx.Done():
		t.Error("serve has not returned")
	}
}

// client returns a client that signs as a service.
func (in *installation) client(t *testing.T, service string, o ClientOptions) llmv1connect.LLMServiceClient {
	t.Helper()
	signer, err := in.keys.Signer(service, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Telemetry, o.Signer, o.Audience = telemetry.Nop(service), signer, identity.Gateway
	c := Dial(in.local.Target("llm-gateway"), o)
	t.Cleanup(c.Close)
	in.close = c.Close
	return llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...)
}

// asAlice returns a context whose calls alice makes in workspace bank.
func asAlice(ctx context.Context) context.Context {
	return identity.NewContext(ctx, identity.Principal{Subject: "alice", Workspace: "bank", Role: identity.Editor})
}

func embedOf(workspace string) *llmv1.EmbedRequest {
	return &llmv1.EmbedRequest{Workspace: workspace, Texts: []string{"text"}}
}

func generateOf(workspace string) *llmv1.GenerateRequest {
	return &llmv1.GenerateRequest{Workspace: workspace, Question: "why?"}
}

// drain reads a stream to its end.
func drain(ctx context.Context, c llmv1connect.LLMServiceClient, r *llmv1.GenerateRequest) (int, error) {
	stream, err := c.Generate(ctx, r)
	if err != nil {
		return 0, err
	}
	n := 0
	for stream.Receive() {
		n++
	}
	return n, errors.Join(stream.Err(), stream.Close())
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason fault.Reason) *fault.Error {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("got %v, want a fault", err)
	}
	if f.Kind != kind || f.Reason != reason {
		t.Errorf("got %s %s (%v), want %s %s", f.Kind, fault.ReasonName(f.Reason), err, kind, fault.ReasonName(reason))
	}
	return f
}

func typesOf(interceptors []connect.Interceptor) []string {
	var out []string
	for _, i := range interceptors {
		out = append(out, fmt.Sprintf("%T", i))
	}
	return out
}

// The orders that the functions document.
func TestInterceptorOrder(t *testing.T) {
	t.Parallel()
	extra := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc { return next })
	server := typesOf(serverInterceptors(MuxOptions{Telemetry: telemetry.Nop("llm-gateway"), Extra: []connect.Interceptor{extra}}))
	if diff := cmp.Diff([]string{
		"*otelconnect.Interceptor", "*rpc.access", "*rpc.boundary", "*rpc.authenticate", "connect.UnaryInterceptorFunc", "*validate.Interceptor",
	}, server); diff != "" {
		t.Errorf("server (-want +got):\n%s", diff)
	}
	edge := typesOf(serverInterceptors(MuxOptions{Telemetry: telemetry.Nop("dialog"), Edge: true, Extra: []connect.Interceptor{extra}}))
	if diff := cmp.Diff([]string{
		"*otelconnect.Interceptor", "*rpc.access", "*rpc.boundary", "connect.UnaryInterceptorFunc", "*validate.Interceptor",
	}, edge); diff != "" {
		t.Errorf("edge (-want +got):\n%s", diff)
	}
	client := typesOf(clientInterceptors(Target{}, ClientOptions{Telemetry: telemetry.Nop("dialog"), Audience: "x", Retries: 2, Signer: &identity.Signer{}}))
	if diff := cmp.Diff([]string{"rpc.faults", "*otelconnect.Interceptor", "*rpc.retry", "*rpc.sign", "rpc.lost"}, client); diff != "" {
		t.Errorf("client (-want +got):\n%s", diff)
	}
	local := typesOf(clientInterceptors(NewLocal().Target("x"), ClientOptions{Telemetry: telemetry.Nop("dialog"), Audience: "x", Retries: 2, Signer: &identity.Signer{}}))
	if diff := cmp.Diff([]string{"rpc.faults", "rpc.carry", "*rpc.retry", "*rpc.sign", "rpc.lost"}, local); diff != "" {
		t.Errorf("client in the same process (-want +got):\n%s", diff)
	}
	outside := typesOf(clientInterceptors(Target{}, ClientOptions{Telemetry: telemetry.Nop("cli"), Retries: -1, APIKey: "rmb_x"}))
	if diff := cmp.Diff([]string{"rpc.faults", "*otelconnect.Interceptor", "rpc.apiKey", "rpc.lost"}, outside); diff != "" {
		t.Errorf("client outside (-want +got):\n%s", diff)
	}
}

// What the order means: identity comes before validation, validation before the handler, and everything is logged.
func TestOrderAtWork(t *testing.T) {
	t.Parallel()
	called := false
	in := install(t, &gateway{embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
		called = true
		return &llmv1.EmbedResponse{}, nil
	}}, MuxOptions{}, ServerOptions{})
	client := in.client(t, identity.Dialog, ClientOptions{})

	_, err := client.Embed(asAlice(t.Context()), &llmv1.EmbedRequest{Workspace: "shop"}) // another's, and invalid
	wantFault(t, err, fault.NotFound, fault.WorkspaceNotFound)
	_, err = client.Embed(asAlice(t.Context()), &llmv1.EmbedRequest{Workspace: "bank"}) // invalid only
	f := wantFault(t, err, fault.Invalid, fault.InvalidRequest)
	if len(f.Fields) != 1 || f.Fields[0].Path != "texts" || f.Fields[0].Description == "" || !strings.Contains(f.Message, "texts") {
		t.Errorf("fields %+v, message %q", f.Fields, f.Message)
	}
	if called {
		t.Error("the handler was called")
	}
	in.stop(t)
	for _, want := range []string{`"level":"warn"`, `"reason":"WORKSPACE_NOT_FOUND"`, `"reason":"INVALID_REQUEST"`, `"caller":"dialog"`, `"procedure":"ragmesh.llm.v1.LLMService/Embed"`} {
		if !strings.Contains(in.log.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, in.log)
		}
	}
	for _, span := range in.spans.Ended() {
		if span.Status().Description == "" && span.Name() == "" {
			t.Errorf("span %+v", span)
		}
	}
	if n := len(in.spans.Ended()); n != 2 {
		t.Errorf("%d spans for 2 calls", n)
	}
}

func TestPrincipalReachesTheHandler(t *testing.T) {
	t.Parallel()
	got := make(chan identity.Principal, 2)
	note := func(ctx context.Context) {
		p, _ := identity.FromContext(ctx)
		got <- p
	}
	in := install(t, &gateway{
		embed: func(ctx context.Context, _ *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
			note(ctx)
			return &llmv1.EmbedResponse{}, nil
		},
		generate: func(ctx context.Context, _ *llmv1.GenerateRequest, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
			note(ctx)
			return nil
		},
	}, MuxOptions{}, ServerOptions{})
	client := in.client(t, identity.Dialog, ClientOptions{})
	if _, err := client.Embed(asAlice(t.Context()), embedOf("bank")); err != nil {
		t.Fatal(err)
	}
	if _, err := drain(asAlice(t.Context()), client, generateOf("bank")); err != nil {
		t.Fatal(err)
	}
	want := identity.Principal{Service: identity.Dialog, Subject: "alice", Workspace: "bank", Role: identity.Editor}
	for range 2 {
		if diff := cmp.Diff(want, <-got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	in := install(t, &gateway{
		embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
			return &llmv1.EmbedResponse{}, nil
		},
		generate: func(context.Context, *llmv1.GenerateRequest, *connect.ServerStream[llmv1.GenerateResponse]) error {
			return nil
		},
	}, MuxOptions{}, ServerOptions{})
	for _, test := range []struct {
		service, workspace string
		embed, generate    fault.Reason
	}{
		{identity.Dialog, "bank", 0, 0},
		{identity.Dialog, "shop", fault.WorkspaceNotFound, fault.WorkspaceNotFound},
		{identity.Retriever, "bank", 0, fault.ReasonUnauthenticated},
		{identity.Eval, "bank", fault.ReasonUnauthenticated, 0},
		{identity.Tools, "bank", fault.ReasonUnauthenticated, fault.ReasonUnauthenticated},
	} {
		client := in.client(t, test.service, ClientOptions{})
		t.Run(test.service+" in "+test.workspace, func(t *testing.T) {
			t.Parallel()
			_, err := client.Embed(asAlice(t.Context()), embedOf(test.workspace))
			if got := fault.ReasonOf(err); got != test.embed {
				t.Errorf("embed: %v", err)
			}
			_, err = drain(asAlice(t.Context()), client, generateOf(test.workspace))
			if got := fault.ReasonOf(err); got != test.generate {
				t.Errorf("generate: %v", err)
			}
		})
	}
	dialog := in.client(t, identity.Dialog, ClientOptions{})
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		// No principal in the context: the call is not made.
		_, err := dialog.Embed(t.Context(), embedOf("bank"))
		wantFault(t, err, fault.Internal, fault.ReasonInternal)
		_, err = drain(t.Context(), dialog, generateOf("bank"))
		wantFault(t, err, fault.Internal, fault.ReasonInternal)
		// No token at all, and an API key where a token is needed.
		for _, key := range []string{"", "rmb_key"} {
			c := Dial(in.local.Target("llm-gateway"), ClientOptions{Telemetry: telemetry.Nop("cli"), APIKey: key})
			_, err = llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Embed(t.Context(), embedOf("bank"))
			wantFault(t, err, fault.Unauthenticated, fault.ReasonUnauthenticated)
			_, err = drain(t.Context(), llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...), generateOf("bank"))
			wantFault(t, err, fault.Unauthenticated, fault.ReasonUnauthenticated)
			c.Close()
		}
	})
}

// A service that was given no keys must not be open.
func TestWithoutVerifierNobodyMayCall(t *testing.T) {
	t.Parallel()
	mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("llm-gateway")})
	mux.Handle(llmv1connect.NewLLMServiceHandler(&gateway{}, mux.HandlerOptions()...))
	local := NewLocal()
	server := NewServer(mux, ServerOptions{})
	go func() { _ = server.ServeLocal(local) }()
	defer func() { _ = server.Shutdown(t.Context()) }()
	c := Dial(local.Target("x"), ClientOptions{Telemetry: telemetry.Nop("cli"), APIKey: "anything"})
	defer c.Close()
	_, err := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Embed(t.Context(), embedOf("bank"))
	wantFault(t, err, fault.Unauthenticated, fault.ReasonUnauthenticated)
}

func TestDeadlinesPropagate(t *testing.T) {
	t.Parallel()
	got := make(chan time.Duration, 1)
	ended := make(chan struct{})
	in := install(t, &gateway{
		embed: func(ctx context.Context, _ *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
			deadline, _ := ctx.Deadline()
			got <- time.Until(deadline)
			return &llmv1.EmbedResponse{}, nil
		},
		generate: func(ctx context.Context, _ *llmv1.GenerateRequest, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
			<-ctx.Done()
			close(ended)
			return ctx.Err()
		},
	}, MuxOptions{}, ServerOptions{})
	client := in.client(t, identity.Dialog, ClientOptions{})
	ctx, cancel := context.WithTimeout(asAlice(t.Context()), 10*time.Second)
	defer cancel()
	if _, err := client.Embed(ctx, embedOf("bank")); err != nil {
		t.Fatal(err)
	}
	if left := <-got; left <= 5*time.Second || left > 10*time.Second {
		t.Errorf("the handler has %s", left)
	}
	ctx, cancel = context.WithCancel(asAlice(t.Context()))
	go cancel()
	_, err := drain(ctx, client, generateOf("bank"))
	if kind := fault.KindOf(err); kind != fault.Canceled {
		t.Errorf("got %s: %v", kind, err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	in := install(t, &gateway{}, MuxOptions{MaxBytes: 1 << 10}, ServerOptions{})
	_, err := in.client(t, identity.Dialog, ClientOptions{}).Embed(asAlice(t.Context()), &llmv1.EmbedRequest{
		Workspace: "bank", Texts: []string{strings.Repeat("x", 2<<10)},
	})
	if fault.KindOf(err) != fault.Exhausted {
		t.Errorf("got %v", err)
	}
}

// A span's trace goes on in the called service, and begins anew at the edge.
func TestTraces(t *testing.T) {
	t.Parallel()
	for name, edge := range map[string]bool{"inside": false, "edge": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t, &gateway{embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
				return &llmv1.EmbedResponse{}, nil
			}}, MuxOptions{Edge: edge}, ServerOptions{})
			caller := telemetry.Nop(identity.Dialog)
			caller.Tracer = sdktrace.NewTracerProvider()
			signer, err := in.keys.Signer(identity.Dialog, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := Dial(in.local.Target("x"), ClientOptions{Telemetry: caller, Signer: signer, Audience: identity.Gateway})
			in.close = c.Close
			ctx, span := caller.Tracer.Tracer("test").Start(asAlice(t.Context()), "turn")
			if _, err := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Embed(ctx, embedOf("bank")); err != nil {
				t.Fatal(err)
			}
			span.End()
			in.stop(t)
			ended := in.spans.Ended()
			if len(ended) != 1 {
				t.Fatalf("%d spans", len(ended))
			}
			continued := ended[0].SpanContext().TraceID() == span.SpanContext().TraceID()
			if continued == edge {
				t.Errorf("trace continued: %t", continued)
			}
			if direct := ended[0].Parent().SpanID() == span.SpanContext().SpanID(); direct == edge {
				t.Errorf("child of who called: %t", direct)
			}
			if edge && len(ended[0].Links()) != 1 {
				t.Errorf("%d links", len(ended[0].Links()))
			}
		})
	}
}
