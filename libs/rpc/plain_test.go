package rpc

import (
	"net/http"
	"net/http/httptest"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// Only those who are trusted have their traces continued; everybody else's begin here.
func TestPlainTraces(t *testing.T) {
	t.Parallel()
	const (
		theirs  = "4bf92f3577b34da6a3ce929d0e0e4736"
		parent  = "00f067aa0ba902b7"
		sampled = "00-" + theirs + "-" + parent + "-01"
	)
	for name, test := range map[string]struct {
		pattern, key string
		traceparent  []string
		continued    bool
	}{
		"a key":                  {"/trusting", "good", []string{sampled}, true},
		"no key":                 {"/trusting", "", []string{sampled}, false},
		"another key":            {"/trusting", "bad", []string{sampled}, false},
		"a key, no trace":        {"/trusting", "good", nil, false},
		"a key, two traces":      {"/trusting", "good", []string{sampled, sampled}, false},
		"a key, a broken trace":  {"/trusting", "good", []string{"00-" + theirs + "-01"}, false},
		"a key, nobody's trace":  {"/trusting", "good", []string{"00-00000000000000000000000000000000-" + parent + "-01"}, false},
		"where nobody's trusted": {"/plain", "good", []string{sampled}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spans := tracetest.NewSpanRecorder()
			tel := telemetry.Nop("dialog")
			tel.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
			mux := NewMux(MuxOptions{Telemetry: tel, Edge: true})
			seen := ""
			handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = telemetry.TraceID(r.Context()) })
			mux.HandlePlain("/plain", handler)
			mux.HandleTrusting("GET /trusting", handler, func(r *http.Request) bool { return r.Header.Get("Key") == "good" })

			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.pattern, nil)
			r.Header.Set("Key", test.key)
			for _, value := range test.traceparent {
				r.Header.Add("Traceparent", value)
			}
			mux.ServeHTTP(httptest.NewRecorder(), r)
			ended := spans.Ended()
			if len(ended) != 1 {
				t.Fatalf("%d spans", len(ended))
			}
			trace, under := ended[0].SpanContext().TraceID().String(), ended[0].Parent()
			if seen != trace || (trace == theirs) != test.continued || under.IsValid() != test.continued {
				t.Errorf("trace %s under %v, handler saw %s", trace, under.SpanID(), seen)
			}
			if test.continued && under.SpanID().String() != parent {
				t.Errorf("under span %v, want %s", under.SpanID(), parent)
			}
		})
	}
}
