package retriever_test

import (
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := retriever.Defaults().Validate(); err != nil {
		t.Error(err)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*retriever.Config){
		"max_bytes": func(c *retriever.Config) { c.Upload.MaxBytes = 10 << 30 },
		"ttl":       func(c *retriever.Config) { c.Upload.TTL = 48 * time.Hour },
		"workers":   func(c *retriever.Config) { c.Ingest.Workers = 0 },
		"memory":    func(c *retriever.Config) { c.Ingest.Memory = 0 },
		"max_stage": func(c *retriever.Config) { c.Ingest.MaxStage = time.Second },
		"max_open":  func(c *retriever.Config) { c.Index.MaxOpen = 0 },

		"workers_per_workspace": func(c *retriever.Config) { c.Ingest.PerWorkspace = 0 },
		"max_queued":            func(c *retriever.Config) { c.Ingest.MaxQueued = -1 },
		"max_queued_bytes":      func(c *retriever.Config) { c.Ingest.MaxQueuedBytes = 1 },
	} {
		c := retriever.Defaults()
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s out of bounds was taken", name)
		}
	}
}
