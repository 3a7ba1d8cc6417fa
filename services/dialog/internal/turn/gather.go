package turn

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
)

// gathered is what the retriever and the tools returned.
type gathered struct {
	passages     []Passage
	searchFailed bool
	refused      *fault.Error // the caller named a strategy that is not there
	results      []ToolResult // in the order of the plan, failed ones included
}

func (g gathered) succeeded() []ToolResult { return g.tools(false) }

func (g gathered) failed() []ToolResult { return g.tools(true) }

func (g gathered) tools(failed bool) []ToolResult {
	var out []ToolResult
	for _, t := range g.results {
		if (t.Error != nil) == failed {
			out = append(out, t)
		}
	}
	return out
}

// gather asks the retriever and the tools at the same time and waits for both, each within its budget.
func (r *run) gather(ctx context.Context) gathered {
	p := r.turn.Plan
	out := gathered{results: make([]ToolResult, len(p.Calls))}
	var group sync.WaitGroup
	for i, call := range p.Calls {
		group.Go(func() { out.results[i] = r.call(ctx, call) })
	}
	if p.Retrieve {
		out.passages, out.refused, out.searchFailed = r.search(ctx)
	}
	group.Wait() // each is bounded by its budget and the grace after it
	return out
}

func (r *run) search(ctx context.Context) (passages []Passage, refused *fault.Error, failed bool) {
	s := Search{Workspace: r.q.Workspace, Query: clip(r.turn.Standalone, maxQuery), Strategy: r.turn.Plan.Strategy, TopK: r.terms.cfg.TopK, Filter: r.q.Filter}
	ctx, st := r.stage(ctx, "retrieve", retriever, map[string]any{"query": s.Query, "strategy": s.Strategy, "top_k": s.TopK, "filter": s.Filter})
	found, err := within(ctx, &r.a.calls, r.terms.cfg.Budget.Retrieve, func(ctx context.Context) (Found, error) { return r.a.retriever.Search(ctx, s) })
	if err != nil {
		st.end(StatusFailed, nil, err)
		if r.q.Strategy != "" && fault.ReasonOf(err) == fault.StrategyNotFound {
			return nil, fault.As(err), true
		}
		r.degrade(Degradation{Stage: retriever, Reason: reasonOf(err), Message: "The documents could not be searched: " + fault.As(err).Message})
		return nil, nil, true
	}
	for _, d := range found.Degradations {
		r.degrade(d)
	}
	r.revision(retriever, found.Revision)
	r.searched(found.Sequence)
	status := StatusOK
	if len(found.Degradations) > 0 {
		status = StatusDegraded
	}
	st.end(status, searchSummary(found), nil)
	return found.Passages, nil, false
}

// maxQuery is the contract's bound on a search query.
const maxQuery = 8 << 10

// searchSummary is what the record keeps of a search: which passages, not their text, which stands in the sources.
func searchSummary(found Found) any {
	type hit struct {
		Chunk    string             `json:"chunk"`
		Document string             `json:"document"`
		Source   string             `json:"source_uri"`
		Score    float64            `json:"score"`
		Parts    map[string]float64 `json:"parts,omitempty"`
	}
	hits := make([]hit, len(found.Passages))
	for i, p := range found.Passages {
		hits[i] = hit{p.ChunkID, p.DocumentID, p.SourceURI, p.Score, p.ScoreParts}
	}
	return map[string]any{"strategy": found.Strategy, "candidates": found.Candidates, "passages": hits}
}

// call runs one tool. Whatever goes wrong becomes a result with an error.
func (r *run) call(ctx context.Context, call plan.Call) ToolResult {
	ctx, st := r.stage(ctx, "tool:"+call.Tool, tools, json.RawMessage(call.Arguments),
		attribute.String("gen_ai.operation.name", "execute_tool"), attribute.String("gen_ai.tool.name", call.Tool), attribute.String("gen_ai.tool.call.id", call.ID))
	type answer struct {
		result   ToolResult
		revision string
	}
	got, err := within(ctx, &r.a.calls, r.terms.cfg.Budget.Tools, func(ctx context.Context) (answer, error) {
		result, revision, err := r.a.tools.Call(ctx, r.q.Workspace, call)
		return answer{result, revision}, err
	})
	result := got.result.bounded()
	result.CallID, result.Tool = call.ID, call.Tool
	if result.Arguments == "" || len(result.Arguments) > maxToolArguments {
		result.Arguments = call.Arguments
	}
	r.revision(tools, got.revision)
	if err != nil {
		f := fault.As(err)
		later := f.Kind == fault.Unavailable || f.Kind == fault.Timeout || f.Kind == fault.Exhausted
		result.Error = &ToolError{Reason: fault.ReasonName(f.Reason), Message: clip(f.Message, maxFailure), Retryable: later}
		st.end(StatusFailed, nil, err)
		r.degrade(Degradation{Stage: tools, Reason: reasonOf(err), Message: fmt.Sprintf("The tool %s gave no result: %s", call.Tool, f.Message)})
		return result
	}
	if result.Error != nil {
		st.end(StatusDegraded, result.Error, fault.New(fault.Precondition, fault.ToolFailed, "%s", result.Error.Message))
		r.degrade(Degradation{Stage: tools, Reason: "tool_failed", Message: fmt.Sprintf("The tool %s failed: %s", call.Tool, result.Error.Message)})
		return result
	}
	st.end(StatusOK, map[string]any{"text": result.Text, "truncated": result.Truncated}, nil)
	return result
}

// weigh numbers the sources and decides whether they can answer. Tools come first: they were asked for exactly this.
func (r *run) weigh(ctx context.Context, g gathered) []evidence.Sentence {
	_, st := r.stage(ctx, "evidence", self, map[string]int{"passages": len(g.passages), "tool_results": len(g.succeeded())})
	t := &r.turn
	for _, result := range g.succeeded() {
		t.Sources = append(t.Sources, Source{ID: result.CallID, Tool: &result})
	}
	first := len(t.Sources)
	for _, p := range g.passages {
		p = p.bounded()
		t.Sources = append(t.Sources, Source{ID: p.ChunkID, Passage: &p})
	}
	t.Sources = number(t.Sources)
	passages := make([]evidence.Passage, 0, len(t.Sources))
	for _, s := range t.Sources[min(first, len(t.Sources)):] {
		passages = append(passages, evidence.Passage{Title: s.Passage.Title, Headings: s.Passage.Headings, Text: s.Passage.Text, Score: s.Passage.Score})
	}
	verdict := r.a.reader.Judge(t.Standalone, passages)
	threshold := r.terms.cfg.threshold()
	t.Evidence = Evidence{Score: verdict.Score, Threshold: threshold, Missing: verdict.Missing}
	asked := t.Plan.Retrieve || len(t.Plan.Calls) > 0
	t.Evidence.Sufficient = first > 0 || !asked || len(passages) > 0 && verdict.Score >= threshold
	for i := range verdict.Sentences {
		verdict.Sentences[i].Passage += first // from here on: index into the sources
	}
	st.end(StatusOK, map[string]any{"score": verdict.Score, "threshold": threshold, "sufficient": t.Evidence.Sufficient, "missing": verdict.Missing, "sources": len(t.Sources)}, nil)
	return verdict.Sentences
}
