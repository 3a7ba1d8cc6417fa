// Package natsserver runs a NATS server with JetStream inside this process, for the all-in-one, `ragmesh nats` and tests. It
// is not part of package bus, so that services, which are only clients, do not link it.
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

const (
	// readyTimeout bounds the start. Recovering a large store takes seconds, not minutes.
	readyTimeout = 30 * time.Second
	// stopTimeout bounds the end. What was acknowledged is on disk already.
	stopTimeout = 10 * time.Second
	// maxPayload bounds one message. Larger things go to an object store.
	maxPayload = 1 << 20
)

// Restoring is what the name of a folder ends with while it is being restored. A server does not start beside one: what is to
// stand in its folder is not there yet.
const Restoring = ".restoring"

// Options describe a server.
type Options struct {
	// Dir is where JetStream keeps its files. One server per directory: the caller holds a lock on it.
	Dir string
	// Addr is the TCP address to listen on, host:port; port 0 takes a free one. Empty means in-process connections only.
	Addr string
	// Token is asked of clients, those in this process too; empty means none, which the caller allows on loopback only.
	Token string
	// NoSync acknowledges before data is on disk: a power loss can then take everything of the last two minutes. For tests.
	NoSync bool
	// MaxStore bounds JetStream's files in bytes; 0 means three quarters of what is free on the volume.
	MaxStore int64
	// Log receives the server's warnings and errors.
	Log zerolog.Logger
}

// Server is a NATS server with JetStream inside this process.
type Server struct {
	options *server.Options
	log     zerolog.Logger
	dir     string

	mu     sync.Mutex
	server *server.Server // another one after a revival

	full    chan struct{} // capacity 1: a stream could not write for want of space
	stopped chan struct{}
	stop    sync.Once
	revival sync.WaitGroup
}

// Start starts a server and returns once it takes connections. The caller ends it with [Server.Shutdown]; ctx bounds only
// the start.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("start NATS: no directory")
	}
	if _, err := os.Stat(o.Dir + Restoring); err == nil {
		return nil, fmt.Errorf("a restore into %s was cut off, or is under way: run `ragmesh restore` again, or remove %s to begin with nothing", o.Dir, o.Dir+Restoring)
	}
	options := &server.Options{
		ServerName:         "ragmesh",
		DontListen:         o.Addr == "",
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           o.Dir,
		SyncAlways:         !o.NoSync,
		JetStreamMaxStore:  o.MaxStore,
		JetStreamMaxMemory: 64 << 20,
		MaxPayload:         maxPayload,
		Authorization:      o.Token,
		NoAuthUser:         "",
	}
	if o.Addr != "" {
		host, port, err := net.SplitHostPort(o.Addr)
		if err != nil {
			return nil, fmt.Errorf("start NATS: %w", err)
		}
		options.Host = host
		if options.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("start NATS: port %q is not a number", port)
		}
		if options.Port == 0 {
			options.Port = server.RANDOM_PORT
		}
	}
	s := &Server{options: options, log: o.Log, dir: o.Dir, full: make(chan struct{}, 1), stopped: make(chan struct{})}
	bound := readyTimeout
	if deadline, ok := ctx.Deadline(); ok {
		bound = min(bound, time.Until(deadline))
	}
	if err := s.start(bound); err != nil {
		return nil, err
	}
	s.revival.Go(s.revive)
	return s, nil
}

// start makes the server and waits until it takes connections.
func (s *Server) start(bound time.Duration) error {
	n, err := server.NewServer(s.options.Clone())
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	n.SetLoggerV2(serverLog{s.log.With().Str("component", "nats").Logger(), s.noteFull}, false, false, false)
	n.Start() // returns; accepts on goroutines of its own
	if !n.ReadyForConnections(bound) || !n.JetStreamEnabled() {
		s.end(n)
		return fmt.Errorf("start NATS: not ready after %s; is %s writable and has the volume space?", bound.Round(time.Second), s.dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = n
	if addr, ok := n.Addr().(*net.TCPAddr); ok {
		s.options.Port = addr.Port // a revival listens where clients look for it
	}
	return nil
}

func (s *Server) current() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// InProcessConn returns a connection through memory; it makes a *Server what bus.Options.InProcess takes. Buses over it are closed
// before [Server.Shutdown].
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }

// URL is where clients connect over TCP; empty when the server does not listen. It holds no token.
func (s *Server) URL() string {
	n := s.current()
	if n.Addr() == nil {
		return ""
	}
	return n.ClientURL()
}

// Shutdown ends the server and waits, but not for ever, until its files are closed.
func (s *Server) Shutdown() {
	s.stop.Do(func() { close(s.stopped) })
	s.revival.Wait()
	s.end(s.current())
}

// end ends a server and waits for it, but not for ever.
func (s *Server) end(n *server.Server) {
	n.Shutdown()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.WaitForShutdown()
	}()
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		s.log.Warn().Dur("after", stopTimeout).Msg("NATS has not ended in time")
	}
}

// serverLog passes on what an operator can act on. What the server calls notices are banners and progress.
type serverLog struct {
	log  zerolog.Logger
	full func()
}

var _ server.Logger = serverLog{}

func (l serverLog) Noticef(format string, v ...any) { l.log.Trace().Msgf(format, v...) }
func (l serverLog) Warnf(format string, v ...any)   { l.log.Warn().Msgf(format, v...) }
func (l serverLog) Errorf(format string, v ...any) {
	message := fmt.Sprintf(format, v...)
	if isFull(message) {
		l.full()
	}
	l.log.Error().Msg(message)
}
func (l serverLog) Fatalf(format string, v ...any) { l.log.Error().Msgf(format, v...) }
func (l serverLog) Debugf(string, ...any)          {}
func (l serverLog) Tracef(string, ...any)          {}
