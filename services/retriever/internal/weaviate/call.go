package weaviate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	clientfault "github.com/weaviate/weaviate-go-client/v4/weaviate/fault"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
)

const (
	// attempts is how often a request is made that the server could not take. All of ours may be made twice.
	attempts = 4
	backoff  = 50 * time.Millisecond // before the second, and double before each further one
)

// errNoTenant is what requests about a workspace without tenant give.
var errNoTenant = errors.New("no such tenant")

// call makes a request within the time one may take, again when the server could not take it.
func (s *Store) call(ctx context.Context, operation string, do func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := s.attempt(ctx, do)
		s.config.Observer.Asked(operation, time.Since(began), err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", operation, ctx.Err())
		case missingTenant(err):
			return errNoTenant
		case attempt == attempts || !passing(err):
			return explain(operation, err)
		}
		wait := backoff << (attempt - 1)
		if repeat.Pause(ctx, wait/2+rand.N(wait)) != nil { //nolint:gosec // spreads requests, no secret
			return fmt.Errorf("%s: %w", operation, ctx.Err())
		}
	}
}

func (s *Store) attempt(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	if s.config.APIKey != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.config.APIKey)
	}
	return do(ctx)
}

// passing reports whether an error may not come again.
func passing(err error) bool {
	if e, ok := errors.AsType[*clientfault.WeaviateClientError](err); ok {
		switch e.StatusCode {
		case -1, 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		return true
	}
	return false
}

func missingTenant(err error) bool { return strings.Contains(err.Error(), "tenant not found") }

// explain says what failed in words for people; the cause goes to the log.
func explain(operation string, err error) error {
	code := status.Code(err)
	if e, ok := errors.AsType[*clientfault.WeaviateClientError](err); ok {
		switch e.StatusCode {
		case http.StatusUnauthorized:
			code = codes.Unauthenticated
		case http.StatusForbidden:
			code = codes.PermissionDenied
		}
	}
	message := "Weaviate does not answer; try again shortly"
	switch {
	case code == codes.Unauthenticated:
		message = "Weaviate refuses the API key"
	case code == codes.PermissionDenied:
		message = "Weaviate forbids what the retriever does with its collections to the API key"
	case !passing(err):
		message = "Weaviate refuses a request"
	}
	return fault.Wrap(fmt.Errorf("%s: %w", operation, err), fault.Unavailable, fault.StoreUnavailable, "%s", message)
}
