package gatebench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"connectrpc.com/connect"

	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// Floor is something far simpler than a gateway, which gateways are measured by.
type Floor string

// The floors that are programs of their own.
const (
	// Proxy is a bare httputil.ReverseProxy.
	Proxy Floor = "proxy"
	// Recode is the same, but decodes and encodes the request's JSON once.
	Recode Floor = "recode"
	// Relay is a procedure of Connect that reads the mock's events and sends each as a message.
	Relay Floor = "relay"
)

// Floors are all of them.
func Floors() []Floor { return []Floor{Proxy, Recode, Relay} }

// Serve serves a floor in front of a model's server until ctx ends. started is told where.
func Serve(ctx context.Context, f Floor, upstream, addr string, started func(net.Addr)) error {
	target, err := url.Parse(upstream)
	if err != nil || target.Host == "" {
		return fmt.Errorf("no address of a server: %q", upstream)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: MaxConcurrency, DisableCompression: true}
	defer transport.CloseIdleConnections()
	var handler http.Handler
	switch f {
	case Proxy, Recode:
		proxy := &httputil.ReverseProxy{
			Transport: transport, FlushInterval: -1,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				if f == Recode {
					recode(r.Out)
				}
			},
		}
		handler = proxy
	case Relay:
		mux := http.NewServeMux()
		mux.Handle(llmv1connect.NewLLMServiceHandler(&relay{client: &http.Client{Transport: transport}, url: upstream + "/v1/chat/completions"}))
		handler = mux
	default:
		return fmt.Errorf("there is no floor %q", f)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve the floor: %w", err)
	}
	started(l.Addr())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// recode decodes and encodes a request's body, as a gateway does that looks into it.
func recode(r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // what has come is sent, and refused there
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err == nil {
		if again, err := json.Marshal(body); err == nil {
			raw = again
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
}

// relay is the least that a gateway with a procedure of Connect does.
type relay struct {
	llmv1connect.UnimplementedLLMServiceHandler
	client *http.Client
	url    string
}

// Generate implements [llmv1connect.LLMServiceHandler].
func (s *relay) Generate(ctx context.Context, r *llmv1.GenerateRequest, to *connect.ServerStream[llmv1.GenerateResponse]) error {
	body, err := json.Marshal(map[string]any{
		"model": r.GetModel(), "stream": true, "messages": []map[string]string{{"role": "user", "content": r.GetQuestion()}},
	})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the model: %w", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok || string(data) == "[DONE]" {
			continue
		}
		var event struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if len(event.Choices) == 0 || event.Choices[0].Delta.Content == "" {
			continue
		}
		if err := to.Send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Delta{Delta: &llmv1.Delta{Text: event.Choices[0].Delta.Content}}}); err != nil {
			return err
		}
	}
	return lines.Err()
}
