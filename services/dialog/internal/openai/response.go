package openai

import (
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// answer gathers a turn as it comes.
type answer struct {
	id, model string
	created   int64
	asked     *request
	ended     *turn.Ended
}

// take notes an event.
func (a *answer) take(e turn.Event) {
	switch {
	case e.Started != nil:
		a.id = e.Started.Turn
	case e.Completed != nil:
		a.ended = e.Completed
	case e.Failed != nil:
		a.ended = e.Failed
	}
}

// failure is the error of a turn that could not be answered.
func (a *answer) failure() error {
	if a.ended == nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "The answer ended without its end.")
	}
	if f := a.ended.Turn.Failure; f != nil {
		switch f.Reason {
		case fault.ReasonName(fault.PromptNotFound):
			return refusal.NoModel(a.model)
		case fault.ReasonName(fault.ModelNotFound):
			return refusal.Invalid("ragmesh.model", "%s", f.Message)
		}
		return fault.New(fault.Unavailable, fault.ServiceUnavailable, "%s", f.Message)
	}
	return nil
}

type completion struct {
	ID          string   `json:"id"`
	Object      string   `json:"object"`
	Created     int64    `json:"created"`
	Model       string   `json:"model"`
	Fingerprint string   `json:"system_fingerprint,omitempty"`
	Choices     []choice `json:"choices"`
	Usage       *usage   `json:"usage,omitempty"`
	Ragmesh     *record  `json:"ragmesh,omitempty"`
}

type choice struct {
	Index        int            `json:"index"`
	Message      *answerMessage `json:"message,omitempty"`
	Delta        *delta         `json:"delta,omitempty"`
	Logprobs     *struct{}      `json:"logprobs"`
	FinishReason *string        `json:"finish_reason"`
}

type answerMessage struct {
	Role        string       `json:"role"`
	Content     string       `json:"content"`
	Refusal     *string      `json:"refusal"`
	Annotations []annotation `json:"annotations"`
}

type delta struct {
	Role        string       `json:"role,omitempty"`
	Content     *string      `json:"content,omitempty"`
	Annotations []annotation `json:"annotations,omitempty"`
}

// annotation is a citation in OpenAI's form. Indexes count characters (Unicode code points) of the content; the range is the
// marker's.
type annotation struct {
	Type        string      `json:"type"`
	URLCitation urlCitation `json:"url_citation"`
}

type urlCitation struct {
	StartIndex int    `json:"start_index"`
	EndIndex   int    `json:"end_index"`
	Title      string `json:"title"`
	URL        string `json:"url"`
}

type usage struct {
	Prompt     uint32 `json:"prompt_tokens"`
	Completion uint32 `json:"completion_tokens"`
	Total      uint32 `json:"total_tokens"`
}

// record is what OpenAI's form has no place for.
type record struct {
	TurnID       string        `json:"turn_id"`
	SessionID    string        `json:"session_id"`
	TraceID      string        `json:"trace_id,omitempty"`
	Outcome      string        `json:"outcome"`  // answered or abstained
	Question     string        `json:"question"` // made standalone
	Citations    []citation    `json:"citations"`
	Sources      []source      `json:"sources"`
	Degradations []degradation `json:"degradations"`
	CostMicros   uint64        `json:"cost_micros,omitempty"`
}

type citation struct {
	Number  uint32 `json:"number"`
	Support string `json:"support"` // supported, unsupported or unverified
	Claim   string `json:"claim"`
	Quote   string `json:"quote"`
	Title   string `json:"title"`
	URI     string `json:"uri,omitempty"`
	// Start and End are where the quote stands in the document's text, in bytes; both 0 for a tool's result.
	Start      uint64 `json:"start,omitempty"`
	End        uint64 `json:"end,omitempty"`
	DocumentID string `json:"document_id,omitempty"`
}

type source struct {
	Number     uint32   `json:"number"`
	Type       string   `json:"type"` // passage or tool
	Title      string   `json:"title"`
	URI        string   `json:"uri,omitempty"`
	DocumentID string   `json:"document_id,omitempty"`
	Pages      []uint32 `json:"pages,omitempty"`
}

type degradation struct {
	Stage   string `json:"stage"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// completion is the whole answer.
func (a *answer) completion() completion {
	out := a.object("chat.completion")
	t := a.ended.Turn
	out.Choices = []choice{{
		Message:      &answerMessage{Role: "assistant", Content: t.Answer, Annotations: annotations(t.Answer, t.Citations)},
		FinishReason: finishReason(t.Finish),
	}}
	out.Usage, out.Ragmesh = usageOf(t), recordOf(t)
	return out
}

// object is an object of a kind, without its choices.
func (a *answer) object(kind string) completion {
	out := completion{ID: "chatcmpl-" + a.id, Object: kind, Created: a.created, Model: a.model, Choices: []choice{}}
	if a.ended != nil {
		out.Fingerprint = a.ended.Turn.Revisions["dialog"]
	}
	return out
}

func finishReason(f turn.Finish) *string {
	reason := "stop"
	switch f {
	case turn.FinishLength:
		reason = "length"
	case turn.FinishFiltered:
		reason = "content_filter"
	}
	return &reason
}

func usageOf(t turn.Turn) *usage {
	return &usage{Prompt: t.Usage.Prompt, Completion: t.Usage.Completion, Total: t.Usage.Prompt + t.Usage.Completion}
}

// annotations are the citations of passages.
func annotations(text string, citations []turn.Citation) []annotation {
	out := []annotation{}
	for _, c := range citations {
		if c.URI == "" || c.End > len(text) {
			continue
		}
		start := utf8.RuneCountInString(text[:c.Start])
		out = append(out, annotation{Type: "url_citation", URLCitation: urlCitation{
			StartIndex: start, EndIndex: start + utf8.RuneCountInString(text[c.Start:c.End]), Title: c.Title, URL: c.URI,
		}})
	}
	return out
}

func recordOf(t turn.Turn) *record {
	out := &record{
		TurnID: t.ID, SessionID: t.Session, TraceID: t.TraceID, Outcome: t.Outcome.String(), Question: t.Standalone,
		Citations: []citation{}, Sources: []source{}, Degradations: []degradation{}, CostMicros: t.Usage.CostMicros,
	}
	for _, c := range t.Citations {
		out.Citations = append(out.Citations, citation{
			Number: c.Number, Support: c.Support.String(), Claim: c.Claim, Quote: c.Quote, Title: c.Title, URI: c.URI,
			Start: c.SourceStart, End: c.SourceEnd, DocumentID: c.DocumentID,
		})
	}
	for _, s := range t.Sources {
		if s.Tool != nil {
			out.Sources = append(out.Sources, source{Number: s.Number, Type: "tool", Title: s.Tool.Tool})
			continue
		}
		entry := source{Number: s.Number, Type: "passage", Title: s.Passage.Title, URI: s.Passage.SourceURI, DocumentID: s.Passage.DocumentID}
		for _, p := range s.Passage.Pages {
			entry.Pages = append(entry.Pages, p.Page)
		}
		out.Sources = append(out.Sources, entry)
	}
	for _, d := range t.Degradations {
		out.Degradations = append(out.Degradations, degradation(d))
	}
	return out
}
