package exchange

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
)

// MaxLine is the longest line of a stream that is taken.
const MaxLine = 1 << 20

const readerBuffer = 16 << 10

// Event is a line of data of a stream.
type Event struct {
	// Data is valid until the next event is read.
	Data []byte
	// Error says that the stream named the event so.
	Error bool
	// Bare is a line that is an object where there should be an event: an error that is no stream, or one that forgot to be.
	Bare bool
}

// Taker takes a stream, event by event.
type Taker interface {
	// Take takes an event. It says true where the answer is over, whatever else may come.
	Take(e Event) (over bool, err error)
	// Pause is called where nothing more has come in: what was taken goes on now.
	Pause() error
	// Ended says whether the answer is whole, when the stream ends before Take has said that it is over.
	Ended() bool
}

// Events reads an answer that is a stream of server-sent events. Every line of data counts as one: no provider sends events
// over several lines, and some forget the blank line between them.
func (a *Answer) Events(ctx context.Context, t Taker) error {
	named := false
	return a.read(ctx, t, func(line []byte) (e Event, ok bool) {
		e, named, ok = event(line, named)
		return e, ok
	})
}

// Lines reads an answer that is a stream of JSON values, one in each line.
func (a *Answer) Lines(ctx context.Context, t Taker) error {
	return a.read(ctx, t, func(line []byte) (Event, bool) {
		line = bytes.TrimSpace(line)
		return Event{Data: line}, len(line) > 0
	})
}

func (a *Answer) read(ctx context.Context, t Taker, event func(line []byte) (Event, bool)) error {
	src := bufio.NewReaderSize(a.Body, readerBuffer)
	for {
		line, ended := readLine(src)
		e, ok := event(line)
		if ended != nil && (!errors.Is(ended, io.EOF) || ok && e.Data[0] == '{' && !json.Valid(e.Data)) {
			ok = false // what broke off in the middle of an event is no event
		}
		if ok {
			over, err := t.Take(e)
			if over || err != nil {
				return cmp.Or(t.Pause(), err)
			}
		}
		if ended != nil {
			return cmp.Or(t.Pause(), end(ctx, t, ended))
		}
		if !waiting(src) {
			if err := t.Pause(); err != nil {
				return err
			}
		}
	}
}

// end says what it means that a stream ended so.
func end(ctx context.Context, t Taker, cause error) error {
	switch {
	case t.Ended():
		return nil // whatever ended the connection, the answer is whole
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(cause, errLongLine):
		return TooLarge(cause)
	case errors.Is(cause, io.EOF):
		return Cut(nil)
	default:
		return Cut(cause)
	}
}

// event reads a line of server-sent events. Named says that the data after it, or in it, is of an event named error.
func event(line []byte, named bool) (e Event, stillNamed, ok bool) {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return Event{}, false, false
	}
	if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
		data = bytes.TrimSpace(data)
		return Event{Data: data, Error: named}, named, len(data) > 0
	}
	if name, ok := bytes.CutPrefix(line, []byte("event:")); ok {
		return Event{}, bytes.Equal(bytes.TrimSpace(name), []byte("error")), false
	}
	return Event{Data: line, Error: named, Bare: true}, named, line[0] == '{' // else comments, ids
}

// waiting says whether there is a whole line that can be read without waiting.
func waiting(src *bufio.Reader) bool {
	come, _ := src.Peek(src.Buffered())
	return bytes.IndexByte(come, '\n') >= 0
}

var errLongLine = errors.New("a line of the stream is longer than 1 MiB")

// readLine reads a line with its break, bounded. The last line of a body may lack its break.
func readLine(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && long == nil {
			return part, nil
		}
		if len(long)+len(part) > MaxLine {
			return nil, errLongLine
		}
		long = append(long, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return long, err
		}
	}
}
