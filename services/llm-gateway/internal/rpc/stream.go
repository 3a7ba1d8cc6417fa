package rpc

import (
	"strings"
	"sync"
	"time"

	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/answer"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// sender is the part of a Connect stream that answers go to.
type sender interface {
	Send(m *llmv1.GenerateResponse) error
}

// stream sends an answer, and heartbeats while the provider is silent. Sends are one at a time.
type stream struct {
	asked    answer.Asked
	revision string
	every    time.Duration

	mu     sync.Mutex
	out    sender
	beat   *time.Timer
	closed bool
	err    error
}

var _ route.Sink = (*stream)(nil)

// Started sends which rung answers and starts the heartbeats.
func (s *stream) Started(st route.Started) error {
	err := s.send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Started{Started: startedOf(s.asked, st, s.revision)}})
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.beat = time.AfterFunc(s.every, s.heartbeat)
	}
	return err
}

// Text sends a piece of the answer.
func (s *stream) Text(text string) error {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return s.send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Delta{Delta: &llmv1.Delta{Text: text}}})
}

func (s *stream) send(m *llmv1.GenerateResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.beat != nil && !s.closed {
		s.beat.Reset(s.every)
	}
	s.err = s.out.Send(m)
	return s.err
}

// heartbeat runs in the timer's goroutine. After close it does nothing.
func (s *stream) heartbeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.err != nil {
		return
	}
	s.err = s.out.Send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Heartbeat{Heartbeat: &llmv1.Heartbeat{}}})
	s.beat.Reset(s.every)
}

// close ends the heartbeats; none is under way when it returns.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.beat != nil {
		s.beat.Stop()
	}
}
