package exchange

import (
	"crypto/rand"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

const (
	pieceBytes = 8 << 10 // text in one piece
	maxCalls   = 128     // calls in one answer
)

// Teller tells the pieces of an answer as the provider's contract has them, and knows what was told when the answer ends.
//
// Pieces of text that have come in together go on as one: every piece costs each process between here and the reader its
// share, and whoever is slower than the model catches up this way. Nothing waits for a piece that has not come.
type Teller struct {
	request provider.Request
	emit    func(provider.Piece) error
	text    []byte // to go on
	thought thoughts
	said    strings.Builder // all of it, thoughts in the text included
	calls   []bool          // whether there were arguments
	failed  error           // emit's
}

// NewTeller returns a Teller of the answer to r.
func NewTeller(r provider.Request, emit func(provider.Piece) error) *Teller {
	return &Teller{request: r, emit: emit}
}

// Text tells a piece of text. Thoughts in front of the answer are a sign of life, and no text.
func (t *Teller) Text(text []byte) error {
	said, thought := t.thought.take(text)
	if thought > 0 {
		t.said.Write(text[:thought-len(said)])
		if err := t.Alive(); err != nil {
			return err
		}
	}
	if t.text = append(t.text, said...); len(t.text) >= pieceBytes {
		return t.Pause()
	}
	return nil
}

// Pause lets go of the text that was told so far.
func (t *Teller) Pause() error {
	for rest := t.text; len(rest) > 0 && t.failed == nil; {
		n := min(len(rest), pieceBytes)
		for n < len(rest) && !utf8.RuneStart(rest[n]) {
			n--
		}
		piece := string(rest[:n])
		rest = rest[n:]
		t.said.WriteString(piece)
		t.failed = t.emit(provider.Piece{Text: piece})
	}
	t.text = t.text[:0]
	return t.failed
}

// Alive tells that the model is at work.
func (t *Teller) Alive() error { return t.piece(provider.Piece{}) }

func (t *Teller) piece(p provider.Piece) error {
	if err := t.Pause(); err != nil {
		return err
	}
	t.failed = t.emit(p)
	return t.failed
}

// Calls counts the calls of tools that were told.
func (t *Teller) Calls() int { return len(t.calls) }

// Call tells a part of the call with an index. An ID is made where the provider gives none.
func (t *Teller) Call(index int, id, name, arguments string) error {
	part := &provider.CallPart{Index: index, Arguments: arguments}
	switch {
	case index < 0 || index > len(t.calls) || index >= maxCalls:
		return Unreadable(errors.New("a call of a tool out of order"))
	case index == len(t.calls):
		if name == "" {
			return Unreadable(errors.New("a call of a tool without a name"))
		}
		if part.ID, part.Name = id, name; id == "" {
			part.ID = "call_" + rand.Text()
		}
		t.calls = append(t.calls, false)
		t.said.WriteString(name)
	case arguments == "":
		return nil // the name once more, or nothing at all
	}
	t.text = append(t.text, t.thought.rest()...) // it was no thought
	t.calls[index] = t.calls[index] || arguments != ""
	t.said.WriteString(arguments)
	return t.piece(provider.Piece{Call: part})
}

// Result ends the answer: what the provider's usage says, zeros where it says nothing, and how it ended. What the caller's
// emit said goes before any other error.
func (t *Teller) Result(finish provider.Finish, used provider.Usage, err error) (provider.Result, error) {
	if t.failed == nil && err == nil {
		err = t.complete()
	}
	out := provider.Result{Finish: finish, Usage: t.usage(used)}
	switch {
	case t.failed != nil:
		return provider.Result{Usage: out.Usage}, t.failed
	case err != nil:
		return provider.Result{Usage: out.Usage}, err
	case len(t.calls) > 0 && finish == provider.Stop:
		out.Finish = provider.Called // some servers call it a stop
	case len(t.calls) == 0 && finish == provider.Called:
		out.Finish = provider.Stop
	}
	return out, nil
}

// complete tells what was held back, and gives calls without arguments the JSON that they must have.
func (t *Teller) complete() error {
	t.text = append(t.text, t.thought.rest()...)
	if err := t.Pause(); err != nil {
		return err
	}
	for i, given := range t.calls {
		if !given {
			if err := t.Call(i, "", "", "{}"); err != nil {
				return err
			}
		}
	}
	return nil
}

// usage is what the provider says, and an estimate where it says nothing.
func (t *Teller) usage(used provider.Usage) provider.Usage {
	used.Prompt, used.Completion, used.Cached = max(used.Prompt, 0), max(used.Completion, 0), max(used.Cached, 0)
	noPrompt, noCompletion := used.Prompt == 0, used.Completion == 0 && t.said.Len() > 0
	if !noPrompt && !noCompletion {
		return used
	}
	estimate := provider.Estimate(t.request.Messages, t.said.String())
	if used.Estimated = true; noPrompt {
		used.Prompt, used.Cached = estimate.Prompt, 0
	}
	if noCompletion {
		used.Completion = estimate.Completion
	}
	return used
}
