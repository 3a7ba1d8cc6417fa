// Package weaviatetest gives tests a real Weaviate. In this order: the one that WEAVIATE_URL names (with WEAVIATE_GRPC_URL and
// WEAVIATE_API_KEY), a container where a Docker daemon answers, or the server that `make .bin/weaviate.stamp` has built from its
// Go module. Where there is none, tests skip and say why, unless REQUIRE_WEAVIATE is set: then they fail.
package weaviatetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Version is the server's that is run.
const Version = "1.35.2"

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

// key is what servers of our own let callers in with.
const key = "key-of-tests"

// errNone says that there is no server to be had here.
var errNone = errors.New("no Weaviate: set WEAVIATE_URL, run Docker, or run `make test-weaviate`, which builds one")

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
	s, err := built(ctx)
	if errors.Is(err, errNone) {
		return nil, fmt.Errorf("%w (Docker: %w)", err, why)
	}
	return s, err
}

// Missing ends a test that wants a server and has none: err is why.
func Missing(tb testing.TB, err error) {
	tb.Helper()
	if os.Getenv("REQUIRE_WEAVIATE") != "" {
		tb.Fatalf("REQUIRE_WEAVIATE is set: %v", err)
	}
	tb.Skip(err)
}

// environment is how a server is run: by itself, and for callers with the key only.
func environment() map[string]string {
	return map[string]string{
		"AUTHENTICATION_APIKEY_ENABLED": "true", "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key, "AUTHENTICATION_APIKEY_USERS": "ragmesh",
		"AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false", "AUTHORIZATION_ADMINLIST_ENABLED": "true", "AUTHORIZATION_ADMINLIST_USERS": "ragmesh",
		"DEFAULT_VECTORIZER_MODULE": "none", "ENABLE_API_BASED_MODULES": "false", "CLUSTER_HOSTNAME": "node1",
		// Until 1.38, searches by blocks leave out hits that are not on disk yet, and others (weaviate/weaviate#11780, #12022).
		"USE_INVERTED_SEARCHABLE": "false",
		"DISABLE_TELEMETRY":       "true", "GO_PROFILING_DISABLE": "true", "LOG_LEVEL": "warning",
	}
}

// built runs the server from the repository's tools.
func built(ctx context.Context) (*Server, error) {
	binary, err := locate()
	if err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("", "weaviate")
	if err != nil {
		return nil, err
	}
	for range 3 { // somebody may take a port between our looking and its start
		var s *Server
		if s, err = run(ctx, binary, data); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(data))
}

func locate() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		binary := filepath.Join(dir, ".bin", "weaviate-server")
		if _, err := os.Stat(filepath.Join(dir, "go.work")); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := os.Stat(binary); err != nil {
			return "", errNone
		}
		return binary, nil
	}
	return "", errNone
}

func run(ctx context.Context, binary, data string) (*Server, error) {
	ports, err := free(6)
	if err != nil {
		return nil, err
	}
	logPath := filepath.Join(data, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(binary, "--host", "127.0.0.1", "--port", ports[0], "--scheme", "http") //nolint:noctx,gosec // ended by Stop; our own program
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	cmd.Env = append(os.Environ(), "PERSISTENCE_DATA_PATH="+filepath.Join(data, "data"), "CLUSTER_ADVERTISE_ADDR=127.0.0.1",
		"GRPC_PORT="+ports[1], "CLUSTER_GOSSIP_BIND_PORT="+ports[2], "CLUSTER_DATA_BIND_PORT="+ports[3],
		"RAFT_PORT="+ports[4], "RAFT_INTERNAL_RPC_PORT="+ports[5], "RAFT_BOOTSTRAP_EXPECT=1", "GOMEMLIMIT=2GiB")
	for name, value := range environment() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s := &Server{
		URL: "http://127.0.0.1:" + ports[0], GRPCURL: "http://127.0.0.1:" + ports[1], APIKey: key, Origin: "weaviate-server " + Version + " from its Go module",
		stop: func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				_ = cmd.Process.Kill()
				<-ended
			}
			_ = os.RemoveAll(data)
		},
	}
	if err := await(ctx, s.URL, ended); err != nil {
		_ = cmd.Process.Kill()
		<-ended
		said, _ := os.ReadFile(logPath)
		return nil, fmt.Errorf("start Weaviate: %w; it wrote:\n%s", err, said)
	}
	return s, nil
}

// maxStart is how long a server may take to start, on a machine that has much else to do.
const maxStart = 3 * time.Minute

func await(ctx context.Context, url string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, maxStart)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/.well-known/ready", nil)
		if err != nil {
			return err
		}
		reply, err := (&http.Client{Timeout: 5 * time.Second}).Do(request)
		if err == nil {
			_ = reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %w", ctx.Err())
		case <-ended:
			return errors.New("it ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// free finds ports that nobody uses.
func free(n int) ([]string, error) {
	ports := make([]string, 0, n)
	for range n {
		l, err := net.Listen("tcp", ":0") //nolint:gosec,noctx // as the server does: closed at once
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}
