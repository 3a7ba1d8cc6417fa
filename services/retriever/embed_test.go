package retriever_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever"
)

// gateway is an llm-gateway whose embedding model knows what a few words are about.
type gateway struct {
	llmv1connect.UnimplementedLLMServiceHandler

	mu       sync.Mutex
	revision string
	fails    error
	passages int // embedded so far
	queries  int
	reranked []string
}

func (g *gateway) Embed(_ context.Context, r *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails != nil {
		return nil, rpc.ToConnect(g.fails)
	}
	out := &llmv1.EmbedResponse{Model: r.GetModel(), ModelRevision: g.revision}
	for _, t := range r.GetTexts() {
		out.Vectors = append(out.Vectors, &llmv1.Vector{Values: about(t)})
	}
	switch {
	case r.GetPurpose() == llmv1.EmbedPurpose_EMBED_PURPOSE_QUERY:
		g.queries++
	case r.GetTexts()[0] != "ragmesh": // which asks for the model's revision only
		g.passages += len(r.GetTexts())
	}
	return out, nil
}

func (g *gateway) Rerank(_ context.Context, r *llmv1.RerankRequest) (*llmv1.RerankResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reranked = r.GetTexts()
	out := &llmv1.RerankResponse{Model: "judge"}
	for _, t := range r.GetTexts() {
		out.Scores = append(out.Scores, -float64(len(t)))
	}
	return out, nil
}

func (g *gateway) set(edit func(*gateway)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	edit(g)
}

func (g *gateway) made() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passages
}

// about is a text's vector: which of the topics it has words of.
func about(s string) []float32 {
	topics := [][]string{{"ship", "vessel", "harbour", "boats"}, {"bread", "loaf", "bakery", "rolls"}, {"moon", "lunar", "crater"}}
	v, sum := []float32{0, 0, 0, .2}, .04
	for i, words := range topics {
		for _, w := range words {
			if strings.Contains(strings.ToLower(s), w) {
				v[i], sum = 1, sum+1
				break
			}
		}
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

// embedding runs a retriever with the gateway's embedding model and strategies that use it.
func embedding(t *testing.T, g *gateway, b *bus.Bus, dir string) *fixture {
	t.Helper()
	configDir := t.TempDir()
	if err := os.Mkdir(filepath.Join(configDir, "retrieval"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"hybrid.json": `{"retriever_type":"hybrid","similarity_threshold":0.5}`, "vector.yaml": "retriever_type: vector\nsimilarity_threshold: 0.5\n",
		"ranks.yaml": "retriever_type: hybrid\nfusion: rrf\nsimilarity_threshold: 0.5\n", "judged.yaml": "retriever_type: hybrid\nrerank: model\n",
	} {
		if err := os.WriteFile(filepath.Join(configDir, "retrieval", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := retriever.Defaults()
	cfg.Embedding.Model = "small"
	conn := rpctest.Service(t, identity.Gateway, func(mux *rpc.Mux) { mux.Handle(llmv1connect.NewLLMServiceHandler(g, mux.HandlerOptions()...)) })
	return run(t, b, dir, configDir, cfg, conn)
}

func (f *fixture) with(strategy, query string) *retrieverv1.SearchResponse {
	f.Helper()
	got, err := f.client.Search(f.ctx(), &retrieverv1.SearchRequest{Workspace: workspace, Query: query, Strategy: strategy})
	if err != nil {
		f.Fatal(err)
	}
	return got
}

func (f *fixture) document(id string) *retrieverv1.Document {
	f.Helper()
	got, err := f.client.GetDocument(f.ctx(), &retrieverv1.GetDocumentRequest{Workspace: workspace, DocumentId: id})
	if err != nil {
		f.Fatal(err)
	}
	return got.GetDocument()
}

func sources(r *retrieverv1.SearchResponse) string {
	var out []string
	for _, p := range r.GetPassages() {
		out = append(out, p.GetSourceUri())
	}
	return strings.Join(out, " ")
}

func reasons(r *retrieverv1.SearchResponse) string {
	var out []string
	for _, d := range r.GetDegradations() {
		out = append(out, d.GetStage()+"/"+d.GetReason())
	}
	return strings.Join(out, " ")
}

const (
	port  = "The vessel left the harbour before dawn."
	baker = "A loaf costs four coins at the bakery."
)

func TestVectorsFollowTheWords(t *testing.T) {
	t.Parallel()
	g := &gateway{revision: "1", fails: fault.New(fault.Unavailable, fault.ProviderUnavailable, "the model sleeps")}
	b, dir := bustest.New(t), t.TempDir()
	f := embedding(t, g, b, dir)
	id := f.upload("port.txt", "", port).GetDocument().GetDocumentId()
	f.upload("baker.txt", "", baker)
	f.until("the documents are ready", func() bool {
		return sources(f.with("keyword", "harbour loaf")) != "" && len(f.with("keyword", "harbour loaf").GetPassages()) == 2
	})

	if d := f.document(id); d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetStage() != retrieverv1.Stage_STAGE_EMBED || d.GetEmbeddingModel() != "" {
		t.Errorf("without a model the document is %v", d)
	}
	if got := f.with("hybrid", "harbour"); reasons(got) != "embed/keyword_only" || sources(got) != "port.txt" || got.GetEmbeddingModel() != "" {
		t.Errorf("without a model hybrid finds %s (%s)", sources(got), reasons(got))
	}
	if got := f.with("keyword", "harbour"); reasons(got) != "" {
		t.Errorf("a search by keywords is degraded: %s", reasons(got))
	}
	f.until("the readiness says so", func() bool {
		rows := f.service.Ready(t.Context())
		return !rows[2].Ready && strings.Contains(rows[2].Detail, "2 documents have no vectors yet")
	})

	g.set(func(g *gateway) { g.fails = nil })
	f.until("the vectors are there", func() bool { return f.document(id).GetStage() == retrieverv1.Stage_STAGE_INDEX })
	f.until("nothing waits", func() bool { return f.service.Ready(t.Context())[2].Ready })
	if d := f.document(id); d.GetEmbeddingModel() != "small" {
		t.Errorf("the document is %v", d)
	}
	for _, strategy := range []string{"hybrid", "ranks", "vector"} {
		got := f.with(strategy, "where are the boats")
		if sources(got) != "port.txt" || reasons(got) != "" || got.GetEmbeddingModel() != "small" || got.GetIndexSequence() == 0 {
			t.Errorf("%s finds %q (%s) with %q", strategy, sources(got), reasons(got), got.GetEmbeddingModel())
			continue
		}
		parts, sum := got.GetPassages()[0].GetScoreParts(), 0.0
		for part, v := range parts {
			if part != "cosine" {
				sum += v
			}
		}
		if math.Abs(sum-got.GetPassages()[0].GetScore()) > 1e-9 || parts["cosine"] < .9 {
			t.Errorf("%s: a score of %v is made of %v", strategy, got.GetPassages()[0].GetScore(), parts)
		}
	}
	if got := f.with("judged", "harbour loaf"); sources(got) != "baker.txt port.txt" || got.GetRerankModel() != "judge" || got.GetPassages()[0].GetScoreParts()["rerank"] >= 0 {
		t.Errorf("reranked: %v", got)
	}

	// The index is lost: what was made is not made again.
	made := g.made()
	f.stop()
	f = embedding(t, g, b, t.TempDir())
	f.until("the vectors are there again", func() bool { return sources(f.with("vector", "rolls")) == "baker.txt" })
	f.until("nothing waits", func() bool { return f.service.Ready(t.Context())[2].Ready })
	if g.made() != made {
		t.Errorf("%d vectors were made again", g.made()-made)
	}

	// Another revision of the model: nothing is compared with what there is, and all is made anew.
	g.set(func(g *gateway) { g.revision = "2" })
	if got := f.with("vector", "boats in the fog"); reasons(got) != "embed/keyword_only" || got.GetEmbeddingModel() != "" {
		t.Errorf("vectors of another revision are compared: %s (%s)", sources(got), reasons(got))
	}
	f.until("the vectors are of the new revision", func() bool { return reasons(f.with("vector", "boats in the mist")) == "" })
	f.until("nothing waits", func() bool { return f.service.Ready(t.Context())[2].Ready })
	if g.made() != 2*made {
		t.Errorf("%d vectors were made, want %d", g.made(), 2*made)
	}

	// A document that is deleted takes its cached vectors along.
	if _, err := f.client.DeleteDocument(f.ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: id}); err != nil {
		t.Fatal(err)
	}
	if kept, err := b.Subjects(t.Context(), bus.Vectors, bus.VectorSubject(workspace, id, "*", "*")); err != nil || len(kept) != 0 {
		t.Errorf("of a deleted document there is still %v (%v)", kept, err)
	}
	if got := f.with("vector", "boats"); sources(got) != "" {
		t.Errorf("a deleted document is found: %s", sources(got))
	}
}

// A text that the model refuses costs its document only.
func TestARefusedDocumentDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	g := &refusing{gateway{revision: "1"}}
	configDir := t.TempDir()
	cfg := retriever.Defaults()
	cfg.Embedding.Model = "small"
	conn := rpctest.Service(t, identity.Gateway, func(mux *rpc.Mux) { mux.Handle(llmv1connect.NewLLMServiceHandler(g, mux.HandlerOptions()...)) })
	f := run(t, bustest.New(t), t.TempDir(), configDir, cfg, conn)
	f.upload("moon.txt", "", "A crater on the moon.")
	id := f.upload("port.txt", "", port).GetDocument().GetDocumentId()
	f.until("the other document has its vectors", func() bool { return f.document(id).GetEmbeddingModel() == "small" })
	f.until("the refused one is told of", func() bool { return strings.HasPrefix(f.service.Ready(t.Context())[2].Detail, "1 documents") })
}

type refusing struct{ gateway }

func (g *refusing) Embed(ctx context.Context, r *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
	if strings.Contains(strings.Join(r.GetTexts(), " "), "moon") {
		return nil, rpc.ToConnect(fault.New(fault.Precondition, fault.ProviderRejected, "the model's provider rejects the request (status 400)"))
	}
	return g.gateway.Embed(ctx, r)
}
