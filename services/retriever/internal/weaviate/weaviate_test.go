package weaviate_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store/storetest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate"
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate/weaviatetest"
)

// shared is the server of this package's tests, started by the first that wants it.
var shared struct {
	once   sync.Once
	server *weaviatetest.Server
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Stop()
	}
	os.Exit(code)
}

func server(tb testing.TB) *weaviatetest.Server {
	tb.Helper()
	shared.once.Do(func() { shared.server, shared.err = weaviatetest.Start(context.Background()) })
	if shared.err != nil {
		weaviatetest.Missing(tb, shared.err)
	}
	return shared.server
}

// observer remembers how long requests took.
type observer struct {
	testing.TB
	mu   sync.Mutex
	took map[string][]time.Duration
}

func (o *observer) Asked(operation string, took time.Duration, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took[operation] = append(o.took[operation], took)
}

func (o *observer) Warn(_ context.Context, what string, err error) { o.Logf("%s: %v", what, err) }

// report logs what requests took.
func (o *observer) report(tb testing.TB) {
	tb.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for operation, took := range o.took {
		slices.Sort(took)
		tb.Logf("%s: %d requests, p50 %v, p95 %v", operation, len(took), took[len(took)/2], took[len(took)*95/100])
	}
}

// harness gives every test a collection of its own.
type harness struct {
	mu   sync.Mutex
	made map[store.Store]weaviate.Config
}

func (h *harness) Store(tb testing.TB) store.Store {
	tb.Helper()
	at := server(tb)
	return h.open(tb, weaviate.Config{
		URL: at.URL, GRPCURL: at.GRPCURL, APIKey: at.APIKey, Collection: "Test" + rand.Text(), Replicas: 1, Timeout: time.Minute,
		Observer: &observer{TB: tb, took: map[string][]time.Duration{}},
	})
}

// Remembers implements [storetest.Remembering]: Weaviate adds an object to its index after it has let go of the object, which somebody
// may have deleted by then.
func (h *harness) Remembers() {}

func (h *harness) Reopen(tb testing.TB, s store.Store) store.Store {
	tb.Helper()
	h.mu.Lock()
	c := h.made[s]
	h.mu.Unlock()
	if err := s.(*weaviate.Store).Close(); err != nil {
		tb.Fatal(err)
	}
	return h.open(tb, c)
}

func (h *harness) open(tb testing.TB, c weaviate.Config) *weaviate.Store {
	tb.Helper()
	s, err := weaviate.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	if err := s.Connect(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	h.mu.Lock()
	h.made[s] = c
	h.mu.Unlock()
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	h := &harness{made: map[store.Store]weaviate.Config{}}
	server(t)
	t.Run("suite", func(t *testing.T) { storetest.Run(t, h) })
	fmt.Printf("conformance suite against %s\n", server(t).Origin)
}
