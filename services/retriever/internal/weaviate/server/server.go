// Package server runs a Weaviate server beside this process, the one that `make .bin/weaviate.stamp` has built from its Go
// module: for tests and measurements, and not for use.
package server

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
	"strings"
	"syscall"
	"time"
)

// Version is the server's that is run.
const Version = "1.35.2"

// Key is what it lets callers in with.
const Key = "key-of-tests"

// ErrNone says that no server was built.
var ErrNone = errors.New("no Weaviate: set WEAVIATE_URL, run Docker, or run `make test-weaviate`, which builds one")

// Server is a running Weaviate.
type Server struct {
	URL, GRPCURL string
	command      *exec.Cmd
	ended        chan struct{}
	data         string
}

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		_ = s.command.Process.Kill()
		<-s.ended
	}
	_ = os.RemoveAll(s.data)
}

// Usage is what a server has taken.
type Usage struct {
	Processor      time.Duration
	Resident, Disk int64 // bytes
}

// Usage asks the system, Linux's, what the server has taken.
func (s *Server) Usage() (u Usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(s.command.Process.Pid))
	memory, err := os.ReadFile(filepath.Join(dir, "statm"))
	if err != nil {
		return u, err
	}
	times, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	sizes := strings.Fields(string(memory))
	_, after, ok := strings.Cut(string(times), ") ") // its name may hold anything
	fields := strings.Fields(after)
	if !ok || len(sizes) < 2 || len(fields) < 13 {
		return u, fmt.Errorf("read %s: not what Linux writes there", dir)
	}
	numbers := [3]int64{}
	for i, text := range []string{sizes[1], fields[11], fields[12]} {
		if numbers[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return u, fmt.Errorf("read %s: %w", dir, err)
		}
	}
	u.Resident = numbers[0] * int64(os.Getpagesize())
	u.Processor = time.Duration(numbers[1]+numbers[2]) * tick
	u.Disk, err = Size(s.data)
	return u, err
}

// tick is what Linux counts processes' time in.
const tick = 10 * time.Millisecond

// Size sums up the files of a folder. What is removed meanwhile counts as nothing.
func Size(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size, err
}

// Environment is how a server is run: by itself, and for callers with the key only.
func Environment() map[string]string {
	return map[string]string{
		"AUTHENTICATION_APIKEY_ENABLED": "true", "AUTHENTICATION_APIKEY_ALLOWED_KEYS": Key, "AUTHENTICATION_APIKEY_USERS": "ragmesh",
		"AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false", "AUTHORIZATION_ADMINLIST_ENABLED": "true", "AUTHORIZATION_ADMINLIST_USERS": "ragmesh",
		"DEFAULT_VECTORIZER_MODULE": "none", "ENABLE_API_BASED_MODULES": "false", "CLUSTER_HOSTNAME": "node1",
		// Until 1.38, searches by blocks leave out hits that are not on disk yet, and others (weaviate/weaviate#11780, #12022).
		"USE_INVERTED_SEARCHABLE": "false",
		"DISABLE_TELEMETRY":       "true", "GO_PROFILING_DISABLE": "true", "LOG_LEVEL": "warning",
	}
}

// Start runs a server over an empty folder. It is the caller's to stop.
func Start(ctx context.Context) (*Server, error) {
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

// Built reports whether there is a server to start.
func Built() bool {
	_, err := locate()
	return err == nil
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
			return "", ErrNone
		}
		return binary, nil
	}
	return "", ErrNone
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
	for name, value := range Environment() {
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
	s := &Server{URL: "http://127.0.0.1:" + ports[0], GRPCURL: "http://127.0.0.1:" + ports[1], command: cmd, ended: ended, data: data}
	if err := Await(ctx, s.URL, ended); err != nil {
		_ = cmd.Process.Kill()
		<-ended
		said, _ := os.ReadFile(logPath)
		return nil, fmt.Errorf("start Weaviate: %w; it wrote:\n%s", err, said)
	}
	return s, nil
}

// maxStart is how long a server may take to start, on a machine that has much else to do.
const maxStart = 3 * time.Minute

// Await waits until a server is ready, for some minutes at most; ended is closed when it is known to be none any more.
func Await(ctx context.Context, url string, ended <-chan struct{}) error {
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
