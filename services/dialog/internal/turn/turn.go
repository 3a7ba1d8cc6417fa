// Package turn answers one question: it makes a follow-up standalone, plans, asks the retriever and the tools at the same
// time under one deadline, decides from the evidence whether the sources can answer, streams the model's answer with
// verified citations, and has the turn written once.
//
// A stage that fails, runs late or hangs costs its own part only: the turn goes on with the rest and names the stage in its
// degradations. The package owns its types and the interfaces of what it needs; it knows no wire, no store and no model.
package turn

import (
	"time"

	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
)

// Outcome is how a turn ended.
type Outcome uint8

// The outcomes.
const (
	Running Outcome = iota
	Answered
	Abstained   // the sources don't hold the answer, and the assistant said so
	Interrupted // the caller went away
	Failed      // nothing could be said; Failure says why
)

// String returns the outcome as metrics show it.
func (o Outcome) String() string {
	return [...]string{"running", "answered", "abstained", "interrupted", "failed"}[o]
}

// Finish is why a model stopped.
type Finish uint8

// The reasons to stop.
const (
	FinishNone Finish = iota
	FinishStop
	FinishLength
	FinishFiltered
	FinishAbstained
)

// String returns the reason as span attributes show it.
func (f Finish) String() string {
	return [...]string{"", "stop", "length", "content_filter", "abstained"}[f]
}

// Stored says where a turn was written.
type Stored uint8

// The places.
const (
	NotStored Stored = iota
	StoredStream
	StoredSpooled
)

// Turn is the whole record of one question and its answer.
type Turn struct {
	ID, Session, Workspace, RequestID, User string
	// Replaces is the turn whose place this one takes: it and all after it left the conversation. Empty for none.
	Replaces string
	// Opens says that its session begins with it. It is for saving the turn, and not kept.
	Opens bool
	// Withheld says that texts were left out because their reader may not read where they come from.
	Withheld bool
	// Index is the sequence of the newest change that the searched index contained; 0 when nothing was searched.
	Index uint64
	// Earlier are the documents that the earlier turns come from which this one was answered with.
	Earlier []string

	Question   string // as asked
	Standalone string // made standalone
	Language   string // "en" or "zh"

	Plan      plan.Plan
	Sources   []Source
	Evidence  Evidence
	Answer    string // as sent, with its markers
	Citations []Citation

	Outcome      Outcome
	Failure      *Failure
	Degradations []Degradation
	Stages       []Stage

	Generation *Generation // nil when no model was called
	Finish     Finish
	Usage      Usage
	Revisions  map[string]string // content hash of each service's configuration, by service

	StartedAt, CompletedAt time.Time
	FirstToken             time.Duration // 0 when there was no text
	TraceID                string
}

// Source is something an answer may cite: a passage or a tool's result, never both. They share one number space.
type Source struct {
	Number  uint32
	ID      string // chunk id or call id
	Passage *Passage
	Tool    *ToolResult
}

// text is what a source says.
func (s Source) text() string {
	if s.Passage != nil {
		return s.Passage.Text
	}
	return s.Tool.Text
}

// Passage is a chunk of a document.
type Passage struct {
	ChunkID, DocumentID, Version string
	SourceURI, Title             string
	Headings                     []string
	Start, End                   uint64 // UTF-8 bytes in the document's canonical text
	Text                         string
	Language                     string
	Pages                        []PageRegion
	Score                        float64
	ScoreParts                   map[string]float64
}

// PageRegion is where on a page a passage stands.
type PageRegion struct {
	Page  uint32
	Boxes []Box
}

// Box is a rectangle on a page, in points from the lower left corner.
type Box struct{ Left, Bottom, Right, Top float32 }

// ToolResult is the outcome of a call.
type ToolResult struct {
	CallID, Tool string
	Arguments    string // a JSON object
	Text         string
	Data         string // JSON; empty when there is none
	Duration     time.Duration
	Error        *ToolError // nil when it succeeded
	Truncated    bool
}

// ToolError says why a call failed.
type ToolError struct {
	Reason, Message string
	Retryable       bool
}

// Evidence is the decision whether the sources can answer.
type Evidence struct {
	Score, Threshold float64
	Sufficient       bool
	Missing          []string
}

// Citation is one marker of the answer and what stands behind it.
type Citation struct {
	citing.Citation
	SourceID string
	// SourceStart and SourceEnd are where the quote stands in the document's canonical text; both 0 for a tool's result.
	SourceStart, SourceEnd uint64
	DocumentID, Title, URI string
}

// Degradation names a stage that did not do its whole work.
type Degradation struct{ Stage, Reason, Message string }

// Failure says why a turn could not be answered.
type Failure struct{ Reason, Message string }

// Stage is one step of a turn.
type Stage struct {
	Name, Service    string
	Offset, Duration time.Duration
	Status           string
	Input, Output    string // JSON
	Error            string
}

// The states of a stage.
const (
	StatusStarted  = "started"
	StatusOK       = "ok"
	StatusDegraded = "degraded"
	StatusFailed   = "failed"
	StatusSkipped  = "skipped"
)

// Generation says which prompt and model answered.
type Generation struct {
	PromptID, PromptHash, PromptRevision string
	// CanaryOf is the prompt that was to answer, where PromptID is its canary.
	CanaryOf string
	// Cached says that the answer was kept from an earlier request.
	Cached                         bool
	SourceIDs                      []string
	Model, Provider, ProviderModel string
	Rung                           uint32
	Revision                       string
	Degradations                   []Degradation
}

// Usage counts tokens.
type Usage struct {
	Prompt, Completion uint32
	Estimated          bool
	CostMicros         uint64
}

// Question is what a caller asks.
type Question struct {
	Workspace, Session, RequestID, User string
	Replaces                            string // the turn of the session whose place it takes; empty for the end
	Text                                string
	PromptID, Strategy, Model           string // empty for the intent's, else the default
	Filter                              Filter
	// History is the conversation before the question where the caller keeps it, oldest first; nil for the session's own.
	History []Exchange
	Form    Form
	// Ending is closed when the process begins to stop, so that who waits for a place then goes elsewhere; nil never is.
	Ending <-chan struct{}
	// Committed says that what was sent can't be taken back: an answer that breaks off after its first text ends there.
	Committed bool
}

// Exchange is an earlier question and what was answered.
type Exchange struct{ Question, Answer string }

// Form is what the calling application asks of an answer's form; the zero value for what is configured.
type Form struct {
	Instructions      string
	MaxTokens         int
	Temperature, TopP *float64
	Stop              []string
}

func (f Form) isZero() bool {
	return f.Instructions == "" && f.MaxTokens == 0 && f.Temperature == nil && f.TopP == nil && len(f.Stop) == 0
}

// Filter narrows the search.
type Filter struct{ DocumentIDs, SourcePrefixes, Languages []string }
