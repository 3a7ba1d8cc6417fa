package turnbench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// BenchmarkFloor measures what a turn can't do without, each part alone and sixteen at once: what it reports as cpu-ms is
// the process's time for one, as the bench counts it for a turn.
func BenchmarkFloor(b *testing.B) {
	b.Run("verified hop", func(b *testing.B) {
		conn := rpctest.Service(b, identity.Gateway, func(m *rpc.Mux) { m.Handle(llmv1connect.NewLLMServiceHandler(echo{}, m.HandlerOptions()...)) })
		client := llmv1connect.NewLLMServiceClient(conn.HTTP, conn.URL, conn.Options...)
		ctx := rpctest.As(b.Context(), "w")
		measured(b, func(int64) error {
			_, err := client.Embed(ctx, &llmv1.EmbedRequest{Workspace: "w", Texts: []string{"a question"}})
			return err
		})
	})
	b.Run("turn and session written", func(b *testing.B) {
		server, err := natsserver.Start(b.Context(), natsserver.Options{Dir: b.TempDir(), Log: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(server.Shutdown)
		nats, err := bus.Connect(b.Context(), bus.Options{Name: "bench", InProcess: server, Log: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nats.Close)
		if err := nats.EnsureTopology(b.Context()); err != nil {
			b.Fatal(err)
		}
		sessions, err := nats.KV(b.Context(), bus.Sessions)
		if err != nil {
			b.Fatal(err)
		}
		record, view := bytes.Repeat([]byte("a turn of 13 KB "), 832), bytes.Repeat([]byte("v"), 300)
		run := time.Now().UnixNano()
		measured(b, func(n int64) error {
			id := fmt.Sprintf("%d-%d", run, n)
			if err := nats.Publish(b.Context(), bus.TurnSubject("w", id, id), id, record); err != nil {
				return err
			}
			_, err := sessions.Create(b.Context(), "w."+id, view)
			return err
		})
	})
	b.Run("model called", func(b *testing.B) { // the mock's half is in it
		base, stop, err := serve(b.Context(), mockllm.New(1))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(stop)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: MaxConcurrency}}
		b.Cleanup(client.CloseIdleConnections)
		prompt := string(bytes.Repeat([]byte("words of a source "), 400))
		measured(b, func(int64) error {
			_, err := mockllm.Ask(b.Context(), client, base, "mock-ttft0-itl0-len64", prompt)
			return err
		})
	})
}

type echo struct {
	llmv1connect.UnimplementedLLMServiceHandler
}

func (echo) Embed(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
	return &llmv1.EmbedResponse{}, nil
}

// measured does work sixteen at once and reports the processor time of each.
func measured(b *testing.B, work func(int64) error) {
	b.Helper()
	var next atomic.Int64
	before, err := spawn.CPU()
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(max(1, 16/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := work(next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	after, err := spawn.CPU()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(milliseconds(after-before)/float64(b.N), "cpu-ms/op")
}
