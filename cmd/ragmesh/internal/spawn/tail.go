package spawn

import "sync"

// Tail keeps the last Max bytes of what is written to it, to explain a failure. It is safe for concurrent use.
type Tail struct {
	Max int

	mu  sync.Mutex
	buf []byte
}

// Write implements [io.Writer]; it never fails.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if surplus := len(t.buf) - t.Max; surplus > 0 {
		t.buf = t.buf[surplus:]
	}
	return len(b), nil
}

// String returns what is kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
