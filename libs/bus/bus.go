// Package bus is ragmesh's use of NATS JetStream: streams of turns, events and spans, a work queue, key-value buckets and an
// object store, on a server in the same process (package natsserver) or a cluster elsewhere; callers can't tell which.
//
// A Bus is usable from the moment it is made. While NATS is away every call fails at once with an Unavailable fault, and
// consumers and watchers wait; when it comes back they go on. What the streams are is said in one place, topology.go, and
// kept so by a goroutine of the Bus whenever it (re)connects.
package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/propagation"
)

const (
	// requestTimeout bounds a request to the server, however long its caller would wait.
	requestTimeout = 5 * time.Second
	connectTimeout = 2 * time.Second
	reconnectWait  = 250 * time.Millisecond
	// pingInterval and pingsOut notice a peer that hangs without closing within 20 to 30 seconds.
	pingInterval = 10 * time.Second
	pingsOut     = 2
)

// Options say where NATS is and who is asking.
type Options struct {
	// URL is one or several comma-separated addresses: nats://host:4222. User and password may be in it.
	URL string
	// InProcess is a server in this process, which is used instead of URL; nil for none. A *natsserver.Server is one.
	InProcess interface{ InProcessConn() (net.Conn, error) }
	// Token is what the server asks for; empty for none.
	Token string
	// Name is the service's name. It names the connection on the server and the metrics (ragmesh_<name>_bus_*).
	Name string
	// Credentials is the content of a .creds file (user JWT and seed); empty for none.
	Credentials string
	// Replicas is how many copies streams, buckets and object stores have. 0 means 1; a cluster of three wants 3.
	Replicas int
	// Passive leaves streams and buckets as they are: for commands that look at somebody's NATS, or fill it.
	Passive bool
	// Log receives connection changes and messages given up on.
	Log zerolog.Logger
	// Registry receives the metrics; nil for none.
	Registry prometheus.Registerer
}

// Bus is a connection to NATS with JetStream. It is safe for concurrent use.
type Bus struct {
	name     string
	replicas int
	passive  bool
	inside   bool // NATS is in this process
	log      zerolog.Logger
	conn     *nats.Conn
	js       jetstream.JetStream
	metrics  *metrics
	trace    propagation.TextMapPropagator

	changed chan struct{} // a signal, capacity 1: the connection's status may have changed
	stop    context.CancelFunc
	done    chan struct{}

	mu       sync.Mutex
	up       chan struct{} // closed when the connection comes up (again), then replaced
	ensured  bool          // the topology is as topology.go says, as far as this connection knows
	problem  string        // why it isn't
	streams  map[string]jetstream.Stream
	buckets  map[string]jetstream.KeyValue
	archives map[string]jetstream.ObjectStore
}

// Connect returns a Bus for the NATS at o.URL. A NATS that is away is no error: the Bus connects when it appears, and
// [Bus.Healthy] says so. The caller owns the Bus and ends it with [Bus.Close]; ctx bounds only this call.
func Connect(ctx context.Context, o Options) (*Bus, error) {
	if o.URL == "" && o.InProcess == nil {
		return nil, errors.New("connect bus: no NATS URL")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect bus: %w", err)
	}
	if o.Name == "" {
		return nil, errors.New("connect bus: no name")
	}
	b := &Bus{
		name:     o.Name,
		replicas: max(o.Replicas, 1),
		passive:  o.Passive,
		inside:   o.InProcess != nil,
		log:      o.Log.With().Str("component", "bus").Logger(),
		trace:    propagation.TraceContext{},
		changed:  make(chan struct{}, 1),
		done:     make(chan struct{}),
		up:       make(chan struct{}),
		problem:  "not connected yet",
		streams:  map[string]jetstream.Stream{},
		buckets:  map[string]jetstream.KeyValue{},
		archives: map[string]jetstream.ObjectStore{},
	}
	m, err := newMetrics(o.Name, o.Registry, b.connected)
	if err != nil {
		return nil, fmt.Errorf("connect bus: %w", err)
	}
	b.metrics = m
	options := []nats.Option{
		nats.Name("ragmesh-" + o.Name),
		nats.Timeout(connectTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, 4*reconnectWait),
		// No buffer: what can't be sent now fails now, so that the caller can spool or say so instead of hoping.
		nats.ReconnectBufSize(-1),
		// A credential that is rotated or a server that starts without its users yet must not end the connection for good.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.ConnectHandler(func(*nats.Conn) { b.cameUp() }),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.metrics.reconnects.Inc()
			b.log.Info().Msg("connected to NATS again")
			b.cameUp()
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil is our own Close
				b.log.Warn().Err(err).Msg("lost the connection to NATS")
			}
			b.signal()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			event := b.log.Warn().Err(err)
			if sub != nil {
				event = event.Str("subject", sub.Subject)
			}
			event.Msg("NATS reports an error")
		}),
	}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentialBytes([]byte(o.Credentials)))
	}
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess))
	}
	if o.Token != "" {
		options = append(options, nats.Token(o.Token))
	}
	conn, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect bus: %w", err)
	}
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect bus: %w", err)
	}
	b.conn, b.js = conn, js
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	if b.passive {
		close(b.done)
		return b, nil
	}
	go b.keepTopology(keep)
	return b, nil
}

// Close ends the connection. Consumers and watchers should have ended before, by their contexts.
func (b *Bus) Close() {
	b.stop()
	<-b.done
	b.conn.Close()
}

// Healthy says whether NATS is connected and holds what the services need, and if not, why.
func (b *Bus) Healthy() (bool, string) {
	if !b.connected() {
		if err := b.conn.LastError(); err != nil {
			return false, "not connected to NATS: " + err.Error()
		}
		return false, "not connected to NATS"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ensured {
		return false, "streams and buckets are not ready: " + b.problem
	}
	if b.inside { // the library names a default address that nobody listens on
		return true, "connected in process"
	}
	return true, "connected to " + b.conn.ConnectedUrlRedacted()
}

func (b *Bus) connected() bool { return b.conn != nil && b.conn.IsConnected() }

// cameUp wakes those who wait for the connection, and those whose requests the server has forgotten with the old one.
func (b *Bus) cameUp() {
	b.mu.Lock()
	close(b.up)
	b.up = make(chan struct{})
	b.mu.Unlock()
	b.signal()
}

// comesUp returns a channel that is closed when the connection comes up the next time.
func (b *Bus) comesUp() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up
}

func (b *Bus) signal() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// Publish stores a message and returns once the server has acknowledged it. A message whose id was seen on the stream within
// its duplicate window is dropped and counts as stored. On RAGMESH_TURNS, a subject that has its message already gives
// [ErrExists], however long ago that was.
func (b *Bus) Publish(ctx context.Context, subject, msgID string, payload []byte) error {
	start := time.Now()
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := b.js.PublishMsg(bound, b.message(ctx, subject, payload), jetstream.WithMsgID(msgID))
	b.metrics.published(err, time.Since(start))
	if err != nil {
		return wrap(ctx, err, "publish to "+subject)
	}
	return nil
}

// PublishLossy sends a message without waiting for an acknowledgement: it may be lost. For spans.
func (b *Bus) PublishLossy(ctx context.Context, subject string, payload []byte) error {
	if err := b.conn.PublishMsg(b.message(ctx, subject, payload)); err != nil {
		return wrap(ctx, err, "publish to "+subject)
	}
	return nil
}

func (b *Bus) message(ctx context.Context, subject string, payload []byte) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Data = payload
	b.trace.Inject(ctx, headers(msg.Header))
	return msg
}

// Spans returns where a service's telemetry sends its spans.
func (b *Bus) Spans(service string) *Spans { return &Spans{bus: b, subject: SpanSubject(service)} }

// Spans publishes batches of spans. They may be lost; the exporter counts those it could not hand over.
type Spans struct {
	bus     *Bus
	subject string
}

// PublishSpans sends one OTLP ExportTraceServiceRequest in protobuf encoding.
func (s *Spans) PublishSpans(ctx context.Context, otlp []byte) error {
	return s.bus.PublishLossy(ctx, s.subject, otlp)
}

// headers lets the trace propagator write W3C headers with the names as the specification spells them. nats.Header is
// case-sensitive and does not canonicalise, http.Header does.
type headers nats.Header

func (h headers) Get(key string) string {
	for k, v := range h {
		if len(v) > 0 && strings.EqualFold(k, key) {
			return v[0]
		}
	}
	return ""
}

func (h headers) Set(key, value string) { nats.Header(h).Set(key, value) }

func (h headers) Keys() []string {
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	return keys
}

var _ propagation.TextMapCarrier = headers(nil)
