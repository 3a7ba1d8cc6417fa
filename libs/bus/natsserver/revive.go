package natsserver

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	// reviveEvery is how often a full disk is looked at, and the least time between two attempts.
	reviveEvery = 2 * time.Second
	// spare is how much must fit on the disk before streams are opened again.
	spare = 4 << 20
)

// isFull says whether the server complains that it could not write for want of space. It has no type for that; the text is
// the operating system's.
func isFull(message string) bool {
	return strings.Contains(message, "no space left on device") || strings.Contains(message, "disk quota exceeded")
}

// revive starts the server again once a full disk has space. By itself it doesn't recover: a stream that could not write
// once refuses everything until it is opened anew.
func (s *Server) revive() {
	ticker := time.NewTicker(reviveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stopped:
			return
		case <-s.full:
		}
		for waiting := true; waiting; {
			select {
			case <-s.stopped:
				return
			case <-ticker.C:
				waiting = hasSpace(s.dir) != nil
			}
		}
		if err := s.reopen(); err != nil {
			s.log.Error().Err(err).Msg("NATS could not be started again")
			s.noteFull()
			continue
		}
		s.log.Warn().Msg("the disk has space again, and NATS was started again")
	}
}

// noteFull asks for revival. Asking again changes nothing.
func (s *Server) noteFull() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// reopen starts the server anew, on the same files and the same port. Clients connect again by themselves.
func (s *Server) reopen() error {
	s.end(s.current())
	select { // complaints from before
	case <-s.full:
	default:
	}
	return s.start(readyTimeout)
}

// hasSpace tries to write as much as streams need at least.
func hasSpace(dir string) (err error) {
	f, err := os.CreateTemp(dir, ".space-")
	if err != nil {
		return fmt.Errorf("look for space: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err = f.Write(make([]byte, spare)); err != nil {
		return fmt.Errorf("look for space: %w", err)
	}
	return f.Sync()
}
