// Package weaviatetest gives tests a real Weaviate. In this order: the one that WEAVIATE_URL names (with WEAVIATE_GRPC_URL and
// WEAVIATE_API_KEY), a container where a Docker daemon answers and has or gets the image, or the server that
// `make .bin/weaviate.stamp` has built from its Go module. Where there is none, tests skip and say why, unless
// REQUIRE_WEAVIATE is set: then they fail.
package weaviatetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate/server"
)

// Server is a running Weaviate.
type Server struct {
	URL, GRPCURL, APIKey string
	// Origin says what it is.
	Origin string
	stop   func()
}

// Stop ends a server that Start began.
func (s *Server) Stop() {
	if s.stop != nil {
		s.stop()
	}
}

// Start starts a server or finds one. It is the caller's to stop.
func Start(ctx context.Context) (*Server, error) {
	if url := os.Getenv("WEAVIATE_URL"); url != "" {
		grpcURL := os.Getenv("WEAVIATE_GRPC_URL")
		if grpcURL == "" {
			return nil, errors.New("WEAVIATE_URL is set and WEAVIATE_GRPC_URL, the address of gRPC such as http://127.0.0.1:50051, is not")
		}
		return &Server{URL: url, GRPCURL: grpcURL, APIKey: os.Getenv("WEAVIATE_API_KEY"), Origin: "WEAVIATE_URL"}, nil
	}
	s, why := contained(ctx)
	if why == nil {
		return s, nil
	}
	built, err := server.Start(ctx)
	if errors.Is(err, server.ErrNone) {
		return nil, fmt.Errorf("%w (a container: %w)", err, why)
	}
	if err != nil {
		return nil, err
	}
	return &Server{
		URL: built.URL, GRPCURL: built.GRPCURL, APIKey: server.Key, Origin: "weaviate-server " + server.Version + " from its Go module", stop: built.Stop,
	}, nil
}

// Missing ends a test that wants a server and has none: err is why.
func Missing(tb testing.TB, err error) {
	tb.Helper()
	if os.Getenv("REQUIRE_WEAVIATE") != "" {
		tb.Fatalf("REQUIRE_WEAVIATE is set: %v", err)
	}
	tb.Skip(err)
}
