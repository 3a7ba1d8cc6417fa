package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

// Whatever a handler does, its caller gets a fault with a code that means something, and nothing of our insides.
func TestWhatLeavesAHandler(t *testing.T) {
	t.Parallel()
	secret := errors.New("open /var/lib/secret: denied")
	for name, test := range map[string]struct {
		fail   func() error
		kind   fault.Kind
		reason fault.Reason
		log    string
	}{
		"bare error":    {func() error { return secret }, fault.Internal, fault.ReasonInternal, "open /var/lib/secret"},
		"panic":         {func() error { panic(secret) }, fault.Internal, fault.ReasonInternal, "interceptors_test.go"},
		"runtime panic": {func() error { return errors.New(strings.Fields("")[0]) }, fault.Internal, fault.ReasonInternal, "index out of range"},
		"fault":         {func() error { return fault.Wrap(secret, fault.Exhausted, fault.ProviderRateLimited, "later") }, fault.Exhausted, fault.ProviderRateLimited, "open /var/lib/secret"},
		"connect error": {func() error { return connect.NewError(connect.CodeUnknown, secret) }, fault.Internal, fault.ReasonInternal, "open /var/lib/secret"},
		"deadline":      {func() error { return fmt.Errorf("ask: %w", context.DeadlineExceeded) }, fault.Timeout, fault.DeadlineExceeded, "ask: context deadline"},
		"canceled":      {func() error { return context.Canceled }, fault.Canceled, fault.ReasonCanceled, `"level":"debug"`},
		"end of file":   {func() error { return io.EOF }, fault.Internal, fault.ReasonInternal, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t, &gateway{
				embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) { return nil, test.fail() },
				generate: func(_ context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
					if err := s.Send(&llmv1.GenerateResponse{}); err != nil {
						return err
					}
					return test.fail()
				},
			}, MuxOptions{}, ServerOptions{})
			client := in.client(t, identity.Dialog, ClientOptions{Retries: -1})
			check := func(err error) {
				t.Helper()
				f := wantFault(t, err, test.kind, test.reason)
				if strings.Contains(err.Error(), "secret") || strings.Contains(f.Message, "secret") {
					t.Errorf("sends %q", err)
				}
			}
			_, err := client.Embed(asAlice(t.Context()), embedOf("bank"))
			check(err)
			n, err := drain(asAlice(t.Context()), client, generateOf("bank"))
			check(err)
			if n != 1 {
				t.Errorf("%d messages before the failure", n)
			}
			in.stop(t)
			if !strings.Contains(in.log.String(), test.log) {
				t.Errorf("log lacks %q:\n%s", test.log, in.log)
			}
		})
	}
}

// http.ErrAbortHandler means: cut the connection and say nothing.
func TestAbortIsLeftAlone(t *testing.T) {
	t.Parallel()
	in := install(t, &gateway{embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
		panic(http.ErrAbortHandler)
	}}, MuxOptions{}, ServerOptions{})
	_, err := in.client(t, identity.Dialog, ClientOptions{Retries: -1}).Embed(asAlice(t.Context()), embedOf("bank"))
	if err == nil {
		t.Fatal("no error")
	}
	in.stop(t)
	if strings.Contains(in.log.String(), "handler panicked") {
		t.Errorf("logged:\n%s", in.log)
	}
}
