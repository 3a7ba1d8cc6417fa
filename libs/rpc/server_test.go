package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// edge serves a gateway without tokens on TCP and returns its address.
func edge(t *testing.T, g *gateway, o ServerOptions) (string, *Server, *telemetry.Telemetry) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return edgeOn(t, l, g, o)
}

func edgeOn(t *testing.T, l net.Listener, g *gateway, o ServerOptions) (string, *Server, *telemetry.Telemetry) {
	t.Helper()
	tel := telemetry.Nop("dialog")
	mux := NewMux(MuxOptions{Telemetry: tel, Edge: true})
	mux.Handle(llmv1connect.NewLLMServiceHandler(g, mux.HandlerOptions()...))
	mux.Handle("/plain", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "plain") }))
	server := NewServer(mux, o)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), server, tel
}

func (g *gateway) ListModels(context.Context, *llmv1.ListModelsRequest) (*llmv1.ListModelsResponse, error) {
	return &llmv1.ListModelsResponse{DefaultModel: "extractive"}, nil
}

// One port takes every protocol.
func TestProtocols(t *testing.T) {
	t.Parallel()
	addr, _, _ := edge(t, &gateway{generate: func(_ context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		return s.Send(&llmv1.GenerateResponse{})
	}}, ServerOptions{})
	h1 := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(h1.CloseIdleConnections)
	h2 := Dial(Target{URL: "http://" + addr}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli")})
	t.Cleanup(h2.Close)
	for name, test := range map[string]struct {
		http    connect.HTTPClient
		options []connect.ClientOption
	}{
		"Connect, HTTP/1.1":       {h1, nil},
		"Connect JSON, HTTP/1.1":  {h1, []connect.ClientOption{connect.WithProtoJSON()}},
		"gRPC-Web, HTTP/1.1":      {h1, []connect.ClientOption{connect.WithGRPCWeb()}},
		"Connect, HTTP/2":         {h2.HTTP, nil},
		"gRPC, HTTP/2":            {h2.HTTP, []connect.ClientOption{connect.WithGRPC()}},
		"our own, HTTP/2":         {h2.HTTP, h2.Options},
		"Connect GET, HTTP/1.1":   {h1, []connect.ClientOption{connect.WithHTTPGet()}},
		"gzip, Connect, HTTP/1.1": {h1, []connect.ClientOption{connect.WithSendGzip()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := llmv1connect.NewLLMServiceClient(test.http, "http://"+addr, test.options...)
			got, err := client.ListModels(t.Context(), &llmv1.ListModelsRequest{})
			if err != nil || got.GetDefaultModel() != "extractive" {
				t.Errorf("unary: %v, %v", got, err)
			}
			n, err := drain(t.Context(), client, generateOf("bank"))
			if err != nil || n != 1 {
				t.Errorf("stream: %d messages, %v", n, err)
			}
		})
	}
	t.Run("curl", func(t *testing.T) {
		t.Parallel()
		for _, get := range []bool{true, false} {
			address := "http://" + addr + "/ragmesh.llm.v1.LLMService/ListModels"
			var (
				response *http.Response
				err      error
			)
			if get {
				response, err = h1.Get(address + "?encoding=json&message=" + url.QueryEscape("{}"))
			} else {
				response, err = h1.Post(address, "application/json", strings.NewReader("{}"))
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), "extractive") {
				t.Errorf("GET %t: %s %s, %v", get, response.Status, body, err)
			}
		}
	})
	t.Run("plain HTTP", func(t *testing.T) {
		t.Parallel()
		response, err := h1.Get("http://" + addr + "/plain")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(body) != "plain" {
			t.Errorf("got %q", body)
		}
	})
}

func TestHealthAndReflection(t *testing.T) {
	t.Parallel()
	in := install(t, &gateway{}, MuxOptions{}, ServerOptions{})
	h := in.local
	check := func(service string) (grpchealth.Status, error) {
		// The health client is gRPC's; the wire format of one string or one enum is the same as of our own messages.
		client := connect.NewClient[llmv1.Model, llmv1.Usage](h, "http://x.local/grpc.health.v1.Health/Check", connect.WithGRPC())
		response, err := client.CallUnary(t.Context(), connect.NewRequest(&llmv1.Model{Name: service}))
		if err != nil {
			return 0, err
		}
		return grpchealth.Status(response.Msg.GetPromptTokens()), nil
	}
	for _, service := range []string{"", llmv1connect.LLMServiceName} {
		if status, err := check(service); err != nil || status != grpchealth.StatusServing {
			t.Errorf("health of %q: %v, %v", service, status, err)
		}
	}
	if _, err := check("ragmesh.none.v1.None"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("health of nothing: %v", err)
	}
	in.server.mux.SetServing(false)
	if status, err := check(""); err != nil || status != grpchealth.StatusNotServing {
		t.Errorf("health when not serving: %v, %v", status, err)
	}
	reflection := grpcreflect.NewClient(h, "http://x.local", connect.WithGRPC())
	stream := reflection.NewStream(t.Context())
	names, err := stream.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Close(); err != nil {
		t.Error(err)
	}
	if len(names) != 1 || string(names[0]) != llmv1connect.LLMServiceName {
		t.Errorf("reflection lists %v", names)
	}
}

func value(t *testing.T, registry prometheus.Registerer, name string) float64 {
	t.Helper()
	families, err := registry.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				return float64(m.GetHistogram().GetSampleCount())
			case dto.MetricType_COUNTER:
				return m.GetCounter().GetValue()
			default:
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// What is above the limit is refused at once, in the caller's protocol, and says when to come back. Health is not.
func TestOverload(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 2), make(chan struct{})
	addr, server, tel := edge(t, &gateway{generate: func(_ context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		entered <- struct{}{}
		<-release
		return nil
	}}, ServerOptions{MaxInFlight: 2})
	c := Dial(Target{URL: "http://" + addr}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli")})
	t.Cleanup(c.Close)
	client := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...)
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := drain(t.Context(), client, generateOf("bank"))
			ended <- err
		}()
		<-entered
	}
	if n, limit := server.InFlight(); n != 2 || limit != 2 || !server.Saturated() {
		t.Errorf("%d of %d in flight, saturated %t", n, limit, server.Saturated())
	}
	_, err := client.ListModels(t.Context(), &llmv1.ListModelsRequest{})
	if f := wantFault(t, err, fault.Exhausted, fault.Overloaded); f.RetryAfter != time.Second {
		t.Errorf("come back in %s", f.RetryAfter)
	}
	_, err = drain(t.Context(), client, generateOf("bank"))
	wantFault(t, err, fault.Exhausted, fault.Overloaded)
	// Connect over HTTP/1.1, as a browser sees it.
	response, err := http.Post("http://"+addr+"/ragmesh.llm.v1.LLMService/ListModels", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Code string }
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.Code != "resource_exhausted" || response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "1" {
		t.Errorf("%s %+v %v, %v", response.Status, body, response.Header, err)
	}
	_ = response.Body.Close()
	response, err = http.Get("http://" + addr + "/plain")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("plain HTTP: %s", response.Status)
	}
	if response, err := http.Post("http://"+addr+"/grpc.health.v1.Health/Check", "application/json", strings.NewReader("{}")); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("health: %v, %v", response, err)
	} else {
		_ = response.Body.Close()
	}
	if got := value(t, tel.Registry, "ragmesh_dialog_rpc_rejected_total"); got != 4 {
		t.Errorf("%g rejections counted", got)
	}
	if got := value(t, tel.Registry, "ragmesh_dialog_rpc_in_flight"); got != 2 {
		t.Errorf("%g in flight counted", got)
	}
	if got := value(t, tel.Registry, "ragmesh_dialog_rpc_in_flight_limit"); got != 2 {
		t.Errorf("limit is %g", got)
	}
	close(release)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if _, err := client.ListModels(t.Context(), &llmv1.ListModelsRequest{}); err != nil {
		t.Errorf("after the load: %v", err)
	}
	if got := value(t, tel.Registry, "ragmesh_dialog_rpc_duration_seconds"); got == 0 {
		t.Error("no durations")
	}
}

// A body that does not come is given up; an answer that takes longer than the body is not.
func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	const limit, messages = 2 * time.Second, 2 // each followed by as long as a body may take
	addr, _, _ := edge(t, &gateway{generate: func(ctx context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		for range messages {
			if err := s.Send(&llmv1.GenerateResponse{}); err != nil {
				return err
			}
			select {
			case <-time.After(limit):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}}, ServerOptions{BodyTimeout: limit})
	h1 := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(h1.CloseIdleConnections)
	h2 := Dial(Target{URL: "http://" + addr}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli")})
	t.Cleanup(h2.Close)
	for name, client := range map[string]llmv1connect.LLMServiceClient{
		"HTTP/1.1": llmv1connect.NewLLMServiceClient(h1, "http://"+addr),
		"HTTP/2":   llmv1connect.NewLLMServiceClient(h2.HTTP, h2.URL, h2.Options...),
	} {
		t.Run("long answer over "+name, func(t *testing.T) {
			t.Parallel()
			if n, err := drain(t.Context(), client, generateOf("bank")); err != nil || n != messages {
				t.Errorf("%d messages, %v", n, err)
			}
		})
	}
	for name, client := range map[string]connect.HTTPClient{"HTTP/1.1": h1, "HTTP/2": h2.HTTP} {
		t.Run("body that does not end over "+name, func(t *testing.T) {
			t.Parallel()
			body, never := io.Pipe()
			defer func() { _ = never.Close() }()
			go func() { _, _ = never.Write([]byte("{")) }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/ragmesh.llm.v1.LLMService/ListModels", body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := client.Do(request)
			if err == nil {
				_ = response.Body.Close()
				if response.StatusCode == http.StatusOK {
					t.Error("answered")
				}
			}
			if ctx.Err() != nil {
				t.Error("waited for ever")
			}
		})
	}
}
