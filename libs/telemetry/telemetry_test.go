package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// sink keeps what is published; while gate is set it waits there, while err is set it fails.
type sink struct {
	mu       sync.Mutex
	err      error
	gate     chan struct{}
	payloads [][]byte
}

func (s *sink) PublishSpans(ctx context.Context, otlp []byte) error {
	s.mu.Lock()
	gate, err := s.gate, s.err
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.payloads = append(s.payloads, bytes.Clone(otlp))
	return nil
}

func (s *sink) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// spans returns the spans received, with the resource's attributes of the first payload.
func (s *sink) spans(t *testing.T) (spans []*tracepb.Span, about map[string]string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	about = map[string]string{}
	for _, payload := range s.payloads {
		var data tracepb.TracesData
		if err := proto.Unmarshal(payload, &data); err != nil {
			t.Fatalf("payload is no OTLP: %v", err)
		}
		for _, rs := range data.GetResourceSpans() {
			for _, kv := range rs.GetResource().GetAttributes() {
				about[kv.GetKey()] = kv.GetValue().GetStringValue()
			}
			for _, ss := range rs.GetScopeSpans() {
				spans = append(spans, ss.GetSpans()...)
			}
		}
	}
	return spans, about
}

func start(t *testing.T, o telemetry.Options) *telemetry.Telemetry {
	t.Helper()
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	tel, err := telemetry.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func TestSpansReachTheSink(t *testing.T) {
	t.Parallel()
	var s sink
	tel := start(t, telemetry.Options{Service: "dialog", Version: "v1", Log: zerolog.Nop(), Spans: &s, SampleRatio: 1})
	ctx, outer := tel.Span(t.Context(), "turn", attribute.String("workspace", "w"))
	_, inner := tel.Span(ctx, "retrieve")
	telemetry.End(inner, nil)
	telemetry.End(outer, fault.New(fault.Unavailable, fault.StoreUnavailable, "the store does not answer"))
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans, about := s.spans(t)
	want := map[string]string{"service.namespace": "ragmesh", "service.name": "dialog", "service.version": "v1"}
	if diff := cmp.Diff(want, about); diff != "" {
		t.Errorf("resource (-want +got):\n%s", diff)
	}
	if len(spans) != 2 || !bytes.Equal(spans[0].GetParentSpanId(), spans[1].GetSpanId()) {
		t.Fatalf("spans: %v", spans)
	}
	if got := spans[1].GetStatus(); got.GetCode() != tracepb.Status_STATUS_CODE_ERROR || got.GetMessage() != "the store does not answer" {
		t.Errorf("status: %v", got)
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err    error
		code   codes.Code
		reason string
	}{
		"done":              {nil, codes.Unset, ""},
		"failed":            {fault.New(fault.Invalid, fault.InvalidRequest, "no"), codes.Error, "INVALID_REQUEST"},
		"a bug":             {io.ErrUnexpectedEOF, codes.Error, "INTERNAL"},
		"the caller left":   {context.Canceled, codes.Unset, "CANCELED"},
		"the deadline came": {context.DeadlineExceeded, codes.Error, "DEADLINE_EXCEEDED"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorder := tracetest.NewSpanRecorder()
			_, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("t").Start(t.Context(), "s")
			telemetry.End(span, test.err)
			got := recorder.Ended()[0]
			reason := ""
			for _, kv := range got.Attributes() {
				reason = kv.Value.AsString()
			}
			if got.Status().Code != test.code || reason != test.reason {
				t.Errorf("got %v %q", got.Status(), reason)
			}
			if strings.Contains(got.Status().Description, "EOF") {
				t.Error("the span shows internals")
			}
		})
	}
}

func dropped(t *testing.T, r *prometheus.Registry, service string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ragmesh_"+service+"_spans_dropped_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}

func TestLostSpansAreCountedAndLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &sink{err: errors.New("nats is away")}
	r := prometheus.NewRegistry()
	tel := start(t, telemetry.Options{Service: "llm-gateway", Log: zerolog.New(&log), Registry: r, Spans: s, SampleRatio: 1})
	flush := tel.Tracer.(interface{ ForceFlush(context.Context) error }).ForceFlush
	for range 3 {
		_, span := tel.Span(t.Context(), "s")
		span.End()
		if err := flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || dropped(t, r, "llm_gateway") != 3 {
		t.Errorf("dropped %v, log:\n%s", dropped(t, r, "llm_gateway"), &log)
	}
	s.set(nil)
	_, span := tel.Span(t.Context(), "s")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "sent again") || dropped(t, r, "llm_gateway") != 3 {
		t.Errorf("dropped %v, log:\n%s", dropped(t, r, "llm_gateway"), &log)
	}
}

func TestAFullQueueDropsAndNeverWaits(t *testing.T) {
	t.Parallel()
	s := &sink{gate: make(chan struct{})}
	r := prometheus.NewRegistry()
	tel := start(t, telemetry.Options{Service: "eval", Log: zerolog.Nop(), Registry: r, Spans: s, SampleRatio: 1})
	const many = 5000
	for range many {
		_, span := tel.Span(t.Context(), "s")
		span.End()
	}
	lost := dropped(t, r, "eval")
	if lost == 0 {
		t.Error("nothing was dropped")
	}
	close(s.gate)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if spans, _ := s.spans(t); len(spans)+int(dropped(t, r, "eval")) != many {
		t.Errorf("%d sent and %v dropped of %d", len(spans), dropped(t, r, "eval"), many)
	}
}

func TestPayloadsAreBounded(t *testing.T) {
	t.Parallel()
	var s sink
	tel := start(t, telemetry.Options{Service: "eval", Log: zerolog.Nop(), Spans: &s, SampleRatio: 1})
	for range 60 {
		_, span := tel.Span(t.Context(), "s")
		for i := range 4 {
			span.SetAttributes(attribute.String(fmt.Sprint(i), strings.Repeat("界", 10_000)))
		}
		span.End()
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.payloads {
		if len(p) > 256<<10 {
			t.Errorf("a payload of %d bytes", len(p))
		}
	}
	if spans, _ := s.spans(t); len(spans) != 60 {
		t.Errorf("%d of 60 spans", len(spans))
	}
}

func TestShutdownIsBoundedAndRepeatable(t *testing.T) {
	t.Parallel()
	s := &sink{gate: make(chan struct{})}
	defer close(s.gate)
	tel := start(t, telemetry.Options{Service: "eval", Log: zerolog.Nop(), Spans: s, SampleRatio: 1})
	_, span := tel.Span(t.Context(), "s")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tel.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	_, span = tel.Span(t.Context(), "late")
	span.End()
}

func TestServicesShareARegistry(t *testing.T) {
	t.Parallel()
	r := telemetry.NewRegistry()
	for _, service := range []string{"dialog", "retriever", "tools", "llm-gateway", "eval"} {
		tel := start(t, telemetry.Options{Service: service, Version: "v1", Log: zerolog.Nop(), Registry: r, Spans: &sink{}})
		t.Cleanup(func() { _ = tel.Shutdown(context.WithoutCancel(t.Context())) })
		calls, err := tel.Meter.Meter("test").Int64Counter("rpc.calls")
		if err != nil {
			t.Fatal(err)
		}
		calls.Add(t.Context(), 2)
		own := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ragmesh_busy_ratio", Help: "The same for all."})
		if err := tel.Registry.Register(own); err != nil {
			t.Errorf("register for %s: %v", service, err)
		}
	}
	w := httptest.NewRecorder()
	telemetry.MetricsHandler(r).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`rpc_calls_total{ragmesh_service="llm-gateway"} 2`, `rpc_calls_total{ragmesh_service="dialog"} 2`,
		`ragmesh_busy_ratio{ragmesh_service="eval"} 0`, `ragmesh_llm_gateway_spans_dropped_total{ragmesh_service="llm-gateway"} 0`,
		`target_info{ragmesh_service="tools",service_name="tools",service_namespace="ragmesh",service_version="v1"} 1`, "go_goroutines",
	} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("not on /metrics: %s", line)
		}
	}
	if problems, err := testutil.GatherAndLint(r); err != nil {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestSampling(t *testing.T) {
	t.Parallel()
	for ratio, want := range map[float64]int{0: 0, 1: 10} {
		var s sink
		tel := start(t, telemetry.Options{Service: "dialog", Log: zerolog.Nop(), Spans: &s, SampleRatio: ratio})
		for range 10 {
			_, span := tel.Span(t.Context(), "s")
			span.End()
		}
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if spans, _ := s.spans(t); len(spans) != want {
			t.Errorf("ratio %v: %d spans, want %d", ratio, len(spans), want)
		}
	}
}

func TestLogLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tel := start(t, telemetry.Options{Service: "dialog", Log: telemetry.Logger(&out, "info", false)})
	ctx, span := tel.Span(t.Context(), "turn")
	defer span.End()
	trace := telemetry.TraceID(ctx)
	ctx = identity.NewContext(ctx, identity.Principal{Workspace: "bank", Subject: "ann"})
	log := tel.Logger(ctx)
	log.Debug().Msg("not at this level")
	log.Info().Int("passages", 3).Msg("answered")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	if _, err := time.Parse(time.RFC3339, line["time"].(string)); err != nil {
		t.Error(err)
	}
	delete(line, "time")
	want := map[string]any{
		"level": "info", "service": "dialog", "trace_id": trace, "workspace": "bank", "user": "ann",
		"passages": 3.0, "message": "answered",
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogLinesWithoutARequest(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tel := start(t, telemetry.Options{Service: "dialog", Log: telemetry.Logger(&out, "nonsense", false)})
	log := tel.Logger(t.Context())
	log.Info().Msg("hello")
	for _, absent := range []string{"trace_id", "workspace", "user"} {
		if strings.Contains(out.String(), absent) {
			t.Errorf("%s in %s", absent, &out)
		}
	}
	if telemetry.TraceID(t.Context()) != "" {
		t.Error("a trace id from nowhere")
	}
}

func TestConsoleIsForPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.Logger(&out, "", true)
	log.Warn().Str("addr", "127.0.0.1:8080").Msg("listening")
	if s := out.String(); strings.HasPrefix(s, "{") || !strings.Contains(s, "listening") || !strings.Contains(s, "127.0.0.1:8080") {
		t.Errorf("got %q", s)
	}
}

func TestNop(t *testing.T) {
	t.Parallel()
	tel := telemetry.Nop("dialog")
	_, span := tel.Span(t.Context(), "s")
	telemetry.End(span, nil)
	log := tel.Logger(t.Context())
	log.Info().Msg("nobody hears")
	if err := tel.Registry.Register(prometheus.NewGauge(prometheus.GaugeOpts{Name: tel.Metric("x_count")})); err != nil {
		t.Error(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLevelChangesUnderLoggers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	level := telemetry.NewLevel("warn")
	tel := start(t, telemetry.Options{Service: "dialog", Log: telemetry.Threshold(telemetry.Unleveled(&out, false), level)})
	log := tel.Logger(t.Context())
	say := func(level string, want ...string) {
		t.Helper()
		log.Debug().Msg("debug")
		log.Info().Msg("info")
		log.Warn().Msg("warn")
		for _, m := range []string{"debug", "info", "warn"} {
			if strings.Contains(out.String(), `"message":"`+m+`"`) != slices.Contains(want, m) {
				t.Errorf("at %s: %s", level, &out)
			}
		}
		out.Reset()
	}
	say("warn", "warn")
	level.Set("debug")
	say("debug", "debug", "info", "warn")
	level.Set("nonsense")
	say("info", "info", "warn")
}
