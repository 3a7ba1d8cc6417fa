package mcp

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

type askInput struct {
	Question  string `json:"question" jsonschema:"the question, in English or Chinese"`
	SessionID string `json:"session_id,omitempty" jsonschema:"session_id of an earlier answer, to ask a follow-up"`
}

type askOutput struct {
	Answer       string     `json:"answer"`
	Outcome      string     `json:"outcome" jsonschema:"answered, or abstained when the documents don't hold the answer"`
	SessionID    string     `json:"session_id"`
	TurnID       string     `json:"turn_id"`
	Citations    []citation `json:"citations"`
	Degradations []string   `json:"degradations,omitempty" jsonschema:"parts of the system that did not do their whole work"`
}

type citation struct {
	Number     uint32 `json:"number" jsonschema:"the n of [n] in the answer"`
	Support    string `json:"support" jsonschema:"supported, unsupported or unverified"`
	Quote      string `json:"quote"`
	Title      string `json:"title"`
	URI        string `json:"uri,omitempty"`
	DocumentID string `json:"document_id,omitempty"`
	Start      uint64 `json:"start,omitempty" jsonschema:"where the quote stands in the document's text, in bytes"`
	End        uint64 `json:"end,omitempty"`
}

func (h *Handler) ask(ctx context.Context, _ *sdk.CallToolRequest, in askInput) (*sdk.CallToolResult, askOutput, error) {
	ctx, done, who, err := admit(ctx, Ask)
	if err != nil {
		return nil, askOutput{}, failed(err)
	}
	defer done()
	var end *turn.Ended
	q := turn.Question{Workspace: who.Workspace, User: who.User, Session: in.SessionID, Text: in.Question}
	err = h.deps.Asker.Ask(ctx, q, func(e turn.Event) error {
		switch {
		case e.Completed != nil:
			end = e.Completed
		case e.Failed != nil:
			end = e.Failed
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, askOutput{}, failed(err)
	case end == nil:
		return nil, askOutput{}, fmt.Errorf("the answer ended without its end")
	case end.Turn.Failure != nil:
		return nil, askOutput{}, fmt.Errorf("%s", end.Turn.Failure.Message)
	}
	t := end.Turn
	out := askOutput{Answer: t.Answer, Outcome: t.Outcome.String(), SessionID: t.Session, TurnID: t.ID, Citations: []citation{}}
	for _, c := range t.Citations {
		out.Citations = append(out.Citations, citation{
			Number: c.Number, Support: c.Support.String(), Quote: c.Quote, Title: c.Title, URI: c.URI, DocumentID: c.DocumentID, Start: c.SourceStart, End: c.SourceEnd,
		})
	}
	for _, d := range t.Degradations {
		out.Degradations = append(out.Degradations, d.Message)
	}
	return text(askText(out)), out, nil
}

// askText is an answer for models that read text only.
func askText(o askOutput) string {
	var b strings.Builder
	b.WriteString(o.Answer)
	for i, c := range o.Citations {
		if i == 0 {
			b.WriteString("\n\nCitations:")
		}
		fmt.Fprintf(&b, "\n[%d] %s", c.Number, c.Title)
		if c.URI != "" {
			b.WriteString(" (" + c.URI + ")")
		}
		fmt.Fprintf(&b, ", %s: %q", c.Support, c.Quote)
	}
	for _, d := range o.Degradations {
		b.WriteString("\n\nNote: " + d)
	}
	return b.String()
}

func text(s string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
}

type searchInput struct {
	Query string `json:"query" jsonschema:"what to look for, in English or Chinese"`
	TopK  int    `json:"top_k,omitempty" jsonschema:"most passages wanted, 1 to 50; 8 when it is left out"`
}

type searchOutput struct {
	Passages []passage `json:"passages" jsonschema:"best first"`
}

type passage struct {
	Text       string   `json:"text"`
	Title      string   `json:"title"`
	Headings   []string `json:"headings,omitempty"`
	URI        string   `json:"uri"`
	DocumentID string   `json:"document_id"`
	Start      uint64   `json:"start" jsonschema:"where the passage stands in the document's text, in bytes"`
	End        uint64   `json:"end"`
	Pages      []uint32 `json:"pages,omitempty"`
	Score      float64  `json:"score" jsonschema:"comparable within one search only"`
}

const (
	defaultTopK = 8
	maxTopK     = 50
)

func (h *Handler) search(ctx context.Context, _ *sdk.CallToolRequest, in searchInput) (*sdk.CallToolResult, searchOutput, error) {
	if strings.TrimSpace(in.Query) == "" {
		return nil, searchOutput{}, fmt.Errorf("the query is empty; say what to look for")
	}
	if in.TopK < 0 || in.TopK > maxTopK {
		return nil, searchOutput{}, fmt.Errorf("top_k is 1 to %d, not %d", maxTopK, in.TopK)
	}
	if in.TopK == 0 {
		in.TopK = defaultTopK
	}
	ctx, done, who, err := admit(ctx, Search)
	if err != nil {
		return nil, searchOutput{}, failed(err)
	}
	defer done()
	found, err := h.deps.Library.Search(ctx, turn.Search{Workspace: who.Workspace, Query: in.Query, TopK: in.TopK})
	if err != nil {
		return nil, searchOutput{}, failed(err)
	}
	out := searchOutput{Passages: []passage{}}
	var b strings.Builder
	for i, p := range found.Passages {
		entry := passage{
			Text: p.Text, Title: p.Title, Headings: p.Headings, URI: p.SourceURI, DocumentID: p.DocumentID, Start: p.Start, End: p.End, Score: p.Score,
		}
		for _, page := range p.Pages {
			entry.Pages = append(entry.Pages, page.Page)
		}
		out.Passages = append(out.Passages, entry)
		fmt.Fprintf(&b, "%d. %s (%s, document %s, bytes %d to %d)\n%s\n\n", i+1, p.Title, p.SourceURI, p.DocumentID, p.Start, p.End, p.Text)
	}
	if len(out.Passages) == 0 {
		b.WriteString("No passage fits.")
	}
	return text(strings.TrimSpace(b.String())), out, nil
}

type readInput struct {
	DocumentID string `json:"document_id" jsonschema:"document_id of a passage, a citation or a resource"`
	Start      uint64 `json:"start,omitempty" jsonschema:"first byte wanted"`
	End        uint64 `json:"end,omitempty" jsonschema:"byte after the last wanted; the document's end when it is left out"`
}

type readOutput struct {
	Text       string `json:"text"`
	Start      uint64 `json:"start"`
	End        uint64 `json:"end"`
	TotalBytes uint64 `json:"total_bytes"`
	Version    string `json:"version"`
}

func (h *Handler) read(ctx context.Context, _ *sdk.CallToolRequest, in readInput) (*sdk.CallToolResult, readOutput, error) {
	if in.End != 0 && in.End <= in.Start {
		return nil, readOutput{}, fmt.Errorf("end must be after start")
	}
	ctx, done, who, err := admit(ctx, Read)
	if err != nil {
		return nil, readOutput{}, failed(err)
	}
	defer done()
	t, err := h.deps.Library.Read(ctx, who.Workspace, in.DocumentID, in.Start, in.End)
	if err != nil {
		return nil, readOutput{}, failed(err)
	}
	return text(t.Text), readOutput{Text: t.Text, Start: t.Start, End: t.End, TotalBytes: t.Total, Version: t.Version}, nil
}
