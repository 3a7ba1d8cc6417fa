package provider_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// script is a provider that says pieces and counts those that it was made to say.
type script struct {
	pieces []string
	err    error
	said   int
}

func (s *script) Generate(_ context.Context, _ provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	for _, p := range s.pieces {
		s.said++
		if err := emit(provider.Piece{Text: p}); err != nil {
			return provider.Result{}, err
		}
	}
	return provider.Result{Finish: provider.Length, Usage: provider.Usage{Prompt: 7}}, s.err
}

func TestStopTexts(t *testing.T) {
	t.Parallel()
	failure := errors.New("gone")
	for name, test := range map[string]struct {
		pieces []string
		stop   []string
		fails  error
		want   string
		finish provider.Finish
		said   int
	}{
		"none":                    {[]string{"a", "b"}, nil, nil, "ab", provider.Length, 2},
		"not there":               {[]string{"a", "b"}, []string{"x"}, nil, "ab", provider.Length, 2},
		"in one piece":            {[]string{"one END two", "three"}, []string{"END"}, nil, "one ", provider.Stop, 1},
		"over three pieces":       {[]string{"one E", "N", "D two", "three"}, []string{"END"}, nil, "one ", provider.Stop, 3},
		"a beginning only":        {[]string{"one EN", "TER"}, []string{"END"}, nil, "one ENTER", provider.Length, 2},
		"a beginning at the end":  {[]string{"one EN"}, []string{"END"}, nil, "one EN", provider.Length, 1},
		"the first of two":        {[]string{"a b c"}, []string{"c", "b"}, nil, "a ", provider.Stop, 1},
		"at once":                 {[]string{"END"}, []string{"END"}, nil, "", provider.Stop, 1},
		"repeating itself":        {[]string{"aa", "ab", "x"}, []string{"aab"}, nil, "a", provider.Stop, 2},
		"between Chinese letters": {[]string{"答案", "。问", "题：二"}, []string{"问题："}, nil, "答案。", provider.Stop, 3},
		"provider fails":          {[]string{"one EN"}, []string{"END"}, failure, "one ", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &script{pieces: test.pieces, err: test.fails}
			var got strings.Builder
			result, err := provider.Generate(t.Context(), p, provider.Request{Stop: test.stop}, func(piece provider.Piece) error {
				got.WriteString(piece.Text)
				return nil
			})
			if !errors.Is(err, test.fails) {
				t.Fatalf("got error %v, want %v", err, test.fails)
			}
			if got.String() != test.want || p.said != test.said {
				t.Errorf("said %q after %d pieces, want %q after %d", got.String(), p.said, test.want, test.said)
			}
			if err == nil && result.Finish != test.finish {
				t.Errorf("finish %v, want %v", result.Finish, test.finish)
			}
		})
	}
}

func TestACallerThatGoesAwayEndsTheAnswer(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	p := &script{pieces: []string{"a", "b"}}
	if _, err := provider.Generate(t.Context(), p, provider.Request{Stop: []string{"x"}}, func(provider.Piece) error { return gone }); !errors.Is(err, gone) || p.said != 1 {
		t.Errorf("got %v after %d pieces", err, p.said)
	}
}

func TestTextThatIsHeldBackComesBeforeACall(t *testing.T) {
	t.Parallel()
	p := caller{}
	var got []string
	result, err := provider.Generate(t.Context(), p, provider.Request{Stop: []string{"END"}}, func(piece provider.Piece) error {
		if piece.Call != nil {
			got = append(got, piece.Call.Name)
		} else if piece.Text != "" {
			got = append(got, piece.Text)
		}
		return nil
	})
	if err != nil || result.Finish != provider.Called || !slices.Equal(got, []string{"one ", "EN", "f"}) {
		t.Errorf("got %q, %+v, %v", got, result, err)
	}
}

// caller says something that may begin a stop text, and calls a tool.
type caller struct{}

func (caller) Generate(_ context.Context, _ provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	err := errors.Join(emit(provider.Piece{Text: "one EN"}), emit(provider.Piece{Call: &provider.CallPart{ID: "a", Name: "f"}}))
	return provider.Result{Finish: provider.Called}, err
}
