package provider

import "errors"

// Why a provider refuses a request, as causes of the faults with PROVIDER_REJECTED: errors.Is finds them. A refusal that is
// neither is about the request, and another target may take it.
var (
	// ErrTooLong is a request that is longer than the model's context.
	ErrTooLong = errors.New("longer than the model's context")
	// ErrUnusable is a provider that takes no request as it is configured: its key is rejected, or its model is not there.
	ErrUnusable = errors.New("unusable as configured")
)
