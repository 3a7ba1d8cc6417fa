package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
)

func dial(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type workspaces struct {
	dialogv1connect.UnimplementedWorkspaceServiceHandler
	err error
}

func (w workspaces) ListWorkspaces(ctx context.Context, _ *dialogv1.ListWorkspacesRequest) (*dialogv1.ListWorkspacesResponse, error) {
	if w.err != nil {
		return nil, rpc.ToConnect(w.err)
	}
	info, _ := connect.CallInfoForHandlerContext(ctx)
	return &dialogv1.ListWorkspacesResponse{Workspaces: []*dialogv1.Workspace{
		{Workspace: info.RequestHeader().Get("Authorization")}, {Workspace: info.RequestHeader().Get("User-Agent")},
	}}, nil
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func serveWorkspaces(t *testing.T, w workspaces) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(dialogv1connect.NewWorkspaceServiceHandler(w))
	return serve(t, mux)
}

func TestRequestsCarryKeyAndName(t *testing.T) {
	t.Parallel()
	c := dial(t, client.Options{Server: serveWorkspaces(t, workspaces{}) + "/", APIKey: "secret", UserAgent: "ragmesh/test"})
	resp, err := c.Workspaces.ListWorkspaces(t.Context(), &dialogv1.ListWorkspacesRequest{})
	if err != nil || resp.GetWorkspaces()[0].GetWorkspace() != "Bearer secret" || resp.GetWorkspaces()[1].GetWorkspace() != "ragmesh/test" {
		t.Errorf("ListWorkspaces = %v, %v", resp, err)
	}
}

func TestServersErrorsComeWhole(t *testing.T) {
	t.Parallel()
	want := fault.New(fault.NotFound, fault.WorkspaceNotFound, "no such workspace").WithField("workspace", "must exist")
	c := dial(t, client.Options{Server: serveWorkspaces(t, workspaces{err: want})})
	_, err := c.Workspaces.ListWorkspaces(t.Context(), &dialogv1.ListWorkspacesRequest{})
	got, ok := errors.AsType[*fault.Error](err)
	if !ok || got.Message != want.Message || got.Reason != want.Reason || len(got.Fields) != 1 {
		t.Errorf("error = %#v", err)
	}
}

func TestWrongServersAreNamed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	hangsUp := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	website := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello") }))
	lost := serve(t, http.NotFoundHandler())
	away := serve(t, http.RedirectHandler("https://example.com/", http.StatusFound))
	tests := map[string]struct{ server, want string }{
		"nothing there":           {gone, "nothing answers at " + gone + ": start it with `ragmesh up`, or set --server"},
		"hangs up":                {hangsUp, "the connection to " + hangsUp + " broke"},
		"a website":               {website, "is not a ragmesh server"},
		"a server without it":     {lost, "is not a ragmesh server"},
		"a server that redirects": {away, "is not a ragmesh server"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, client.Options{Server: tt.server})
			_, err := c.Workspaces.ListWorkspaces(t.Context(), &dialogv1.ListWorkspacesRequest{})
			if got := fault.As(err); got == nil || !strings.Contains(got.Message, tt.want) {
				t.Errorf("unary = %v; want %q", err, tt.want)
			}
			stream, err := c.Dialog.Chat(t.Context(), &dialogv1.ChatRequest{Question: "?"})
			if err == nil {
				for stream.Receive() {
				}
				err = stream.Err()
			}
			if got := fault.As(err); got == nil || !strings.Contains(got.Message, tt.want) {
				t.Errorf("stream = %v; want %q", err, tt.want)
			}
		})
	}
}

func TestNewRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"", "localhost:8080", "ftp://x", "http://", "://"} {
		if _, err := client.New(client.Options{Server: server}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("New(%q) = %v; want invalid", server, err)
		}
	}
}
