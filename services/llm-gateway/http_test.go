package llmgateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/config"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
)

// Who has a key sees requests in the trace they belong to; who has none can't write into anybody's.
func TestTracesOfApplicationsGoOn(t *testing.T) {
	const secret, trace = "a-key-of-an-application-0123456789", "4bf92f3577b34da6a3ce929d0e0e4736"
	t.Setenv("RAGMESH_TEST_SHOP", secret)
	cfg := withProvider(answers(t).URL)
	cfg.Keys = []llmgateway.Key{{Name: "shop", Key: config.Secret{Env: "RAGMESH_TEST_SHOP"}}}
	s, err := llmgateway.New(t.Context(), cfg, deps(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	conn := rpctest.Service(t, "llm-gateway", func(m *librpc.Mux) { s.Register(m) })
	for key, want := range map[string]struct {
		status int
		trace  string
	}{secret: {http.StatusOK, trace}, "another-key-0123456789": {http.StatusUnauthorized, ""}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, conn.URL+"/v1/chat/completions",
			strings.NewReader(`{"model":"default","stream":true,"messages":[{"role":"user","content":"How long?"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
		resp, err := conn.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("X-Request-Id"); resp.StatusCode != want.status || got != want.trace {
			t.Errorf("%s with request id %q, want %d and %q", resp.Status, got, want.status, want.trace)
		}
	}
}
