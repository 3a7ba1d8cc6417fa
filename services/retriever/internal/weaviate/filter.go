package weaviate

import (
	pb "github.com/weaviate/weaviate/grpc/generated/protocol/v1"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// containsNone is an operator that the server has had since 1.33 and the client's copy of the protocol has not.
const containsNone = pb.Filters_Operator(14)

func equal(property, value string) *pb.Filters {
	return &pb.Filters{
		Operator: pb.Filters_OPERATOR_EQUAL, Target: target(property), TestValue: &pb.Filters_ValueText{ValueText: value},
	}
}

func target(property string) *pb.FilterTarget {
	return &pb.FilterTarget{Target: &pb.FilterTarget_Property{Property: property}}
}

func oneOf(property string, values ...string) *pb.Filters {
	return &pb.Filters{
		Operator: pb.Filters_OPERATOR_CONTAINS_ANY, Target: target(property),
		TestValue: &pb.Filters_ValueTextArray{ValueTextArray: &pb.TextArray{Values: values}},
	}
}

func noneOf(property string, values ...string) *pb.Filters {
	out := oneOf(property, values...)
	out.Operator = containsNone
	return out
}

// prefixed matches values that begin as one of prefixes does, and perhaps others: the server takes * and ? in them for wildcards.
func prefixed(property string, prefixes []string) *pb.Filters {
	var out []*pb.Filters
	for _, p := range prefixes {
		f := equal(property, p+"*")
		f.Operator = pb.Filters_OPERATOR_LIKE
		out = append(out, f)
	}
	return joined(pb.Filters_OPERATOR_OR, out)
}

func allOf(filters ...*pb.Filters) *pb.Filters { return joined(pb.Filters_OPERATOR_AND, filters) }

func joined(operator pb.Filters_Operator, filters []*pb.Filters) *pb.Filters {
	switch len(filters) {
	case 0:
		return nil
	case 1:
		return filters[0]
	}
	return &pb.Filters{Operator: operator, Filters: filters}
}

// conditions are a search's filter in the server's terms, without the documents that don't exist for who asks.
func conditions(f store.Filter, hidden []string) *pb.Filters {
	var out []*pb.Filters
	if len(f.DocumentIDs) > 0 {
		out = append(out, oneOf(propDocument, f.DocumentIDs...))
	}
	if len(f.Languages) > 0 {
		out = append(out, oneOf(propLanguage, f.Languages...))
	}
	if len(f.SourcePrefixes) > 0 {
		out = append(out, prefixed(propSource, f.SourcePrefixes))
	}
	if len(hidden) > 0 {
		out = append(out, noneOf(propDocument, hidden...))
	}
	return allOf(out...)
}
