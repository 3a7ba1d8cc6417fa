package health

import "sync"

// Load says when a process has so much to do that new work should go elsewhere: from nine tenths of what it takes, which is
// before it refuses any, until it is below three quarters, so that readiness doesn't come and go. The zero value is ready
// to use, and safe for concurrent use.
type Load struct {
	mu   sync.Mutex
	full bool
}

// Full takes note of how much there is to do and answers.
func (l *Load) Full(n, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		l.full = 4*n >= 3*limit
	} else {
		l.full = 10*n >= 9*limit
	}
	return l.full
}
