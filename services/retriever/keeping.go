package retriever

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/meter"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate"
)

// keeper is a store and what the service has to do for it.
type keeper interface {
	store.Store
	// Connect returns when the store can be used, or can never be.
	Connect(ctx context.Context) error
	// Watch keeps Status true until ctx ends.
	Watch(ctx context.Context)
	Status() (ready bool, detail string)
	Close() error
}

// open makes the store that is configured. It waits for nothing.
func open(cfg Config, dataDir string, m *meter.Meter, renewed func(workspace string, cause error)) (keeper, error) {
	if cfg.Store != storeWeaviate {
		s, err := index.Open(index.Config{Dir: filepath.Join(dataDir, "index"), MaxOpen: cfg.Index.MaxOpen, Renewed: renewed})
		if err != nil {
			return nil, err
		}
		return local{s, func(workspace string, err error) {
			m.Warn(context.Background(), "the index of workspace "+workspace+" could not be compacted; it is tried again", err)
		}}, nil
	}
	w := cfg.Weaviate
	key := ""
	if !w.APIKey.IsZero() {
		var err error
		if key, err = w.APIKey.Resolve(); err != nil {
			return nil, fmt.Errorf("weaviate.api_key: %w", err)
		}
	}
	s, err := weaviate.New(weaviate.Config{
		URL: w.URL, GRPCURL: w.GRPCURL, APIKey: key, CAFile: w.CAFile, Collection: w.Collection, Replicas: w.Replicas, Timeout: w.Timeout,
		Observer: m,
	})
	if err != nil {
		return nil, err
	}
	return shared{s}, nil
}

// shared is a store that other processes search, too.
type shared struct{ *weaviate.Store }

// grace is how long a version that was replaced stays in the store: others hear of the new one a moment later, and would find neither
// meanwhile.
const grace = time.Second

// Prune implements [store.Store].
func (s shared) Prune(ctx context.Context, workspace, documentID, keep string) (int, error) {
	if keep != "" {
		select {
		case <-time.After(grace):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return s.Store.Prune(ctx, workspace, documentID, keep)
}

// local is a store in this process: always there.
type local struct {
	*index.Store
	failed func(workspace string, err error) // when compacting
}

// compactAfter is when the bytes of what was deleted leave the index's files, at the latest, while the process runs. All that an index
// has is written anew then.
const compactAfter = 6 * time.Hour

func (local) Connect(context.Context) error { return nil }
func (l local) Watch(ctx context.Context)   { l.CompactEvery(ctx, compactAfter, l.failed) }
func (local) Status() (bool, string)        { return true, "" }

// keeping is the readiness row of a store that may be away. Nothing can be answered before it was there once.
func keeping(k keeper) []health.Component {
	if _, ok := k.(local); ok {
		return nil
	}
	ready, detail := k.Status()
	return []health.Component{{Name: "weaviate", Hard: true, Ready: ready, Detail: detail}}
}
