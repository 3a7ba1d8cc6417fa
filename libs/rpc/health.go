package rpc

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
)

// healthChecker answers gRPC health for the process and each of its services alike.
type healthChecker struct {
	serving  atomic.Bool
	services []string
}

var _ grpchealth.Checker = (*healthChecker)(nil)

// Check implements [grpchealth.Checker].
func (c *healthChecker) Check(_ context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if r.Service != "" && !slices.Contains(c.services, r.Service) {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("unknown service %q", r.Service))
	}
	if c.serving.Load() {
		return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
}

// isControl says whether a request is health or reflection, which are answered even when the server is full.
func isControl(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/grpc.health.v1.Health/") || strings.HasPrefix(r.URL.Path, "/grpc.reflection.")
}
