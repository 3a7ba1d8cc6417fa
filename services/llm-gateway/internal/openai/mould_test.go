package openai

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzMould holds what a mould says of an event against the decoder.
func FuzzMould(f *testing.F) {
	const event = `{"id":"c","choices":[{"delta":{"content":"%s"},"finish_reason":null}]}`
	for _, pair := range [][2]string{
		{fmt.Sprintf(event, "a"), fmt.Sprintf(event, " 五")}, {fmt.Sprintf(event, "c"), fmt.Sprintf(event, "d")},
		{fmt.Sprintf(event, "a"), fmt.Sprintf(event, `b","x":"`)}, {fmt.Sprintf(event, `\u0063`), `{"id":"d","choices":[{"delta":{"content":"\u0063"},"finish_reason":null}]}`},
		{fmt.Sprintf(event, "a"), fmt.Sprintf(event, "\xff")}, {fmt.Sprintf(event, "a"), fmt.Sprintf(event, "")}, {fmt.Sprintf(event, "a"), fmt.Sprintf(event, "\n")},
	} {
		f.Add([]byte(pair[0]), []byte(pair[1]))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var c chunk
		if json.Unmarshal(first, &c) != nil || !c.plain() {
			return
		}
		text, fits := cast(first, c.Choices[0].Delta.Content).text(second)
		if !fits {
			return
		}
		var decoded chunk
		if err := json.Unmarshal(second, &decoded); err != nil {
			t.Fatalf("%q fits the mould of %q and is no event: %v", second, first, err)
		}
		want := c
		want.Choices = []choiceDelta{c.Choices[0]}
		want.Choices[0].Delta.Content = string(text)
		if diff := cmp.Diff(want, decoded); diff != "" {
			t.Errorf("%q after %q (-mould +decoder):\n%s", second, first, diff)
		}
	})
}

func TestMostEventsFit(t *testing.T) {
	t.Parallel()
	event := func(text string) []byte {
		return []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}]}`)
	}
	m := cast(event(" first"), " first")
	for text, want := range map[string]bool{" second": true, "五": true, "[1].": true, `\"`: false, `\n`: false, "": false} {
		got, fits := m.text(event(text))
		if fits != want || fits && string(got) != text {
			t.Errorf("text of %q = %q, %v; want it to fit: %v", text, got, fits, want)
		}
	}
}
