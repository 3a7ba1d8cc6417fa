package provider

import (
	"errors"
	"fmt"
)

// Why a provider refuses a request, as causes of the faults with PROVIDER_REJECTED: errors.Is finds them. A refusal that is
// neither is about the request, and another target may take it.
var (
	// ErrTooLong is a request that is longer than the model's context.
	ErrTooLong = errors.New("longer than the model's context")
	// ErrUnusable is a provider that takes no request as it is configured: its key is rejected, or its model is not there.
	ErrUnusable = errors.New("unusable as configured")
)

// Refusal is the cause of a fault, for errors.As: the provider refused the request with a status, before any of the answer.
type Refusal struct {
	Status int
	// Why is ErrTooLong, ErrUnusable or nil.
	Why error
	// Code is the provider's own word, such as context_length_exceeded; often empty.
	Code string
	// Message is what the provider says about the request, for whoever made it: bounded, without the key.
	Message string
	// Words are the whole answer, for the log: bounded, without the key.
	Words string
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Words == "" {
		return fmt.Sprintf("status %d", r.Status)
	}
	return fmt.Sprintf("status %d: %s", r.Status, r.Words)
}

// Unwrap returns why.
func (r *Refusal) Unwrap() error { return r.Why }
