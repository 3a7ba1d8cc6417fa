package e2e_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
	steady "github.com/ragmesh/ragmesh/cmd/ragmesh/internal/load"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

// rollAll names how often every replica is rolled and killed; without it, one of each pair is rolled and the other killed.
const rollAll = "RAGMESH_ROLL_ROUNDS"

// rollConfig has a model that takes 200 ms and half of it streaming, so that some answers have begun when a gateway dies.
func rollConfig(t *testing.T) string {
	t.Helper()
	mock := httptest.NewServer(mockllm.New(1))
	t.Cleanup(mock.Close)
	dir := t.TempDir()
	config := fmt.Sprintf("default_model: mock\nmodels: {mock: {targets: [{provider: mock, model: mock-ttft100-itl4-len25}]}}\n"+
		"providers: {mock: {type: openai, base_url: %q, max_connections: 200}}\n", mock.URL+"/v1")
	// How long a write may take on the disk of a machine that is busy is another matter.
	const patient = "turn: {budget: {plan: 10s, retrieve: 20s, tools: 20s, save: 10s}}\n"
	for name, text := range map[string]string{"llm-gateway.yaml": config, "dialog.yaml": patient} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// With two replicas of dialog, tools and llm-gateway, any of their processes may be replaced or killed under load: no turn
// fails, none is degraded, and each request is answered and stored once.
func TestRoll(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	rounds := 0
	if v := os.Getenv(rollAll); v != "" {
		if _, err := fmt.Sscan(v, &rounds); err != nil {
			t.Fatalf("%s=%s: %v", rollAll, v, err)
		}
	}
	// The delay is above what the balancer takes to notice, as that of preStop is above kube-proxy's.
	s := e2e.StartReplicas(t, e2e.WithConfig(rollConfig(t)), e2e.WithArgs("--set", "shutdown.delay=1500ms"))
	docs := filepath.Join(e2e.Root(t), "examples", "bank-support", "documents")
	must(t, s, "ingest", "--base", docs, docs)

	c, err := client.New(client.Options{Server: s.Server, UserAgent: "ragmesh-test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	options := steady.Options{Rate: 20, Duration: time.Hour, Limit: 200, Timeout: 60 * time.Second, Retry: 10 * time.Second, Questions: steady.Questions(), Workspace: "default"}
	asking, enough := context.WithCancel(t.Context())
	defer enough()
	ask := &patient{c}
	report := make(chan *steady.Report, 1)
	go func() { report <- steady.Run(asking, ask, options) }()

	began := time.Now()
	say := func(what, name string) { t.Logf("%5.1f s: %s %s", time.Since(began).Seconds(), what, name) }
	roll := func(name string) {
		p := s.Part(t, name)
		say("rolling", name)
		p.Terminate(t)
		if err := p.Wait(); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		p.Restart(t)
		s.Served(t, name)
	}
	kill := func(name string) {
		p := s.Part(t, name)
		say("killing", name)
		p.Kill(t)
		p.Restart(t)
		s.Served(t, name)
	}
	time.Sleep(time.Second)
	for _, service := range []string{"llm-gateway", "tools", "dialog"} {
		if rounds == 0 {
			roll(service + "-0")
			kill(service + "-1")
		}
		for range rounds {
			for _, i := range []string{"-0", "-1"} {
				roll(service + i)
				kill(service + i)
			}
		}
	}
	say("that was all", "")
	time.Sleep(time.Second)
	enough()
	r := <-report
	t.Logf("%d asked within %s: %d answered, %d abstained, %d asked again %v, %d restarted; mean %.0f ms, p99 %.0f ms, slowest %.0f ms, longest gap %.0f ms",
		r.Sent, time.Since(began).Round(time.Second), r.Answered, r.Abstained, r.Retried, r.Repeats, r.Restarted, r.Latency.Mean, r.Latency.P99, r.Latency.Max, r.LongestGap)
	if r.Failed > 0 || r.Degraded > 0 || r.Duplicates > 0 || r.Answered < r.Sent/2 {
		t.Errorf("%d failed: %v; %d degraded: %v; %d turns belong to several questions", r.Failed, r.Failures, r.Degraded, r.Degradations, r.Duplicates)
	}
	storedOnce(t, s, r.Sent)
}

// patient finishes what has begun when the load is over.
type patient struct{ *client.Client }

func (p *patient) Ask(ctx context.Context, req *dialogv1.ChatRequest, o client.Asking, each func(*dialogv1.ChatResponse) error) error {
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return p.Client.Ask(bound, req, o, each)
}

// storedOnce reads all turns from the stream: every request has one that is an answer.
func storedOnce(t *testing.T, s *e2e.System, requests int) {
	t.Helper()
	b := bustest.Connect(t, "nats://"+s.Part(t, e2e.NATS).Addr())
	answers := map[string]int{}
	interrupted := 0
	for before := uint64(0); ; {
		messages, start, err := b.Tail(t.Context(), bus.Turns, 500, before)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			var record eventv1.TurnRecorded
			if err := proto.Unmarshal(m.Data, &record); err != nil {
				t.Fatal(err)
			}
			if turn := record.GetTurn(); turn.GetOutcome() == dialogv1.Outcome_OUTCOME_INTERRUPTED {
				interrupted++
			} else {
				answers[turn.GetRequestId()]++
			}
		}
		if start == 0 {
			break
		}
		before = start
	}
	var twice []string
	for request, n := range answers {
		if n > 1 {
			twice = append(twice, request)
		}
	}
	slices.Sort(twice)
	if len(answers) != requests || len(twice) > 0 {
		t.Errorf("%d requests have an answer in the stream, want %d; more than one: %s", len(answers), requests, strings.Join(twice, " "))
	}
	t.Logf("the stream holds %d answers and %d interrupted turns", len(answers), interrupted)
}
