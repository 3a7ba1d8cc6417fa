package openai

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// FuzzEvents feeds the tap's reader any bytes, whole and bytewise: both ways must give the same events and the same end, in
// bounded lines.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n",
		"data: {\"choices\":[{\"delta\":{\"reasoning\":\"a\"},\"finish_reason\":\"stop\"}]}\n",
		"event: error\ndata: {\"message\":\"x\"}\n\n",
		"data: {\"error\":\"x\"}\n", ": comment\r\n\r\ndata:{\"usage\":{\"prompt_tokens\":1}}\n", "{\"error\":{}}", "data: {", "data:", "\x00\xff\n",
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}],\"content\":\"a\"}}]}\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		read := func(r io.Reader) (string, fault.Reason) {
			tap := &tap{clock: time.Now}
			out, err := io.ReadAll(newEvents(io.NopCloser(r), tap))
			for line := range bytes.Lines(out) {
				if len(line) > 60<<10 {
					t.Fatalf("a line of %d bytes is handed on", len(line))
				}
			}
			_, final := tap.result(nil, nil, "")
			if (err != nil) != (final != nil) {
				t.Fatalf("Read error = %v, result error = %v: one of them is silent", err, final)
			}
			return string(out), fault.ReasonOf(final)
		}
		out1, end1 := read(bytes.NewReader(body))
		out2, end2 := read(iotest.OneByteReader(bytes.NewReader(body)))
		if out1 != out2 || end1 != end2 {
			t.Errorf("whole: %q %v; bytewise: %q %v", out1, end1, out2, end2)
		}
	})
}

func TestReadLineBounds(t *testing.T) {
	t.Parallel()
	tap := &tap{clock: time.Now}
	_, err := io.ReadAll(newEvents(io.NopCloser(strings.NewReader(strings.Repeat("x", maxLine+1))), tap))
	if !errors.Is(err, errLongLine) {
		t.Errorf("Read error = %v, want %v", err, errLongLine)
	}
}
