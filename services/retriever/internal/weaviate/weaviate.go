// Package weaviate is the store in a Weaviate server: one tenant per workspace. Weaviate finds candidates by BM25 over our own
// tokens, kept in a property that it splits at white space only, and counts them; as with the embedded store its scores only
// choose which candidates are scored exactly, so that both rank alike.
//
// Schema, tenants and statistics go through the official client over REST. Chunks and searches go over gRPC with the protocol
// that comes with that client, in a connection of our own: the client's does not verify certificates and can't search. No text
// of a query becomes part of a GraphQL document but terms, and those are escaped by [quote].
//
// Weaviate has no transactions. A version's chunks are written first and its record last, its record is removed first and its
// chunks last, and everything has an id that follows from what it is: work that was cut off at any point is finished by being
// done again.
package weaviate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"

	client "github.com/weaviate/weaviate-go-client/v4/weaviate"
	pb "github.com/weaviate/weaviate/grpc/generated/protocol/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Config says where the server is and how it is used.
type Config struct {
	URL        string // of REST, http or https
	GRPCURL    string // of gRPC; https for TLS
	APIKey     string // empty for a server that lets everyone in
	CAFile     string // certificates that the server's may be signed with; empty for the machine's
	Collection string // that chunks are in; others begin with its name
	Replicas   int    // copies of every tenant, when the collection is made
	Timeout    time.Duration
	Observer   Observer
}

// Observer is told of every request; err is nil for one that succeeded.
type Observer interface {
	Asked(operation string, took time.Duration, err error)
	Warn(ctx context.Context, what string, err error)
}

// The versions of the server that are supported: from oldest, which can exclude documents in one condition, below tooNew. The
// conformance suite runs against tested.
const (
	oldest = "1.33"
	tooNew = 2
	tested = "1.35.2"
)

// maxMessage bounds an answer, bytes.
const maxMessage = 96 << 20

// Store is the store. Until Connect has returned, every call waits no longer than a moment and fails.
type Store struct {
	config Config
	http   *http.Client
	rest   *client.Client
	conn   *grpc.ClientConn
	grpc   pb.WeaviateClient

	connected chan struct{} // closed once the server is known to be as it must be

	counts counts

	mu      sync.Mutex
	tenants map[string]bool // known to be there
	state   state
	vectors listed
}

var _ store.Store = (*Store)(nil)

// state is how the server was when it was asked last.
type state struct {
	version string
	err     error
}

// New returns a store. It asks nothing of the server yet.
func New(c Config) (*Store, error) {
	at, err := address(c.URL)
	if err != nil {
		return nil, err
	}
	grpcAt, err := address(c.GRPCURL)
	if err != nil {
		return nil, err
	}
	secure, err := certificates(c.CAFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		ResponseHeaderTimeout: c.Timeout,
	}
	s := &Store{config: c, http: &http.Client{Transport: transport, Timeout: c.Timeout}, connected: make(chan struct{}), tenants: map[string]bool{},
		counts: counts{changed: map[string]int{}, known: map[string]*counted{}, vectors: map[string]counted{}}}
	settings := client.Config{Host: at.Host, Scheme: at.Scheme, ConnectionClient: s.http}
	if c.APIKey != "" {
		settings.Headers = map[string]string{"Authorization": "Bearer " + c.APIKey}
	}
	if s.rest, err = client.NewClient(settings); err != nil {
		return nil, fmt.Errorf("make Weaviate's client: %w", err)
	}
	transportCredentials := insecure.NewCredentials()
	if grpcAt.Scheme == "https" {
		transportCredentials = credentials.NewTLS(secure)
	}
	s.conn, err = grpc.NewClient("dns:///"+grpcAt.Host, grpc.WithTransportCredentials(transportCredentials),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		return nil, fmt.Errorf("make Weaviate's client: %w", err)
	}
	s.grpc = pb.NewWeaviateClient(s.conn)
	return s, nil
}

// address takes a URL that has no more than scheme, host and port.
func address(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || (u.Path != "" && u.Path != "/") {
		return nil, fmt.Errorf("%q is not an address of Weaviate: http://host:port or https://host:port", raw)
	}
	if u.Port() == "" {
		u.Host += map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	}
	return u, nil
}

func certificates(file string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return c, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read certificates: there is none in %s", file)
	}
	return c, nil
}

const (
	// retryConnect is how long after a failure the server is asked again at the start.
	retryConnect = time.Second
	// checkEvery is how often it is asked how it is.
	checkEvery = 10 * time.Second
)

// Connect waits for the server, checks its version and makes the collection. It fails when the server answers and can't be
// used, and returns nil when ctx has ended.
func (s *Store) Connect(ctx context.Context) error {
	select {
	case <-s.connected:
		return nil
	default:
	}
	for {
		err := s.greet(ctx)
		if err == nil {
			err = s.prepare(ctx)
		}
		s.note(err)
		var unusable *unusableError
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is no failure of the server's
		case err == nil:
			close(s.connected)
			return nil
		case errors.As(err, &unusable):
			return err
		}
		s.config.Observer.Warn(ctx, "wait for Weaviate at "+s.config.URL, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryConnect):
		}
	}
}

// Watch asks the server how it is until ctx ends, for Ready.
func (s *Store) Watch(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.greet(ctx)
		if ctx.Err() == nil {
			s.note(err)
		}
	}
}

func (s *Store) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.err = err
}

// Status tells whether the server answered when it was asked last, and what is to be known about it.
func (s *Store) Status() (ready bool, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.connected:
	default:
		if s.state.err == nil {
			return false, "connecting to Weaviate"
		}
	}
	if s.state.err != nil {
		return false, fault.As(s.state.err).Message
	}
	return true, "Weaviate " + s.state.version
}

// Close ends the connections. Calls still running fail.
func (s *Store) Close() error { return s.conn.Close() }

// unusableError says that a server will not do, however often it is asked.
type unusableError struct{ error }

// greet asks the server for its version.
func (s *Store) greet(ctx context.Context) error {
	version := ""
	err := s.call(ctx, "meta", func(ctx context.Context) error {
		meta, err := s.rest.Misc().MetaGetter().Do(ctx)
		if err == nil {
			version = meta.Version
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.state.version = version
	s.mu.Unlock()
	if !supported(version) {
		return &unusableError{fault.New(fault.Precondition, fault.StoreUnavailable,
			"Weaviate %s at %s is not supported: it takes %s or later, below %d.0 (tested with %s)", version, s.config.URL, oldest, tooNew, tested)}
	}
	return nil
}

var versionPattern = regexp.MustCompile(`^v?(\d+)\.(\d+)(\.|$)`)

func supported(version string) bool {
	major, _, ok := number(version)
	return ok && major < tooNew && since(version, oldest)
}

// since reports whether a version is another or came after it.
func since(version, other string) bool {
	major, minor, ok := number(version)
	otherMajor, otherMinor, _ := number(other)
	return ok && (major > otherMajor || major == otherMajor && minor >= otherMinor)
}

func number(version string) (major, minor int, ok bool) {
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return 0, 0, false
	}
	major, errMajor := strconv.Atoi(m[1])
	minor, errMinor := strconv.Atoi(m[2])
	return major, minor, errMajor == nil && errMinor == nil
}
