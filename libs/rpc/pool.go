package rpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// poolSize is how many connections there are to a service over the network, and poolAge how long one takes calls.
	poolSize = 4
	poolAge  = time.Minute
	// avoidFor is how long a connection is passed over that could not be made, broke, or gave no answer in time, while there
	// are others. One that gave none is replaced, too, when it is older than settled: nobody says when a machine is lost.
	avoidFor = time.Second
	settled  = 5 * time.Second
)

// pool is a few HTTP/2 connections to a service that take turns. What balances without a mesh places connections, not calls:
// a single one would tie this process to one replica, for as long as that lives. Each is replaced after a minute, so that new
// replicas get their share, and one that breaks costs its own calls only: repeats go over another one.
type pool struct {
	lines []*line
	turn  atomic.Uint64
}

// line is a connection and what replaces it.
type line struct {
	dial  func() *http.Transport
	avoid atomic.Int64 // until when, in Unix nanoseconds

	mu        sync.Mutex
	transport *http.Transport
	made      time.Time
	until     time.Time
	old       *http.Transport // finishes its calls
}

var _ http.RoundTripper = (*pool)(nil)

func newPool(dial func() *http.Transport) *pool {
	p := &pool{lines: make([]*line, poolSize)}
	for i := range p.lines {
		p.lines[i] = &line{dial: dial}
	}
	return p
}

// RoundTrip implements [http.RoundTripper].
func (p *pool) RoundTrip(r *http.Request) (*http.Response, error) {
	now := time.Now()
	l := p.pick(now)
	response, err := l.get(now).RoundTrip(r)
	if err != nil && !errors.Is(r.Context().Err(), context.Canceled) {
		l.failed(time.Now(), r.Context().Err() != nil)
	}
	return response, err
}

// pick returns the next line, one that did not just fail if there is any.
func (p *pool) pick(now time.Time) *line {
	n := p.turn.Add(1)
	for i := range uint64(len(p.lines)) {
		if l := p.lines[(n+i)%uint64(len(p.lines))]; l.avoid.Load() < now.UnixNano() {
			return l
		}
	}
	return p.lines[n%uint64(len(p.lines))]
}

// failed notes that a call got no response.
func (l *line) failed(now time.Time, timeout bool) {
	l.avoid.Store(now.Add(avoidFor).UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	if timeout && now.Sub(l.made) > settled {
		l.until = now
	}
}

// get returns the line's connection, a new one when the old one has done its time. The old one finishes its calls.
func (l *line) get(now time.Time) *http.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.transport == nil || !now.Before(l.until) {
		if l.old != nil {
			l.old.CloseIdleConnections()
		}
		if l.old = l.transport; l.old != nil {
			l.old.CloseIdleConnections()
		}
		l.transport, l.made = l.dial(), now
		l.until = now.Add(poolAge*4/5 + rand.N(poolAge*2/5)) //nolint:gosec // so that not all are replaced at once
	}
	return l.transport
}

// CloseIdleConnections closes the connections without calls.
func (p *pool) CloseIdleConnections() {
	for _, l := range p.lines {
		l.mu.Lock()
		for _, t := range []*http.Transport{l.transport, l.old} {
			if t != nil {
				t.CloseIdleConnections()
			}
		}
		l.mu.Unlock()
	}
}
