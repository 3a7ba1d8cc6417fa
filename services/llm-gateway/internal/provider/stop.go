package provider

import (
	"context"
	"errors"
	"strings"
)

// Generate has p answer r as r wants it, also where the provider does not do that itself: in one piece that keeps r's schema,
// or ended before the first of r's stop texts.
func Generate(ctx context.Context, p Provider, r Request, emit func(Piece) error) (Result, error) {
	switch {
	case r.Schema != nil && r.Schema.Check != nil:
		return whole(ctx, p, r, emit)
	case len(r.Stop) > 0:
		return stopping(ctx, p, r, emit)
	default:
		return p.Generate(ctx, r, emit)
	}
}

// stopping ends the answer before the first of r's stop texts. Text that may be the beginning of one is held back until what
// follows tells.
func stopping(ctx context.Context, p Provider, r Request, emit func(Piece) error) (Result, error) {
	ctx, cancel := context.WithCancel(ctx) // nobody reads what comes after
	defer cancel()
	var said strings.Builder
	var held string
	pass := func(text string) error {
		said.WriteString(text)
		return emit(Piece{Text: text})
	}
	result, err := p.Generate(ctx, r, func(piece Piece) error {
		if piece.Call != nil && held != "" { // what was held back is no beginning of a stop text
			if err := pass(held); err != nil {
				return err
			}
			held = ""
		}
		if piece.Text == "" {
			return emit(piece)
		}
		text := held + piece.Text
		if i := firstStop(text, r.Stop); i >= 0 {
			if err := pass(text[:i]); err != nil {
				return err
			}
			return errStopped
		}
		free := len(text) - heldBack(text, r.Stop)
		held = text[free:]
		return pass(text[:free]) // also when empty: the model is at work
	})
	switch {
	case errors.Is(err, errStopped):
		if result.Usage.Prompt == 0 { // the provider said nothing so far
			result.Usage = Estimate(r.Messages, said.String())
		}
		return Result{Finish: Stop, Usage: result.Usage}, nil
	case err == nil && held != "":
		return result, emit(Piece{Text: held})
	}
	return result, err
}

var errStopped = errors.New("a stop text came")

// firstStop returns where the first of the stop texts begins in text, or -1.
func firstStop(text string, stop []string) int {
	first := -1
	for _, s := range stop {
		if i := strings.Index(text, s); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

// heldBack returns how many bytes at text's end may be the beginning of a stop text.
func heldBack(text string, stop []string) int {
	longest := 0
	for _, s := range stop {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, s[:n]) {
				longest = n
				break
			}
		}
	}
	return longest
}
