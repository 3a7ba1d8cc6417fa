package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// What callers decide on. Everything else that goes wrong is an Unavailable fault: the store does not answer right now.
var (
	// ErrNotFound: there is no such message, key or object.
	ErrNotFound = errors.New("not found")
	// ErrExists: the key, or a message on a subject that takes one only, is there already.
	ErrExists = errors.New("exists already")
	// ErrConflict: somebody else wrote the key since it was read.
	ErrConflict = errors.New("changed since it was read")
	// ErrTooLarge: the payload is above what one message may carry; the object store takes larger ones.
	ErrTooLarge = errors.New("too large for one message")
)

// streamStoreFailed is the error code under which the server refuses a second message on a subject that takes only one.
const streamStoreFailed = 10077

// noStorage is the error code under which the server refuses a stream whose bound does not fit on its disk.
const noStorage = 10047

// retryAfter is what a caller is told while NATS is away: about the time a reconnect takes.
const retryAfter = 2 * time.Second

// wrap turns an error of nats.go into one of ours. what says what was tried, for the log.
func wrap(ctx context.Context, err error, what string) error {
	if known := translate(err); known != nil {
		return fmt.Errorf("%s: %w", what, known)
	}
	// The caller's own deadline or cancellation, as opposed to the time limit this package puts on a call.
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == noStorage {
		return fault.Wrap(fmt.Errorf("%s: %w", what, opaque{err}), fault.Unavailable, fault.StoreUnavailable,
			"the message store has too little space on its disk; about 1 GB must be free").WithRetryAfter(retryAfter)
	}
	return fault.Wrap(fmt.Errorf("%s: %w", what, opaque{err}), fault.Unavailable, fault.StoreUnavailable,
		"the message store does not answer; try again shortly").WithRetryAfter(retryAfter)
}

// opaque keeps an error's text for the log and hides its chain: a time limit of ours inside it must not look like the
// caller's deadline.
type opaque struct{ err error }

func (o opaque) Error() string { return o.err.Error() }

func translate(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted), errors.Is(err, jetstream.ErrObjectNotFound),
		errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrNoKeysFound):
		return ErrNotFound
	case errors.Is(err, jetstream.ErrKeyExists):
		return ErrExists
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge
	}
	apiErr, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return nil
	}
	switch {
	case apiErr.ErrorCode == streamStoreFailed && apiErr.Description == "maximum messages per subject exceeded":
		return ErrExists
	case apiErr.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return ErrNotFound
	}
	return nil
}
