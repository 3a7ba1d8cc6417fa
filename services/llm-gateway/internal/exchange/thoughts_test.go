package exchange

import (
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

func TestThoughtsInTheTextAreTakenOut(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"<think>hm</think>\n\nFive days.":        "Five days.",
		"\n <think>\nhm <b>\n</think>Five days.": "Five days.",
		"<think></think> Five </think> days":     "Five </think> days",
		"Five days. <think>hm</think>":           "Five days. <think>hm</think>",
		" \n<thin air>":                          " \n<thin air>",
		"<thi":                                   "<thi",
		"<think>and never ends":                  "",
		"<think>ends with the token limit</thin": "",
		"  ":                                     "  ",
		"":                                       "",
		"<think>五</think>五天。":                    "五天。",
		"<think>a</think><think>b</think>Five days.": "<think>b</think>Five days.",
	} {
		for _, size := range []int{1, 3, 1000} {
			var got strings.Builder
			alive := 0
			teller := NewTeller(provider.Request{}, func(p provider.Piece) error {
				if got.WriteString(p.Text); p.Text == "" {
					alive++
				}
				return nil
			})
			for rest := in; rest != ""; {
				n := min(size, len(rest))
				if err := teller.Text([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			out, err := teller.Result(provider.Stop, provider.Usage{}, nil)
			if err != nil || got.String() != want {
				t.Errorf("%q in pieces of %d gives %q, %v, want %q", in, size, got.String(), err, want)
			}
			if thinks := len(strings.TrimSpace(in)) > len(want) && strings.Contains(in, "hm"); thinks && !strings.Contains(want, "hm") && (alive == 0 || out.Usage.Completion == 0) {
				t.Errorf("%q in pieces of %d: %d signs of life, %+v", in, size, alive, out.Usage)
			}
		}
	}
}
