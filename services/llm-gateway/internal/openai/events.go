package openai

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Bounds of a stream of events.
const (
	maxLine      = 1 << 20  // longest line that is taken
	maxPassed    = 32 << 10 // longest line that is handed on as it is: langchaingo's scanner takes 64 KiB
	pieceBytes   = 8 << 10  // text per event when a line is too long to hand on
	readerBuffer = 16 << 10
)

// chunk is what matters of one event.
type chunk struct {
	Error   json.RawMessage `json:"error,omitempty"`
	Choices []choice        `json:"choices"`
	Usage   *usage          `json:"usage,omitempty"`
}

type choice struct {
	Delta        delta  `json:"delta"`
	FinishReason string `json:"finish_reason,omitempty"`
}

type delta struct {
	Content          string            `json:"content,omitempty"`
	ReasoningContent string            `json:"reasoning_content,omitempty"`
	Reasoning        string            `json:"reasoning,omitempty"`
	ToolCalls        []json.RawMessage `json:"tool_calls,omitempty"`
	FunctionCall     json.RawMessage   `json:"function_call,omitempty"`
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
}

// plain says whether a chunk is a piece of text and nothing else.
func (c *chunk) plain() bool {
	if len(c.Choices) != 1 {
		return false
	}
	d := c.Choices[0].Delta
	return d.Content != "" && c.Choices[0].FinishReason == "" && d.ReasoningContent == "" && d.Reasoning == "" && len(d.ToolCalls) == 0 &&
		(len(d.FunctionCall) == 0 || string(d.FunctionCall) == "null")
}

// events reads a response body line by line, hands on what langchaingo can read, and tells the tap what it would hide. An
// error ends the stream after what came before it.
//
// Pieces of text that have come in together go on as one: every piece costs each process between here and the reader its
// share, and whoever is slower than the model catches up this way. Nothing waits for a piece that has not come.
type events struct {
	src   *bufio.Reader
	body  io.Closer
	tap   *tap
	text  string // of the pieces that go on as one, before ready
	piece []byte // the event that text came in, when it is a single one
	ready []byte // to be handed on
	err   error  // after ready
	fails bool   // the next data line is an error: "event: error" came
	mould mould
}

// mould is what the events of a stream have around their text, which in practice is the same for all: an event that fits needs
// no decoder.
type mould struct{ before, after []byte }

// cast makes the mould of an event that holds a piece of text and nothing else. It makes none when that is not to be had
// for certain: without any escape in it, an event in which the text stands once between quotes has it there.
func cast(data []byte, text string) mould {
	quoted := []byte(`"` + text + `"`)
	at := bytes.Index(data, quoted)
	if at < 0 || bytes.Contains(data[at+1:], quoted) || bytes.IndexByte(data, '\\') >= 0 {
		return mould{}
	}
	return mould{before: bytes.Clone(data[:at+1]), after: bytes.Clone(data[at+len(quoted)-1:])}
}

// text returns the text of an event that fits.
func (m mould) text(data []byte) (string, bool) {
	if len(m.before) == 0 || len(data) <= len(m.before)+len(m.after) || !bytes.HasPrefix(data, m.before) || !bytes.HasSuffix(data, m.after) {
		return "", false
	}
	text := data[len(m.before) : len(data)-len(m.after)]
	for _, c := range text {
		if c == '"' || c == '\\' || c < ' ' {
			return "", false
		}
	}
	return string(text), utf8.Valid(text)
}

func newEvents(body io.ReadCloser, t *tap) *events {
	return &events{src: bufio.NewReaderSize(body, readerBuffer), body: body, tap: t}
}

// Close closes the body.
func (e *events) Close() error { return e.body.Close() }

// Read hands on checked events.
func (e *events) Read(p []byte) (int, error) {
	for len(e.ready) == 0 {
		switch {
		case e.text != "" && (e.err != nil || len(e.text) >= pieceBytes || !e.come()):
			e.put(nil)
		case e.err != nil:
			return 0, e.err
		default:
			e.advance()
		}
	}
	n := copy(p, e.ready)
	e.ready = e.ready[n:]
	return n, nil
}

// come says whether there is a whole line that can be read without waiting.
func (e *events) come() bool {
	waiting, _ := e.src.Peek(e.src.Buffered())
	return bytes.IndexByte(waiting, '\n') >= 0
}

// put hands on the text that was kept, and an event after it.
func (e *events) put(event []byte) {
	switch {
	case e.piece != nil:
		e.ready = append(e.ready, e.piece...)
	case e.text != "":
		e.ready = appendText(e.ready, e.text)
	}
	e.ready = append(e.ready, event...)
	e.text, e.piece = "", nil
}

// keep adds a piece of text to what goes on as one.
func (e *events) keep(text string, event []byte) {
	if e.piece = nil; e.text == "" {
		e.piece = event
	}
	e.text += text
}

var errLongLine = errors.New("a line of the stream is longer than 1 MiB")

// advance reads one line.
func (e *events) advance() {
	line, err := readLine(e.src)
	if len(line) > 0 && !errors.Is(err, errLongLine) {
		e.take(line)
	}
	switch {
	case e.err != nil || err == nil:
	case errors.Is(err, errLongLine):
		e.err = e.tap.fail(fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent an event that is too large"))
	case e.tap.ended():
		e.err = io.EOF // whatever ended the connection, the answer is whole
	case errors.Is(err, io.EOF):
		e.err = e.tap.fail(cut(nil))
	default:
		e.err = e.tap.fail(cut(err))
	}
}

// readLine reads a line with its break, bounded. The last line of a body may lack its break.
func readLine(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && long == nil {
			return part, nil
		}
		if len(long)+len(part) > maxLine {
			return nil, errLongLine
		}
		long = append(long, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return long, err
		}
	}
}

// take looks at one line.
func (e *events) take(line []byte) {
	trimmed := bytes.TrimSpace(line)
	if name, ok := bytes.CutPrefix(trimmed, []byte("event:")); ok {
		e.fails = bytes.Equal(bytes.TrimSpace(name), []byte("error"))
		return
	}
	data, ok := bytes.CutPrefix(trimmed, []byte("data:"))
	if !ok {
		if len(trimmed) > 0 && trimmed[0] == '{' { // an error that is no stream, or one that forgot to be
			e.data(trimmed)
		}
		return // comments, ids, blank lines
	}
	if data = bytes.TrimSpace(data); len(data) > 0 {
		e.data(data)
	}
}

func (e *events) data(data []byte) {
	if bytes.Equal(data, []byte("[DONE]")) {
		e.tap.mu.Lock()
		e.tap.done = true
		e.tap.mu.Unlock()
		e.put([]byte("data: [DONE]\n\n"))
		e.err = io.EOF
		return
	}
	if text, ok := e.mould.text(data); ok && !e.fails {
		e.keep(text, handOn(data, chunk{Choices: []choice{{Delta: delta{Content: text}}}}))
		return
	}
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		e.err = e.tap.fail(fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent an event that can't be read"))
		return
	}
	if e.fails && len(c.Error) == 0 {
		c.Error = bytes.Clone(data)
	}
	if len(c.Error) > 0 && !bytes.Equal(c.Error, []byte("null")) {
		e.err = e.tap.fail(inStream(c.Error))
		return
	}
	e.tap.see(&c)
	if event := handOn(data, c); c.plain() {
		e.mould = cast(data, c.Choices[0].Delta.Content)
		e.keep(c.Choices[0].Delta.Content, event)
	} else {
		e.put(event)
	}
}

// handOn returns an event as langchaingo reads it: as it came, unless it would trip over it.
func handOn(data []byte, c chunk) []byte {
	if len(c.Choices) == 0 {
		return nil // usage, which the tap has
	}
	d := c.Choices[0].Delta
	if len(data) <= maxPassed && d.Reasoning == "" && len(d.ToolCalls) == 0 && (len(d.FunctionCall) == 0 || string(d.FunctionCall) == "null") {
		return append(append([]byte("data: "), data...), "\n\n"...)
	}
	var out []byte
	if d.ReasoningContent+d.Reasoning != "" {
		out = appendEvent(out, choice{Delta: delta{ReasoningContent: "…"}}) // that it reasons counts, not what
	}
	out = appendText(out, d.Content)
	if f := c.Choices[0].FinishReason; f != "" {
		out = appendEvent(out, choice{FinishReason: f})
	}
	return out
}

// appendText appends events of a bounded size.
func appendText(out []byte, text string) []byte {
	for text != "" {
		n := min(len(text), pieceBytes)
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		out = appendEvent(out, choice{Delta: delta{Content: text[:n]}})
		text = text[n:]
	}
	return out
}

func appendEvent(out []byte, c choice) []byte {
	raw, err := json.Marshal(chunk{Choices: []choice{c}})
	if err != nil {
		return out // plain strings marshal
	}
	return append(append(append(out, "data: "...), raw...), "\n\n"...)
}
