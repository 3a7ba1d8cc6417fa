package provider_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// talker says its pieces.
type talker []string

func (t talker) Generate(_ context.Context, _ provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	for _, s := range t {
		if err := emit(provider.Piece{Text: s}); err != nil {
			return provider.Result{}, err
		}
	}
	return provider.Result{Finish: provider.Stop, Usage: provider.Usage{Prompt: 3, Completion: len(t)}}, nil
}

func TestAnswersThatKeepASchemaComeWhole(t *testing.T) {
	t.Parallel()
	errBroken := errors.New("no JSON")
	request := provider.Request{
		Messages: []ask.Message{{Role: ask.User, Content: "q"}},
		Schema: &provider.Schema{Check: func(answer string) error {
			if answer != `{"a":1}` {
				return errBroken
			}
			return nil
		}},
	}
	var said []string
	emit := func(p provider.Piece) error {
		said = append(said, p.Text)
		return nil
	}
	got, err := provider.Generate(t.Context(), talker{`{"a"`, `:1}`}, request, emit)
	if err != nil || got.Usage.Completion != 2 {
		t.Fatalf("Generate = %+v, %v", got, err)
	}
	if want := []string{"", "", `{"a":1}`}; strings.Join(said, "|") != strings.Join(want, "|") {
		t.Errorf("pieces %q, want signs of work and then the whole: %q", said, want)
	}
	said = nil
	got, err = provider.Generate(t.Context(), talker{"sorry"}, request, emit)
	if fault.ReasonOf(err) != fault.ProviderUnavailable || !errors.Is(err, errBroken) {
		t.Errorf("an answer that breaks the schema: %v", err)
	}
	if strings.Join(said, "") != "" || got.Usage.Completion != 1 {
		t.Errorf("pieces %q and usage %+v of an answer that breaks the schema", said, got.Usage)
	}
	if _, err = provider.Generate(t.Context(), talker{strings.Repeat("x", 200<<10), strings.Repeat("x", 200<<10)}, request, emit); fault.ReasonOf(err) != fault.ProviderUnavailable {
		t.Errorf("an answer without end: %v", err)
	}
}
