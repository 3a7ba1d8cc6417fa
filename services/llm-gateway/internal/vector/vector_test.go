package vector

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// fake makes vectors that tell a text's length, and remembers its calls. fail, when set, is asked before each.
type fake struct {
	calls [][]string
	fail  func(call int) error
}

func (f *fake) Embed(_ context.Context, r provider.EmbedRequest) (provider.Embedded, error) {
	f.calls = append(f.calls, r.Texts)
	if f.fail != nil {
		if err := f.fail(len(f.calls)); err != nil {
			return provider.Embedded{}, err
		}
	}
	out := provider.Embedded{Usage: provider.Usage{Prompt: len(r.Texts)}}
	for _, t := range r.Texts {
		out.Vectors = append(out.Vectors, []float32{3 * float32(len(t)), 4 * float32(len(t))})
	}
	return out, nil
}

type meter struct {
	tokens int
	calls  []route.Tried
	named  string
}

func (m *meter) Tried(route.Rung, string, time.Duration) {}
func (m *meter) Tokens(_ route.Rung, u provider.Usage)   { m.tokens += u.Prompt }
func (m *meter) Called(operation string, t route.Tried) {
	m.named, m.calls = operation, append(m.calls, t)
}

func models(e Embedding, slots route.Slots, m *meter) *Models {
	return New(Config{Embeddings: map[string]Embedding{"e": e}, DefaultEmbedding: "e", Timeout: time.Minute},
		Deps{Meter: m, Tracer: noop.NewTracerProvider().Tracer(""), Clock: time.Now, Slots: slots})
}

func TestTextsGoInBatches(t *testing.T) {
	t.Parallel()
	f, m := &fake{}, &meter{}
	e := Embedding{Embedder: f, Model: "m", BatchTexts: 3, BatchBytes: 20, PassagePrefix: "p:", Price: 2}
	texts := []string{"a", "b", "c", "d", strings.Repeat("x", 30), "e"}
	got, err := models(e, route.NewSlots(1), m).Embed(t.Context(), account.Who{}, "", Passage, texts)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"p:a", "p:b", "p:c"}, {"p:d"}, {"p:" + strings.Repeat("x", 30)}, {"p:e"}}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if len(got.Vectors) != len(texts) || got.Vectors[5][0] != .6 || got.Vectors[5][1] != .8 {
		t.Errorf("vectors %v, want them of length 1", got.Vectors)
	}
	if got.Usage.Prompt != 6 || got.Usage.CostMicros != 12 || m.tokens != 6 || texts[0] != "a" {
		t.Errorf("usage %+v, metered %d", got.Usage, m.tokens)
	}
}

func TestRevisionTellsSpacesApart(t *testing.T) {
	t.Parallel()
	base := Embedding{Model: "m", BatchTexts: 3, Provider: "a"}
	same := base
	same.BatchTexts, same.Provider, same.Price = 4, "b", 1
	if base.revision() != same.revision() {
		t.Error("where and how texts are sent is in the revision")
	}
	for name, other := range map[string]Embedding{"model": {Model: "n"}, "prefix": {Model: "m", QueryPrefix: "q"}, "by hand": {Model: "m", Revision: "2"}, "dimensions": {Model: "m", Dimensions: 2}} {
		if other.revision() == base.revision() {
			t.Errorf("another %s gives the same revision", name)
		}
	}
}

func TestWhatPassesIsWaitedFor(t *testing.T) {
	t.Parallel()
	busy := fault.New(fault.Exhausted, fault.ProviderRateLimited, "busy")
	f := &fake{fail: func(call int) error {
		if call < 3 {
			return busy
		}
		return nil
	}}
	m := &meter{}
	if _, err := models(Embedding{Embedder: f, BatchTexts: 1, BatchBytes: 9}, route.NewSlots(1), m).Embed(t.Context(), account.Who{}, "e", Query, []string{"a"}); err != nil || len(f.calls) != 3 {
		t.Errorf("%v after %d calls", err, len(f.calls))
	}
	if m.named != "embeddings" || len(m.calls) != 3 || m.calls[1].Outcome != "PROVIDER_RATE_LIMITED" || m.calls[2].Outcome != "stop" || m.calls[2].Usage.Prompt != 1 {
		t.Errorf("metered as %s: %+v", m.named, m.calls)
	}
}

func TestWhatDoesNotPassInTimeIsToldAtOnce(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"rejected":      fault.New(fault.Precondition, fault.ProviderRejected, "no"),
		"busy for long": fault.New(fault.Exhausted, fault.ProviderRateLimited, "busy").WithRetryAfter(time.Hour),
	} {
		f := &fake{fail: func(int) error { return err }}
		_, got := models(Embedding{Embedder: f, BatchTexts: 1, BatchBytes: 9}, route.NewSlots(1), &meter{}).Embed(t.Context(), account.Who{}, "e", Query, []string{"a"})
		if !errors.Is(got, err) || len(f.calls) != 1 {
			t.Errorf("%s: %v after %d calls", name, got, len(f.calls))
		}
	}
}

func TestAnotherDimensionIsRefused(t *testing.T) {
	t.Parallel()
	_, err := models(Embedding{Embedder: &fake{}, BatchTexts: 1, BatchBytes: 9, Dimensions: 3}, route.NewSlots(1), &meter{}).Embed(t.Context(), account.Who{}, "e", Query, []string{"a"})
	if err == nil || fault.KindOf(err) != fault.Precondition || !strings.Contains(err.Error(), "2 dimensions, not 3") {
		t.Errorf("%v", err)
	}
}

func TestNoPlaceAndNoModel(t *testing.T) {
	t.Parallel()
	full := route.NewSlots(1)
	full <- struct{}{}
	if _, err := models(Embedding{Embedder: &fake{}, BatchTexts: 1}, full, &meter{}).Embed(t.Context(), account.Who{}, "", Query, []string{"a"}); fault.ReasonOf(err) != fault.Overloaded {
		t.Errorf("without a place: %v", err)
	}
	m := New(Config{}, Deps{})
	if _, err := m.Embed(t.Context(), account.Who{}, "", Query, []string{"a"}); err == nil || fault.KindOf(err) != fault.Precondition {
		t.Errorf("without a model: %v", err)
	}
	if _, err := m.Rerank(t.Context(), account.Who{}, "r", "q", []string{"a"}); err == nil || fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown model: %v", err)
	}
}
