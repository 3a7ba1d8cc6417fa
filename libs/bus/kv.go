package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// KV is a key-value bucket. Keys are made of letters, digits and -/_=. ; a dot separates parts, which filters match with *
// (one part) and > (all that follow).
type KV struct {
	bus    *Bus
	bucket string
}

// Entry is a key's value, or the news that it was deleted.
type Entry struct {
	Key   string
	Value []byte
	// Revision grows with every change in the bucket; [KV.Update] takes it.
	Revision uint64
	// Deleted entries have no value. Only [KV.Watch] shows them.
	Deleted bool
	// Time is when the entry was written.
	Time time.Time
}

// KV returns a bucket of the topology. It doesn't ask the server, so it works while NATS is away.
func (b *Bus) KV(_ context.Context, bucket string) (*KV, error) {
	known := slices.ContainsFunc(bucketConfigs(b.replicas), func(c jetstream.KeyValueConfig) bool { return c.Bucket == bucket })
	if !known {
		return nil, fmt.Errorf("open bucket %s: not in the topology", bucket)
	}
	return &KV{bus: b, bucket: bucket}, nil
}

func (k *KV) open(ctx context.Context) (jetstream.KeyValue, error) {
	return cached(k.bus, k.bus.buckets, k.bucket, func() (jetstream.KeyValue, error) { return k.bus.js.KeyValue(ctx, k.bucket) })
}

// Get returns a key's value, or [ErrNotFound].
func (k *KV) Get(ctx context.Context, key string) (Entry, error) {
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := k.open(bound)
	if err != nil {
		return Entry{}, k.wrap(ctx, err, "get", key)
	}
	e, err := kv.Get(bound, key)
	if err != nil {
		return Entry{}, k.wrap(ctx, err, "get", key)
	}
	return entry(e), nil
}

// Put writes a key whatever it was, and returns the new revision.
func (k *KV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, "put", key, func(ctx context.Context, kv jetstream.KeyValue) (uint64, error) { return kv.Put(ctx, key, value) })
}

// Create writes a key that is not there, or gives [ErrExists].
func (k *KV) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, "create", key, func(ctx context.Context, kv jetstream.KeyValue) (uint64, error) { return kv.Create(ctx, key, value) })
}

// Update writes a key whose revision is still the one given, or gives [ErrConflict].
func (k *KV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	n, err := k.write(ctx, "update", key, func(ctx context.Context, kv jetstream.KeyValue) (uint64, error) {
		return kv.Update(ctx, key, value, revision)
	})
	// The server answers a stale revision as it answers an existing key.
	if errors.Is(err, ErrExists) {
		return 0, fmt.Errorf("update %s/%s: %w", k.bucket, key, ErrConflict)
	}
	return n, err
}

// write is bounded, however long the caller would wait: a server whose disk is full doesn't answer at all.
func (k *KV) write(ctx context.Context, op, key string, do func(context.Context, jetstream.KeyValue) (uint64, error)) (uint64, error) {
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := k.open(bound)
	if err != nil {
		return 0, k.wrap(ctx, err, op, key)
	}
	revision, err := do(bound, kv)
	if err != nil {
		return 0, k.wrap(ctx, err, op, key)
	}
	return revision, nil
}

// Delete removes a key. Its value can't be had any more, but its bytes stay on the servers' disks until the file they are in is
// written anew. A key that is not there is no error.
func (k *KV) Delete(ctx context.Context, key string) error {
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := k.open(bound)
	if err != nil {
		return k.wrap(ctx, err, "delete", key)
	}
	// Purge, unlike Delete, leaves no earlier value behind the marker.
	if err := kv.Purge(bound, key); err != nil {
		return k.wrap(ctx, err, "delete", key)
	}
	return nil
}

// Erase is Delete that also has the value's bytes overwritten on the servers' disks, in buckets that allow it. Those that nats.go
// makes, ours among them, don't: there it is Delete.
func (k *KV) Erase(ctx context.Context, key string) error {
	s, err := k.bus.stream(ctx, KeyValueStream(k.bucket))
	if err != nil {
		return k.wrap(ctx, err, "erase", key)
	}
	if e, err := k.Get(ctx, key); err == nil && !s.CachedInfo().Config.DenyDelete {
		if err := k.bus.eraseMessage(ctx, s, e.Revision); err != nil {
			return k.wrap(ctx, err, "erase", key)
		}
	}
	return k.Delete(ctx, key) // who watches the bucket hears of this one
}

// Keys returns the keys that match a filter, sorted; "" matches all.
func (k *KV) Keys(ctx context.Context, filter string) ([]string, error) {
	entries, err := k.list(ctx, filter, jetstream.MetaOnly())
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	slices.Sort(keys)
	return keys, nil
}

// List returns the entries that match a filter, in the order they were last written; "" matches all.
func (k *KV) List(ctx context.Context, filter string) ([]Entry, error) { return k.list(ctx, filter) }

func (k *KV) list(ctx context.Context, filter string, options ...jetstream.WatchOpt) ([]Entry, error) {
	bound, cancel := context.WithTimeout(ctx, 4*requestTimeout)
	defer cancel() // ends the watcher too; its Stop would wait for a server that is away
	kv, err := k.open(bound)
	if err != nil {
		return nil, k.wrap(ctx, err, "list", filter)
	}
	watcher, err := kv.Watch(bound, all(filter), append(options, jetstream.IgnoreDeletes())...)
	if err != nil {
		return nil, k.wrap(ctx, err, "list", filter)
	}
	var out []Entry
	for {
		select {
		case <-bound.Done():
			return nil, k.wrap(ctx, bound.Err(), "list", filter)
		case e, ok := <-watcher.Updates():
			switch {
			case !ok:
				return nil, k.wrap(ctx, errors.New("watch ended early"), "list", filter)
			case e == nil: // that was all
				return out, nil
			}
			out = append(out, entry(e))
		}
	}
}

// Watch calls fn for every entry that matches the filter, first those that are there, then each change, until ctx ends. An
// entry without a key marks the moment when everything that was there has been shown; it comes again, after everything is
// shown again, when the connection was lost. fn is called by one goroutine and holds up what follows.
func (k *KV) Watch(ctx context.Context, filter string, fn func(Entry)) error {
	for failures := 0; ; {
		shown, err := k.watch(ctx, filter, fn)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // what ended the watch is what the caller wanted
		case err == nil: // connected again
			failures = 0
			continue
		case shown:
			failures = 0
		}
		failures++
		k.bus.log.WithLevel(levelOf(failures)).Err(err).Str("bucket", k.bucket).Int("attempt", failures).Msg("cannot watch yet")
		k.bus.pause(ctx, failures)
	}
}

// watch reports whether the entries that were there have been shown.
func (k *KV) watch(ctx context.Context, filter string, fn func(Entry)) (shown bool, err error) {
	ctx, cancel := k.bus.untilUp(ctx) // nats.go notices a new connection by itself, but after half a minute
	defer cancel()                    // ends the watcher too; its Stop would wait for a server that is away
	kv, err := k.open(ctx)
	if err != nil {
		return false, err
	}
	watcher, err := kv.Watch(ctx, all(filter))
	if err != nil {
		return false, fmt.Errorf("watch %s: %w", k.bucket, err)
	}
	for {
		select {
		case <-ctx.Done():
			return shown, nil
		case e, ok := <-watcher.Updates():
			switch {
			case !ok:
				return shown, errors.New("watch ended early")
			case e == nil:
				shown = true
				fn(Entry{})
			default:
				fn(entry(e))
			}
		}
	}
}

func all(filter string) string {
	if filter == "" {
		return ">"
	}
	return filter
}

func entry(e jetstream.KeyValueEntry) Entry {
	return Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision(), Deleted: e.Operation() != jetstream.KeyValuePut, Time: e.Created()}
}

func (k *KV) wrap(ctx context.Context, err error, op, key string) error {
	return wrap(ctx, err, op+" "+k.bucket+"/"+key)
}
