package access

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

func clock() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }

// table is a bucket in memory that can be away.
type table struct {
	mu      sync.Mutex
	entries map[string]bus.Entry
	away    bool
	rev     uint64
	shown   chan struct{} // closed once a watch has shown everything
}

var _ Table = (*table)(nil)

func newTable() *table { return &table{entries: map[string]bus.Entry{}, shown: make(chan struct{})} }

var errAway = fault.New(fault.Unavailable, fault.StoreUnavailable, "away")

func (t *table) Get(_ context.Context, key string) (bus.Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return bus.Entry{}, errAway
	}
	e, ok := t.entries[key]
	if !ok {
		return bus.Entry{}, bus.ErrNotFound
	}
	return e, nil
}

func (t *table) write(key string, value []byte) uint64 {
	t.rev++
	t.entries[key] = bus.Entry{Key: key, Value: value, Revision: t.rev}
	return t.rev
}

func (t *table) Create(_ context.Context, key string, value []byte) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return 0, errAway
	}
	if _, ok := t.entries[key]; ok {
		return 0, bus.ErrExists
	}
	return t.write(key, value), nil
}

func (t *table) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries[key].Revision != revision {
		return 0, bus.ErrConflict
	}
	return t.write(key, value), nil
}

func (t *table) Delete(_ context.Context, key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, key)
	return nil
}

func (t *table) List(_ context.Context, filter string) ([]bus.Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return nil, errAway
	}
	var out []bus.Entry
	for _, e := range t.entries {
		if strings.HasPrefix(e.Key, strings.TrimSuffix(filter, "*")) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (t *table) Watch(ctx context.Context, _ string, fn func(bus.Entry)) error {
	list, err := t.List(ctx, "")
	if err != nil {
		return err
	}
	for _, e := range list {
		fn(e)
	}
	fn(bus.Entry{})
	close(t.shown)
	<-ctx.Done()
	return nil
}

func TestKeys(t *testing.T) {
	t.Parallel()
	store := newTable()
	now := clock()
	ring := NewKeyring(store, func() time.Time { return now }, zerolog.Nop())
	ring.seen = now
	ctx := t.Context()
	key, secret, err := ring.Create(ctx, Key{Name: "ci", Role: identity.Editor, Workspaces: []string{"b", "a", "b"}, CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "rmk_"+key.ID+"_") || len(secret) < 50 {
		t.Errorf("key %q", secret)
	}
	for id, e := range store.entries {
		if strings.Contains(string(e.Value), secret[len(secret)-20:]) {
			t.Errorf("%s is stored with its secret", id)
		}
	}
	other := NewKeyring(store, func() time.Time { return now }, zerolog.Nop()) // another replica that has not heard of it
	for name, r := range map[string]*Keyring{"maker": ring, "other replica": other} {
		g, err := r.Check(ctx, secret)
		if err != nil || g.Subject != "key:"+key.ID || g.Role != identity.Editor || len(g.Workspaces) != 2 {
			t.Errorf("%s: %+v %v", name, g, err)
		}
	}
	for name, bad := range map[string]string{
		"no prefix": strings.TrimPrefix(secret, "rmk_"), "another secret": secret[:len(secret)-1] + "!", "no secret": "rmk_" + key.ID + "_", "no id": "rmk__x",
		"unknown id": "rmk_aaaaaaaaaaaaa_" + secret[len(secret)-43:], "wildcard": "rmk_>_x", "path": "rmk_../x_y", "long": "rmk_" + strings.Repeat("a", 5000) + "_x", "empty": "",
	} {
		if _, err := ring.Check(ctx, bad); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	store.away = true
	now = now.Add(9 * time.Minute)
	if _, err := ring.Check(ctx, secret); err != nil {
		t.Errorf("store away for 9 minutes: %v", err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := ring.Check(ctx, secret); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("store away for 11 minutes: %v", err)
	}
	store.away = false
	if _, err := ring.Check(ctx, secret); err != nil {
		t.Errorf("store back: %v", err)
	}
	now = now.Add(time.Hour)
	if _, err := ring.Check(ctx, secret); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("expired: %v", err)
	}
	now = clock()
	for range 2 {
		if k, err := ring.Revoke(ctx, key.ID); err != nil || k.RevokedAt.IsZero() {
			t.Errorf("revoke: %v", err)
		}
	}
	if _, err := ring.Check(ctx, secret); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("revoked: %v", err)
	}
	if _, err := ring.Revoke(ctx, "nope"); fault.ReasonOf(err) != fault.KeyNotFound {
		t.Errorf("revoke nothing: %v", err)
	}
	if list, err := ring.List(ctx); err != nil || len(list) != 1 {
		t.Errorf("list: %v %v", list, err)
	}
}

func TestWatchSeesRevocation(t *testing.T) {
	t.Parallel()
	store := newTable()
	maker := NewKeyring(store, clock, zerolog.Nop())
	key, secret, err := maker.Create(t.Context(), Key{Name: "x", Role: identity.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	ring := NewKeyring(store, clock, zerolog.Nop())
	if _, err := ring.Check(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if _, err := maker.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ring.Watch(ctx) }()
	<-store.shown
	if ok, detail := ring.Healthy(); !ok {
		t.Error(detail)
	}
	if _, err := ring.Check(t.Context(), secret); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("revoked elsewhere: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type verifier map[string]identity.Principal

func (v verifier) Verify(token, audience string) (identity.Principal, error) {
	p, ok := v[token]
	if !ok || audience != identity.Dialog {
		return identity.Principal{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "not good")
	}
	return p, nil
}

// serviceToken is good for the verifier of [guard]: it names eval as its issuer.
const serviceToken = "a.eyJpc3MiOiJldmFsIn0.c"

func guard(t *testing.T, cfg Config, ring *Keyring) *Guard {
	t.Helper()
	cfg.Failures = Defaults().Failures
	g, err := NewGuard(cfg, Known{
		Verifier: verifier{serviceToken: {Service: identity.Eval, Subject: "eval", Workspace: "w", Role: identity.Editor}},
		Keys:     ring, Workspaces: NewWorkspaces(newTable(), clock, zerolog.Nop()), Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

const chat = "/ragmesh.dialog.v1.DialogService/Chat"

func TestAuthenticateConfigured(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bootstrap.key")
	bootstrap := "rmb_" + strings.Repeat("s", 43)
	if err := os.WriteFile(file, []byte(bootstrap+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ring := NewKeyring(newTable(), clock, zerolog.Nop())
	_, secret, err := ring.Create(t.Context(), Key{Name: "x", Role: identity.Viewer, Workspaces: []string{"w"}})
	if err != nil {
		t.Fatal(err)
	}
	g := guard(t, Config{BootstrapKey: config.Secret{File: file}}, ring)
	tests := map[string]struct {
		call    Call
		subject string // empty: refused
	}{
		"nothing":                {call: Call{Procedure: chat, Host: "127.0.0.1"}},
		"bootstrap":              {call: Call{Procedure: chat, Authorization: []string{"Bearer " + bootstrap}, Host: "anywhere.example"}, subject: "bootstrap"},
		"lower-case scheme":      {call: Call{Procedure: chat, Authorization: []string{"bearer " + bootstrap}}, subject: "bootstrap"},
		"no scheme":              {call: Call{Procedure: chat, Authorization: []string{bootstrap}}},
		"basic":                  {call: Call{Procedure: chat, Authorization: []string{"Basic " + bootstrap}}},
		"nearly bootstrap":       {call: Call{Procedure: chat, Authorization: []string{"Bearer " + bootstrap[:40]}}},
		"a key":                  {call: Call{Procedure: chat, Authorization: []string{"Bearer " + secret}}, subject: "key:"},
		"a service":              {call: Call{Procedure: chat, Authorization: []string{"Bearer " + serviceToken}}, subject: "eval"},
		"a service, not allowed": {call: Call{Procedure: "/ragmesh.dialog.v1.KeyService/CreateKey", Authorization: []string{"Bearer " + serviceToken}}},
		"a bad service token":    {call: Call{Procedure: chat, Authorization: []string{"Bearer x.y.z"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := g.Authenticate(t.Context(), tc.call)
			if tc.subject == "" {
				if fault.KindOf(err) != fault.Unauthenticated {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || !strings.HasPrefix(got.Subject, tc.subject) {
				t.Errorf("got %+v, %v", got, err)
			}
			if want := tc.subject == "bootstrap"; got.Owner != want {
				t.Errorf("%s is the owner: %v", got.Subject, got.Owner)
			}
		})
	}
}

func TestAuthenticateLocal(t *testing.T) {
	t.Parallel()
	g := guard(t, Config{AllowedHosts: []string{"laptop.lan"}}, NewKeyring(newTable(), clock, zerolog.Nop()))
	tests := map[string]struct {
		call Call
		ok   bool
	}{
		"loopback":                     {Call{Host: "127.0.0.1:8080"}, true},
		"loopback 6":                   {Call{Host: "[::1]:8080"}, true},
		"localhost":                    {Call{Host: "LocalHost:8080"}, true},
		"without port":                 {Call{Host: "localhost"}, true},
		"configured":                   {Call{Host: "laptop.lan:8080"}, true},
		"whatever token":               {Call{Host: "localhost", Authorization: []string{"Bearer sk-whatever"}}, true},
		"a token like a service's":     {Call{Host: "localhost", Authorization: []string{"Bearer x.y.z"}}, true},
		"same origin":                  {Call{Host: "localhost:8080", Origin: "http://localhost:8080"}, true},
		"DNS rebinding":                {Call{Host: "evil.example:8080"}, false},
		"rebinding to a look-alike":    {Call{Host: "127.0.0.1.evil.example"}, false},
		"no host":                      {Call{}, false},
		"all interfaces":               {Call{Host: "0.0.0.0:8080"}, false},
		"another site":                 {Call{Host: "localhost:8080", Origin: "http://evil.example"}, false},
		"another port":                 {Call{Host: "localhost:8080", Origin: "http://localhost:3000"}, false},
		"a sandboxed page":             {Call{Host: "localhost:8080", Origin: "null"}, false},
		"rebinding with equal origin":  {Call{Host: "evil.example", Origin: "http://evil.example"}, false},
		"a service, whatever the host": {Call{Procedure: chat, Host: "dialog.local", Authorization: []string{"Bearer " + serviceToken}}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := g.Authenticate(t.Context(), tc.call)
			if (err == nil) != tc.ok {
				t.Errorf("got %+v, %v", got, err)
			}
			if err != nil && fault.ReasonOf(err) != fault.CrossSite {
				t.Errorf("reason %v", fault.ReasonOf(err))
			}
		})
	}
}

func TestCheckBind(t *testing.T) {
	t.Parallel()
	open, closed := Config{}, Config{Required: true}
	for addr, ok := range map[string]bool{
		"127.0.0.1:8080": true, "[::1]:8080": true, "localhost:0": true, ":8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "192.168.1.5:8080": false, "x": false,
	} {
		if err := open.CheckBind(addr); (err == nil) != ok {
			t.Errorf("open %s: %v", addr, err)
		}
		if err := closed.CheckBind(addr); err != nil {
			t.Errorf("closed %s: %v", addr, err)
		}
	}
}

func TestBootstrapKeyIsNoPassword(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewGuard(Config{BootstrapKey: config.Secret{File: file}}, Known{Clock: clock}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if _, err := NewGuard(Config{BootstrapKey: config.Secret{File: file + "x"}}, Known{Clock: clock}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	store := newTable()
	w := NewWorkspaces(store, clock, zerolog.Nop())
	ctx := t.Context()
	for _, made := range []bool{true, false} {
		ws, got, err := w.Create(ctx, "team", "The team")
		if err != nil || got != made || ws.DisplayName != "The team" || !ws.CreatedAt.Equal(clock()) {
			t.Errorf("create: %+v %v %v", ws, got, err)
		}
	}
	other := NewWorkspaces(store, clock, zerolog.Nop())
	for id, reason := range map[string]fault.Reason{"default": 0, "team": 0, "nope": fault.WorkspaceNotFound, "": fault.WorkspaceNotFound, "a.b": fault.WorkspaceNotFound} {
		if err := other.Check(ctx, id); fault.ReasonOf(err) != reason {
			t.Errorf("%q: %v", id, err)
		}
	}
	store.away = true
	if err := other.Check(ctx, "unheard"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("store away: %v", err)
	}
	if err := errors.Join(other.Check(ctx, "team"), other.Check(ctx, "default")); err != nil {
		t.Errorf("known ones while the store is away: %v", err)
	}
	store.away = false
	all, err := w.List(ctx)
	if err != nil || len(all) != 2 || all[0].ID != "default" || all[1].ID != "team" {
		t.Errorf("list: %+v %v", all, err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"rmk_abc_def", "rmk__", "", "rmk_a_" + strings.Repeat("x", 300)} {
		f.Add(s)
	}
	store := newTable()
	value, err := json.Marshal(Key{ID: "abc", Role: identity.Admin, Hash: "00"})
	if err != nil {
		f.Fatal(err)
	}
	store.write("abc", value)
	ring := NewKeyring(store, clock, zerolog.Nop())
	f.Fuzz(func(t *testing.T, token string) {
		if g, err := ring.Check(t.Context(), token); err == nil {
			t.Fatalf("%q is let in as %+v", token, g)
		}
	})
}
