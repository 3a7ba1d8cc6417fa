package dialog_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/services/dialog"
)

// request is one to a route, as [http.ServeMux] writes them.
func requestTo(route, host string) *http.Request {
	method, path, ok := strings.Cut(route, " ")
	if !ok {
		method, path = http.MethodPost, route
	}
	path = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "x")
	if strings.HasSuffix(path, "/") && strings.Count(path, ".") > 1 { // a service
		path += "Method"
	}
	r := httptest.NewRequest(method, path, strings.NewReader("{}"))
	r.Host, r.ProtoMajor, r.ProtoMinor = host, 2, 0
	return r
}

// answer is everything that a handler says: status, headers, body.
func (m *mesh) answer(r *http.Request) (*httptest.ResponseRecorder, string) {
	w := httptest.NewRecorder()
	m.mux.ServeHTTP(w, r)
	var all strings.Builder
	fmt.Fprintln(&all, w.Code)
	_ = w.Header().Write(&all)
	all.Write(w.Body.Bytes())
	return w, all.String()
}

// TestOtherSites is DNS rebinding and cross-site requests against everything that is served, in every protocol, while nobody has
// to show who they are. A route that is added is in here by itself.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	routes := m.mux.Routes()
	if len(routes) < 12 {
		t.Fatalf("only %v is served", routes)
	}
	const refusal = "without authentication this server answers"
	for _, route := range append(routes, "/", "/no/such/path", "/favicon.ico", "/metrics", "OPTIONS /ragmesh.dialog.v1.DialogService/Chat") {
		for _, contentType := range []string{"", "application/json", "application/connect+json", "application/proto", "application/grpc", "application/grpc-web+proto", "text/plain"} {
			for name, site := range map[string]struct {
				host, origin string
				refused      bool
			}{
				"rebinding":           {"evil.example:8080", "", true},
				"rebinding, same":     {"evil.example:8080", "http://evil.example:8080", true},
				"a name like ours":    {"localhost.evil.example", "", true},
				"an address":          {"10.0.0.1:8080", "", true},
				"no host":             {"", "", true},
				"cross-site":          {"localhost:8080", "http://evil.example", true},
				"another port's page": {"localhost:8080", "http://localhost:3000", true},
				"a sandboxed page":    {"localhost:8080", "null", true},
				"a user in the host":  {"localhost@evil.example", "", true},
				"this machine":        {"127.0.0.1:8080", "", false},
				"a page of ours":      {"localhost:8080", "http://localhost:8080", false},
				"IPv6":                {"[::1]:8080", "", false},
			} {
				r := requestTo(route, site.host)
				r.Header.Set("Content-Type", contentType)
				r.Header.Set("Authorization", "Bearer sk-whatever.of.it")
				if site.origin != "" {
					r.Header.Set("Origin", site.origin)
				}
				w, all := m.answer(r)
				if got := strings.Contains(all, refusal); got != site.refused {
					t.Errorf("%s, %s, %s: refused %t, want %t\n%s", route, contentType, name, got, site.refused, all)
				}
				if site.refused && w.Header().Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s, %s, %s: browsers may read the refusal", route, contentType, name)
				}
			}
		}
	}
}

// TestHeadersOfAnswers looks for what every answer must tell browsers, errors included.
func TestHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, func(cfg *dialog.Config) { cfg.Web.HSTS = 24 * time.Hour })
	for _, route := range append(m.mux.Routes(), "/no/such/path", "GET /v1/nothing", "/v1/../etc/passwd") {
		for _, host := range []string{"localhost", "evil.example"} {
			w, all := m.answer(requestTo(route, host))
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
				"Strict-Transport-Security": "max-age=86400",
			} {
				if got := w.Header().Values(name); len(got) != 1 || got[0] != want {
					t.Errorf("%s to %s: %s is %q, want %q", route, host, name, got, want)
				}
			}
			if !strings.Contains(w.Header().Get("Cache-Control"), "no-") {
				t.Errorf("%s to %s may be kept:\n%s", route, host, all)
			}
		}
	}
}

func TestPathsThatMeanSomethingElse(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	listed := "/ragmesh.dialog.v1.DialogService/ListSessions"
	for name, target := range map[string]string{
		"parent":            "/v1/.." + listed,
		"encoded parent":    "/v1/%2e%2e" + listed,
		"encoded twice":     "/v1/%252e%252e" + listed,
		"encoded slash":     "/ragmesh.dialog.v1.DialogService%2fListSessions",
		"another one":       "/v1%2Fchat%2Fcompletions",
		"empty part":        "/" + listed,
		"dot":               "/." + listed,
		"backslash":         "/v1\\..\\" + listed[1:],
		"encoded backslash": "/v1%5c..%5cmodels",
		"NUL":               listed + "%00",
		"line break":        listed + "%0d%0aX-Injected:%201",
		"not UTF-8":         listed + "%ff",
		"parent of a model": "/v1/models/../../mcp",
		"a workspace's":     "/mcp/..%2f..%2fetc",
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
		path, err := unescape(target)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.URL.RawPath, r.RequestURI, r.Host = path, target, target, "localhost"
		r.Header.Set("Content-Type", "application/json")
		w, all := m.answer(r)
		if w.Code != http.StatusBadRequest || !strings.Contains(all, "INVALID_REQUEST") && !strings.Contains(all, "path is not written") {
			t.Errorf("%s: %s", name, all)
		}
		if w.Header().Get("Location") != "" || w.Header().Get("X-Injected") != "" {
			t.Errorf("%s leads elsewhere: %s", name, all)
		}
	}
	// What clients of OpenAI make of a model's name with a slash in it.
	r := httptest.NewRequest(http.MethodGet, "/v1/models/default%2Fbrief", nil)
	r.Host = "localhost"
	if w, all := m.answer(r); w.Code != http.StatusNotFound || !strings.Contains(all, "`default/brief` does not exist") {
		t.Errorf("a model's name: %s", all)
	}
}

func unescape(s string) (string, error) {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		var b byte
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &b); err != nil {
			return "", err
		}
		out = append(out, b)
		i += 2
	}
	return string(out), nil
}

// TestMethodsAndTypes sends every route what it does not serve.
func TestMethodsAndTypes(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for _, route := range m.mux.Routes() {
		for _, method := range []string{"TRACE", "PUT", "PATCH", "PROPFIND", "CONNECT", strings.Repeat("A", 5000)} {
			r := requestTo(route, "localhost")
			r.Method = method
			w, all := m.answer(r)
			if w.Code < 400 || w.Code >= 500 {
				t.Errorf("%.10s %s: %s", method, route, all)
			}
			if len(all) > 4096 {
				t.Errorf("%.10s %s answers with %d bytes", method, route, len(all))
			}
		}
		if !strings.HasPrefix(route, "/ragmesh.") {
			continue
		}
		for _, contentType := range []string{"", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/grpc+xml"} {
			r := requestTo(route, "localhost")
			r.Header.Set("Content-Type", contentType)
			if w, all := m.answer(r); (w.Code < 400 || w.Code >= 500) && w.Header().Get("Grpc-Status") != "12" { // unimplemented
				t.Errorf("%s with content type %q: %s", route, contentType, all)
			}
		}
	}
}

// zeros is a stream of as many bytes as one likes.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	for i := range p[:n] {
		p[i] = ' '
	}
	z.left -= n
	return n, nil
}

func compressed(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.Copy(w, &zeros{n}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func enveloped(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

// TestLargeBodies sends more than is taken: said beforehand, in pieces, and packed so that it is small on the way. It is refused
// in the protocol's own terms, without being held in memory. No other test of the package may run meanwhile.
func TestLargeBodies(t *testing.T) { //nolint:paralleltest // it looks at the memory of the process
	m := newMesh(t)
	const big = 64 << 20
	bomb := compressed(t, big)
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	const chat, search = "/ragmesh.dialog.v1.DialogService/Chat", "/ragmesh.retriever.v1.RetrieverService/Search"
	type headers = map[string]string
	json := headers{"Content-Type": "application/json"}
	tests := map[string]struct {
		path    string
		headers headers
		body    func() io.Reader
		length  int64 // -1: not said
	}{
		"JSON, said beforehand": {search, json, func() io.Reader { return &zeros{big} }, big},
		"JSON, in pieces":       {search, json, func() io.Reader { return &zeros{big} }, -1},
		"JSON, packed":          {search, headers{"Content-Type": "application/json", "Content-Encoding": "gzip"}, func() io.Reader { return bytes.NewReader(bomb) }, int64(len(bomb))},
		"protobuf, in pieces":   {search, headers{"Content-Type": "application/proto"}, func() io.Reader { return &zeros{big} }, -1},
		"a stream's envelope": {chat, headers{"Content-Type": "application/connect+json"}, func() io.Reader {
			return io.MultiReader(bytes.NewReader(enveloped(0, nil)[:1]), strings.NewReader("\x10\x00\x00\x00"), &zeros{big})
		}, -1},
		"a stream's envelope, packed": {chat, headers{"Content-Type": "application/connect+json", "Connect-Content-Encoding": "gzip"}, func() io.Reader { return bytes.NewReader(enveloped(1, bomb)) }, -1},
		"gRPC's envelope":             {search, headers{"Content-Type": "application/grpc"}, func() io.Reader { return io.MultiReader(strings.NewReader("\x00\x10\x00\x00\x00"), &zeros{big}) }, -1},
		"gRPC's envelope, packed":     {search, headers{"Content-Type": "application/grpc", "Grpc-Encoding": "gzip"}, func() io.Reader { return bytes.NewReader(enveloped(1, bomb)) }, -1},
		"gRPC-Web's, packed":          {search, headers{"Content-Type": "application/grpc-web+proto", "Grpc-Encoding": "gzip"}, func() io.Reader { return bytes.NewReader(enveloped(1, bomb)) }, -1},
		"OpenAI's, said beforehand":   {"/v1/chat/completions", json, func() io.Reader { return &zeros{big} }, big},
		"OpenAI's, in pieces":         {"/v1/chat/completions", json, func() io.Reader { return &zeros{big} }, -1},
		"MCP's, in pieces":            {"/mcp", headers{"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}, func() io.Reader { return &zeros{big} }, -1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // as above
			r := httptest.NewRequest(http.MethodPost, tc.path, tc.body())
			r.Host, r.ContentLength, r.ProtoMajor, r.ProtoMinor = "localhost", tc.length, 2, 0
			for k, v := range tc.headers {
				r.Header.Set(k, v)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, all := m.answer(r)
			runtime.ReadMemStats(&after)
			if !strings.Contains(all, "too large") && !strings.Contains(all, "larger than") && !strings.Contains(all, "exceeds") {
				t.Errorf("it answers %.600s", all)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 {
				t.Errorf("it took %d MiB of memory", took>>20)
			}
		})
	}
}

// TestSlowAndLongHeaders talks to a socket, as no client library would.
func TestSlowAndLongHeaders(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	server := rpc.NewServer(m.mux, rpc.ServerOptions{ReadHeaderTimeout: 5 * time.Second, BodyTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	const h2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	post := "POST /ragmesh.dialog.v1.DialogService/ListSessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for name, tc := range map[string]struct {
		send string
		want string // in what comes back before the connection is closed
	}{
		"nothing at all":            {"", ""},
		"half a request line":       {"POST /v1/ch", ""},
		"headers without an end":    {post + "X-A: 1\r\n", ""},
		"a body that stops":         {post + "Content-Length: 1000\r\n\r\n{", "HTTP/1.1 "},
		"chunks that stop":          {post + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "HTTP/1.1 "},
		"long headers":              {post + "X-A: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		"many headers":              {post + strings.Repeat("X-A: 1\r\n", 20_000) + "\r\n", "HTTP/1.1 431"},
		"two lengths":               {post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", "HTTP/1.1 400"},
		"a length and chunks":       {post + "Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n{}", "HTTP/1.1 501"},
		"a header with a NUL":       {post + "X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 400"},
		"a header's name":           {post + "X A: 1\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 400"},
		"two hosts":                 {post + "Host: evil.example\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 400"},
		"two origins":               {post + "Origin: http://localhost\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "HTTP/1.1 400"},
		"two authorizations":        {post + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "HTTP/1.1 400"},
		"another host in the line":  {"POST http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "HTTP/1.1 403"},
		"HTTP/2 that stops":         {h2[:10], ""},
		"HTTP/2 without a request":  {h2 + settings, ""},
		"HTTP/2 headers, half":      {h2 + settings + "\x00\x00\x40\x01\x00\x00\x00\x00\x01\x82", ""},
		"HTTP/2 with a huge header": {h2 + settings + "\xff\xff\xff\x01\x04\x00\x00\x00\x01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))    // far from what it takes
			go func() { _, _ = io.WriteString(c, tc.send) }() // the server may close before it has read all
			got, err := io.ReadAll(bufio.NewReader(c))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the connection stays open; so far it says %q", got)
			}
			if !strings.Contains(string(got), tc.want) {
				t.Errorf("got %.300q, want %q", got, tc.want)
			}
			if strings.Contains(string(got), "200 OK") {
				t.Errorf("it is served: %.300q", got)
			}
		})
	}
}

// TestCrossOrigin is a page of an allowed site, and of another one.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	const site = "https://intranet.example"
	for name, change := range map[string]func(*dialog.Config){"no authentication": func(*dialog.Config) {}, "authentication": authenticated(t)} {
		m := newMesh(t, change, func(cfg *dialog.Config) { cfg.Web.Origins = []string{site} })
		for _, route := range []string{"/ragmesh.dialog.v1.DialogService/Chat", "/v1/chat/completions", "/mcp", "/ragmesh.retriever.v1.RetrieverService/Search"} {
			ask := func(method, origin string) (*httptest.ResponseRecorder, string) {
				r := httptest.NewRequest(method, route, strings.NewReader("{}"))
				r.Host = "localhost"
				r.Header.Set("Origin", origin)
				r.Header.Set("Content-Type", "application/json")
				if method == http.MethodOptions {
					r.Header.Set("Access-Control-Request-Method", "POST")
					r.Header.Set("Access-Control-Request-Headers", "authorization,connect-protocol-version,content-type,x-grpc-web")
				}
				return m.answer(r)
			}
			w, all := ask(http.MethodOptions, site)
			if h := w.Header(); w.Code != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != site || h.Get("Access-Control-Allow-Methods") != "POST" ||
				!strings.Contains(h.Get("Access-Control-Allow-Headers"), "authorization") || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s, %s: preflight: %s", name, route, all)
			}
			w, all = ask(http.MethodPost, site)
			if h := w.Header(); h.Get("Access-Control-Allow-Origin") != site || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Grpc-Status") || strings.Contains(all, "CROSS_SITE") {
				t.Errorf("%s, %s: %s", name, route, all)
			}
			for _, method := range []string{http.MethodOptions, http.MethodPost} {
				for _, other := range []string{"https://evil.example", "https://intranet.example.evil.example", "http://intranet.example", "null"} {
					if w, all := ask(method, other); w.Header().Get("Access-Control-Allow-Origin") != "" {
						t.Errorf("%s, %s: %s from %s: %s", name, route, method, other, all)
					}
				}
			}
		}
	}
	m := newMesh(t)
	r := httptest.NewRequest(http.MethodOptions, "/v1/models", nil)
	r.Host = "localhost"
	r.Header.Set("Origin", "http://localhost")
	r.Header.Set("Access-Control-Request-Method", "GET")
	if w, all := m.answer(r); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("pages of other sites may call though none is allowed: %s", all)
	}
}
