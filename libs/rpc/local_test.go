package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// way is how clients reach a server. It returns where, and what serving returns in the end.
type way func(*testing.T, *Server) (Target, <-chan error)

// overEach runs a test of calls with each way: none may tell them apart.
func overEach(t *testing.T, test func(*testing.T, way)) {
	t.Helper()
	for name, serve := range map[string]way{
		"local": func(_ *testing.T, s *Server) (Target, <-chan error) {
			served, local := make(chan error, 1), NewLocal()
			go func() { served <- s.ServeLocal(local) }()
			return local.Target("x"), served
		},
		"TCP": func(t *testing.T, s *Server) (Target, <-chan error) {
			t.Helper()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			return Target{URL: "http://" + l.Addr().String()}, served
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, serve)
		})
	}
}

// text is what the tests below send back and forth, and talk the path of the one procedure that takes it.
type text = llmv1.Model

const talk = "/test.v1.Talk/Talk"

// dial serves a handler under [talk] until the test ends, and returns a client of it.
func dial(t *testing.T, serve way, o ServerOptions, handler func(...connect.HandlerOption) http.Handler) (*connect.Client[text, text], *Server) {
	t.Helper()
	mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("dialog"), Edge: true})
	mux.Handle("/test.v1.Talk/", handler(mux.HandlerOptions()...))
	server := NewServer(mux, o)
	target, served := serve(t, server)
	c := Dial(target, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli"), Retries: -1})
	t.Cleanup(func() {
		c.Close()
		if err := errors.Join(server.Shutdown(soon(t, time.Minute)), <-served); err != nil {
			t.Error(err)
		}
	})
	return connect.NewClient[text, text](c.HTTP, c.URL+talk, c.Options...), server
}

func unary(h func(context.Context, *connect.Request[text]) (*connect.Response[text], error)) func(...connect.HandlerOption) http.Handler {
	return func(o ...connect.HandlerOption) http.Handler { return connect.NewUnaryHandler(talk, h, o...) }
}

func downward(h func(context.Context, *connect.Request[text], *connect.ServerStream[text]) error) func(...connect.HandlerOption) http.Handler {
	return func(o ...connect.HandlerOption) http.Handler { return connect.NewServerStreamHandler(talk, h, o...) }
}

// await fails the test when nothing comes.
func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	return v
}

// Headers and trailers go there and back; of the caller's context only the deadline does.
func TestUnaryCall(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, serve way) {
		t.Helper()
		client, _ := dial(t, serve, ServerOptions{}, unary(func(ctx context.Context, r *connect.Request[text]) (*connect.Response[text], error) {
			if _, ok := identity.FromContext(ctx); ok {
				return nil, errors.New("the caller's values came along")
			}
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > time.Hour {
				return nil, errors.New("no deadline")
			}
			if r.Msg.GetName() == "bad" {
				return nil, fault.New(fault.NotFound, fault.SessionNotFound, "there is no such thing")
			}
			answer := connect.NewResponse(&text{Name: r.Msg.GetName() + r.Header().Get("Asked")})
			r.Header().Set("Asked", "changed") // the handler's own
			answer.Header()["Answered"] = []string{"a", "b"}
			answer.Trailer().Set("Ended", "well")
			return answer, nil
		}))
		ctx, cancel := context.WithTimeout(asAlice(t.Context()), time.Hour)
		defer cancel()
		for _, size := range []int{0, 10, maxWaiting, 1 << 20} {
			request := connect.NewRequest(&text{Name: strings.Repeat("x", size)})
			request.Header().Set("Asked", "?")
			answer, err := client.CallUnary(ctx, request)
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Msg.GetName()) != size+1 {
				t.Errorf("%d bytes of %d", len(answer.Msg.GetName()), size+1)
			}
			if diff := cmp.Diff([][]string{{"?"}, {"a", "b"}, {"well"}}, [][]string{request.Header()["Asked"], answer.Header()["Answered"], answer.Trailer()["Ended"]}); diff != "" {
				t.Error(diff)
			}
		}
		_, err := client.CallUnary(ctx, connect.NewRequest(&text{Name: "bad"}))
		wantFault(t, err, fault.NotFound, fault.SessionNotFound)
	})
}

// A stream's messages come as they are sent, its writer waits when nobody reads, and its failure comes after them.
func TestStream(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, serve way) {
		t.Helper()
		const large = 1 << 20
		next, sent := make(chan struct{}), make(chan struct{})
		client, _ := dial(t, serve, ServerOptions{}, downward(func(_ context.Context, _ *connect.Request[text], s *connect.ServerStream[text]) error {
			s.ResponseTrailer().Set("Ended", "so")
			for _, size := range []int{1, 10} {
				if err := s.Send(&text{Name: strings.Repeat("x", size)}); err != nil {
					return err
				}
				<-next
			}
			for range 4 {
				if err := s.Send(&text{Name: strings.Repeat("x", large)}); err != nil {
					return err
				}
			}
			close(sent)
			return fault.New(fault.Unavailable, fault.Draining, "no more")
		}))
		stream, err := client.CallServerStream(t.Context(), connect.NewRequest(&text{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 10} {
			if !stream.Receive() || len(stream.Msg().GetName()) != size {
				t.Fatalf("%d bytes: %v", len(stream.Msg().GetName()), stream.Err())
			}
			next <- struct{}{}
		}
		select {
		case <-sent:
			t.Error("4 MiB wait in between")
		case <-time.After(20 * time.Millisecond):
		}
		for range 4 {
			if !stream.Receive() || len(stream.Msg().GetName()) != large {
				t.Fatalf("%d bytes: %v", len(stream.Msg().GetName()), stream.Err())
			}
		}
		if stream.Receive() {
			t.Error("another message")
		}
		wantFault(t, stream.Err(), fault.Unavailable, fault.Draining)
		if got := stream.ResponseTrailer().Get("Ended"); got != "so" {
			t.Errorf("trailer %q", got)
		}
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Both sides talk at the same time, and an end of the server's ends the client's sending.
func TestBothWays(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, serve way) {
		t.Helper()
		client, _ := dial(t, serve, ServerOptions{}, func(o ...connect.HandlerOption) http.Handler {
			return connect.NewBidiStreamHandler(talk, func(_ context.Context, s *connect.BidiStream[text, text]) error {
				for {
					got, err := s.Receive()
					if errors.Is(err, io.EOF) || got.GetName() == "enough" {
						return nil
					}
					if err != nil {
						return err
					}
					if err := s.Send(got); err != nil {
						return err
					}
				}
			}, o...)
		})
		for _, enough := range []bool{false, true} {
			stream := client.CallBidiStream(t.Context())
			for i := range 5 {
				if err := stream.Send(&text{Name: strconv.Itoa(i)}); err != nil {
					t.Fatal(err)
				}
				if got, err := stream.Receive(); err != nil || got.GetName() != strconv.Itoa(i) {
					t.Fatalf("got %v, %v", got, err)
				}
			}
			if enough {
				if err := stream.Send(&text{Name: "enough"}); err != nil {
					t.Error(err)
				}
			} else if err := stream.CloseRequest(); err != nil {
				t.Error(err)
			}
			if got, err := stream.Receive(); !errors.Is(err, io.EOF) {
				t.Errorf("got %v, %v", got, err)
			}
			for enough {
				if err := stream.Send(&text{}); err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					break
				}
			}
			if err := errors.Join(stream.CloseRequest(), stream.CloseResponse()); err != nil {
				t.Error(err)
			}
		}
	})
}

// A client that gives up, or leaves, ends the handler's context and fails what it writes.
func TestTheClientLeaves(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, serve way) {
		t.Helper()
		entered, ended := make(chan struct{}), make(chan error)
		client, _ := dial(t, serve, ServerOptions{}, downward(func(ctx context.Context, r *connect.Request[text], s *connect.ServerStream[text]) error {
			if r.Msg.GetName() == "talk" {
				if err := s.Send(&text{}); err != nil {
					return err
				}
			}
			entered <- struct{}{}
			<-ctx.Done()
			err := s.Send(&text{Name: strings.Repeat("x", 1<<20)}) // more than anybody keeps
			ended <- err
			return err
		}))
		for name, leave := range map[string]func(context.CancelFunc, *connect.ServerStreamForClient[text]){
			"canceled": func(cancel context.CancelFunc, _ *connect.ServerStreamForClient[text]) { cancel() },
			"closed":   func(_ context.CancelFunc, s *connect.ServerStreamForClient[text]) { _ = s.Close() },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			stream, err := client.CallServerStream(ctx, connect.NewRequest(&text{Name: "talk"}))
			if err != nil || !stream.Receive() {
				t.Fatal(err, stream)
			}
			await(t, entered)
			leave(cancel, stream)
			for stream.Receive() {
			}
			if name == "canceled" {
				wantFault(t, stream.Err(), fault.Canceled, fault.ReasonCanceled)
			}
			if err := await(t, ended); connect.CodeOf(err) != connect.CodeCanceled {
				t.Errorf("%s: the handler got %v", name, err)
			}
			cancel()
		}
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := client.CallServerStream(ctx, connect.NewRequest(&text{Name: "say nothing"}))
			failed <- err
		}()
		await(t, entered)
		cancel()
		wantFault(t, await(t, failed), fault.Canceled, fault.ReasonCanceled)
		if err := await(t, ended); connect.CodeOf(err) != connect.CodeCanceled {
			t.Errorf("the handler got %v", err)
		}
	})
}

// A handler that breaks off is unavailable, as a connection is that breaks.
func TestTheHandlerBreaksOff(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, serve way) {
		t.Helper()
		client, _ := dial(t, serve, ServerOptions{}, downward(func(_ context.Context, r *connect.Request[text], s *connect.ServerStream[text]) error {
			if r.Msg.GetName() == "later" {
				if err := s.Send(&text{}); err != nil {
					return err
				}
			}
			panic(http.ErrAbortHandler)
		}))
		for _, name := range []string{"at once", "later"} {
			stream, err := client.CallServerStream(t.Context(), connect.NewRequest(&text{Name: name}))
			if err == nil {
				for stream.Receive() {
				}
				err = errors.Join(stream.Err())
			}
			wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
		}
	})
}

// The bound on what is worked on holds for each way, and what is there is counted.
func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, serve way) {
		t.Helper()
		entered, release := make(chan struct{}), make(chan struct{})
		client, server := dial(t, serve, ServerOptions{MaxInFlight: 1}, unary(func(context.Context, *connect.Request[text]) (*connect.Response[text], error) {
			close(entered)
			<-release
			return connect.NewResponse(&text{}), nil
		}))
		ended := make(chan error, 1)
		go func() {
			_, err := client.CallUnary(t.Context(), connect.NewRequest(&text{}))
			ended <- err
		}()
		await(t, entered)
		if n, limit := server.InFlight(); n != 1 || limit != 1 {
			t.Errorf("%d of %d in flight", n, limit)
		}
		_, err := client.CallUnary(t.Context(), connect.NewRequest(&text{}))
		wantFault(t, err, fault.Exhausted, fault.Overloaded)
		close(release)
		if err := await(t, ended); err != nil {
			t.Error(err)
		}
	})
}

// A server that has stopped is unavailable, also to calls that wait for it.
func TestTheServerIsGone(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, serve way) {
		t.Helper()
		client, server := dial(t, serve, ServerOptions{}, unary(func(context.Context, *connect.Request[text]) (*connect.Response[text], error) {
			return connect.NewResponse(&text{}), nil
		}))
		if _, err := client.CallUnary(t.Context(), connect.NewRequest(&text{})); err != nil {
			t.Fatal(err)
		}
		if err := server.Shutdown(soon(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := client.CallUnary(t.Context(), connect.NewRequest(&text{}))
		wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
		// Of a connection that ends under a call nobody knows what has arrived. There is one at most: the first call's, when the client
		// has not read yet that the server closed it.
		if overTCP := strings.HasSuffix(t.Name(), "/TCP"); overTCP && !unsent(err) {
			_, err = client.CallUnary(t.Context(), connect.NewRequest(&text{}))
			wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
		}
		if !unsent(err) {
			t.Errorf("%v: nobody says that it can be repeated", err)
		}
	})
}

// While a server without connections drains, who calls is served for a quarter of the time, and refused after that.
func TestCallsWhileDraining(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	local := NewLocal()
	client, server := dial(t, func(_ *testing.T, s *Server) (Target, <-chan error) {
		served := make(chan error, 1)
		go func() { served <- s.ServeLocal(local) }()
		return local.Target("x"), served
	}, ServerOptions{}, unary(func(_ context.Context, r *connect.Request[text]) (*connect.Response[text], error) {
		if r.Msg.GetName() == "slow" {
			close(entered)
			<-release
		}
		return connect.NewResponse(&text{}), nil
	}))
	ended := make(chan error, 1)
	go func() {
		_, err := client.CallUnary(t.Context(), connect.NewRequest(&text{Name: "slow"}))
		ended <- err
	}()
	await(t, entered)
	server.drain.Do(func() { // as Shutdown begins
		server.refuseAt = time.Now().Add(time.Hour)
		close(server.draining)
	})
	if _, err := client.CallUnary(t.Context(), connect.NewRequest(&text{})); err != nil {
		t.Errorf("late: %v", err)
	}
	server.refuseAt = time.Now()
	_, err := client.CallUnary(t.Context(), connect.NewRequest(&text{}))
	wantFault(t, err, fault.Unavailable, fault.Draining)
	close(release)
	if err := await(t, ended); err != nil {
		t.Error(err)
	}
}

// Who calls before anybody serves waits, no longer than it wants to.
func TestNobodyServesYet(t *testing.T) {
	t.Parallel()
	local := NewLocal()
	c := Dial(local.Target("x"), ClientOptions{Telemetry: telemetry.Nop("cli"), Retries: -1})
	client := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := client.ListModels(ctx, &llmv1.ListModelsRequest{})
	if fault.KindOf(err) != fault.Timeout {
		t.Errorf("got %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := client.ListModels(t.Context(), &llmv1.ListModelsRequest{})
		ended <- err
	}()
	mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("dialog"), Edge: true})
	mux.Handle(llmv1connect.NewLLMServiceHandler(&gateway{}, mux.HandlerOptions()...))
	server, served := NewServer(mux, ServerOptions{}), make(chan error, 1)
	go func() { served <- server.ServeLocal(local) }()
	if err := await(t, ended); err != nil {
		t.Error(err)
	}
	if err := errors.Join(server.Shutdown(soon(t, time.Minute)), await(t, served)); err != nil {
		t.Error(err)
	}
}

// A panic around the handlers ends its call, is logged, and harms no other.
func TestAPanicOutsideOfHandlers(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	tel := telemetry.Nop("dialog")
	tel.Log = zerolog.New(zerolog.SyncWriter(&log))
	mux := NewMux(MuxOptions{Telemetry: tel, Edge: true, Door: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the door") })
	}})
	server, local, served := NewServer(mux, ServerOptions{}), NewLocal(), make(chan error, 1)
	go func() { served <- server.ServeLocal(local) }()
	c := Dial(local.Target("x"), ClientOptions{Telemetry: telemetry.Nop("cli"), Retries: -1})
	_, err := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).ListModels(t.Context(), &llmv1.ListModelsRequest{})
	wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
	if err := errors.Join(server.Shutdown(soon(t, time.Minute)), await(t, served)); err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "the door") || !strings.Contains(got, "local_test.go") {
		t.Errorf("log %s", got)
	}
}
