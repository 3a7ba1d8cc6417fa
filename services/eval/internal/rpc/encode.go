package rpc

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
	"github.com/ragmesh/ragmesh/services/eval/internal/trace"
)

func encodeTrace(found trace.Trace) (*evalv1.GetTraceResponse, error) {
	resp := &evalv1.GetTraceResponse{Turn: &dialogv1.Turn{}}
	if err := proto.Unmarshal(found.Turn.Record, resp.Turn); err != nil {
		return nil, fmt.Errorf("decode record of turn %s: %w", found.Turn.ID, err)
	}
	for _, s := range found.Spans {
		resp.Spans = append(resp.Spans, &evalv1.Span{
			SpanId: s.ID, ParentSpanId: s.Parent, Service: s.Service, Name: s.Name, Offset: durationpb.New(s.Started.Sub(found.Turn.Started)),
			Duration: durationpb.New(s.Duration), Status: s.Status, Error: s.Error, Attributes: s.Attributes,
		})
	}
	return resp, nil
}

func encodeSummary(t store.Turn) *evalv1.TraceSummary {
	return &evalv1.TraceSummary{
		TurnId: t.ID, SessionId: t.Session, Question: t.Question, Outcome: dialogv1.Outcome(t.Outcome), DegradedStages: t.Degraded,
		StartedAt: timestamppb.New(t.Started), Duration: durationpb.New(t.Duration),
		User: t.User,
	}
}
