// Package health tells the truth about a process on its admin port: whether it lives (its own work only, never a
// dependency), whether it should get traffic, and which of its parts is not well. A dependency that several replicas share
// gates the start only; once a process has been ready, such a failure is a row in the report and not a 503, so that a whole
// fleet does not leave at once.
package health

import (
	"context"
	"sync"
	"time"
)

// Component is one row of the readiness report.
type Component struct {
	// Name of the part, e.g. "nats".
	Name string `json:"name"`
	// Ready is true when the part is well.
	Ready bool `json:"ready"`
	// Hard parts must have been ready once before the process is.
	Hard bool `json:"hard"`
	// Detail says what is wrong or where it stands, e.g. "waiting for nats". Never a secret.
	Detail string `json:"detail,omitempty"`
	// Since is when Ready last changed; filled in by State when zero.
	Since time.Time `json:"since"`
}

// Checker returns a process's rows. It must be quick, heed ctx, and be safe for concurrent use.
type Checker func(ctx context.Context) []Component

// Phase is where a process is in its life.
type Phase string

// The phases. Only Ready is answered with 200.
const (
	Starting  Phase = "starting"
	Ready     Phase = "ready"
	Saturated Phase = "saturated"
	Draining  Phase = "draining"
)

// Report is the answer of /health/ready.
type Report struct {
	Phase      Phase       `json:"status"`
	Components []Component `json:"components"`
}

// State decides on readiness. It starts as Starting, becomes Ready once Started was called and every hard component was
// ready in one report, and stays so until Drain. Safe for concurrent use.
type State struct {
	o StateOptions

	mu       sync.Mutex
	started  bool
	latched  bool // every hard component has been ready
	draining bool
	seen     map[string]Component // last row by name, for Since
}

// StateOptions configures a State. All fields may be zero.
type StateOptions struct {
	// Saturated says whether so much is in flight that new work should go elsewhere, and why.
	Saturated func() (bool, string)
	// Clock is time.Now when nil.
	Clock func() time.Time

	checkers []Checker
}

// NewState returns the state of a process that is starting.
func NewState(o StateOptions, checkers ...Checker) *State {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	o.checkers = checkers
	return &State{o: o, seen: map[string]Component{}}
}

// Watch adds a checker, for parts that come to exist while the process starts.
func (s *State) Watch(c Checker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.checkers = append(s.o.checkers, c)
}

// SaturatedBy sets the question of StateOptions.Saturated, for a server that comes to exist while the process starts.
func (s *State) SaturatedBy(f func() (bool, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Saturated = f
}

// Started says that everything has been started. Readiness still waits for the hard components.
func (s *State) Started() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
}

// Drain turns readiness off for good.
func (s *State) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// Report asks every checker and decides.
func (s *State) Report(ctx context.Context) Report {
	s.mu.Lock()
	checkers, saturated := s.o.checkers, s.o.Saturated
	s.mu.Unlock()

	rows := []Component{}
	for _, check := range checkers {
		rows = append(rows, check(ctx)...)
	}
	full := false
	if saturated != nil {
		var why string
		if full, why = saturated(); full {
			rows = append(rows, Component{Name: "load", Detail: why})
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(rows)
	if s.started && !s.latched {
		s.latched = true
		for _, row := range rows {
			if row.Hard && !row.Ready {
				s.latched = false
			}
		}
	}
	r := Report{Phase: Ready, Components: rows}
	switch {
	case s.draining:
		r.Phase = Draining
	case !s.latched:
		r.Phase = Starting
	case full:
		r.Phase = Saturated
	}
	return r
}

// remember fills in Since and keeps the rows for the next time.
func (s *State) remember(rows []Component) {
	now := s.o.Clock()
	seen := make(map[string]Component, len(rows))
	for i := range rows {
		row := &rows[i]
		if row.Since.IsZero() {
			row.Since = now
			if last, ok := s.seen[row.Name]; ok && last.Ready == row.Ready {
				row.Since = last.Since
			}
		}
		seen[row.Name] = *row
	}
	s.seen = seen
}
