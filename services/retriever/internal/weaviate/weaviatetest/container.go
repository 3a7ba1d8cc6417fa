package weaviatetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate/server"
)

// image is the upstream one; WEAVIATE_IMAGE names another.
const image = "semitechnologies/weaviate:" + server.Version

const (
	restPort, grpcPort = "8080/tcp", "50051/tcp"
	// maxContained is how long it may take to get the image and start it.
	maxContained = 5 * time.Minute
)

// contained runs the server in a container. The error says why there is none.
func contained(ctx context.Context) (s *Server, err error) {
	defer func() { // it panics where it finds no way to a daemon at all
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("no Docker: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, maxContained)
	defer cancel()
	quiet := testcontainers.WithLogger(silent{})
	docker, err := testcontainers.NewDockerProvider(testcontainers.Generic2DockerOptions(quiet)...)
	if err != nil {
		return nil, fmt.Errorf("no Docker: %w", err)
	}
	err = errors.Join(docker.Health(ctx), docker.Close())
	if err != nil {
		return nil, fmt.Errorf("no Docker: %w", err)
	}
	name := image
	if other := os.Getenv("WEAVIATE_IMAGE"); other != "" {
		name = other
	}
	c, err := testcontainers.Run(ctx, name, quiet,
		testcontainers.WithEnv(server.Environment()), testcontainers.WithCmd("--host", "0.0.0.0", "--port", "8080", "--scheme", "http"),
		testcontainers.WithExposedPorts(restPort, grpcPort),
		testcontainers.WithWaitStrategyAndDeadline(maxContained, wait.ForListeningPort(grpcPort), wait.ForHTTP("/v1/.well-known/ready").WithPort(restPort)))
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_ = c.Terminate(ctx)
	}
	if err != nil {
		if c != nil {
			stop()
		}
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	s = &Server{APIKey: server.Key, Origin: "a container of " + name, stop: stop}
	for port, url := range map[string]*string{restPort: &s.URL, grpcPort: &s.GRPCURL} {
		if *url, err = c.PortEndpoint(ctx, port, "http"); err != nil {
			stop()
			return nil, fmt.Errorf("run %s: %w", name, err)
		}
		*url = strings.Replace(*url, "//localhost:", "//127.0.0.1:", 1) // the port is published there
	}
	return s, nil
}

// silent takes what testcontainers would write beside the tests' output.
type silent struct{}

func (silent) Printf(string, ...any) {}
