// Package isolate reads documents in child processes of the same program, so that one that hangs, eats memory or breaks a parser
// hurts only itself: the child is ended, the document failed with the reason, and the next gets a new child.
package isolate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// Argument is the only argument of a program that is to be a child; it then calls [Serve].
const Argument = "parse-documents-from-stdin"

// Config is what can be chosen about children.
type Config struct {
	Settings
	// Command starts a child; see [Command].
	Command []string
	// Processes is how many children there are at most.
	Processes int
	// Timeout is how long reading one document may take.
	Timeout time.Duration
	// Idle is how long a child without work is kept.
	Idle time.Duration
	// Documents is how many documents one child reads before it is replaced.
	Documents int
	// Warn is told what became of children that did not end by themselves. It may be nil.
	Warn func(ctx context.Context, what string, err error)
}

// Command returns the command that starts a child of this program, whose main function must look for [Argument].
func Command() ([]string, error) {
	program, err := self()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return []string{program, Argument}, nil
}

// Pool keeps children. It is safe for concurrent use.
type Pool struct {
	config Config
	room   chan struct{} // holds one per child at work

	mu     sync.Mutex
	idle   []*child
	closed bool
}

// New returns a pool. Children are started when there is work.
func New(c Config) *Pool { return &Pool{config: c, room: make(chan struct{}, c.Processes)} }

// Close ends all children that have no work.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.stop()
	}
}

// attempts is how often a document is tried whose child breaks: once more in a new one, since what an earlier document has left
// behind may be the reason.
const attempts = 2

// Parse reads s in a child. It waits for one to be free.
func (p *Pool) Parse(ctx context.Context, s parse.Source) (parse.Document, error) {
	select {
	case p.room <- struct{}{}:
		defer func() { <-p.room }()
	case <-ctx.Done():
		return parse.Document{}, context.Cause(ctx)
	}
	var broken error
	for range attempts {
		c, err := p.take(ctx)
		switch {
		case ctx.Err() != nil && err != nil:
			return parse.Document{}, context.Cause(ctx)
		case err != nil:
			return parse.Document{}, err
		}
		doc, err := c.parse(ctx, s)
		switch {
		case err == nil, fault.KindOf(err) == fault.Invalid && c.whole():
			p.put(c)
			return doc, err
		case ctx.Err() != nil:
			c.stop()
			return parse.Document{}, context.Cause(ctx)
		}
		c.stop()
		if fault.KindOf(err) == fault.Invalid { // its time or memory was up
			p.warn(ctx, "the parser of "+s.URI+" was ended", err)
			return parse.Document{}, err
		}
		broken = err
		p.warn(ctx, "the parser of "+s.URI+" broke", fmt.Errorf("%w; it said: %s", err, c.said.String()))
	}
	return parse.Document{}, fault.Wrap(broken, fault.Invalid, fault.ParserFailed, "the document makes the program that reads it fail; please report it")
}

func (p *Pool) warn(ctx context.Context, what string, err error) {
	if p.config.Warn != nil {
		p.config.Warn(ctx, what, err)
	}
}

// take returns an idle child or a new one.
func (p *Pool) take(ctx context.Context) (*child, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		c.timer.Stop()
		return c, nil
	}
	p.mu.Unlock()
	return start(ctx, p.config)
}

// put keeps a child for the next document, for a while.
func (p *Pool) put(c *child) {
	c.documents++
	p.mu.Lock()
	if p.closed || c.documents >= p.config.Documents {
		p.mu.Unlock()
		c.stop()
		return
	}
	p.idle = append(p.idle, c)
	c.timer = time.AfterFunc(p.config.Idle, func() { p.retire(c) })
	p.mu.Unlock()
}

// retire ends a child that nobody has taken.
func (p *Pool) retire(c *child) {
	p.mu.Lock()
	found := false
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			found = true
			break
		}
	}
	p.mu.Unlock()
	if found {
		c.stop()
	}
}

// child is a process that reads documents.
type child struct {
	config    Config
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	pipe      io.Closer // under out
	said      *tail
	documents int
	timer     *time.Timer

	mu     sync.Mutex
	ended  error // why it was ended from here
	waited chan struct{}
}

// startTimeout is how long a child may take to say that it is there, on a machine that is very busy. One that fails holds its document
// up for longer.
const startTimeout = 2 * time.Minute

// start starts a child and tells it the settings. It gets nothing of this process's environment but what programs need to run:
// no secret is where hostile documents are read.
func start(ctx context.Context, config Config) (*child, error) {
	if len(config.Command) == 0 {
		return nil, errors.New("no command to read documents with")
	}
	cmd := exec.Command(config.Command[0], config.Command[1:]...) //nolint:gosec,noctx // this program; it outlives the document that it is started for
	cmd.Env = []string{"GOMAXPROCS=2"}
	for _, name := range []string{"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SystemRoot", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	apart(cmd)
	c := &child{config: config, cmd: cmd, said: &tail{}, waited: make(chan struct{})}
	cmd.Stderr = c.said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start parser: %w", err)
	}
	reader, writer, err := os.Pipe() // not StdoutPipe, which Wait would close under the reader
	if err != nil {
		return nil, fmt.Errorf("start parser: %w", err)
	}
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start parser: %w", errors.Join(err, reader.Close(), writer.Close()))
	}
	_ = writer.Close()
	c.in, c.out, c.pipe = in, bufio.NewReaderSize(reader, 64<<10), reader
	go func() {
		_ = cmd.Wait()
		close(c.waited)
	}()
	stop := c.guard(ctx, startTimeout)
	err = writeJSON(in, kindHello, config.Settings)
	if err == nil {
		var kind byte
		if kind, _, err = readFrame(c.out); err == nil && kind != kindReady {
			err = errProtocol
		}
	}
	stop()
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("start parser: %w; it said: %s", err, c.said.String())
	}
	return c, nil
}

// parse has the child read a document.
func (c *child) parse(ctx context.Context, s parse.Source) (parse.Document, error) {
	timeout := c.config.Timeout
	if len(c.config.OCR) > 0 {
		timeout += c.config.OCRTimeout
	}
	stop := c.guard(ctx, timeout)
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- c.send(s) }()
	doc, err := readDocument(c.out, c.config.Limits)
	if ended := c.why(); ended != nil {
		return parse.Document{}, ended
	}
	if fault.KindOf(err) == fault.Invalid && err != nil || err == nil {
		if sending := <-sent; sending != nil { // it answered without having heard
			c.end(errProtocol)
			return parse.Document{}, errProtocol
		}
	}
	return doc, err
}

func (c *child) send(s parse.Source) error {
	if err := writeJSON(c.in, kindOrder, order{s.URI, s.ContentType, int64(len(s.Data))}); err != nil {
		return err
	}
	for rest := s.Data; len(rest) > 0; {
		n := min(len(rest), piece)
		if err := writeFrame(c.in, kindData, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// watchEvery is how often a child's memory is looked at.
const watchEvery = 20 * time.Millisecond

// guard ends the child when its time or memory is up, or ctx ends.
func (c *child) guard(ctx context.Context, timeout time.Duration) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		timer, ticker := time.NewTimer(timeout), time.NewTicker(watchEvery)
		defer timer.Stop()
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-c.waited:
				return
			case <-ctx.Done():
				c.end(context.Cause(ctx))
				return
			case <-timer.C:
				c.end(fault.New(fault.Invalid, fault.DocumentTooLarge, "reading the document took longer than %s; split it, or allow more", timeout))
				return
			case <-ticker.C:
				if n, err := resident(c.cmd.Process.Pid); err == nil && n > c.config.Memory {
					c.end(fault.New(fault.Invalid, fault.DocumentTooLarge, "reading the document took more than %d MiB of memory; split it, or allow more", c.config.Memory>>20))
					return
				}
			}
		}
	}()
	return func() {
		close(done)
		<-gone
	}
}

// end kills the child for a reason.
func (c *child) end(why error) {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = why
	}
	c.mu.Unlock()
	kill(c.cmd.Process)
}

func (c *child) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// whole reports whether the child can go on.
func (c *child) whole() bool {
	select {
	case <-c.waited:
		return false
	default:
		return c.why() == nil
	}
}

// stop ends the child and waits until it is gone.
func (c *child) stop() {
	_ = c.in.Close()
	kill(c.cmd.Process)
	<-c.waited
	_ = c.pipe.Close()
}

// tail keeps the last of what a child says on its standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const maxTail = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > maxTail {
		t.b = append(t.b[:0], t.b[len(t.b)-maxTail:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(bytes.TrimSpace(t.b), []byte("?")))
}
