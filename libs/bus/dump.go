package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// dumpBatch and dumpBytes bound what is read, and held in memory, at once.
	dumpBatch = 512
	dumpBytes = 4 * mib
	// maxBeyond is how many batches are looked through beyond what was to be, for the end of a stream that is written to meanwhile. One
	// is enough unless more than dumpBatch messages come while one is read.
	maxBeyond = 1024
	// maxTries is how often an object is read that is replaced each time before all of it was.
	maxTries = 8
)

// Dump calls fn for the messages of a stream after a sequence, in their order, and returns the sequence up to which that was.
//
// Whatever was acknowledged before it began has been shown, unless it was deleted since; and it comes to an end, however fast the
// stream is written to and however slow fn is: it goes up to the sequence at which the stream ended when it began. Where a message
// replaces the one before it on its subject, a value may by then stand beyond that end. So the subjects that were written to meanwhile
// are asked for afterwards by their names, once each, and fn gets the values they have now. JetStream's own snapshot does not have
// this property: a key that is written while it runs is not in it at all.
//
// Of an object store it shows whole objects: the chunks of each before its description. Chunks of an object that is removed meanwhile
// may come without one.
//
// It makes no consumer and holds nothing up: fn may take as long as it likes. Its memory is a batch and the names of the subjects that
// are written to meanwhile.
func (b *Bus) Dump(ctx context.Context, stream string, after uint64, fn func(Archived) error) (uint64, error) {
	d := &dump{ctx: ctx, bus: b, stream: stream, fn: fn, filter: ">"}
	begin, err := d.state()
	if err != nil {
		return after, err
	}
	d.show, d.latest = fn, d.value
	if store, ok := strings.CutPrefix(stream, ObjectStream("")); ok {
		d.store, d.filter = store, "$O."+store+".M.>"
		d.show, d.latest = d.described, d.object
	}
	if err := d.upTo(after, begin.State.LastSeq); err != nil {
		return after, err
	}
	after = max(after, begin.State.LastSeq)
	if d.store == "" && !replaces(begin.Config) {
		return after, nil
	}
	written, end, err := d.writtenAfter(after)
	if err != nil {
		return after, err
	}
	for _, subject := range written {
		if err := d.latest(subject); err != nil {
			return after, err
		}
	}
	return end, nil
}

// replaces says whether a stream's messages push out the ones before them on their subjects.
func replaces(c jetstream.StreamConfig) bool {
	return c.MaxMsgsPerSubject > 0 && !c.DiscardNewPerSubject
}

// dump is one call of [Bus.Dump].
type dump struct {
	ctx    context.Context //nolint:containedctx // of that call
	bus    *Bus
	stream string
	store  string // of objects; empty for what is none
	fn     func(Archived) error

	// filter matches the messages that say what there is, show passes on what one of them stands for, and latest what there is now on
	// its subject.
	filter string
	show   func(Archived) error
	latest func(subject string) error
}

// page is what one request brought.
type page struct {
	messages []Archived
	more     bool // may be there
}

// patiently asks again while nobody answers: while a stream's servers elect a new leader nobody does, or a request that came just then
// is lost. The caller's own end ends it too.
func patiently[T any](d *dump, ask func() (T, error)) (T, error) {
	election := retrypolicy.NewBuilder[T]().
		HandleIf(func(_ T, err error) bool { return err != nil && translate(err) == nil }).
		WithBackoff(50*time.Millisecond, time.Second).
		WithMaxRetries(-1).
		WithMaxDuration(6 * requestTimeout).
		ReturnLastFailure().
		Build()
	out, err := failsafe.With(failsafe.Policy[T](election)).WithContext(d.ctx).Get(ask)
	if err != nil {
		return out, wrap(d.ctx, err, "read "+d.stream)
	}
	return out, nil
}

// state asks the stream's leader.
func (d *dump) state() (*jetstream.StreamInfo, error) {
	return patiently(d, func() (*jetstream.StreamInfo, error) {
		bound, cancel := context.WithTimeout(d.ctx, requestTimeout)
		defer cancel()
		s, err := d.bus.js.Stream(bound, d.stream)
		if err != nil {
			return nil, notOurs(d.ctx, err)
		}
		return s.CachedInfo(), nil
	})
}

// upTo shows what there is after a sequence and not beyond another.
func (d *dump) upTo(after, end uint64) error {
	for after < end {
		p, err := d.following(d.filter, after)
		if err != nil {
			return err
		}
		if len(p.messages) == 0 {
			return nil
		}
		for _, m := range p.messages {
			if m.Sequence > end {
				return nil
			}
			if err := d.show(m); err != nil {
				return err
			}
			after = m.Sequence
		}
	}
	return nil
}

// writtenAfter returns the subjects that have a message after a sequence, and the sequence up to which it looked. It ends with a batch
// that brought less than it might have: such a batch is the end of the stream at one moment, and whatever was there at that moment has
// been passed, since a message that was replaced before it was reached has its successor further on. And it ends not before what
// the leader had when it began, as a replica may answer that is behind.
func (d *dump) writtenAfter(after uint64) (subjects []string, end uint64, err error) {
	now, err := d.state()
	if err != nil {
		return nil, after, err
	}
	if now.State.LastSeq <= after {
		return nil, after, nil
	}
	seen := map[string]bool{}
	for beyond := 0; beyond < maxBeyond; {
		p, err := d.following(d.filter, after)
		if err != nil {
			return nil, after, err
		}
		for _, m := range p.messages {
			if !seen[m.Subject] {
				seen[m.Subject] = true
				subjects = append(subjects, m.Subject)
			}
			after = m.Sequence
		}
		if len(p.messages) == 0 || !p.more && after >= now.State.LastSeq {
			return subjects, after, nil
		}
		if after >= now.State.LastSeq {
			beyond++
		}
	}
	return nil, after, fmt.Errorf("read %s: it is written to faster than it can be read", d.stream)
}

// value shows the value that a subject has now, if it has one.
func (d *dump) value(subject string) error {
	m, err := d.last(subject)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.fn(m)
}

func (d *dump) last(subject string) (Archived, error) {
	return patiently(d, func() (Archived, error) {
		return d.bus.fromLeader(d.ctx, d.stream, map[string]any{"last_by_subj": subject})
	})
}

// description is what is said of an object: where its chunks are, and how many.
type description struct {
	NUID    string `json:"nuid"`
	Chunks  int    `json:"chunks"`
	Deleted bool   `json:"deleted"`
}

// described shows an object. If it has been removed since, or replaced, it is not shown: then its subject was written to.
func (d *dump) described(m Archived) error {
	_, err := d.whole(m)
	return err
}

// object shows the object that a description's subject has now.
func (d *dump) object(subject string) error {
	for range maxTries {
		m, err := d.last(subject)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if shown, err := d.whole(m); shown || err != nil {
			return err
		}
	}
	return fmt.Errorf("read %s: %s is replaced faster than it can be read", d.stream, subject)
}

// whole shows an object's chunks, and its description when all of them are there.
func (d *dump) whole(m Archived) (bool, error) {
	var o description
	if err := json.Unmarshal(m.Data, &o); err != nil {
		return false, fmt.Errorf("read %s: %w", m.Subject, err)
	}
	if !o.Deleted {
		for after, n := uint64(0), 0; n < o.Chunks; {
			p, err := d.following("$O."+d.store+".C."+o.NUID, after)
			if err != nil || len(p.messages) == 0 {
				return false, err
			}
			for _, chunk := range p.messages {
				if err := d.fn(chunk); err != nil {
					return false, err
				}
				after = chunk.Sequence
			}
			n += len(p.messages)
		}
	}
	return true, d.fn(m)
}

// following returns the next messages after a sequence whose subjects match, none when there are no more.
func (d *dump) following(filter string, after uint64) (page, error) {
	return patiently(d, func() (page, error) {
		p, err := d.batch(filter, after+1)
		if err != nil || len(p.messages) > 0 {
			return p, err
		}
		// A replica answered, which may be behind; its leader knows.
		next, err := d.bus.fromLeader(d.ctx, d.stream, map[string]any{"seq": after + 1, "next_by_subj": filter})
		if errors.Is(err, ErrNotFound) {
			return page{}, nil
		}
		if err != nil {
			return page{}, err
		}
		return page{[]Archived{next}, true}, nil
	})
}

// batch reads the messages from a sequence on, as many as fit.
func (d *dump) batch(filter string, from uint64) (page, error) {
	bound, cancel := context.WithTimeout(d.ctx, requestTimeout)
	defer cancel()
	messages, err := jetstreamext.GetBatch(bound, d.bus.js, d.stream, dumpBatch,
		jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchSubject(filter), jetstreamext.GetBatchMaxBytes(dumpBytes))
	if err != nil {
		return page{}, err
	}
	var out page
	for raw, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return page{}, nil
		}
		if err != nil {
			return page{}, err
		}
		out.messages = append(out.messages, Archived{Subject: raw.Subject, Header: sentHeaders(raw.Header), Data: raw.Data, Sequence: raw.Sequence, Time: raw.Time})
		out.more = raw.Header.Get("Nats-Num-Pending") != "0" || len(out.messages) == dumpBatch
	}
	// The iterator ends without a word when time runs out in its middle.
	return out, notOurs(d.ctx, bound.Err())
}

// notOurs hides that it was a time limit of this package's that ended a call, unless the caller's own did.
func notOurs(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return opaque{err}
	}
	return err
}
