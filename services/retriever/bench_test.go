package retriever_test

import (
	"fmt"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// BenchmarkSmallDocuments takes in documents of one paragraph from eight clients, every acknowledged write synced to disk, until
// all are searchable.
func BenchmarkSmallDocuments(b *testing.B) {
	server, err := natsserver.Start(b.Context(), natsserver.Options{Dir: b.TempDir(), Log: zerolog.Nop(), MaxStore: 4 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Shutdown)
	connection, err := bus.Connect(b.Context(), bus.Options{Name: "test", InProcess: server, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(connection.Close)
	if err := connection.EnsureTopology(b.Context()); err != nil {
		b.Fatal(err)
	}
	f := restart(b, connection, b.TempDir())
	b.ResetTimer()
	var group errgroup.Group
	group.SetLimit(8)
	for i := range b.N {
		group.Go(func() error {
			content := fmt.Sprintf("Paragraph %d says something about the number %d, its neighbours and the weather in town %d.", i, i*7, i%97)
			_, err := f.tryUpload(fmt.Sprintf("%d.txt", i), "A title", content)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	f.until("all are ready", func() bool {
		page, err := f.client.ListDocuments(f.ctx(), &retrieverv1.ListDocumentsRequest{
			Workspace: workspace, PageSize: 1, State: retrieverv1.DocumentState_DOCUMENT_STATE_READY,
		})
		return err == nil && int(page.GetTotal()) == b.N
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "documents/s")
}
