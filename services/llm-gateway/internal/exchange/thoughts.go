package exchange

import "bytes"

// thoughts takes out what a model thinks in front of its answer, <think>...</think>, where its server leaves it in the text.
type thoughts struct {
	where place
	held  []byte // not decided yet
}

type place uint8

const (
	before place = iota // nothing was said but spaces
	inside
	behind // after the thoughts, where spaces may follow
	spoken
)

const (
	thinkOpen  = "<think>"
	thinkClose = "</think>"
	spaces     = " \t\r\n"
)

// take takes text and returns what of it is the answer's, and how much of it is thoughts.
func (t *thoughts) take(text []byte) (said []byte, thought int) {
	if t.where == spoken {
		return text, 0
	}
	t.held = append(t.held, text...)
	if t.where == before {
		begun := bytes.TrimLeft(t.held, spaces)
		switch {
		case bytes.HasPrefix(begun, []byte(thinkOpen)):
			t.where, t.held = inside, begun[len(thinkOpen):]
		case bytes.HasPrefix([]byte(thinkOpen), begun):
			return nil, 0 // it may be one
		default:
			return t.rest(), 0
		}
	}
	if t.where == inside {
		thought = len(text)
		end := bytes.Index(t.held, []byte(thinkClose))
		if end < 0 {
			t.held = t.held[max(0, len(t.held)-len(thinkClose)+1):]
			return nil, thought
		}
		t.where, t.held = behind, t.held[end+len(thinkClose):]
	}
	if t.held = bytes.TrimLeft(t.held, spaces); len(t.held) == 0 {
		return nil, thought
	}
	return t.rest(), thought
}

// rest returns what was held of an answer that has no thoughts, or none any more.
func (t *thoughts) rest() []byte {
	if t.where == inside {
		return nil
	}
	held := t.held
	t.where, t.held = spoken, nil
	return held
}
