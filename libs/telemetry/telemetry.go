// Package telemetry makes the three things every service reports with: a logger that carries trace ids, a tracer whose spans
// go to a sink in OTLP form, and metrics on a Prometheus registry. It sets no globals, so that several services live in one
// process: each has its own Telemetry, and on a shared registry its metrics carry a label with its name.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Version is the build's version, set by the linker: -X github.com/ragmesh/ragmesh/libs/telemetry.Version=v1.2.3.
var Version = "dev"

// Telemetry is what one service reports with. Safe for concurrent use.
type Telemetry struct {
	// Service is the service's name as in its configuration file, e.g. "llm-gateway".
	Service string
	// Version is the build's version.
	Version string
	// Log carries the service's name. Use Logger(ctx) where there is a request.
	Log zerolog.Logger
	// Tracer makes spans.
	Tracer trace.TracerProvider
	// Meter makes OpenTelemetry instruments, which appear on Registry.
	Meter metric.MeterProvider
	// Registry takes the service's own collectors and adds ServiceLabel to them.
	Registry prometheus.Registerer
	// Propagator writes and reads W3C trace context.
	Propagator propagation.TextMapPropagator

	shutdown []func(context.Context) error
}

// Options configures New.
type Options struct {
	Service string
	Version string
	Log     zerolog.Logger
	// Registry may be shared by several services. Nil makes one that nobody scrapes.
	Registry *prometheus.Registry
	// Spans takes the finished spans. Nil keeps none; log lines carry trace ids all the same.
	Spans SpanSink
	// SampleRatio is the share of traces that are kept, 0 to 1, where the caller has not decided already.
	SampleRatio float64
}

// Bounds on one span, so that no caller's input makes it large.
const (
	maxAttributes     = 64
	maxAttributeBytes = 8 << 10
	maxEvents         = 32
)

// New returns a service's telemetry. Shutdown must be called.
func New(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	t := &Telemetry{
		Service: o.Service, Version: o.Version,
		Log:        o.Log.With().Str("service", o.Service).Logger(),
		Registry:   Registerer(o.Registry, o.Service),
		Propagator: propagation.TraceContext{},
	}
	about := resource.NewWithAttributes(semconv.SchemaURL,
		semconv.ServiceNamespace("ragmesh"), semconv.ServiceName(o.Service), semconv.ServiceVersion(o.Version))

	if err := t.registerBuild(); err != nil {
		return nil, err
	}
	metrics, err := otelprom.New(otelprom.WithRegisterer(t.Registry), otelprom.WithoutScopeInfo(),
		otelprom.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return nil, fmt.Errorf("register metrics of %s: %w", o.Service, err)
	}
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics), sdkmetric.WithResource(about))
	t.Meter = meter

	tracerOptions := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SampleRatio))),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: maxAttributeBytes, AttributeCountLimit: maxAttributes, EventCountLimit: maxEvents,
			LinkCountLimit: maxEvents, AttributePerEventCountLimit: maxAttributes, AttributePerLinkCountLimit: maxAttributes,
		}),
	}
	if o.Spans != nil {
		processor, err := t.export(ctx, o.Spans)
		if err != nil {
			return nil, err
		}
		tracerOptions = append(tracerOptions, sdktrace.WithSpanProcessor(processor))
	}
	tracer := sdktrace.NewTracerProvider(tracerOptions...)
	t.Tracer = tracer
	t.shutdown = []func(context.Context) error{tracer.Shutdown, meter.Shutdown}
	return t, nil
}

// Nop returns a Telemetry that says nothing and has a registry of its own, for tests.
func Nop(service string) *Telemetry {
	return &Telemetry{
		Service: service, Version: "test", Log: zerolog.Nop(),
		Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(),
		Registry: prometheus.NewRegistry(), Propagator: propagation.TraceContext{},
	}
}

// registerBuild says with a metric which build this is.
func (t *Telemetry) registerBuild() error {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: t.Metric("build_info"), Help: "1, with the build's version and the Go version it was made with.",
		ConstLabels: prometheus.Labels{"version": t.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	if err := t.Registry.Register(build); err != nil {
		return fmt.Errorf("register metrics of %s: %w", t.Service, err)
	}
	return nil
}

// Shutdown sends what is queued, within ctx, and ends the background work.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, f := range t.shutdown {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// Span starts a span of this service. End it with [End].
func (t *Telemetry) Span(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.Tracer.Tracer("github.com/ragmesh/ragmesh").Start(ctx, name, trace.WithAttributes(attributes...))
}

// End ends a span and, where err is not nil, marks it as failed with what may be shown of err. A caller who went away is no
// failure.
func End(span trace.Span, err error) {
	if e := fault.As(err); e != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(fault.ReasonName(e.Reason)))
		if e.Kind != fault.Canceled {
			span.SetStatus(codes.Error, e.Message)
		}
	}
	span.End()
}

// Metric returns a metric's full name: ragmesh_<service>_<what>_<unit>.
func (t *Telemetry) Metric(what string) string {
	return "ragmesh_" + strings.ReplaceAll(t.Service, "-", "_") + "_" + what
}

// ServiceLabel is on every metric of a service. It is not called service: the Prometheus operator puts a label of that name
// on whatever it scrapes.
const ServiceLabel = "ragmesh_service"

// Registerer returns a registry that adds ServiceLabel, as Telemetry.Registry does, for what exists before a Telemetry.
func Registerer(r *prometheus.Registry, service string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{ServiceLabel: service}, r)
}

// NewRegistry returns a registry with the process's and the Go runtime's metrics, one per process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// MetricsHandler serves a registry for scraping. A metric that cannot be collected is left out and counted; the others are
// served all the same.
func MetricsHandler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: r, MaxRequestsInFlight: 4})
}
