package retriever_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/rpc"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever"
)

// Several processes need a store that they share.
func TestRolesNeedASharedStore(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"serve", "ingest"} {
		c := retriever.Defaults()
		c.Role = role
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "store: weaviate") {
			t.Errorf("%s with the embedded store: %v", role, err)
		}
		c.Store = "weaviate"
		if err := c.Validate(); err != nil {
			t.Errorf("%s with Weaviate: %v", role, err)
		}
	}
}

// A process that serves accepts documents, also while the store is away, and works on none.
func TestServingAcceptsDocuments(t *testing.T) {
	t.Parallel()
	c := retriever.Defaults()
	c.Role, c.Store, c.Weaviate.URL, c.Weaviate.GRPCURL = "serve", "weaviate", "http://127.0.0.1:1", "http://127.0.0.1:1"
	f := run(t, bustest.New(t), t.TempDir(), t.TempDir(), c, rpc.Conn{})
	put, err := f.client.PutDocument(f.ctx(), &retrieverv1.PutDocumentRequest{Workspace: workspace, SourceUri: "a.md", Data: []byte("One walrus.")})
	if err != nil || put.GetDocument().GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED {
		t.Fatalf("%v, %v", put, err)
	}
	queue, err := f.client.GetQueue(f.ctx(), &retrieverv1.GetQueueRequest{Workspace: workspace})
	if err != nil || queue.GetQueue().GetDocuments() != 1 || queue.GetQueue().GetBytes() != 11 {
		t.Errorf("queue %v, %v", queue, err)
	}
	if rows := f.service.Ready(t.Context()); !slices.ContainsFunc(rows, func(c health.Component) bool { return c.Name == "role" && c.Ready && c.Detail == "serve" }) {
		t.Errorf("rows %+v", rows)
	}
}
