package retriever_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/rpc"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever"
)

// Two retrievers over one NATS and one Weaviate are as one: what is taken in by whichever is found by both, and of a document that is
// replaced again and again every search of both finds one version, and never both or neither.
func TestTwoRetrievers(t *testing.T) {
	t.Parallel()
	if os.Getenv("REQUIRE_WEAVIATE") == "" {
		t.Skip("starts a Weaviate; set REQUIRE_WEAVIATE (`make test-weaviate` does)")
	}
	at := weaviateServer(t)
	c := retriever.Defaults()
	c.Store = "weaviate"
	c.Weaviate.URL, c.Weaviate.GRPCURL, c.Weaviate.Collection, c.Weaviate.Timeout = at.URL, at.GRPCURL, "Two"+rand.Text(), time.Minute
	if at.APIKey != "" {
		path := t.TempDir() + "/key"
		if err := os.WriteFile(path, []byte(at.APIKey), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Weaviate.APIKey = config.Secret{File: path}
	}
	nats := bustest.NewServer(t, "")
	replica := func(b *bus.Bus) *fixture { return run(t, b, t.TempDir(), t.TempDir(), c, rpc.Conn{}) }
	both := []*fixture{replica(bustest.Join(t, nats)), replica(bustest.Join(t, nats))}
	for n := range 6 { // each replica works on some
		both[n%2].ingest(fmt.Sprintf("%d.md", n), fmt.Sprintf("Seal number %d.", n))
	}
	both[0].ingest("a.md", "Walrus number 0.")
	for n, f := range both {
		f.until(fmt.Sprintf("replica %d finds all", n), func() bool { return len(f.found("seal")) == 6 && len(f.found("walrus")) == 1 })
	}
	var group sync.WaitGroup
	var ended atomic.Bool
	var searches [2]atomic.Int64
	const editions = 12
	for n, f := range both {
		group.Go(func() {
			seen := map[string]bool{}
			for !ended.Load() {
				got := f.found("walrus")
				if search := searches[n].Add(1); len(got) != 1 {
					t.Errorf("replica %d, search %d finds %q", n, search, got)
					ended.Store(true)
					return
				}
				seen[got[0]] = true
			}
			if t.Logf("replica %d: %d searches saw %d versions", n, searches[n].Load(), len(seen)); len(seen) < 3 {
				t.Errorf("replica %d saw only %d versions", n, len(seen))
			}
		})
	}
	for n := range editions {
		f := both[n%2]
		id := f.upload("a.md", "", fmt.Sprintf("Walrus number %d.", n+1)).GetDocument().GetDocumentId()
		if n%3 != 2 { // others are superseded, perhaps while the other replica works on them
			f.settled(id)
			for other := range both { // however busy the machine, both search in between
				before := searches[other].Load()
				f.until(fmt.Sprintf("replica %d searches", other), func() bool { return searches[other].Load() > before+1 || ended.Load() })
			}
		}
	}
	both[1].settled(both[1].list("a.md").GetDocumentId())
	ended.Store(true)
	group.Wait()
	for n, f := range both {
		f.until(fmt.Sprintf("replica %d finds the last", n), func() bool { return fmt.Sprint(f.found("walrus")) == fmt.Sprintf("[Walrus number %d.]", editions) })
	}
	if _, err := both[1].client.DeleteDocument(both[1].ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: both[1].list("a.md").GetDocumentId()}); err != nil {
		t.Fatal(err)
	}
	for n, f := range both {
		f.until(fmt.Sprintf("replica %d finds it no more", n), func() bool { return len(f.found("walrus")) == 0 })
	}
}
