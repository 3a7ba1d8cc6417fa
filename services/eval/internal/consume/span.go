package consume

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

// The bounds of one batch. Spans are a courtesy: what is beyond a bound is cut or left out, and counted.
const (
	maxBatchBytes     = 4 << 20
	maxBatchSpans     = 8192
	maxSpanAttributes = 64
	maxKeyBytes       = 128
	maxValueBytes     = 1024
	maxErrorBytes     = 500
)

// workspaceAttribute says on a span for which workspace it worked.
const workspaceAttribute = "ragmesh.workspace"

// decodeSpans turns an OTLP ExportTraceServiceRequest into spans, and says how many it left out because they were
// malformed or too many. TracesData is the same message on the wire, without the gRPC service in its package.
func decodeSpans(data []byte) (spans []store.Span, dropped int, err error) {
	if len(data) > maxBatchBytes {
		return nil, 0, fmt.Errorf("span batch has %d bytes, at most %d are allowed", len(data), maxBatchBytes)
	}
	var batch tracev1.TracesData
	if err := (proto.UnmarshalOptions{RecursionLimit: maxNesting}).Unmarshal(data, &batch); err != nil {
		return nil, 0, fmt.Errorf("decode spans: %w", err)
	}
	for _, rs := range batch.GetResourceSpans() {
		service := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = cut(text(a.GetValue()), maxKeyBytes)
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				span, ok := decodeSpan(service, s)
				if !ok || len(spans) == maxBatchSpans {
					dropped++
					continue
				}
				spans = append(spans, span)
			}
		}
	}
	return spans, dropped, nil
}

func decodeSpan(service string, s *tracev1.Span) (store.Span, bool) {
	trace, id := s.GetTraceId(), s.GetSpanId()
	start, end := s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano()
	if !validID(trace, 16) || !validID(id, 8) || start == 0 || start > math.MaxInt64 || end > math.MaxInt64 {
		return store.Span{}, false
	}
	span := store.Span{
		TraceID: hex.EncodeToString(trace), ID: hex.EncodeToString(id), Service: service, Name: cut(s.GetName(), 2*maxKeyBytes),
		Started: time.Unix(0, int64(start)).UTC(), Duration: time.Duration(max(0, int64(end)-int64(start))),
		Attributes: map[string]string{},
	}
	if validID(s.GetParentSpanId(), 8) {
		span.Parent = hex.EncodeToString(s.GetParentSpanId())
	}
	switch s.GetStatus().GetCode() {
	case tracev1.Status_STATUS_CODE_OK:
		span.Status = "ok"
	case tracev1.Status_STATUS_CODE_ERROR:
		span.Status, span.Error = "error", cut(s.GetStatus().GetMessage(), maxErrorBytes)
	default:
	}
	for _, a := range s.GetAttributes() {
		key := cut(a.GetKey(), maxKeyBytes)
		if key == workspaceAttribute {
			span.Workspace = cut(text(a.GetValue()), maxKeyBytes)
		}
		if len(span.Attributes) < maxSpanAttributes {
			span.Attributes[key] = cut(text(a.GetValue()), maxValueBytes)
		}
	}
	return span, true
}

// validID follows the W3C: the right length, and not all zero.
func validID(id []byte, n int) bool {
	if len(id) != n {
		return false
	}
	for _, b := range id {
		if b != 0 {
			return true
		}
	}
	return false
}

// text returns an attribute's value as people read it; lists and maps as JSON.
func text(v *commonv1.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		return v.StringValue
	case *commonv1.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *commonv1.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *commonv1.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *commonv1.AnyValue_BytesValue:
		return hex.EncodeToString(v.BytesValue[:min(len(v.BytesValue), maxValueBytes/2)])
	case nil:
		return ""
	default:
		b, err := json.Marshal(plain(&commonv1.AnyValue{Value: v}))
		if err != nil {
			return "" // a number JSON has no form for
		}
		return string(b)
	}
}

// plain returns lists and maps as encoding/json knows them. Depth is bounded by the decoder.
func plain(v *commonv1.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonv1.AnyValue_BoolValue:
		return v.BoolValue
	case *commonv1.AnyValue_IntValue:
		return v.IntValue
	case *commonv1.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonv1.AnyValue_ArrayValue:
		list := make([]any, 0, len(v.ArrayValue.GetValues()))
		for _, e := range v.ArrayValue.GetValues() {
			list = append(list, plain(e))
		}
		return list
	case *commonv1.AnyValue_KvlistValue:
		object := make(map[string]any, len(v.KvlistValue.GetValues()))
		for _, e := range v.KvlistValue.GetValues() {
			object[e.GetKey()] = plain(e.GetValue())
		}
		return object
	default:
		return text(&commonv1.AnyValue{Value: v})
	}
}
