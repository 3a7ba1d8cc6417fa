package ask

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	got := Plain([]Message{
		{Role: System, Content: "Be brief."},
		{Role: User, Content: "Weather in Oslo and Rome?"},
		{Role: Assistant, Content: "I look.", Calls: []Call{{"c1", "weather", `{"city":"Oslo"}`}, {"c2", "weather", `{"city":"Rome"}`}}},
		{Role: ToolResult, CallID: "c1", Content: "rain"},
		{Role: ToolResult, CallID: "c2", Content: "sun"},
		{Role: Assistant, Calls: []Call{{"c3", "note", `{}`}}},
		{Role: ToolResult, CallID: "c9", Content: "of nothing"},
		{Role: Assistant, Content: "Rain and sun."},
		{Role: User, Content: "Thanks"},
	})
	want := []Message{
		{Role: System, Content: "Be brief."},
		{Role: User, Content: "Weather in Oslo and Rome?"},
		{Role: Assistant, Content: "I look.\n\n[called weather (c1) with {\"city\":\"Oslo\"}]\n\n[called weather (c2) with {\"city\":\"Rome\"}]"},
		{Role: User, Content: "[weather (c1) returned]\nrain\n\n[weather (c2) returned]\nsun"},
		{Role: Assistant, Content: "[called note (c3) with {}]"},
		{Role: User, Content: "[call c9 returned]\nof nothing"},
		{Role: Assistant, Content: "Rain and sun."},
		{Role: User, Content: "Thanks"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
