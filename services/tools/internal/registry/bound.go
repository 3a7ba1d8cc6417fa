package registry

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// bound cuts an output to MaxResultBytes and makes its text valid UTF-8. Data that is too large is dropped: half a JSON
// value is none.
func bound(out Output) (Output, bool) {
	text := strings.ToValidUTF8(out.Text, "\uFFFD")
	cut := Shorten(text, MaxResultBytes)
	truncated := len(cut) < len(text)
	if out.Data != nil {
		raw, err := json.Marshal(out.Data)
		if err != nil || len(raw) > MaxResultBytes {
			out.Data = nil
			truncated = true
		}
	}
	return Output{Text: cut, Data: out.Data}, truncated
}

// Shorten cuts s to at most limit bytes, between characters.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
