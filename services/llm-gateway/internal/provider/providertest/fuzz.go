package providertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Stream is an adapter's decoder of an answer.
type Stream interface {
	exchange.Taker
	Result(f provider.Finish, used provider.Usage, err error) (provider.Result, error)
}

// FuzzStream holds a decoder against any bytes: whole and byte by byte they come to the same text, calls and end, and nothing
// is told behind the end. Seeds are the suite's answers and failures.
func FuzzStream(f *testing.F, format Format, read func(*exchange.Answer, context.Context, exchange.Taker) error, open func(*exchange.Teller, *exchange.Answer) Stream) {
	f.Helper()
	whole := func(parts ...string) []byte { return []byte(strings.Join(parts, "")) }
	end := format.End(provider.Stop, usage()) + format.Terminator
	f.Add(whole(append(format.whole(usage()), end)...))
	f.Add(whole(format.Open(nil), format.Text("a"), format.End(provider.Length, nil)))
	for _, failure := range []string{format.Error, format.RateLimit, format.PlainError, format.Malformed, "data: {}\n", "{}\n", "data: null\n\n", "null\n", "\x00\xff", "[]"} {
		f.Add(whole(format.Open(usage()), format.Text("a"), failure))
	}
	if format.Reasoning != nil {
		f.Add(whole(append(format.Reasoning("hm"), end)...))
	}
	if format.Calls != nil {
		f.Add(whole(append(format.Calls([]Call{{ID: "a", Name: "f", Parts: []string{`{"a":`, `1}`}}, {ID: "b", Name: "g"}}), end)...))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		told := func(r io.Reader) string {
			var text, calls strings.Builder
			over := false
			teller := exchange.NewTeller(Request(), func(p provider.Piece) error {
				if over {
					t.Error("a piece behind the end")
				}
				text.WriteString(p.Text)
				if c := p.Call; c != nil {
					fmt.Fprintf(&calls, "%d %s(%s) ", c.Index, c.Name, c.Arguments)
				}
				return nil
			})
			answer := &exchange.Answer{Body: io.NopCloser(r)}
			s := open(teller, answer)
			out, err := s.Result(provider.Stop, provider.Usage{}, read(answer, t.Context(), s))
			over = true
			_ = s.Pause()
			if err != nil {
				out.Finish = 0
			}
			return fmt.Sprintf("%q %s %v %v", text.String(), calls.String(), out.Finish, fault.ReasonOf(err))
		}
		if diff := cmp.Diff(told(bytes.NewReader(body)), told(iotest.OneByteReader(bytes.NewReader(body)))); diff != "" {
			t.Errorf("%q (-whole +bytewise):\n%s", body, diff)
		}
	})
}
