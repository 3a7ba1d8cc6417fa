package httptool

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
)

const loopback = "127.0.0.0/8"

func serve(t *testing.T, h http.HandlerFunc) (base, host string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s.URL, u.Host
}

func accountSchema() map[string]any {
	return map[string]any{
		"type":     "object",
		"required": []any{"account"},
		"properties": map[string]any{
			"account": map[string]any{"type": "string"},
			"limit":   map[string]any{"type": "integer"},
		},
	}
}

func run(t *testing.T, spec Spec, args map[string]any) (string, any, error) {
	t.Helper()
	tool, err := New("balance", spec)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	out, err := tool.Runner.Run(t.Context(), args)
	return out.Text, out.Data, err
}

func TestRun(t *testing.T) {
	t.Setenv("BALANCE_TOKEN", "s3cret\n")
	t.Setenv("BALANCE_KEY", "k3y")
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer s3cret" {
			t.Errorf("authorization %q", got)
		}
		if got := r.Header.Get("X-Key"); got != "k3y" {
			t.Errorf("x-key %q", got)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
			"balance": 1234567.5, "seen": r.URL.EscapedPath() + "?" + r.URL.RawQuery,
		}})
	})
	text, data, err := run(t, Spec{
		InputSchema: accountSchema(),
		URL:         base + "/accounts/{account}/balance",
		Query:       map[string]string{"q": "a {account}", "limit": "{limit}"},
		Auth:        Auth{Bearer: config.Secret{Env: "BALANCE_TOKEN"}},
		Headers:     map[string]Header{"X-Key": {Secret: config.Secret{Env: "BALANCE_KEY"}}},
		Egress:      []string{host, loopback},
		Response:    Response{Path: "$.data", Text: "The balance is {{.balance}} at {{.seen}}."},
	}, map[string]any{"account": "a/../b?x=1&y"})
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	seen := "/accounts/a%2F..%2Fb%3Fx=1&y/balance?q=a+a%2F..%2Fb%3Fx%3D1%26y"
	if want := "The balance is 1234567.5 at " + seen + "."; text != want {
		t.Errorf("text = %q, want %q", text, want)
	}
	if diff := cmp.Diff(map[string]any{"balance": 1234567.5, "seen": seen}, data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

func TestRunPostsTypedBody(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		_, _ = w.Write(raw)
	})
	text, _, err := run(t, Spec{
		InputSchema: accountSchema(), Method: "post", URL: base + "/transfer", SideEffects: true,
		Body:   map[string]string{"limit": "{limit}", "note": "for {account}", "absent": "{limit} of {account}"},
		Egress: []string{loopback, strings.TrimPrefix(base, "http://")},
	}, map[string]any{"account": "ann", "limit": 3.0})
	if want := `{"absent":"3 of ann","limit":3,"note":"for ann"}`; err != nil || text != want {
		t.Errorf("body = %s, %v, want %s", text, err, want)
	}
}

func TestRunFailures(t *testing.T) {
	t.Parallel()
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Path, "/get/") {
		case "503":
			http.Error(w, "stack trace with secrets", http.StatusServiceUnavailable)
		case "429":
			w.WriteHeader(http.StatusTooManyRequests)
		case "404":
			w.WriteHeader(http.StatusNotFound)
		case "large":
			_, _ = w.Write([]byte(`"` + strings.Repeat("x", 2000) + `"`))
		case "html":
			_, _ = w.Write([]byte("<html>"))
		case "two":
			_, _ = w.Write([]byte(`{"a":1} {"a":2}`))
		case "cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"a":`))
		case "elsewhere":
			http.Redirect(w, r, "http://metadata.internal/latest?secret=1", http.StatusFound)
		case "address":
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		case "scheme":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "loop":
			http.Redirect(w, r, "/get/loop", http.StatusFound)
		default:
			_, _ = w.Write([]byte(`{"b":1}`))
		}
	})
	tests := []struct {
		name, account, message string
		kind                   fault.Kind
	}{
		{"a server error may pass", "503", "answered 503", fault.Unavailable},
		{"a rate limit may pass", "429", "answered 429", fault.Exhausted},
		{"a missing thing", "404", "answered 404", fault.NotFound},
		{"a response over the bound", "large", "larger than 1000 bytes", fault.Precondition},
		{"a response that is not JSON", "html", "not JSON", fault.Precondition},
		{"two values", "two", "not JSON", fault.Precondition},
		{"a response that is cut", "cut", "does not answer", fault.Unavailable},
		{"a response without the part", "other", "nothing at $.a", fault.Precondition},
		{"a redirect to another host", "elsewhere", "egress list", fault.Precondition},
		{"a redirect to the metadata service", "address", "egress list", fault.Precondition},
		{"a redirect to a file", "scheme", "egress list", fault.Precondition},
		{"a redirect without end", "loop", "egress list", fault.Precondition},
		{"an argument that climbs", "..", "can't stand", fault.Invalid},
		{"an empty argument", "", "can't stand", fault.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := run(t, Spec{
				InputSchema: accountSchema(), URL: base + "/get/{account}", Egress: []string{host, loopback},
				Response: Response{Path: "$.a", MaxBytes: 1000},
			}, map[string]any{"account": tt.account})
			f := fault.As(err)
			if f == nil || f.Kind != tt.kind || !strings.Contains(f.Message, tt.message) {
				t.Fatalf("Run error = %v, want %v with %q", err, tt.kind, tt.message)
			}
			for _, leak := range []string{"stack trace", "secret", "metadata.internal", "169.254"} {
				if strings.Contains(f.Error(), leak) {
					t.Errorf("the error %q tells %q", f.Error(), leak)
				}
			}
		})
	}
}

func TestRunRefusesPrivateAddresses(t *testing.T) {
	t.Parallel()
	called := false
	base, host := serve(t, func(http.ResponseWriter, *http.Request) { called = true })
	name := strings.Replace(base, "127.0.0.1", "localhost", 1)
	for _, spec := range []Spec{
		{InputSchema: accountSchema(), URL: name + "/"},
		{InputSchema: accountSchema(), URL: name + "/", Egress: []string{"localhost", "10.0.0.0/8"}},
	} {
		_, _, err := run(t, spec, nil)
		if !errors.Is(err, errBlocked) {
			t.Errorf("Run error = %v, want the loopback address refused", err)
		}
	}
	if called {
		t.Error("the server was reached")
	}
	if _, _, err := run(t, Spec{InputSchema: accountSchema(), URL: base + "/", Egress: []string{"127.0.0.1", host}}, nil); err != nil {
		t.Errorf("a literal address on the list: %v", err)
	}
}

func TestRedirectKeepsSecretsHome(t *testing.T) {
	t.Setenv("TOKEN", "s3cret")
	away, awayHost := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Key") != "" || r.Header.Get("Referer") != "" {
			t.Errorf("headers went along: %v", r.Header)
		}
		_, _ = w.Write([]byte(`"arrived"`))
	})
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, away, http.StatusFound) })
	ref := config.Secret{Env: "TOKEN"}
	text, _, err := run(t, Spec{
		InputSchema: accountSchema(), URL: base + "/x", Egress: []string{host, awayHost, loopback},
		Auth: Auth{Bearer: ref}, Headers: map[string]Header{"X-Key": {Secret: ref}},
	}, nil)
	if err != nil || text != "arrived" {
		t.Errorf("Run = %q, %v", text, err)
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	t.Parallel()
	base, host := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	tool, err := New("slow", Spec{InputSchema: accountSchema(), URL: base + "/", Egress: []string{host, loopback}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := tool.Runner.Run(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run error = %v, want the deadline", err)
	}
}

func TestMissingSecretIsNotShown(t *testing.T) {
	t.Parallel()
	_, _, err := run(t, Spec{
		InputSchema: accountSchema(), URL: "https://api.example.com/", Auth: Auth{Bearer: config.Secret{Env: "NO_SUCH_VARIABLE"}},
	}, nil)
	if f := fault.As(err); f == nil || f.Reason != fault.ConfigInvalid || strings.Contains(f.Message, "NO_SUCH") {
		t.Errorf("Run error = %v, want credentials not configured", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(*Spec)
		want string
	}{
		{"another scheme", func(s *Spec) { s.URL = "ftp://a/b" }, "http://"},
		{"an argument as host", func(s *Spec) { s.URL = "https://{account}.example.com/" }, "literal host"},
		{"a user in the address", func(s *Spec) { s.URL = "https://u:p@example.com/" }, "literal host"},
		{"a query in the address", func(s *Spec) { s.URL = "https://example.com/a?b=c" }, "under query"},
		{"an argument nobody declared", func(s *Spec) { s.URL = "https://example.com/{nope}" }, "not a property"},
		{"an optional argument in the path", func(s *Spec) { s.URL = "https://example.com/{limit}" }, "must be required"},
		{"a stray brace", func(s *Spec) { s.URL = "https://example.com/{" }, "brace"},
		{"a method", func(s *Spec) { s.Method = "TRACE" }, "must be one of"},
		{"a body on GET", func(s *Spec) { s.Body = map[string]string{"a": "b"} }, "a GET request has none"},
		{"a host header", func(s *Spec) { s.Headers = map[string]Header{"host": {Value: "x"}} }, "can't be set"},
		{"an argument in a header", func(s *Spec) { s.Headers = map[string]Header{"X-A": {Value: "{account}"}} }, "can't go into headers"},
		{"an empty header", func(s *Spec) { s.Headers = map[string]Header{"X-A": {}} }, "either value or secret"},
		{"its own host not on the list", func(s *Spec) { s.Egress = []string{"other.example.com"} }, "is missing"},
		{"a network that is none", func(s *Spec) { s.Egress = []string{"10.0.0.0/99"} }, "neither"},
		{"a star in the middle", func(s *Spec) { s.Egress = []string{"a.*.com"} }, "neither"},
		{"a long timeout", func(s *Spec) { s.Timeout = time.Hour }, "timeout"},
		{"a path that is none", func(s *Spec) { s.Response.Path = "$[" }, "JSONPath"},
		{"a template that is none", func(s *Spec) { s.Response.Text = "{{" }, "response.text"},
		{"a large bound", func(s *Spec) { s.Response.MaxBytes = 2 << 20 }, "max_bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := Spec{InputSchema: accountSchema(), URL: "https://example.com/{account}"}
			tt.edit(&spec)
			if _, err := New("x", spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1:248:1893:25c8:1946": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.100.100.200": false, "0.0.0.0": false, "::": false, "fe80::1": false, "fd00:ec2::254": false, "224.0.0.1": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b::5db8:d822": true, "255.255.255.255": false, "2002:7f00:1::": false,
	} {
		if got := public(netip.MustParseAddr(address)); got != want {
			t.Errorf("public(%s) = %v, want %v", address, got, want)
		}
	}
}

func TestEgressAllows(t *testing.T) {
	t.Parallel()
	base := &url.URL{Scheme: "https", Host: "api.example.com"}
	e, err := parseEgress([]string{"api.example.com", "*.cdn.example.com", "other.example.com:8443"}, base)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"https://api.example.com/x": true, "https://API.example.com.:443/": true, "https://a.cdn.example.com/": true,
		"https://cdn.example.com/": false, "https://evilcdn.example.com/": false, "https://api.example.com.evil.org/": false,
		"https://other.example.com/": false, "https://other.example.com:8443/": true, "https://user@api.example.com@evil.org/": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.allows(u); got != want {
			t.Errorf("allows(%s) = %v, want %v", address, got, want)
		}
	}
}

// FuzzRequest puts anything into an argument: the request must go to the declared host, on a path of the declared shape, with
// the argument in it whole.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{"a", "../..", "..", "a/b", "a?b#c", "%2e%2e", "@evil.example.com", "\\evil", "\x00\xff", "a\r\nHost: evil", "//evil/"} {
		f.Add(s)
	}
	p, err := compile("x", Spec{
		InputSchema: accountSchema(), URL: "https://api.example.com/accounts/{account}/balance", Query: map[string]string{"q": "{account}"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, account string) {
		req, err := p.request(t.Context(), map[string]any{"account": account})
		if err != nil {
			return
		}
		segments := strings.Split(req.URL.EscapedPath(), "/")
		if req.URL.Host != "api.example.com" || req.URL.User != nil || len(segments) != 4 || segments[1] != "accounts" || segments[3] != "balance" {
			t.Fatalf("%q leads to %s", account, req.URL)
		}
		if got, err := url.PathUnescape(segments[2]); err != nil || got != account || segments[2] == ".." {
			t.Errorf("%q became the segment %q", account, segments[2])
		}
		if got := req.URL.Query().Get("q"); got != account {
			t.Errorf("%q became the parameter %q", account, got)
		}
	})
}

// FuzzOutput feeds responses of any bytes.
func FuzzOutput(f *testing.F) {
	for _, s := range []string{`{"a":{"b":[1,2.50,"x",null,true]}}`, `"text"`, `1e999`, `[]`, `{"a":1}{`, "\xff", `{"a":{"b":{}}}`} {
		f.Add([]byte(s))
	}
	p, err := compile("x", Spec{
		InputSchema: accountSchema(), URL: "https://api.example.com/", Response: Response{Path: "$.a..b", Text: "{{range .}}{{.}} {{end}}"},
	})
	if err != nil {
		f.Fatal(err)
	}
	plain, err := compile("x", Spec{InputSchema: accountSchema(), URL: "https://api.example.com/"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, p := range []*plugin{p, plain} {
			out, err := p.output(body)
			if err != nil {
				if fault.KindOf(err) == fault.Internal {
					t.Errorf("output(%q): %v is no fault", body, err)
				}
				continue
			}
			if len(out.Text) > maxTextBytes+8*len(body) {
				t.Errorf("%d bytes of text from %d", len(out.Text), len(body))
			}
			if _, err := json.Marshal(out.Data); err != nil {
				t.Errorf("data can't be encoded: %v", err)
			}
		}
	})
}
