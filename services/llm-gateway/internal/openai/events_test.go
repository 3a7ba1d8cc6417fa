package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

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
			return said(t, out), fault.ReasonOf(final)
		}
		out1, end1 := read(bytes.NewReader(body))
		out2, end2 := read(iotest.OneByteReader(bytes.NewReader(body)))
		if out1 != out2 || end1 != end2 {
			t.Errorf("whole: %q %v; bytewise: %q %v", out1, end1, out2, end2)
		}
	})
}

// said is what events say, however the text is cut into pieces.
func said(t *testing.T, events []byte) string {
	t.Helper()
	var out strings.Builder
	for line := range bytes.Lines(events) {
		data := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data: ")))
		var c chunk
		if json.Unmarshal(data, &c) == nil && c.plain() {
			out.WriteString(c.Choices[0].Delta.Content)
			continue
		}
		out.Write(line)
	}
	return out.String()
}

func TestTextThatCameTogetherGoesOnAsOne(t *testing.T) {
	t.Parallel()
	token := func(s string) string { return `data: {"choices":[{"delta":{"content":"` + s + `"}}]}` + "\n\n" }
	finish := `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	const done = "data: [DONE]\n\n"
	joined := func(s string) string { return `data: {"choices":[{"delta":{"content":"` + s + `"}}]}` + "\n\n" }
	tests := map[string]struct {
		reads []string // what each read of the body gives
		want  []string // what each read of the events gives
	}{
		"together":               {[]string{token("a") + token("b") + token("c") + finish + done}, []string{joined("abc") + finish, done}},
		"one by one":             {[]string{token("a"), token("b"), finish + done}, []string{token("a"), token("b"), finish, done}},
		"a piece has come half":  {[]string{token("a") + token("b")[:20], token("b")[20:] + done}, []string{token("a"), token("b") + done}},
		"something in between":   {[]string{token("a") + `data: {"choices":[{"delta":{"reasoning":"r"}}]}` + "\n\n" + token("b") + finish + done}, []string{token("a") + `data: {"choices":[{"delta":{"reasoning_content":"…"}}]}` + "\n\n", token("b") + finish, done}},
		"before the stream ends": {[]string{token("a") + token("b")}, []string{joined("ab")}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvents(io.NopCloser(&pieces{tc.reads}), &tap{clock: time.Now})
			var got []string
			buf := make([]byte, 4<<10)
			for {
				n, err := e.Read(buf)
				if n > 0 {
					got = append(got, string(buf[:n]))
				}
				if err != nil {
					break
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// pieces is a body that gives a piece for each read.
type pieces struct{ left []string }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[0])
	p.left = p.left[1:]
	return n, nil
}

func TestReadLineBounds(t *testing.T) {
	t.Parallel()
	tap := &tap{clock: time.Now}
	_, err := io.ReadAll(newEvents(io.NopCloser(strings.NewReader(strings.Repeat("x", maxLine+1))), tap))
	if !errors.Is(err, errLongLine) {
		t.Errorf("Read error = %v, want %v", err, errLongLine)
	}
}
