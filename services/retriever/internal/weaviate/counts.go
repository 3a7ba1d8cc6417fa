package weaviate

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
)

const (
	// maxCountAge is how old counts may be that are used again: somebody else may have written since.
	maxCountAge = 30 * time.Second
	// maxDrift is the share of a workspace's chunks that this process may have changed since, one in so many. Of a small
	// workspace that is none.
	maxDrift = 100
	// maxCounted bounds the workspaces whose counts are kept, and maxTerms the terms of each.
	maxCounted = 256
	maxTerms   = 100_000
)

// counts remembers in how many chunks terms are: asking takes the server longer than searching.
type counts struct {
	mu      sync.Mutex
	changed map[string]int // chunks this process has written or removed, by workspace
	known   map[string]*counted
	vectors map[string]counted // by collection and workspace; their number is Chunks
}

// counted is what is known of a workspace.
type counted struct {
	at      time.Time
	changed int
	stats   rank.Stats
}

// note counts a change.
func (c *counts) note(workspace string, chunks int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed[workspace] += chunks
}

// recall returns what is known of terms, which of them are not, and a mark of now for keep.
func (c *counts) recall(workspace string, terms []rank.Term) (stats rank.Stats, missing []rank.Term, mark counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mark = counted{at: time.Now(), changed: c.changed[workspace]}
	stats.Frequency = make(map[string]int, len(terms))
	k := c.known[workspace]
	if k == nil || mark.at.Sub(k.at) > maxCountAge || (mark.changed-k.changed)*maxDrift > k.stats.Chunks {
		delete(c.known, workspace)
		return stats, terms, mark
	}
	stats.Chunks, stats.AverageLength = k.stats.Chunks, k.stats.AverageLength
	for _, t := range terms {
		if n, ok := k.stats.Frequency[t.Text]; ok {
			stats.Frequency[t.Text] = n
		} else {
			missing = append(missing, t)
		}
	}
	return stats, missing, mark
}

// keep remembers what was counted.
func (c *counts) keep(workspace string, mark counted, stats rank.Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.known[workspace]
	if k == nil || len(k.stats.Frequency) > maxTerms {
		for name := range c.known { // any will do: they don't live long
			if len(c.known) < maxCounted {
				break
			}
			delete(c.known, name)
		}
		mark.stats = stats
		mark.stats.Frequency = map[string]int{}
		k = &mark
		c.known[workspace] = k
	}
	maps.Copy(k.stats.Frequency, stats.Frequency)
}

// forget drops what is known of a workspace.
func (c *counts) forget(workspace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, workspace)
	delete(c.changed, workspace)
	for key := range c.vectors {
		if strings.HasSuffix(key, "/"+workspace) {
			delete(c.vectors, key)
		}
	}
}

// recallVectors returns how many vectors a collection has of a workspace, if that is known.
func (c *counts) recallVectors(collection, workspace string) (n int, ok bool, mark counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mark = counted{at: time.Now(), changed: c.changed[workspace]}
	k, ok := c.vectors[collection+"/"+workspace]
	if !ok || mark.at.Sub(k.at) > maxCountAge || (mark.changed-k.changed)*maxDrift > k.stats.Chunks {
		return 0, false, mark
	}
	return k.stats.Chunks, true, mark
}

// keepVectors remembers how many vectors there are.
func (c *counts) keepVectors(collection, workspace string, mark counted, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.vectors) >= maxCounted {
		clear(c.vectors)
	}
	mark.stats.Chunks = n
	c.vectors[collection+"/"+workspace] = mark
}
