package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// SpanSink takes finished spans as a serialised OTLP ExportTraceServiceRequest of at most 256 KiB. It may lose them; the
// loss is counted by who called it. It must not make spans itself.
type SpanSink interface {
	PublishSpans(ctx context.Context, otlp []byte) error
}

const (
	spanQueue       = 2048
	spanBatch       = 256
	spanInterval    = 500 * time.Millisecond
	spanTimeout     = 5 * time.Second
	maxSpansPayload = 256 << 10
)

// export connects the tracer to a sink.
func (t *Telemetry) export(ctx context.Context, sink SpanSink) (*spanProcessor, error) {
	dropped := prometheus.NewCounter(prometheus.CounterOpts{
		Name: t.Metric("spans_dropped_total"),
		Help: "Spans lost because the queue was full or the sink failed.",
	})
	if err := t.Registry.Register(dropped); err != nil {
		return nil, fmt.Errorf("register metrics of %s: %w", t.Service, err)
	}
	exporter, err := otlptrace.New(ctx, &spanClient{sink: sink, dropped: dropped, log: t.Log})
	if err != nil {
		return nil, fmt.Errorf("make span exporter: %w", err)
	}
	return newSpanProcessor(exporter, dropped), nil
}

// spanClient is the transport under the OTLP exporter. It counts what it loses and says so once per outage.
type spanClient struct {
	sink    SpanSink
	dropped prometheus.Counter
	log     zerolog.Logger
	failing atomic.Bool
}

var _ otlptrace.Client = (*spanClient)(nil)

func (c *spanClient) Start(context.Context) error { return nil }
func (c *spanClient) Stop(context.Context) error  { return nil }

// UploadTraces sends the spans in as many payloads as their size asks for.
func (c *spanClient) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	var errs []error
	for _, rs := range spans {
		for _, ss := range rs.GetScopeSpans() {
			errs = append(errs, c.upload(ctx, rs, ss, ss.GetSpans()))
		}
	}
	return errors.Join(errs...)
}

func (c *spanClient) upload(ctx context.Context, rs *tracepb.ResourceSpans, ss *tracepb.ScopeSpans, spans []*tracepb.Span) error {
	// TracesData has the request's wire form; the request's own package would bring a gRPC gateway along.
	payload, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: rs.GetResource(), SchemaUrl: rs.GetSchemaUrl(),
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: ss.GetScope(), SchemaUrl: ss.GetSchemaUrl(), Spans: spans}},
	}}})
	if err == nil && len(payload) > maxSpansPayload {
		if half := len(spans) / 2; half > 0 {
			return errors.Join(c.upload(ctx, rs, ss, spans[:half]), c.upload(ctx, rs, ss, spans[half:]))
		}
		err = errors.New("one span is larger than a payload may be")
	}
	if err == nil {
		err = c.sink.PublishSpans(ctx, payload)
	}
	if err != nil {
		c.dropped.Add(float64(len(spans)))
		if !c.failing.Swap(true) {
			c.log.Warn().Err(err).Msg("spans cannot be sent and are dropped for now")
		}
		return err
	}
	if c.failing.Swap(false) {
		c.log.Info().Msg("spans are sent again")
	}
	return nil
}

// spanProcessor queues finished spans and exports them in batches. It is here because the SDK's own batcher does not tell
// how many spans it drops. OnEnd never waits.
type spanProcessor struct {
	exporter sdktrace.SpanExporter
	dropped  prometheus.Counter
	queue    chan sdktrace.ReadOnlySpan
	flush    chan chan struct{}
	quit     chan struct{}
	done     chan struct{}
	stopping sync.Once
}

var _ sdktrace.SpanProcessor = (*spanProcessor)(nil)

func newSpanProcessor(exporter sdktrace.SpanExporter, dropped prometheus.Counter) *spanProcessor {
	p := &spanProcessor{
		exporter: exporter, dropped: dropped,
		queue: make(chan sdktrace.ReadOnlySpan, spanQueue),
		flush: make(chan chan struct{}),
		quit:  make(chan struct{}), done: make(chan struct{}),
	}
	go p.run()
	return p
}

func (p *spanProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (p *spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case <-p.quit:
		p.dropped.Inc()
	default:
		select {
		case p.queue <- s:
		default:
			p.dropped.Inc()
		}
	}
}

func (p *spanProcessor) run() {
	defer close(p.done)
	tick := time.NewTicker(spanInterval)
	defer tick.Stop()
	batch := make([]sdktrace.ReadOnlySpan, 0, spanBatch)
	send := func() {
		if len(batch) > 0 {
			ctx, cancel := context.WithTimeout(context.Background(), spanTimeout)
			_ = p.exporter.ExportSpans(ctx, batch) // counted and logged by spanClient
			cancel()
			batch = batch[:0]
		}
	}
	drain := func() {
		for {
			select {
			case s := <-p.queue:
				if batch = append(batch, s); len(batch) == spanBatch {
					send()
				}
			default:
				send()
				return
			}
		}
	}
	for {
		select {
		case s := <-p.queue:
			if batch = append(batch, s); len(batch) == spanBatch {
				send()
			}
		case <-tick.C:
			send()
		case flushed := <-p.flush:
			drain()
			close(flushed)
		case <-p.quit:
			drain()
			return
		}
	}
}

// ForceFlush sends everything that has ended by now.
func (p *spanProcessor) ForceFlush(ctx context.Context) error {
	flushed := make(chan struct{})
	select {
	case p.flush <- flushed:
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown sends what is queued and ends the background work, which goes on until its own timeout when ctx ends first.
func (p *spanProcessor) Shutdown(ctx context.Context) error {
	p.stopping.Do(func() { close(p.quit) })
	select {
	case <-p.done:
		return p.exporter.Shutdown(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}
