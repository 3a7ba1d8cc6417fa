package rpc

import (
	"net/http"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// Calls over the network are spread over connections, and so over the replicas behind an address.
func TestPoolSpreadsCalls(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	r.start(t)
	r.start(t)
	c := Dial(Target{URL: "http://" + r.addr}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli")})
	t.Cleanup(c.Close)
	client := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...)
	for range 8 * poolSize {
		if _, err := client.ListModels(t.Context(), &llmv1.ListModelsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != poolSize {
		t.Errorf("%d connections were made, want %d", r.next, poolSize)
	}
}

// One call notices that a replica is gone; those after it go over other connections while there are any.
func TestPoolAvoidsWhatFails(t *testing.T) {
	t.Parallel()
	p := newPool(func() *http.Transport { return &http.Transport{} })
	now := time.Now()
	p.lines[1].avoid.Store(now.Add(avoidFor).UnixNano())
	p.lines[2].avoid.Store(now.Add(avoidFor).UnixNano())
	for range 2 * poolSize {
		if l := p.pick(now); l == p.lines[1] || l == p.lines[2] {
			t.Error("a line that just failed was taken")
		}
	}
	for _, l := range p.lines {
		l.avoid.Store(now.Add(avoidFor).UnixNano())
	}
	if p.pick(now) == nil {
		t.Error("with nothing better, no line at all")
	}
}

func TestLinesAreReplaced(t *testing.T) {
	t.Parallel()
	l := &line{dial: func() *http.Transport { return &http.Transport{} }}
	now := time.Now()
	first := l.get(now)
	if l.get(now.Add(poolAge/2)) != first {
		t.Error("a young connection was replaced")
	}
	second := l.get(now.Add(2 * poolAge))
	if second == first || l.old != first {
		t.Error("an old connection was not replaced, or is not left to finish")
	}
	now = now.Add(2 * poolAge)
	l.failed(now.Add(time.Second), true)
	if l.get(now.Add(time.Second)) != second {
		t.Error("a connection was replaced as soon as it was made")
	}
	l.failed(now.Add(2*settled), false)
	if l.get(now.Add(2*settled)) != second {
		t.Error("a connection that answers was replaced for an error")
	}
	l.failed(now.Add(2*settled), true)
	if l.get(now.Add(2*settled)) == second {
		t.Error("a connection that gives no answer stays")
	}
}
