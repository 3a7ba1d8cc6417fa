package turn

import (
	"context"
	"time"

	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
)

// Retriever finds passages and knows who may read their documents. Both must end when their contexts do.
type Retriever interface {
	Library
	Search(ctx context.Context, s Search) (Found, error)
}

// Search asks for passages.
type Search struct {
	Workspace, Query, Strategy string
	TopK                       int
	Filter                     Filter
}

// Found are the passages of a search, best first.
type Found struct {
	Passages     []Passage
	Degradations []Degradation
	Strategy     string
	Revision     string
	Candidates   int
	Sequence     uint64 // of the newest change the searched index contains
}

// Tools lists and calls tools. Both must end when their contexts do.
type Tools interface {
	// Enabled returns the names of the tools a workspace may call. It may answer from memory.
	Enabled(ctx context.Context, workspace string) ([]string, error)
	// Call runs a tool. A tool that ran and failed is a result with an error, not an error.
	Call(ctx context.Context, workspace string, call plan.Call) (ToolResult, string, error)
}

// Model generates answers.
type Model interface {
	// Generate starts an answer. The stream ends with its context.
	Generate(ctx context.Context, g Generate) (Stream, error)
}

// Models knows which models there are.
type Models interface {
	// Real reports whether a name, empty for the default, leads to a language model rather than to the built-in one. It may
	// answer from memory.
	Real(ctx context.Context, name string) (bool, error)
}

// Generate asks for an answer.
type Generate struct {
	Workspace, Session        string
	Question                  string
	History                   []Message
	Sources                   []Source
	PromptID, Model, Language string
	Variables                 map[string]string
	Form                      Form
}

// Message is something said earlier.
type Message struct {
	Assistant bool
	Text      string
}

// Stream is an answer as it comes.
type Stream interface {
	// Next returns the next part, or io.EOF after the last.
	Next() (Part, error)
	Close() error
}

// Part is a piece of an answer: one of its fields is set, none for a heartbeat.
type Part struct {
	Started   *Generation
	Text      string
	Completed *Completion
}

// Completion says how an answer ended.
type Completion struct {
	Finish Finish
	Usage  Usage
}

// Store keeps turns and sessions.
type Store interface {
	// History returns the newest n turns of a session's conversation, oldest first; with at, of the conversation as it was when
	// the turn at was asked.
	History(ctx context.Context, workspace, session, at string, n int) (Past, error)
	// Save writes a finished turn durably and brings its session up to date. It says where the turn went.
	Save(ctx context.Context, t Turn) (Stored, error)
	// Claim reserves a request id for a turn. It returns the turn that an earlier request with this id led to, or a fault
	// when that one still runs or was about something else.
	Claim(ctx context.Context, q Question, turnID, session string) (*Turn, error)
}

// Past is what was said in a session before.
type Past struct {
	// Turns are those of the conversation, oldest first: what later turns took the place of is none of it.
	Turns []Turn
	Known bool   // there is such a session
	User  string // whose it is
	Found bool   // the turn that was asked about is one of it
}

// Switchboard reaches turns in other processes. What is under way listens under its names, and is found once Listen has returned, or
// later when ctx ended that; whoever calls a name that nobody listens under gets a fault of the kind NotFound.
type Switchboard interface {
	Listen(ctx context.Context, names []string, answer func(ctx context.Context, name, caller string) bool) (stop func(), err error)
	Call(ctx context.Context, name, caller string) (bool, error)
}

// Planner decides what to do; *plan.Planner is one.
type Planner interface {
	Plan(question string, enabled func(tool string) bool) plan.Plan
}

// Sink takes a turn's events in order, one call at a time. An error means that nobody listens any more.
type Sink func(Event) error

// Event is one event of a turn: Seq and one of the other fields.
type Event struct {
	Seq       uint64
	Started   *Started
	Stage     *StageEvent
	Plan      *plan.Plan
	Source    *Source
	Delta     string
	Citation  *Citation
	Heartbeat bool
	Restarted *Restarted
	Completed *Ended
	Failed    *Ended
}

// Started names the turn.
type Started struct{ Turn, Session, TraceID string }

// Restarted takes back the deltas and citations so far: the answer begins again.
type Restarted struct{ Reason string }

// StageEvent says that a stage began or ended.
type StageEvent struct {
	Name, Status     string
	Offset, Duration time.Duration
}

// Ended is the end of a turn.
type Ended struct {
	Turn   Turn
	Stored Stored
}
