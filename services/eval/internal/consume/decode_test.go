package consume

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const subject = "ragmesh.turn.v1.bank.s1.t1"

// recorded returns a whole turn, changed by f, as it comes over the stream.
func recorded(tb testing.TB, f func(*dialogv1.Turn)) []byte {
	tb.Helper()
	t := &dialogv1.Turn{
		TurnId: "t1", SessionId: "s1", Workspace: "bank", Question: "What does a card cost?", Outcome: dialogv1.Outcome_OUTCOME_ANSWERED,
		Degradations: []*retrieverv1.Degradation{{Stage: "tools", Reason: "timeout"}}, TraceId: strings.Repeat("ab", 16),
		StartedAt: timestamppb.New(noon), CompletedAt: timestamppb.New(noon.Add(time.Second)),
	}
	if f != nil {
		f(t)
	}
	return encode(tb, &eventv1.TurnRecorded{Turn: t})
}

func encode(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestDecodeTurnKeepsTheRecordAndWhatListsNeed(t *testing.T) {
	t.Parallel()
	got, err := decodeTurn(subject, recorded(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	var record dialogv1.Turn
	if err := proto.Unmarshal(got.Record, &record); err != nil || record.GetQuestion() != "What does a card cost?" {
		t.Errorf("record = %v, %v", &record, err)
	}
	got.Record = nil
	want := store.Turn{
		Workspace: "bank", ID: "t1", Session: "s1", TraceID: strings.Repeat("ab", 16), Question: "What does a card cost?", Outcome: 1,
		Degraded: []string{"tools"}, Started: noon, Duration: time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("turn (-want +got):\n%s", diff)
	}
}

// A message may come in pieces, which are one message together; what is unknown stands beside.
func TestDecodeTurnPutsARecordTogether(t *testing.T) {
	t.Parallel()
	later := encode(t, &eventv1.TurnRecorded{Turn: &dialogv1.Turn{Answer: "12 euros"}})
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	for name, data := range map[string][]byte{
		"in two pieces":        slices.Concat(recorded(t, nil), later),
		"before what is new":   slices.Concat(recorded(t, func(t *dialogv1.Turn) { t.Answer = "12 euros" }), unknown),
		"after what is new":    slices.Concat(unknown, recorded(t, func(t *dialogv1.Turn) { t.Answer = "12 euros" })),
		"of all kinds at once": slices.Concat(unknown, recorded(t, nil), unknown, later),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeTurn(subject, data)
			if err != nil {
				t.Fatal(err)
			}
			var record dialogv1.Turn
			if err := proto.Unmarshal(got.Record, &record); err != nil || record.GetQuestion() != "What does a card cost?" || record.GetAnswer() != "12 euros" {
				t.Errorf("record = %v, %v", &record, err)
			}
		})
	}
}

func TestDecodeTurnCutsLongQuestionsAtACharacter(t *testing.T) {
	t.Parallel()
	got, err := decodeTurn(subject, recorded(t, func(t *dialogv1.Turn) { t.Question = strings.Repeat("卡", 200) }))
	if want := strings.Repeat("卡", 166); err != nil || got.Question != want {
		t.Errorf("question has %d bytes, %v; want %d", len(got.Question), err, len(want))
	}
}

func TestDecodeTurnRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		subject string
		data    []byte
	}{
		"nothing":                     {subject, nil},
		"noise":                       {subject, []byte("\xff\xff\xff")},
		"too large":                   {subject, make([]byte, maxTurnBytes+1)},
		"another workspace's subject": {"ragmesh.turn.v1.other.s1.t1", recorded(t, nil)},
		"another turn's subject":      {"ragmesh.turn.v1.bank.s1.t2", recorded(t, nil)},
		"no id":                       {"ragmesh.turn.v1.bank.s1.", recorded(t, func(t *dialogv1.Turn) { t.TurnId = "" })},
		"no start":                    {subject, recorded(t, func(t *dialogv1.Turn) { t.StartedAt = nil })},
		"start that no clock shows":   {subject, recorded(t, func(t *dialogv1.Turn) { t.StartedAt = &timestamppb.Timestamp{Seconds: 1 << 37} })},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := decodeTurn(tt.subject, tt.data); err == nil {
				t.Errorf("decodeTurn = %+v, want an error", got)
			}
		})
	}
}

func text1(key, value string) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
}

func batch(spans ...*tracev1.Span) *tracev1.TracesData {
	return &tracev1.TracesData{ResourceSpans: []*tracev1.ResourceSpans{{
		Resource:   &resourcev1.Resource{Attributes: []*commonv1.KeyValue{text1("service.name", "dialog")}},
		ScopeSpans: []*tracev1.ScopeSpans{{Spans: spans}},
	}}}
}

func good() *tracev1.Span {
	return &tracev1.Span{
		TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"), ParentSpanId: []byte("89abcdef"), Name: "Search",
		StartTimeUnixNano: uint64(noon.UnixNano()), EndTimeUnixNano: uint64(noon.Add(time.Millisecond).UnixNano()),
		Status: &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR, Message: "gone"},
		Attributes: []*commonv1.KeyValue{
			text1("rpc.method", "Search"), text1("ragmesh.workspace", "bank"),
			{Key: "n", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: 3}}},
			{Key: "list", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_ArrayValue{ArrayValue: &commonv1.ArrayValue{
				Values: []*commonv1.AnyValue{{Value: &commonv1.AnyValue_StringValue{StringValue: "a"}}, {Value: &commonv1.AnyValue_BoolValue{BoolValue: true}}},
			}}}},
		},
	}
}

func TestDecodeSpans(t *testing.T) {
	t.Parallel()
	got, dropped, err := decodeSpans(encode(t, batch(good())))
	if err != nil || dropped != 0 {
		t.Fatalf("dropped %d, %v", dropped, err)
	}
	want := []store.Span{{
		TraceID: "30313233343536373839616263646566", ID: "3031323334353637", Parent: "3839616263646566", Workspace: "bank", Service: "dialog",
		Name: "Search", Started: noon, Duration: time.Millisecond, Status: "error", Error: "gone",
		Attributes: map[string]string{"rpc.method": "Search", "ragmesh.workspace": "bank", "n": "3", "list": `["a",true]`},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

func TestDecodeSpansLeavesOutWhatIsMalformed(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*tracev1.Span){
		"short trace id":              func(s *tracev1.Span) { s.TraceId = s.TraceId[:15] },
		"zero trace id":               func(s *tracev1.Span) { s.TraceId = make([]byte, 16) },
		"no span id":                  func(s *tracev1.Span) { s.SpanId = nil },
		"no start":                    func(s *tracev1.Span) { s.StartTimeUnixNano = 0 },
		"start after the end of time": func(s *tracev1.Span) { s.StartTimeUnixNano = 1 << 63 },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := good()
			spoil(bad)
			got, dropped, err := decodeSpans(encode(t, batch(bad, good())))
			if err != nil || dropped != 1 || len(got) != 1 {
				t.Errorf("%d spans, %d dropped, %v; want the good one kept", len(got), dropped, err)
			}
		})
	}
}

func TestDecodeSpansBoundsABatch(t *testing.T) {
	t.Parallel()
	s := good()
	s.Name, s.Status.Message = strings.Repeat("n", 5000), strings.Repeat("e", 5000)
	for range 200 {
		s.Attributes = append(s.Attributes, text1(strings.Repeat("k", 300)+string(rune('a'+len(s.Attributes))), strings.Repeat("v", 5000)))
	}
	spans := make([]*tracev1.Span, 0, maxBatchSpans+5)
	for range maxBatchSpans + 4 {
		small := good()
		small.Attributes = nil
		spans = append(spans, small)
	}
	got, dropped, err := decodeSpans(encode(t, batch(append([]*tracev1.Span{s}, spans...)...)))
	if err != nil || len(got) != maxBatchSpans || dropped != 5 {
		t.Fatalf("%d spans, %d dropped, %v", len(got), dropped, err)
	}
	if len(got[0].Name) > 2*maxKeyBytes || len(got[0].Error) != maxErrorBytes || len(got[0].Attributes) > maxSpanAttributes {
		t.Errorf("name %d, error %d, attributes %d: beyond their bounds", len(got[0].Name), len(got[0].Error), len(got[0].Attributes))
	}
	if _, _, err := decodeSpans(make([]byte, maxBatchBytes+1)); err == nil {
		t.Error("a batch beyond its size was taken")
	}
}

func TestDecodeSpansRefusesEndlessNesting(t *testing.T) {
	t.Parallel()
	v := &commonv1.AnyValue{}
	for range 1000 {
		v = &commonv1.AnyValue{Value: &commonv1.AnyValue_ArrayValue{ArrayValue: &commonv1.ArrayValue{Values: []*commonv1.AnyValue{v}}}}
	}
	s := good()
	s.Attributes = []*commonv1.KeyValue{{Key: "deep", Value: v}}
	if _, _, err := decodeSpans(encode(t, batch(s))); err == nil {
		t.Error("it was taken")
	}
}

func FuzzDecodeSpans(f *testing.F) {
	f.Add(encode(f, batch(good())))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		spans, _, err := decodeSpans(data)
		if err != nil {
			return
		}
		for _, s := range spans {
			if len(s.TraceID) != 32 || len(s.ID) != 16 || s.Duration < 0 || len(s.Attributes) > maxSpanAttributes || len(s.Error) > maxErrorBytes {
				t.Errorf("span beyond its bounds: %+v", s)
			}
		}
	})
}

func FuzzDecodeTurn(f *testing.F) {
	f.Add(recorded(f, nil))
	f.Add([]byte("\x0a\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		turn, err := decodeTurn(subject, data)
		if err != nil {
			return
		}
		if turn.Workspace != "bank" || turn.ID != "t1" || len(turn.Question) > maxQuestionBytes || turn.Duration < 0 {
			t.Errorf("turn beyond its bounds: %+v", turn)
		}
	})
}
