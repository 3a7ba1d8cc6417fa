package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// maxLastN bounds what one [Bus.LastN] may ask for; the server answers at most 1,024 subjects in one request.
const maxLastN = 1000

// Message is a message of a stream.
type Message struct {
	// Subject it was published on.
	Subject string
	// ID is the one it was published with; empty when there was none.
	ID string
	// Data is the payload. A handler must not keep it beyond its call and change it.
	Data []byte
	// Sequence is its place in the stream, from 1.
	Sequence uint64
	// Deliveries counts how often a consumer got it, this time included; 0 for a message that was read directly.
	Deliveries uint64
	// Time is when the stream stored it.
	Time time.Time

	inProgress func() error
}

// InProgress tells the server that the work on a consumed message goes on, so that its lease (AckWait) starts anew.
func (m Message) InProgress() error {
	if m.inProgress == nil {
		return nil
	}
	if err := m.inProgress(); err != nil {
		return fmt.Errorf("extend lease of message %d: %w", m.Sequence, err)
	}
	return nil
}

// Last returns the newest message of a subject, or [ErrNotFound]. In a cluster a replica answers, which may be some
// milliseconds behind the leader.
func (b *Bus) Last(ctx context.Context, stream, subject string) (Message, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return Message{}, wrap(ctx, err, "read "+subject)
	}
	raw, err := s.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return Message{}, wrap(ctx, err, "read "+subject)
	}
	return read(raw), nil
}

// LastN returns the newest n messages whose subjects match the filter, the oldest of them first; with beforeSeq above 0,
// of those stored before it. None is no error.
//
// It is made for subjects that carry one message each and end in an id that sorts by time, as those of turns do: the
// server lists the subjects, the newest n ids are taken, and one batched direct read brings their messages. No consumer is
// made. Like [Bus.Last], it may be some milliseconds behind.
func (b *Bus) LastN(ctx context.Context, stream, subjectFilter string, n int, beforeSeq uint64) ([]Message, error) {
	if n < 1 || n > maxLastN {
		return nil, fmt.Errorf("read last messages of %s: n is %d, allowed are 1 to %d", subjectFilter, n, maxLastN)
	}
	if beforeSeq == 1 {
		return nil, nil
	}
	subjects, err := b.subjects(ctx, stream, subjectFilter)
	if err != nil {
		return nil, wrap(ctx, err, "list subjects of "+subjectFilter)
	}
	// Newest ids first. Where ids tie, as other streams' last tokens may, the subject decides.
	slices.SortFunc(subjects, func(x, y string) int {
		return cmp.Or(strings.Compare(lastToken(y), lastToken(x)), strings.Compare(y, x))
	})
	var found []Message
	// One round brings all n unless some are not before beforeSeq; then the next older ones are tried.
	for len(subjects) > 0 && len(found) < n {
		round := subjects[:min(n-len(found), len(subjects))]
		if beforeSeq > 0 {
			round = subjects[:min(n, len(subjects))]
		}
		subjects = subjects[len(round):]
		got, err := b.lastOf(ctx, stream, round, beforeSeq)
		if err != nil {
			return nil, wrap(ctx, err, "read "+subjectFilter)
		}
		found = append(got, found...)
	}
	slices.SortFunc(found, func(x, y Message) int { return cmp.Compare(x.Sequence, y.Sequence) })
	return found[max(0, len(found)-n):], nil
}

// Subjects returns the subjects of a stream that match the filter, ordered by their last token: for turns, by time.
func (b *Bus) Subjects(ctx context.Context, stream, subjectFilter string) ([]string, error) {
	subjects, err := b.subjects(ctx, stream, subjectFilter)
	if err != nil {
		return nil, wrap(ctx, err, "list subjects of "+subjectFilter)
	}
	slices.SortFunc(subjects, func(x, y string) int {
		return cmp.Or(strings.Compare(lastToken(x), lastToken(y)), strings.Compare(x, y))
	})
	return subjects, nil
}

// LastOf returns the newest message of each subject, those that have one, the first stored of them first. Like [Bus.Last], it
// may be some milliseconds behind.
func (b *Bus) LastOf(ctx context.Context, stream string, subjects []string) ([]Message, error) {
	if len(subjects) > maxLastN {
		return nil, fmt.Errorf("read last messages of %s: %d subjects, allowed are %d", stream, len(subjects), maxLastN)
	}
	if len(subjects) == 0 {
		return nil, nil
	}
	messages, err := b.lastOf(ctx, stream, subjects, 0)
	if err != nil {
		return nil, wrap(ctx, err, "read last messages of "+stream)
	}
	return messages, nil
}

// subjects lists the subjects of a stream that match a filter.
func (b *Bus) subjects(ctx context.Context, stream, filter string) ([]string, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		out = append(out, subject)
	}
	return out, nil
}

// lastOf reads the last message of each subject in one request.
func (b *Bus) lastOf(ctx context.Context, stream string, subjects []string, beforeSeq uint64) ([]Message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var options []jetstreamext.GetLastForOpt
	if beforeSeq > 0 {
		options = append(options, jetstreamext.GetLastMsgsUpToSeq(beforeSeq-1))
	}
	batch, err := jetstreamext.GetLastMsgsFor(ctx, b.js, stream, subjects, options...)
	if err != nil {
		return nil, err
	}
	var out []Message
	for raw, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, read(raw))
	}
	// The iterator ends without a word when time runs out in its middle.
	if err := ctx.Err(); err != nil {
		return nil, opaque{err}
	}
	return out, nil
}

func read(raw *jetstream.RawStreamMsg) Message {
	return Message{Subject: raw.Subject, ID: raw.Header.Get(nats.MsgIdHdr), Data: raw.Data, Sequence: raw.Sequence, Time: raw.Time}
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// Purge deletes the messages whose subjects match the filter and says how many there were. An empty filter is refused.
func (b *Bus) Purge(ctx context.Context, stream, subject string) (uint64, error) {
	if subject == "" {
		return 0, fmt.Errorf("purge %s: no subject", stream)
	}
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := json.Marshal(map[string]string{"filter": subject})
	if err != nil {
		return 0, fmt.Errorf("purge %s: %w", subject, err)
	}
	// nats.go's Purge does not return the number.
	answer, err := b.conn.RequestWithContext(bound, "$JS.API.STREAM.PURGE."+stream, request)
	if err != nil {
		return 0, wrap(ctx, err, "purge "+subject)
	}
	var result struct {
		Error  *jetstream.APIError `json:"error"`
		Purged uint64              `json:"purged"`
	}
	if err := json.Unmarshal(answer.Data, &result); err != nil {
		return 0, wrap(ctx, err, "purge "+subject)
	}
	if result.Error != nil {
		return 0, wrap(ctx, result.Error, "purge "+subject)
	}
	return result.Purged, nil
}

// Erase deletes the messages whose subjects match the filter, says how many there were, and has their bytes overwritten on the
// servers' disks, where Purge leaves them until their file is written anew. It costs a rewrite of that file for each message. It
// is for streams that keep one message per subject: of others, earlier ones go as with Purge.
func (b *Bus) Erase(ctx context.Context, stream, subjectFilter string) (uint64, error) {
	subjects, err := b.Subjects(ctx, stream, subjectFilter)
	if err != nil {
		return 0, err
	}
	s, err := b.stream(ctx, stream)
	if err != nil {
		return 0, wrap(ctx, err, "erase "+subjectFilter)
	}
	var erased uint64
	for part := range slices.Chunk(subjects, eraseBatch) {
		messages, err := b.LastOf(ctx, stream, part)
		if err != nil {
			return erased, err
		}
		for _, m := range messages {
			if err := b.eraseMessage(ctx, s, m.Sequence); err != nil {
				return erased, wrap(ctx, err, "erase "+m.Subject)
			}
			erased++
		}
	}
	purged, err := b.Purge(ctx, stream, subjectFilter) // what came meanwhile
	return erased + purged, err
}

// EraseAll is [Bus.Erase] for streams that keep several messages per subject.
func (b *Bus) EraseAll(ctx context.Context, stream, subjectFilter string) (uint64, error) {
	var erased uint64
	for {
		messages, err := b.LastN(ctx, stream, subjectFilter, eraseBatch, 0)
		if err != nil || len(messages) == 0 {
			return erased, err
		}
		s, err := b.stream(ctx, stream)
		if err != nil {
			return erased, wrap(ctx, err, "erase "+subjectFilter)
		}
		for _, m := range messages {
			if err := b.eraseMessage(ctx, s, m.Sequence); err != nil {
				return erased, wrap(ctx, err, "erase "+m.Subject)
			}
			erased++
		}
	}
}

// Replace stores a message like [Bus.Publish] and then erases the one that was the last on its subject before.
func (b *Bus) Replace(ctx context.Context, stream, subject, msgID string, payload []byte) error {
	before, err := b.Last(ctx, stream, subject)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := b.Publish(ctx, subject, msgID, payload); err != nil || before.Sequence == 0 {
		return err
	}
	s, err := b.stream(ctx, stream)
	if err == nil {
		err = b.eraseMessage(ctx, s, before.Sequence)
	}
	if err != nil {
		return wrap(ctx, err, "erase what "+subject+" replaces")
	}
	return nil
}

// eraseBatch is how many messages are held at once while they are erased: their sequences can't be had without them.
const eraseBatch = 16

func (b *Bus) eraseMessage(ctx context.Context, s jetstream.Stream, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := s.SecureDeleteMsg(ctx, sequence)
	if err != nil { // perhaps somebody else was faster
		if _, gone := s.GetMsg(ctx, sequence); errors.Is(gone, jetstream.ErrMsgNotFound) {
			return nil
		}
	}
	return err
}
