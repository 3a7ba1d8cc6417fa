package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Objects is an object store: bytes of any size under a name, in chunks.
type Objects struct {
	bus   *Bus
	store string
}

// Objects returns an object store of the topology. It doesn't ask the server, so it works while NATS is away.
func (b *Bus) Objects(_ context.Context, store string) (*Objects, error) {
	known := slices.ContainsFunc(archiveConfigs(b.replicas), func(c jetstream.ObjectStoreConfig) bool { return c.Bucket == store })
	if !known {
		return nil, fmt.Errorf("open object store %s: not in the topology", store)
	}
	return &Objects{bus: b, store: store}, nil
}

func (o *Objects) open(ctx context.Context) (jetstream.ObjectStore, error) {
	return cached(o.bus, o.bus.archives, o.store, func() (jetstream.ObjectStore, error) { return o.bus.js.ObjectStore(ctx, o.store) })
}

// Put stores what r holds, a few megabytes at most, replacing what was under the name once all of it is there. It is
// bounded, however long the caller would wait: a server whose disk is full doesn't answer at all.
func (o *Objects) Put(ctx context.Context, name string, r io.Reader) error {
	bound, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	store, err := o.open(bound)
	if err != nil {
		return o.wrap(ctx, err, "put", name)
	}
	source := &source{r: r}
	if _, err := store.Put(bound, jetstream.ObjectMeta{Name: name}, source); err != nil {
		if source.err != nil { // the reader's failure is not the store's
			return fmt.Errorf("put %s/%s: %w", o.store, name, source.err)
		}
		return o.wrap(ctx, err, "put", name)
	}
	return nil
}

// source remembers why reading failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Get returns a reader over an object, or [ErrNotFound]. The reader checks the stored digest at its end, works until ctx
// ends, and must be closed.
func (o *Objects) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	store, err := o.open(ctx)
	if err != nil {
		return nil, o.wrap(ctx, err, "get", name)
	}
	result, err := store.Get(ctx, name)
	if err != nil {
		return nil, o.wrap(ctx, err, "get", name)
	}
	return result, nil
}

// Delete removes an object and its bytes. One that is not there is no error.
func (o *Objects) Delete(ctx context.Context, name string) error {
	store, err := o.open(ctx)
	if err != nil {
		return o.wrap(ctx, err, "delete", name)
	}
	if err := store.Delete(ctx, name); err != nil {
		if err := o.wrap(ctx, err, "delete", name); !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// Erase is Delete that also has the bytes overwritten on the servers' disks.
func (o *Objects) Erase(ctx context.Context, name string) error {
	store, err := o.open(ctx)
	if err != nil {
		return o.wrap(ctx, err, "erase", name)
	}
	info, err := store.GetInfo(ctx, name)
	if err != nil {
		if err := o.wrap(ctx, err, "erase", name); !errors.Is(err, ErrNotFound) {
			return err
		}
		return nil
	}
	if _, err := o.bus.EraseAll(ctx, ObjectStream(o.store), "$O."+o.store+".C."+info.NUID); err != nil {
		return err
	}
	return o.Delete(ctx, name)
}

// Exists says whether an object is there.
func (o *Objects) Exists(ctx context.Context, name string) (bool, error) {
	store, err := o.open(ctx)
	if err != nil {
		return false, o.wrap(ctx, err, "look up", name)
	}
	if _, err := store.GetInfo(ctx, name); err != nil {
		err = o.wrap(ctx, err, "look up", name)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

func (o *Objects) wrap(ctx context.Context, err error, op, name string) error {
	return wrap(ctx, err, op+" "+o.store+"/"+name)
}
