package dialog_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/oidc/oidctest"
)

const public = "https://ragmesh.example"

// withProvider accepts a provider's people: staff may ask in the default workspace.
func withProvider(t *testing.T, p *oidctest.Provider) func(*dialog.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(oidctest.ClientSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(cfg *dialog.Config) {
		cfg.Auth.Login.PublicURL = public
		cfg.Auth.OIDC = []access.Issuer{{
			Name: "corp", URL: p.URL(), ClientID: oidctest.ClientID, ClientSecret: config.Secret{File: file},
			Roles: []access.RoleMapping{{Group: "staff", Workspace: "default", Role: "viewer"}},
		}}
	}
}

// settle waits until dialog knows keys and members: before that, it can't say what somebody without a role of their own may do.
func (m *mesh) settle(t *testing.T) {
	t.Helper()
	for _, name := range []string{"api keys", "members"} {
		eventually(t, name, func() bool { return m.ready(t, name) })
	}
}

// ready returns what a row of the readiness report says.
func (m *mesh) ready(t *testing.T, name string) bool {
	t.Helper()
	for _, c := range m.service.Ready(t.Context()) {
		if c.Name == name {
			return c.Ready
		}
	}
	t.Fatalf("readiness says nothing about %s", name)
	return false
}

// browser is somebody's.
type browser struct {
	*http.Client
	mesh *mesh
	site string // what the browser says of who asks
}

// newBrowser returns a browser for which dialog is at its public address, and everybody else where they are.
func newBrowser(t *testing.T, m *mesh) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", m.addr) // what ends TLS is in front of dialog
	}}
	return &browser{mesh: m, site: "same-origin", Client: &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second}}
}

// stay makes the browser follow no redirects.
func (b *browser) stay() {
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

type reply struct {
	status int
	header http.Header
	body   map[string]any
	at     *url.URL
}

func (b *browser) send(t *testing.T, method, address, body string, header http.Header) reply {
	t.Helper()
	if strings.HasPrefix(address, "/") {
		address = public + address
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", b.site)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := reply{status: response.StatusCode, header: response.Header, at: response.Request.URL}
	if len(data) > 0 {
		_ = json.Unmarshal(data, &out.body) // what is no object stays out
	}
	return out
}

func (b *browser) get(t *testing.T, address string) reply {
	t.Helper()
	return b.send(t, http.MethodGet, address, "", nil)
}

// cookie returns what the browser keeps under a name.
func (b *browser) cookie(t *testing.T, name string) string {
	t.Helper()
	u, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) keep(t *testing.T, name, value string) {
	t.Helper()
	u, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	b.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

const (
	loginCookie   = "__Host-ragmesh_login"
	attemptCookie = "__Host-ragmesh_attempt"
)

// events returns the audit trail so far.
func (m *mesh) events(t *testing.T) []*eventv1.Audited {
	t.Helper()
	var out []*eventv1.Audited
	if _, err := m.bus.Dump(t.Context(), bus.Events, 0, func(a bus.Archived) error {
		var e eventv1.Audited
		if !strings.HasPrefix(a.Subject, "ragmesh.event.v1.audit.") {
			return nil
		}
		out = append(out, &e)
		return proto.Unmarshal(a.Data, &e)
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// audits waits for an event.
func (m *mesh) audits(t *testing.T, what string, is func(*eventv1.Audited) bool) {
	t.Helper()
	eventually(t, what+" in the audit trail", func() bool {
		for _, e := range m.events(t) {
			if is(e) {
				return true
			}
		}
		return false
	})
}

func TestLoginWithABrowser(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	m := newMesh(t, withProvider(t, p))
	b := newBrowser(t, m)

	me := b.get(t, "/auth/me")
	if me.status != http.StatusUnauthorized || me.header.Get("WWW-Authenticate") == "" {
		t.Fatalf("nobody is somebody: %+v", me)
	}
	if diff := cmp.Diff([]any{map[string]any{"issuer": "corp", "url": "/auth/login?issuer=corp"}}, me.body["login"]); diff != "" {
		t.Errorf("where to log in (-want +got):\n%s", diff)
	}
	me = b.get(t, "/auth/login") // the only provider, and back to /auth/me
	want := map[string]any{
		"subject": "user:248289761001", "name": "Alice", "email": "alice@example.com", "groups": []any{"staff"}, "issuer": "corp",
		"workspaces": []any{map[string]any{"workspace": "default", "role": "viewer"}},
	}
	if diff := cmp.Diff(want, me.body); me.status != http.StatusOK || me.at.Path != "/auth/me" || diff != "" {
		t.Fatalf("%d at %s (-want +got):\n%s", me.status, me.at, diff)
	}
	if me.header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", me.header)
	}
	id := b.cookie(t, loginCookie)
	if id == "" || b.cookie(t, attemptCookie) != "" {
		t.Errorf("login %q, attempt %q", id, b.cookie(t, attemptCookie))
	}
	sessions := "/ragmesh.dialog.v1.DialogService/ListSessions"
	if r := b.send(t, http.MethodPost, sessions, "{}", nil); r.status != http.StatusOK {
		t.Errorf("list sessions: %+v", r)
	}
	// What the role does not allow.
	if r := b.send(t, http.MethodPost, "/ragmesh.dialog.v1.KeyService/ListKeys", "{}", nil); r.status != http.StatusForbidden {
		t.Errorf("list keys: %+v", r)
	}
	// Another site can't use the login, whatever it makes the browser send.
	b.site = "cross-site"
	for method, path := range map[string]string{http.MethodPost: sessions, http.MethodGet: sessions + "?encoding=json&message=%7B%7D&connect=v1"} {
		body := "{}"
		if method == http.MethodGet {
			body = ""
		}
		if r := b.send(t, method, path, body, http.Header{"Origin": {"https://evil.example"}}); r.status != http.StatusForbidden {
			t.Errorf("another site: %+v", r)
		}
	}
	if r := b.send(t, http.MethodPost, "/auth/logout", "", http.Header{"Origin": {"https://evil.example"}}); r.status != http.StatusForbidden || b.cookie(t, loginCookie) == "" {
		t.Errorf("another site logs out: %+v", r)
	}
	b.site = "same-origin"
	if r := b.get(t, "/auth/logout"); r.status != http.StatusMethodNotAllowed && r.status != http.StatusNotFound {
		t.Errorf("log out with a link: %+v", r)
	}
	if r := b.send(t, http.MethodPost, "/auth/logout", "", nil); r.status != http.StatusNoContent || b.cookie(t, loginCookie) != "" {
		t.Errorf("log out: %+v", r)
	}
	b.keep(t, loginCookie, id)
	if r := b.get(t, "/auth/me"); r.status != http.StatusUnauthorized {
		t.Errorf("the login counts after the logout: %+v", r)
	}
	for _, action := range []string{"login", "logout"} {
		m.audits(t, action, func(e *eventv1.Audited) bool {
			return e.GetAction() == action && e.GetAllowed() && e.GetActor() == "user:248289761001"
		})
	}
	m.audits(t, "another site", func(e *eventv1.Audited) bool { return e.GetReason() == "CROSS_SITE" && !e.GetAllowed() })
}

// attempted begins a login and returns where the provider sends the browser back to.
func (b *browser) attempted(t *testing.T, query string) *url.URL {
	t.Helper()
	b.stay()
	began := b.get(t, "/auth/login"+query)
	if began.status != http.StatusSeeOther {
		t.Fatalf("begin: %+v", began)
	}
	sent := b.get(t, began.header.Get("Location"))
	back, err := url.Parse(sent.header.Get("Location"))
	if sent.status != http.StatusFound || err != nil || !strings.HasPrefix(back.String(), public+"/auth/callback?") {
		t.Fatalf("the provider sends to %s: %v", back, err)
	}
	return back
}

func with(u *url.URL, name, value string) string {
	q := u.Query()
	if q.Set(name, value); value == "" {
		q.Del(name)
	}
	c := *u
	c.RawQuery = q.Encode()
	return c.String()
}

func TestLoginsThatAreNone(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	m := newMesh(t, withProvider(t, p), func(cfg *dialog.Config) { cfg.Auth.Failures.Burst = 1000 })
	change := func(t *testing.T, b *browser, field string, value any) {
		t.Helper()
		data, err := base64.RawURLEncoding.DecodeString(b.cookie(t, attemptCookie))
		if err != nil {
			t.Fatal(err)
		}
		var a map[string]any
		if err := json.Unmarshal(data, &a); err != nil {
			t.Fatal(err)
		}
		if _, ok := a[field]; !ok {
			t.Fatalf("an attempt has no %s: %v", field, a)
		}
		a[field] = value
		data, err = json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		b.keep(t, attemptCookie, base64.RawURLEncoding.EncodeToString(data))
	}
	for what, spoil := range map[string]func(t *testing.T, b *browser, back *url.URL) string{
		"another state":  func(_ *testing.T, _ *browser, back *url.URL) string { return with(back, "state", "x") },
		"no state":       func(_ *testing.T, _ *browser, back *url.URL) string { return with(back, "state", "") },
		"no code":        func(_ *testing.T, _ *browser, back *url.URL) string { return with(back, "code", "") },
		"a made-up code": func(_ *testing.T, _ *browser, back *url.URL) string { return with(back, "code", "x") },
		"an endless code": func(_ *testing.T, _ *browser, back *url.URL) string {
			return with(back, "code", strings.Repeat("x", 5000))
		},
		"refused at the provider": func(_ *testing.T, _ *browser, back *url.URL) string { return with(back, "error", "access_denied") },
		"begun in another browser": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			b.keep(t, attemptCookie, "")
			return back.String()
		},
		"an attempt that is none": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			b.keep(t, attemptCookie, "e30")
			return back.String()
		},
		"another's verifier": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			change(t, b, "verifier", strings.Repeat("v", 43))
			return back.String()
		},
		"another attempt's nonce": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			change(t, b, "nonce", "x")
			return back.String()
		},
		"no nonce": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			change(t, b, "nonce", "")
			return back.String()
		},
		"too late": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			change(t, b, "until", time.Now().Add(-time.Second))
			return back.String()
		},
		"a provider that is not ours": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			change(t, b, "issuer", "evil")
			return back.String()
		},
		"a code for another": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			stolen := newBrowser(t, b.mesh).attempted(t, "")
			return with(back, "code", stolen.Query().Get("code"))
		},
		"another's code and state": func(t *testing.T, b *browser, _ *url.URL) string {
			t.Helper()
			return newBrowser(t, b.mesh).attempted(t, "").String()
		},
		"a code once more": func(t *testing.T, b *browser, back *url.URL) string {
			t.Helper()
			attempt := b.cookie(t, attemptCookie)
			b.get(t, back.String())
			b.keep(t, attemptCookie, attempt)
			b.keep(t, loginCookie, "")
			return back.String()
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, m)
			back := b.attempted(t, "")
			r := b.get(t, spoil(t, b, back))
			if r.status != http.StatusUnauthorized && r.status != http.StatusNotFound || b.cookie(t, loginCookie) != "" {
				t.Errorf("%+v", r)
			}
			if b.cookie(t, attemptCookie) != "" {
				t.Error("the attempt can be tried again")
			}
		})
	}
}

func TestIDTokensThatAreNotForUs(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	m := newMesh(t, withProvider(t, p))
	stranger := oidctest.New(t)
	for what, spoil := range map[string]func(map[string]any){
		"another nonce":       func(c map[string]any) { c["nonce"] = "x" },
		"no nonce":            func(c map[string]any) { delete(c, "nonce") },
		"another audience":    func(c map[string]any) { c["aud"] = "other" },
		"several, for others": func(c map[string]any) { c["aud"] = []string{"other", oidctest.ClientID} },
		"on another's behalf": func(c map[string]any) { c["azp"] = "other" },
		"another issuer":      func(c map[string]any) { c["iss"] = stranger.URL() },
		"expired":             func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		"about nobody":        func(c map[string]any) { delete(c, "sub") },
	} {
		p.Spoil(spoil)
		b := newBrowser(t, m)
		r := b.get(t, b.attempted(t, "").String())
		if r.status != http.StatusUnauthorized || b.cookie(t, loginCookie) != "" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	p.Spoil(func(c map[string]any) { c["aud"], c["azp"] = []string{"other", oidctest.ClientID}, oidctest.ClientID })
	b := newBrowser(t, m)
	if r := b.get(t, b.attempted(t, "").String()); r.status != http.StatusSeeOther || b.cookie(t, loginCookie) == "" {
		t.Errorf("for several, on our behalf: %+v", r)
	}
}

func TestALoginCannotBePlanted(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	m := newMesh(t, withProvider(t, p))
	p.LogIn(map[string]any{"sub": "mallory"})
	mallory := newBrowser(t, m)
	mallory.get(t, mallory.attempted(t, "").String())
	planted := mallory.cookie(t, loginCookie)

	p.LogIn(map[string]any{"sub": "alice"})
	alice := newBrowser(t, m)
	for _, value := range []string{strings.Repeat("A", 43), planted} {
		alice.keep(t, loginCookie, value)
		alice.get(t, alice.attempted(t, "").String())
		if got := alice.cookie(t, loginCookie); got == value || got == "" {
			t.Fatal("the login that was planted goes on")
		}
		if me := alice.get(t, "/auth/me"); me.body["subject"] != "user:alice" {
			t.Errorf("%+v", me)
		}
		spy := newBrowser(t, m)
		spy.keep(t, loginCookie, value)
		if me := spy.get(t, "/auth/me"); me.status != http.StatusUnauthorized {
			t.Errorf("who planted the login is %v", me.body)
		}
	}
	// A cookie that a neighbouring host, or anybody without TLS, could set does not count.
	b := newBrowser(t, m)
	b.keep(t, "ragmesh_login", alice.cookie(t, loginCookie))
	if me := b.get(t, "/auth/me"); me.status != http.StatusUnauthorized {
		t.Errorf("a cookie without its prefix: %+v", me)
	}
	both := http.Header{"Cookie": {loginCookie + "=" + alice.cookie(t, loginCookie) + "; " + loginCookie + "=x"}}
	if me := newBrowser(t, m).send(t, http.MethodGet, "/auth/me", "", both); me.status != http.StatusUnauthorized {
		t.Errorf("two logins at once: %+v", me)
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	m := newMesh(t, withProvider(t, p))
	b := newBrowser(t, m)
	r := b.get(t, b.attempted(t, "").String())
	var login *http.Cookie
	for _, line := range r.header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("cookie %s", c)
		}
		if c.Name == loginCookie {
			login = c
		}
	}
	if login == nil || login.MaxAge != int((12*time.Hour).Seconds()) || len(login.Value) < 43 {
		t.Errorf("login %v", login)
	}
	if r.header.Get("Referrer-Policy") != "no-referrer" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", r.header)
	}
}

func TestLoginLeadsToThisServerOnly(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	m := newMesh(t, withProvider(t, p), func(cfg *dialog.Config) { cfg.Auth.Failures.Burst = 1000 })
	for to, want := range map[string]string{
		"/":                             "/",
		"/chat/42?tab=sources#p1":       "/chat/42?tab=sources#p1",
		"/文档":                           "/文档",
		"/a//b":                         "/a//b",
		"":                              "/auth/me",
		"https://evil.example":          "/auth/me",
		"//evil.example":                "/auth/me",
		"///evil.example":               "/auth/me",
		`/\evil.example`:                "/auth/me",
		`\\evil.example`:                "/auth/me",
		"/\t/evil.example":              "/auth/me",
		"/\n/evil.example":              "/auth/me",
		"/%5cevil.example":              "/auth/me",
		"/%2f/evil.example":             "/auth/me",
		"javascript:alert(1)":           "/auth/me",
		"evil.example":                  "/auth/me",
		"http:evil.example":             "/auth/me",
		"https:/evil.example":           "/auth/me",
		" //evil.example":               "/auth/me",
		"/auth/logout":                  "/auth/me",
		"/auth/login?issuer=corp":       "/auth/me",
		"/x\r\nSet-Cookie: a=b":         "/auth/me",
		"/" + strings.Repeat("x", 3000): "/auth/me",
	} {
		b := newBrowser(t, m)
		r := b.get(t, b.attempted(t, "?return="+url.QueryEscape(to)).String())
		if got := r.header.Get("Location"); got != want {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

func TestBearerTokens(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	m := newMesh(t, withProvider(t, p), authenticated(t))
	ctx := t.Context()
	m.as(t, p.Token(nil))
	if h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion}); h.turn.GetUser() != "user:248289761001" {
		t.Errorf("asked by %s", h.turn.GetUser())
	}
	if _, err := m.workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: "mine"}); fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("a viewer makes a workspace: %v", err)
	}
	m.as(t, p.Token(map[string]any{"groups": []string{"guests"}}))
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("of no group with a role: %v", err)
	}
	m.as(t, p.Token(map[string]any{"aud": "other"}))
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("for another server: %v", err)
	}
	// A key that nobody knows, while the provider is away: nobody can say. API keys go on.
	p.Rotate(t)
	p.SetAway(true)
	stranger := p.Token(nil)
	eventually(t, "the provider's absence", func() bool {
		m.as(t, stranger)
		_, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"})
		return fault.KindOf(err) == fault.Unavailable || fault.KindOf(err) == fault.Unauthenticated
	})
	m.as(t, bootstrap)
	m.ask(t, &dialogv1.ChatRequest{Question: "hello"})
	m.audits(t, "a token for another server", func(e *eventv1.Audited) bool {
		return e.GetReason() == "UNAUTHENTICATED" && !e.GetAllowed() && e.GetActor() == ""
	})
	for _, e := range m.events(t) {
		for _, part := range strings.Split(stranger, ".") {
			if strings.Contains(e.String(), part) {
				t.Errorf("the audit trail has a token: %v", e)
			}
		}
	}
}

func TestProviderAwayAtTheStart(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	p.SetAway(true)
	m := newMesh(t, withProvider(t, p), authenticated(t))
	row := func() bool { return m.ready(t, "identity provider corp") }
	if row() {
		t.Error("a provider that is away is ready")
	}
	m.as(t, p.Token(nil))
	if _, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: "hello"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a token: %v", err)
	}
	if r := newBrowser(t, m).get(t, "/auth/login"); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("log in: %+v", r)
	}
	m.as(t, bootstrap)
	m.ask(t, &dialogv1.ChatRequest{Question: "hello"})
	p.SetAway(false)
	eventually(t, "the provider's return", func() bool {
		m.as(t, p.Token(nil))
		_, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: "hello"})
		return err == nil
	})
	eventually(t, "the provider's row", row)
}

// Whatever is written where a key should be, it is refused, and nothing of it comes back.
func TestHeadersThatAreMoreThanOne(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	const path = "/ragmesh.dialog.v1.DialogService/ListSessions"
	for what, header := range map[string]string{
		"folded":              "Authorization: Bearer x\r\n " + bootstrap,
		"a lone line feed":    "Authorization: Bearer x\nX-Forwarded-For: 127.0.0.1\r\nX: y",
		"a lone return":       "Authorization: Bearer x\rAuthorization: Bearer " + bootstrap,
		"a zero":              "Authorization: Bearer \x00" + bootstrap,
		"twice, good first":   "Authorization: Bearer " + bootstrap + "\r\nAuthorization: Bearer x",
		"twice, good last":    "Authorization: Bearer x\r\nAuthorization: Bearer " + bootstrap,
		"two in one":          "Authorization: Bearer x, Bearer " + bootstrap,
		"space in the name":   "Authorization : Bearer " + bootstrap,
		"too long for us":     "Authorization: Bearer " + strings.Repeat("x", 20<<10),
		"too long for anyone": "Authorization: Bearer " + strings.Repeat("x", 200<<10),
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", m.addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		request := "POST " + path + " HTTP/1.1\r\nHost: ragmesh.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n" + header + "\r\n\r\n{}"
		go func() { _, _ = io.WriteString(conn, request) }() // the server may stop reading
		answer, _ := io.ReadAll(conn)                        // and may reset what it did not read
		_ = conn.Close()
		status, _, _ := bytes.Cut(answer, []byte("\r\n"))
		if !bytes.Contains(status, []byte(" 4")) {
			t.Errorf("%s: %s", what, status)
		}
		if bytes.Contains(answer, []byte(bootstrap)) {
			t.Errorf("%s: the key comes back", what)
		}
	}
}
