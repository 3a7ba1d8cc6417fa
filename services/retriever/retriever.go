// Package retriever is the service that owns documents: it takes them in, cuts them into passages, indexes the passages and
// finds those that match a query.
//
// Where things are: package document holds the words everything is said in; parse and chunk turn bytes into passages; store
// is the contract of what keeps passages, index the embedded one and weaviate the one in a server; rank scores, search answers; catalog knows all
// documents and which version is live; ingest takes documents in; durable is the bus; rpc serves.
package retriever

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/durable"
	"github.com/ragmesh/ragmesh/services/retriever/internal/embed"
	"github.com/ragmesh/ragmesh/services/retriever/internal/gateway"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/message"
	"github.com/ragmesh/ragmesh/services/retriever/internal/meter"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rpc"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
)

// Deps is what the retriever needs from the process around it.
type Deps struct {
	Telemetry *telemetry.Telemetry
	Bus       *bus.Bus
	// Live takes the pulse of the workers.
	Live *health.Liveness
	// DataDir is the service's own folder, locked by the process.
	DataDir string
	// ConfigDir holds retrieval/; empty for the built-in strategy only.
	ConfigDir string
	// Revision is the configuration's.
	Revision string
	Clock    func() time.Time
	// LLM is the llm-gateway, for vectors and rankings.
	LLM librpc.Conn
	// Parser is the command of a process that reads documents, see [ParserCommand]. Without one PDF files are refused, and others
	// read in this process.
	Parser []string
}

// Service is the retriever. The process around it calls Register, then Run, and Reload when the configuration has changed.
type Service struct {
	handler   *rpc.Handler
	searching search.Deps
	configDir string
	catalog   *catalog.Catalog
	ingester  *ingest.Ingester
	store     keeper
	embedder  *embed.Embedder // nil without an embedding model
	live      *health.Liveness
	role      string
	leases    *durable.Leases // nil where no other process works on the same documents
	events    durable.Events
	end       func() // of the processes that read documents
}

// New opens the index and makes the service. It asks nothing of the bus yet.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	m, err := meter.New(deps.Telemetry)
	if err != nil {
		return nil, err
	}
	records, errRecords := durable.NewRecords(ctx, deps.Bus)
	uploads, errUploads := durable.NewUploads(ctx, deps.Bus)
	originals, errOriginals := durable.NewOriginals(ctx, deps.Bus)
	if err := errors.Join(errRecords, errUploads, errOriginals); err != nil {
		return nil, err
	}
	documents := catalog.New(records)
	var ingester *ingest.Ingester // set before anybody uses the index
	var embedder *embed.Embedder
	chunks, err := open(cfg, deps.DataDir, m, func(workspace string, err error) {
		m.Warn(ctx, "the index of workspace "+workspace+" was damaged, it is moved aside and built anew", err)
		ingester.Recheck()
		if embedder != nil {
			embedder.Rescan()
		}
	})
	if err != nil {
		return nil, err
	}
	vectors := durable.NewVectors(deps.Bus)
	gateway := gateway.New(deps.LLM)
	searching := search.Deps{Store: chunks, Manifest: documents, Observer: m, Reranker: gateway}
	var observer ingest.Observer = m
	if cfg.Embedding.Model != "" {
		embedder = embed.New(embed.Config{Model: cfg.Embedding.Model, Texts: cfg.Embedding.Texts, Workers: cfg.Embedding.Workers}, embed.Deps{
			Gateway: gateway, Store: chunks, Catalog: documents, Cache: vectors, Observer: m, Clock: deps.Clock,
		})
		searching.Embedder, observer = embedder, following{m, embedder}
		if err := m.VectorsOf(embedder.Status); err != nil {
			return nil, errors.Join(err, chunks.Close())
		}
	}
	registry, end := parser(cfg.Parse, deps.Parser, deps.DataDir, m)
	events := durable.NewEvents(deps.Bus)
	var leases *durable.Leases
	var apart ingest.Leases
	if cfg.Store == storeWeaviate {
		l := durable.NewLeases(deps.Bus)
		leases, apart = &l, l
	}
	ingester = ingest.New(
		ingest.Config{
			MaxDocument: int64(cfg.Upload.MaxBytes), MaxMemory: int64(cfg.Ingest.Memory),
			MaxQueue: cfg.Ingest.MaxQueued, MaxQueued: int64(cfg.Ingest.MaxQueuedBytes), UploadTTL: cfg.Upload.TTL, MaxStage: cfg.Ingest.MaxStage, Embeds: embedder != nil,
		},
		ingest.Deps{
			Catalog: documents, Store: embed.Dropping{Pruner: chunks, Cache: vectors}, Parser: registry, Blobs: originals, Uploads: uploads,
			Queue: durable.NewQueue(deps.Bus, cfg.Ingest.Workers, cfg.Ingest.PerWorkspace), Events: events, Observer: observer, Clock: deps.Clock, Leases: apart,
		})
	if err := m.CensusOf(documents.Census, ingester.Missing, deps.Clock); err != nil {
		return nil, errors.Join(err, chunks.Close())
	}
	s := &Service{
		handler: &rpc.Handler{
			Ingester: ingester, Catalog: documents, Texts: chunks, Clock: deps.Clock,
			Bounds: message.Bounds{Documents: cfg.Ingest.MaxQueued, Bytes: int64(cfg.Ingest.MaxQueuedBytes)},
		},
		searching: searching, configDir: deps.ConfigDir,
		catalog: documents, ingester: ingester, store: chunks, embedder: embedder, live: deps.Live, end: end, role: cfg.Role, leases: leases, events: events,
	}
	if err := s.Reload(ctx, config.Loaded[Config]{Value: cfg, Revision: deps.Revision}); err != nil {
		return nil, errors.Join(err, chunks.Close())
	}
	return s, nil
}

// Reload answers searches from now on with cfg and the strategies as they are now.
func (s *Service) Reload(_ context.Context, cfg config.Loaded[Config]) error {
	strategies, revision, err := loadStrategies(s.configDir, cfg.Revision)
	if err != nil {
		return err
	}
	searcher, err := search.New(search.Config{Strategies: strategies, Default: cfg.Value.strategy()}, s.searching)
	if err != nil {
		return err
	}
	s.handler.Use(rpc.Serving{Searcher: searcher, Revision: revision})
	return nil
}

// Revision returns the revision that answers carry.
func (s *Service) Revision() string { return s.handler.Revision() }

// Register adds the retriever's handlers, unless its role is to answer no calls.
func (s *Service) Register(mux *librpc.Mux) {
	if s.role == roleIngest {
		return
	}
	mux.Handle(retrieverv1connect.NewRetrieverServiceHandler(s.handler, mux.HandlerOptions()...))
}

// maxSilence is how long the workers' watch may be silent. With what a stuck worker is allowed it is less than a minute.
const maxSilence = 15 * time.Second

// Run follows the documents' records and works on jobs, once the store is there, until ctx ends; then it closes the store.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.catalog.Run(ctx) })
	group.Go(func() error {
		if err := s.store.Connect(ctx); err != nil {
			return err
		}
		work, ctx := errgroup.WithContext(ctx)
		work.Go(func() error { s.store.Watch(ctx); return nil })
		if s.role == roleServe {
			return work.Wait()
		}
		work.Go(func() error {
			pulse := s.live.NewPulse("ingest", maxSilence)
			defer pulse.Stop()
			return s.ingester.Run(ctx, pulse)
		})
		if s.embedder != nil {
			work.Go(func() error { return s.embed(ctx) })
		}
		return work.Wait()
	})
	err := group.Wait()
	s.end()
	return errors.Join(err, s.store.Close())
}

// embed makes vectors: where several processes take documents in, in one of them at a time, which hears of what the others have taken in.
func (s *Service) embed(ctx context.Context) error {
	if s.leases == nil {
		return s.embedder.Run(ctx)
	}
	return s.leases.Alone(ctx, "retriever-vectors", func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return s.events.Follow(ctx, s.embedder.Added) })
		group.Go(func() error {
			s.embedder.Rescan()
			return s.embedder.Run(ctx)
		})
		return group.Wait()
	})
}

// Ready returns the rows of the readiness report.
func (s *Service) Ready(context.Context) []health.Component {
	row := health.Component{Name: "documents", Hard: true}
	role := health.Component{Name: "role", Ready: true, Detail: s.role}
	select {
	case <-s.catalog.Synced():
		row.Ready = true
	default:
		row.Detail = "reading the documents' records"
	}
	if s.role == roleServe { // what the store lacks is known, and mended, by those that take documents in
		return append([]health.Component{row, role}, keeping(s.store)...)
	}
	index := health.Component{Name: "index", Ready: true}
	if n := s.ingester.Missing(); n > 0 {
		index.Ready, index.Detail = false, fmt.Sprintf("%d documents are being restored from their originals", n)
	} else if !s.ingester.Checked() {
		index.Ready, index.Detail = false, "not compared with the documents' records yet"
	}
	rows := append([]health.Component{row, index}, keeping(s.store)...)
	if s.embedder == nil {
		return append(rows, role)
	}
	vectors := health.Component{Name: "vectors", Ready: true}
	behind, problem := s.embedder.Status()
	if behind > 0 {
		vectors.Ready, vectors.Detail = false, fmt.Sprintf("%d documents have no vectors yet; they are found by keywords meanwhile", behind)
	}
	if problem != "" {
		vectors.Ready, vectors.Detail = false, strings.TrimPrefix(vectors.Detail+"; "+problem, "; ")
	}
	return append(rows, vectors, role)
}

// following is told of jobs like the meter, and tells the embedder which documents are new.
type following struct {
	*meter.Meter
	embedder *embed.Embedder
}

// Ended implements ingest.Observer.
func (f following) Ended(ctx context.Context, j ingest.Job, outcome string, took time.Duration, err error) {
	f.Meter.Ended(ctx, j, outcome, took, err)
	if outcome == ingest.OutcomeReady {
		f.embedder.Added(j.Workspace, j.DocumentID)
	}
}
