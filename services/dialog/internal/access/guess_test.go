package access

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// counted counts what is read of a table.
type counted struct {
	*table
	mu   sync.Mutex
	gets int
}

func (c *counted) get() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets
}

func (c *counted) Get(ctx context.Context, key string) (bus.Entry, error) {
	c.mu.Lock()
	c.gets++
	c.mu.Unlock()
	return c.table.Get(ctx, key)
}

func bearers(token string) []string { return []string{"Bearer " + token} }

func TestGuessingIsLimited(t *testing.T) {
	t.Parallel()
	now := clock()
	store := &counted{table: newTable()}
	ring := NewKeyring(store, func() time.Time { return now }, zerolog.Nop())
	ring.seen = now
	_, good, err := ring.Create(t.Context(), Key{Name: "x", Role: identity.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGuard(Config{Required: true, Failures: Failures{Burst: 5, PerMinute: 6}}, Known{
		Keys: ring, Workspaces: NewWorkspaces(newTable(), clock, zerolog.Nop()), Clock: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	try := func(address, token string) error {
		_, err := g.Authenticate(t.Context(), Call{Procedure: chat, Authorization: bearers(token), Address: address})
		return err
	}
	guess := func(i int) string { return fmt.Sprintf("rmk_key%d_%s", i, strings.Repeat("x", 43)) }
	for i := range 5 {
		if err := try("192.0.2.1", guess(i)); fault.KindOf(err) != fault.Unauthenticated {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	looked := store.get()
	for i := range 100 {
		err := try("192.0.2.1", guess(i))
		if fault.KindOf(err) != fault.Exhausted || fault.ReasonOf(err) != fault.RateLimited || fault.As(err).RetryAfter <= 0 {
			t.Fatalf("guess too many: %v", err)
		}
	}
	if n := store.get() - looked; n != 0 {
		t.Errorf("the store was asked %d times for guesses too many", n)
	}
	if err := try("192.0.2.1", good); err != nil {
		t.Errorf("a good key from where others guess: %v", err)
	}
	if err := try("192.0.2.2", guess(1)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("from elsewhere: %v", err)
	}
	now = now.Add(10 * time.Second)
	if err := try("192.0.2.1", guess(1)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("later: %v", err)
	}
	if err := try("192.0.2.1", guess(1)); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("later, once more: %v", err)
	}
	// One key is guessed at from everywhere; who has it goes on.
	id, _, _ := cutKey(good)
	for i := range 5 {
		if err := try(fmt.Sprintf("198.51.100.%d", i), "rmk_"+id+"_guess"); fault.KindOf(err) != fault.Unauthenticated {
			t.Fatalf("guess %d at one key: %v", i, err)
		}
	}
	if err := try("198.51.100.77", "rmk_"+id+"_guess"); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("guess too many at one key: %v", err)
	}
	if err := try("198.51.100.77", good); err != nil {
		t.Errorf("the key that others guess at: %v", err)
	}
}

func TestWhatTurnsOutGoodIsNoGuess(t *testing.T) {
	t.Parallel()
	store := newTable()
	maker := NewKeyring(store, clock, zerolog.Nop())
	var secrets []string
	for range 20 {
		_, secret, err := maker.Create(t.Context(), Key{Name: "x", Role: identity.Viewer})
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	g, err := NewGuard(Config{Required: true, Failures: Failures{Burst: 3, PerMinute: 1}}, Known{
		Keys: NewKeyring(store, clock, zerolog.Nop()), Workspaces: NewWorkspaces(newTable(), clock, zerolog.Nop()), Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, secret := range secrets { // another replica made them: none is in memory
		if _, err := g.Authenticate(t.Context(), Call{Procedure: chat, Authorization: bearers(secret), Address: "192.0.2.1"}); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
	}
	store.away = true
	for i := range 20 { // nobody can say whether these are good
		_, err := g.Authenticate(t.Context(), Call{Procedure: chat, Authorization: bearers(fmt.Sprintf("rmk_new%d_x", i)), Address: "192.0.2.1"})
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("key %d while the store is away: %v", i, err)
		}
	}
}

func TestManyGuessersAreForgotten(t *testing.T) {
	t.Parallel()
	g := newGuesses(Failures{Burst: 1, PerMinute: 1}, clock)
	for i := range maxGuessers + 100 {
		if _, err := g.try(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.known.Len(); n != maxGuessers {
		t.Errorf("%d are remembered", n)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	g, err := NewGuard(Config{Failures: Defaults().Failures, TrustedProxies: []string{"10.0.0.0/8", "2001:db8:1::/48"}}, Known{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"direct":                                 {"192.0.2.7:1234", nil, "192.0.2.7"},
		"anybody's word is not believed":         {"192.0.2.7:1234", []string{"203.0.113.9"}, "192.0.2.7"},
		"behind a proxy":                         {"10.1.2.3:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		"behind two":                             {"10.1.2.3:1234", []string{"203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		"in two headers":                         {"10.1.2.3:1234", []string{"203.0.113.9", "10.9.9.9"}, "203.0.113.9"},
		"what the client wrote itself":           {"10.1.2.3:1234", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		"the client claims to be a proxy":        {"10.1.2.3:1234", []string{"10.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		"nobody but proxies":                     {"10.1.2.3:1234", []string{"10.0.0.1"}, "10.0.0.1"},
		"a proxy that says nothing":              {"10.1.2.3:1234", nil, "10.1.2.3"},
		"no address":                             {"10.1.2.3:1234", []string{"203.0.113.9, unknown"}, "10.1.2.3"},
		"with a port":                            {"10.1.2.3:1234", []string{"203.0.113.9:443"}, "203.0.113.9"},
		"IPv6 is the network":                    {"[2001:db8:2:3:4:5:6:7]:1234", nil, "2001:db8:2:3::/64"},
		"IPv6 behind IPv6":                       {"[2001:db8:1::1]:1234", []string{"[2001:db8:7:7::1]:5"}, "2001:db8:7:7::/64"},
		"IPv4 in IPv6":                           {"[::ffff:192.0.2.7]:1234", nil, "192.0.2.7"},
		"IPv4 in IPv6 is the proxy that it is":   {"[::ffff:10.1.2.3]:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		"in the process":                         {"local", nil, ""},
		"more proxies than anybody has in a row": {"10.1.2.3:1", []string{"203.0.113.9, " + strings.Repeat("10.0.0.1, ", 100) + "10.0.0.2"}, "10.0.0.1"},
	} {
		if got := g.Address(test.remote, test.forwarded); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []string
		want   string
		ok     bool
	}{
		"none":             {nil, "", true},
		"one":              {[]string{"Bearer x"}, "x", true},
		"in another case":  {[]string{"bEARER x"}, "x", true},
		"two headers":      {[]string{"Bearer x", "Bearer y"}, "", false},
		"the same twice":   {[]string{"Bearer x", "Bearer x"}, "", false},
		"two in one":       {[]string{"Bearer x, Bearer y"}, "", false},
		"two tokens":       {[]string{"Bearer x y"}, "", false},
		"spaces before it": {[]string{"Bearer  x"}, "", false},
		"no token":         {[]string{"Bearer "}, "", false},
		"no scheme":        {[]string{"x"}, "", false},
		"another scheme":   {[]string{"Basic eDp5"}, "", false},
		"empty":            {[]string{""}, "", false},
		"a new line":       {[]string{"Bearer x\r\nX-Admin: 1"}, "", false},
		"endless":          {[]string{"Bearer " + strings.Repeat("x", maxToken+1)}, "", false},
	} {
		got, err := bearer(test.values)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func FuzzIssuerOf(f *testing.F) {
	f.Add("a.eyJpc3MiOiJldmFsIn0.c")
	f.Add("..")
	f.Add("a.bnVsbA.c")
	f.Fuzz(func(t *testing.T, token string) {
		if issuer, ok := issuerOf(token); ok != (issuer != "") {
			t.Fatalf("%q %t", issuer, ok)
		}
		_, _ = bearer([]string{token})
		if id := keyID(token); id != "" && !slug(id) {
			t.Fatalf("key id %q", id)
		}
	})
}
