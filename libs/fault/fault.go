// Package fault holds the errors ragmesh shows to people and programs: a Kind, which says what can be done about it, a
// Reason, which says what happened, and a message that is safe to show. The cause stays beside them for the log and never
// crosses the wire. The package knows no transport; package rpc has the one table from kinds to codes.
package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind says what the receiver of an error can do about it. The zero value is Internal, so that an error nobody
// classified counts as ours.
type Kind uint8

// The kinds.
const (
	// Internal is a bug or a broken invariant: nothing the caller can do.
	Internal Kind = iota
	// Invalid is a request that can never work as it stands.
	Invalid
	// Unauthenticated is a caller who has not shown who they are.
	Unauthenticated
	// Denied is a caller whose role does not allow it. At the edge only: between services someone else's workspace is
	// NotFound.
	Denied
	// NotFound is a thing that does not exist, or not for this caller.
	NotFound
	// Exists is a thing that is there already.
	Exists
	// Conflict is a change that lost to another one: read again and repeat.
	Conflict
	// Precondition is a request that has to wait until something else has been done.
	Precondition
	// Exhausted is a quota or a limit that was reached; RetryAfter says when to come back.
	Exhausted
	// Unavailable is a dependency that does not answer right now: the one kind that is retried.
	Unavailable
	// Timeout is a deadline that passed.
	Timeout
	// Canceled is a caller who went away.
	Canceled
	// Unimplemented is a feature that is not there yet.
	Unimplemented
)

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", Unauthenticated: "unauthenticated", Denied: "denied", NotFound: "not_found",
	Exists: "exists", Conflict: "conflict", Precondition: "precondition", Exhausted: "exhausted", Unavailable: "unavailable",
	Timeout: "timeout", Canceled: "canceled", Unimplemented: "unimplemented",
}

// String returns the kind's name as logs and metrics show it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

// Kinds returns all kinds in order, for tables and tests that must miss none.
func Kinds() []Kind {
	kinds := make([]Kind, len(kindNames))
	for i := range kinds {
		kinds[i] = Kind(i)
	}
	return kinds
}

// Field is one part of a request that is not as it must be.
type Field struct {
	// Path names it as the request does, e.g. "filter.language".
	Path string
	// Description says what is allowed.
	Description string
}

// Error is an error that may be shown to whoever asked. Everything but the cause is public.
type Error struct {
	Kind   Kind
	Reason Reason
	// Message says what went wrong and what to do about it. Never internals, secrets or document text.
	Message string
	// Fields names the request's wrong parts.
	Fields []Field
	// RetryAfter is when it makes sense to come back; zero when unknown.
	RetryAfter time.Duration
	// Help is the address of a page with more; empty when there is none.
	Help string

	cause error
}

// New returns an error with a message of its own and no cause.
func New(k Kind, r Reason, format string, a ...any) *Error {
	return &Error{Kind: k, Reason: r, Message: fmt.Sprintf(format, a...)}
}

// Wrap returns an error that hides cause behind a message that is safe to show. The cause goes to logs, and to errors.Is
// and errors.As in this process.
func Wrap(cause error, k Kind, r Reason, format string, a ...any) *Error {
	return &Error{Kind: k, Reason: r, Message: fmt.Sprintf(format, a...), cause: cause}
}

// Error returns message and cause, for logs. What the other side may see is Message alone.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.cause.Error()
}

// Unwrap returns the cause, nil when there is none.
func (e *Error) Unwrap() error { return e.cause }

// WithField returns a copy that also names a wrong part of the request.
func (e *Error) WithField(path, description string) *Error {
	c := *e
	c.Fields = append(slices.Clip(e.Fields), Field{Path: path, Description: description})
	return &c
}

// WithRetryAfter returns a copy that says when to come back.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// WithHelp returns a copy that points to a page with more.
func (e *Error) WithHelp(url string) *Error {
	c := *e
	c.Help = url
	return &c
}

// As returns what may be shown of err: the first *Error in its chain, or one made from it. A context's end becomes
// Canceled or Timeout; anything else becomes Internal with a message that gives nothing away. As(nil) is nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Wrap(err, Canceled, ReasonCanceled, "the request was canceled")
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(err, Timeout, DeadlineExceeded, "the request took longer than its deadline; repeat it, or allow it more time")
	default:
		return Wrap(err, Internal, ReasonInternal, "something went wrong on our side; the log has more under the trace id")
	}
}

// KindOf returns the kind of err as [As] sees it. It means nothing for a nil error.
func KindOf(err error) Kind {
	if err == nil {
		return Internal
	}
	return As(err).Kind
}

// ReasonOf returns the reason of err as [As] sees it, Unspecified for nil.
func ReasonOf(err error) Reason {
	if err == nil {
		return Unspecified
	}
	return As(err).Reason
}
