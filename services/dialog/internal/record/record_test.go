package record

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/evidence"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

func full() turn.Turn {
	at := time.Date(2026, 11, 20, 12, 0, 0, 5000, time.UTC)
	return turn.Turn{
		ID: "t", Session: "s", Workspace: "w", RequestID: "r", User: "u", Replaces: "t0", Withheld: true, Index: 7, Earlier: []string{"d0"}, Question: "q", Standalone: "sq", Language: "zh",
		Plan: plan.Plan{Intents: []string{"i"}, Retrieve: true, Calls: []plan.Call{{ID: "call-1", Tool: "calculator", Arguments: `{"expression":"1+1"}`}}, PromptID: "p", Strategy: "st"},
		Sources: []turn.Source{
			{Number: 1, ID: "call-1", Tool: &turn.ToolResult{CallID: "call-1", Tool: "calculator", Arguments: `{"expression":"1+1"}`, Text: "2", Data: `{"value":2}`, Duration: time.Second, Error: &turn.ToolError{Reason: "R", Message: "m", Retryable: true}, Truncated: true}},
			{Number: 2, ID: "c", Passage: &turn.Passage{
				ChunkID: "c", DocumentID: "d", Version: "v", SourceURI: "u", Title: "ti", Headings: []string{"h"}, Start: 5, End: 9, Text: "text", Language: "en",
				Pages: []turn.PageRegion{{Page: 3, Boxes: []turn.Box{{Left: 1, Bottom: 2, Right: 3, Top: 4}}}}, Score: 1.5, ScoreParts: map[string]float64{"bm25": 1},
			}},
		},
		Evidence: turn.Evidence{Score: 0.7, Threshold: 0.5, Sufficient: true, Missing: []string{"m"}},
		Answer:   "a [2]", Citations: []turn.Citation{{
			Citation: citing.Citation{Marker: citing.Marker{Number: 2, Start: 2, End: 5}, Claim: "a", Quote: "ex", Support: evidence.Supported, Score: 0.9},
			SourceID: "c", SourceStart: 6, SourceEnd: 8, DocumentID: "d", Title: "ti", URI: "u",
		}},
		Outcome: turn.Failed, Failure: &turn.Failure{Reason: "R", Message: "m"}, Degradations: []turn.Degradation{{Stage: "s", Reason: "r", Message: "m"}},
		Stages:     []turn.Stage{{Name: "retrieve", Service: "retriever", Offset: time.Millisecond, Duration: time.Second, Status: "ok", Input: "{}", Output: "{}", Error: "e"}},
		Generation: &turn.Generation{PromptID: "p", CanaryOf: "o", Cached: true, PromptHash: "h", PromptRevision: "r", SourceIDs: []string{"c"}, Model: "m", Provider: "pr", ProviderModel: "pm", Rung: 1, Revision: "g", Degradations: []turn.Degradation{{Stage: "provider", Reason: "x"}}},
		Finish:     turn.FinishLength, Usage: turn.Usage{Prompt: 1, Completion: 2, Estimated: true, CostMicros: 3}, Revisions: map[string]string{"dialog": "x"},
		StartedAt: at, CompletedAt: at.Add(time.Second), FirstToken: time.Millisecond, TraceID: "abc",
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	want := full()
	// A field that is added to the domain must be added to this test, and so to the translation.
	v := reflect.ValueOf(want)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Opens" { // which is not kept
			t.Errorf("the sample has no %s", name)
		}
	}
	data, err := Codec{}.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Codec{}.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{"nothing": nil, "garbage": []byte("\xff\xff"), "a record without a turn": {}} {
		if _, err := (Codec{}).Decode(data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := Codec{}.Encode(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Codec{}.Decode(data)
		if err != nil {
			return
		}
		_ = got.Outcome.String() + got.Finish.String()
		if _, err := (Codec{}).Encode(got); err != nil {
			t.Fatalf("decoded but not encodable: %v", err)
		}
	})
}

// TestSourceSizes holds the estimate that bounds a turn's sources against what they take on the wire.
func TestSourceSizes(t *testing.T) {
	t.Parallel()
	s := full()
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 900), ",") + "]"
	s.Sources[0].Tool.Data = list
	for _, source := range s.Sources {
		wire := proto.Size(Source(source))
		if estimate := source.Size(); estimate < wire {
			t.Errorf("%s: estimated %d bytes, takes %d", source.ID, estimate, wire)
		}
	}
}

func TestEnumsAgree(t *testing.T) {
	t.Parallel()
	for o := turn.Running; o <= turn.Failed; o++ {
		name := strings.ToUpper(o.String())
		if o == turn.Running {
			name = "UNSPECIFIED"
		}
		if got := dialogv1.Outcome(o).String(); got != "OUTCOME_"+name {
			t.Errorf("%v is %s", o, got)
		}
	}
	for s, want := range map[turn.Stored]string{turn.NotStored: "STORED_UNSPECIFIED", turn.StoredStream: "STORED_STREAM", turn.StoredSpooled: "STORED_SPOOLED"} {
		if got := fmt.Sprint(dialogv1.Stored(s)); got != want {
			t.Errorf("%d is %s", s, got)
		}
	}
}
