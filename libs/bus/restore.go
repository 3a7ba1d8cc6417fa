package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	holdPrefix = "originals."
	// holdFor is how long a hold lasts that nobody renews.
	holdFor   = time.Minute
	renewHold = 15 * time.Second
)

// Hold asks those who remove originals to wait, so that a backup finds every original that the records name which it has just
// read. They wait until release is called, or until whoever holds has died for a minute.
func (b *Bus) Hold(ctx context.Context) (release func(), err error) {
	kv, err := b.KV(ctx, Holds)
	if err != nil {
		return nil, err
	}
	key := holdPrefix + rand.Text() // others may hold too
	put := func() error {
		_, err := kv.Put(ctx, key, []byte(b.name))
		return err
	}
	if err := put(); err != nil {
		return nil, err
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(renewHold)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := put(); err != nil {
					b.log.Warn().Err(err).Msg("cannot renew the hold on originals")
				}
			}
		}
	}()
	return func() {
		close(stop)
		<-done
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		if err := kv.Delete(free, key); err != nil {
			b.log.Warn().Err(err).Dur("for", holdFor).Msg("cannot release the hold on originals; it ends by itself")
		}
	}, nil
}

// Held says whether originals have to stay. Whoever removes one asks after the record says that it goes, so that a backup
// that read the record before is seen here.
func (b *Bus) Held(ctx context.Context) (bool, error) {
	subject := "$KV." + Holds + "." + holdPrefix + ">"
	for from := uint64(1); ; {
		m, err := b.fromLeader(ctx, KeyValueStream(Holds), map[string]any{"seq": from, "next_by_subj": subject})
		switch {
		case errors.Is(err, ErrNotFound):
			return false, nil
		case err != nil:
			return true, wrap(ctx, err, "look for a hold")
		case !m.Removal(): // a release is one
			return true, nil
		}
		from = m.Sequence + 1
	}
}

// keptStreams are the streams that hold what is restored; whoever restores begins without them.
func (b *Bus) keptStreams() []string {
	var names []string
	for _, c := range streamConfigs(b.replicas) {
		names = append(names, c.Name)
	}
	for _, c := range bucketConfigs(b.replicas) {
		names = append(names, KeyValueStream(c.Bucket))
	}
	for _, c := range archiveConfigs(b.replicas) {
		names = append(names, ObjectStream(c.Bucket))
	}
	return names
}

// restoring is a stream that is there while a restore is under way, or was cut off.
const restoring = "RAGMESH_RESTORE"

// ErrRestoring says that NATS holds part of a backup.
var ErrRestoring = errors.New("a restore into this NATS is under way, or was cut off: run `ragmesh restore` again")

// notRestoring keeps services from working on half of a backup.
func (b *Bus) notRestoring(ctx context.Context) error {
	if b.passive {
		return nil
	}
	_, err := b.js.Stream(ctx, restoring)
	switch {
	case err == nil:
		return ErrRestoring
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil
	}
	return wrap(ctx, err, "look for a restore")
}

// What a restore is refused for.
var (
	// ErrNotEmpty: there is data already.
	ErrNotEmpty = errors.New("holds data already")
	// ErrInUse: services are connected.
	ErrInUse = errors.New("is in use by running services")
)

// BeginRestore makes NATS ready to be filled: it must be empty, or hold what an earlier restore has left, which is removed. No
// service starts on it until [Bus.EndRestore].
func (b *Bus) BeginRestore(ctx context.Context) error {
	_, err := b.js.Stream(ctx, restoring)
	again := err == nil
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return wrap(ctx, err, "look for a restore")
	}
	var there []string
	for _, name := range b.keptStreams() {
		s, err := b.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return wrap(ctx, err, "look at "+name)
		}
		if s.CachedInfo().State.Msgs > 0 && !again {
			return fmt.Errorf("%s %w", name, ErrNotEmpty)
		}
		used, err := inUse(ctx, s)
		if err != nil {
			return wrap(ctx, err, "look at "+name)
		}
		if used {
			return fmt.Errorf("%s %w", name, ErrInUse)
		}
		there = append(there, name)
	}
	if _, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: restoring, Subjects: []string{"ragmesh.restore"}, Storage: jetstream.FileStorage, MaxMsgs: 1, Replicas: b.replicas}); err != nil {
		return wrap(ctx, err, "mark NATS as being restored")
	}
	for _, name := range there {
		if err := b.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return wrap(ctx, err, "remove "+name)
		}
	}
	return b.EnsureTopology(ctx)
}

// inUse says whether somebody waits for a stream's messages.
func inUse(ctx context.Context, s jetstream.Stream) (bool, error) {
	consumers := s.ListConsumers(ctx)
	used := false
	for info := range consumers.Info() {
		used = used || info.PushBound || info.NumWaiting > 0
	}
	return used, consumers.Err()
}

// EndRestore says that everything is there.
func (b *Bus) EndRestore(ctx context.Context) error {
	if err := b.js.DeleteStream(ctx, restoring); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return wrap(ctx, err, "end the restore")
	}
	return nil
}
