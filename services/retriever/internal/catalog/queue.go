package catalog

import (
	"cmp"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Queue is what a workspace has waiting to be taken in.
type Queue struct {
	Documents  int   // that wait or are worked on
	Bytes      int64 // their size
	Processing int   // of them, those that a worker is seen at
	Retrying   int   // of them, those whose last attempt failed
	Failed     int   // beside them
	Oldest     time.Time

	DocumentsPerSecond float64
	BytesPerSecond     float64
	// Remaining is how long it takes until nothing waits, at that rate; 0 when nobody can tell.
	Remaining time.Duration
}

// tally counts a workspace's queue as its documents change.
type tally struct {
	documents, processing, retrying, failed int
	bytes                                   int64

	since time.Time // when something began to wait after nothing did
	done  [slots]slot
}

// The rate is that of the last slots, each of them slotTime long.
const (
	slots    = 12
	slotTime = 10 * time.Second
)

// slot counts what ended within a stretch of time.
type slot struct {
	at        int64 // the stretch's number
	documents int
	bytes     int64
}

func (e entry) waits() bool {
	return e.there() && (e.State == document.Queued || e.State == document.Processing)
}

// count takes a document that was like before and is like after.
func (t *tally) count(before, after entry) {
	was, is := before.waits(), after.waits()
	if was {
		t.add(before, -1)
	}
	if before.there() && before.State == document.Failed {
		t.failed--
	}
	if is {
		if t.documents == 0 && !was {
			t.since = after.UpdatedAt
		}
		t.add(after, 1)
	}
	if after.there() && after.State == document.Failed {
		t.failed++
	}
	if was && !is && after.there() {
		s := t.slot(after.UpdatedAt)
		s.documents++
		s.bytes += after.Newest.Size
	}
}

func (t *tally) add(e entry, n int) {
	t.documents += n
	t.bytes += int64(n) * e.Newest.Size
	if e.State == document.Processing {
		t.processing += n
	}
	if e.LastError != nil {
		t.retrying += n
	}
}

func (t *tally) slot(at time.Time) *slot {
	number := at.UnixNano() / int64(slotTime)
	s := &t.done[((number%slots)+slots)%slots]
	if s.at != number {
		*s = slot{at: number}
	}
	return s
}

// rate is what ended within a second, in the last slots and since something waits.
func (t *tally) rate(now time.Time) (documents, bytes float64) {
	newest := now.UnixNano() / int64(slotTime)
	n, size := 0, int64(0)
	for _, s := range t.done {
		if s.at > newest-slots && s.at <= newest+1 { // another process's clock may be ahead
			n, size = n+s.documents, size+s.bytes
		}
	}
	began := time.Unix(0, (newest-slots+1)*int64(slotTime))
	if t.since.After(began) {
		began = t.since
	}
	seconds := max(now.Sub(began).Seconds(), 1)
	return float64(n) / seconds, float64(size) / seconds
}

// lasts is how long a number of documents and bytes take at a rate: the longer of the two, since either may be what takes its time.
func lasts(documents int, bytes int64, perSecond, bytesPerSecond float64) time.Duration {
	if documents == 0 || perSecond == 0 {
		return 0
	}
	seconds := float64(documents) / perSecond
	if bytesPerSecond > 0 {
		seconds = max(seconds, float64(bytes)/bytesPerSecond)
	}
	return time.Duration(min(seconds, maxLasts.Seconds()) * float64(time.Second)).Round(time.Second)
}

// maxLasts bounds what is told: a rate that low says nothing of the future.
const maxLasts = 30 * 24 * time.Hour

// Queue returns what a workspace has waiting, of what a reader may read. A nil reader is one who may read everything.
func (c *Catalog) Queue(name string, r document.Reader, now time.Time) Queue {
	line, _, _ := c.line(name, now)
	c.mu.RLock()
	defer c.mu.RUnlock()
	w, ok := c.workspaces[name]
	if !ok {
		return Queue{}
	}
	t := w.tally
	if r != nil && !r.Reads(nil) {
		for id := range w.listed { // the others are everybody's
			if e := w.documents[id]; !e.ReadableBy(r) {
				t.count(e, entry{})
			}
		}
	}
	q := Queue{Documents: t.documents, Bytes: t.bytes, Processing: t.processing, Retrying: t.retrying, Failed: t.failed}
	q.DocumentsPerSecond, q.BytesPerSecond = w.tally.rate(now)
	q.Remaining = lasts(q.Documents, q.Bytes, q.DocumentsPerSecond, q.BytesPerSecond)
	if q.Documents > 0 && len(line) > 0 {
		q.Oldest = time.UnixMicro(int64(line[0].sequence)) // the time of its commit
	}
	return q
}

// Waiting returns how much of a workspace waits to be taken in, and how much of it ended within a second lately.
func (c *Catalog) Waiting(name string, now time.Time) (documents int, bytes int64, perSecond, bytesPerSecond float64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	w, ok := c.workspaces[name]
	if !ok {
		return 0, 0, 0, 0
	}
	perSecond, bytesPerSecond = w.tally.rate(now)
	return w.tally.documents, w.tally.bytes, perSecond, bytesPerSecond
}

// lineFor is how long the order of a workspace's waiting documents is taken for true.
const lineFor = time.Second

// place is a waiting document and what comes before it, itself included.
type place struct {
	sequence uint64
	bytes    int64
}

// Remaining returns how long some documents take until they are taken in, 0 for one that does not wait or of which nobody can tell.
func (c *Catalog) Remaining(name string, documents []document.Document, now time.Time) []time.Duration {
	out := make([]time.Duration, len(documents))
	if !slices.ContainsFunc(documents, func(d document.Document) bool { return entry{Document: d}.waits() }) {
		return out
	}
	line, perSecond, bytesPerSecond := c.line(name, now)
	for i, d := range documents {
		if !(entry{Document: d}).waits() {
			continue
		}
		at, _ := slices.BinarySearchFunc(line, d.Newest.Sequence, func(p place, sequence uint64) int { return cmp.Compare(p.sequence, sequence) })
		if at < len(line) {
			out[i] = max(lasts(at+1, line[at].bytes, perSecond, bytesPerSecond), 0)
		}
	}
	return out
}

// line returns a workspace's waiting documents in their order.
func (c *Catalog) line(name string, now time.Time) (line []place, documents, bytes float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.workspaces[name]
	if !ok {
		return nil, 0, 0
	}
	if age := now.Sub(w.lined); w.line == nil || age < 0 || age > lineFor {
		w.line, w.lined = make([]place, 0, w.tally.documents), now
		for _, e := range w.documents {
			if e.waits() {
				w.line = append(w.line, place{e.Newest.Sequence, e.Newest.Size})
			}
		}
		slices.SortFunc(w.line, func(a, b place) int { return cmp.Compare(a.sequence, b.sequence) })
		sum := int64(0)
		for i := range w.line {
			sum += w.line[i].bytes
			w.line[i].bytes = sum
		}
	}
	documents, bytes = w.tally.rate(now)
	return w.line, documents, bytes
}
