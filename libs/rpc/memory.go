package rpc

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// maxWaiting is how many bytes may wait in one direction of a connection in memory until its writer does.
const maxWaiting = 64 << 10

// connectedPair returns the two ends of a connection in memory. Unlike those of [net.Pipe] they have buffers, as those of a network have: who
// writes goes on, rather than wait until somebody has read, which would take two changes of goroutine for each frame.
func connectedPair() (a, b net.Conn) {
	there, back := newFlow(), newFlow()
	return &memoryConn{in: back, out: there}, &memoryConn{in: there, out: back}
}

// memoryConn is one end.
type memoryConn struct{ in, out *flow }

var _ net.Conn = (*memoryConn)(nil)

// Read implements [net.Conn].
func (c *memoryConn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements [net.Conn].
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close implements [net.Conn]. What was written can still be read.
func (c *memoryConn) Close() error {
	c.in.refuse()
	c.out.end()
	return nil
}

// LocalAddr implements [net.Conn].
func (c *memoryConn) LocalAddr() net.Addr { return pipeAddr{} }

// RemoteAddr implements [net.Conn].
func (c *memoryConn) RemoteAddr() net.Addr { return pipeAddr{} }

// SetDeadline implements [net.Conn].
func (c *memoryConn) SetDeadline(t time.Time) error {
	c.in.setReadBy(t)
	c.out.setWriteBy(t)
	return nil
}

// SetReadDeadline implements [net.Conn].
func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.setReadBy(t)
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.setWriteBy(t)
	return nil
}

// flow is one direction.
type flow struct {
	mu                 sync.Mutex
	readable, writable *sync.Cond
	waiting            []byte // from first on
	first              int
	ended, refused     bool // the writer, the reader is gone
	readBy, writeBy    time.Time
}

func newFlow() *flow {
	f := &flow{}
	f.readable, f.writable = sync.NewCond(&f.mu), sync.NewCond(&f.mu)
	return f
}

func (f *flow) read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.refused:
			return 0, io.ErrClosedPipe
		case past(f.readBy):
			return 0, os.ErrDeadlineExceeded
		case f.first < len(f.waiting):
			n := copy(p, f.waiting[f.first:])
			if f.first += n; f.first == len(f.waiting) {
				f.waiting, f.first = f.waiting[:0], 0
			} else {
				f.readable.Signal() // for another reader
			}
			f.writable.Signal()
			return n, nil
		case f.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		f.wait(f.readable, f.readBy)
	}
}

func (f *flow) write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.ended, f.refused:
			return n, io.ErrClosedPipe
		case past(f.writeBy):
			return n, os.ErrDeadlineExceeded
		case len(p) == 0:
			f.writable.Signal() // for another writer
			return n, nil
		}
		if room := maxWaiting - (len(f.waiting) - f.first); room > 0 {
			part := p[:min(room, len(p))]
			if f.first > 0 && len(f.waiting)+len(part) > cap(f.waiting) {
				f.waiting, f.first = f.waiting[:copy(f.waiting, f.waiting[f.first:])], 0
			}
			f.waiting = append(f.waiting, part...)
			n, p = n+len(part), p[len(part):]
			f.readable.Signal()
			continue
		}
		f.wait(f.writable, f.writeBy)
	}
}

// wait waits for a change, and no longer than the deadline. A timer is needed only here: deadlines are set far more often than
// anybody waits.
func (f *flow) wait(change *sync.Cond, by time.Time) {
	if !by.IsZero() {
		timer := time.AfterFunc(time.Until(by), func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			change.Broadcast()
		})
		defer timer.Stop()
	}
	change.Wait()
}

func past(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// end is the writer's last deed.
func (f *flow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wakeAll()
}

// refuse is the reader's: what waits is for nobody.
func (f *flow) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused, f.waiting, f.first = true, nil, 0
	f.wakeAll()
}

func (f *flow) wakeAll() {
	f.readable.Broadcast()
	f.writable.Broadcast()
}

func (f *flow) setReadBy(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readBy = t
	f.readable.Broadcast()
}

func (f *flow) setWriteBy(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writeBy = t
	f.writable.Broadcast()
}
