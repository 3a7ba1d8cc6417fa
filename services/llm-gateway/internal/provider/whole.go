package provider

import (
	"context"
	"errors"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// maxWhole bounds an answer that is checked before anyone sees it. More tokens than an answer may have fit in it.
const maxWhole = 256 << 10

var errTooLong = errors.New("the answer is too long to be checked")

// whole has p answer r in one piece that keeps r's schema. Until then its pieces are signs of work only, so that a route's
// clocks run on, and an answer that breaks the schema is a failed try whose text nobody has seen.
func whole(ctx context.Context, p Provider, r Request, emit func(Piece) error) (Result, error) {
	var answer strings.Builder
	result, err := p.Generate(ctx, r, func(piece Piece) error {
		if answer.Len()+len(piece.Text) > maxWhole {
			return errTooLong
		}
		answer.WriteString(piece.Text)
		return emit(Piece{})
	})
	if err != nil && !errors.Is(err, errTooLong) {
		return result, err
	}
	if err == nil {
		err = r.Schema.Check(answer.String())
	}
	if err != nil {
		result.Usage = result.Usage.or(r, answer.String())
		return result, fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's answer is not the JSON that the prompt asks for")
	}
	return result, emit(Piece{Text: answer.String()})
}

// or is the usage that was reported, else an estimate.
func (u Usage) or(r Request, answer string) Usage {
	if u != (Usage{}) {
		return u
	}
	return Estimate(r.Messages, answer)
}
