package identity

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
)

func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func newKeys(tb testing.TB) *Keys {
	tb.Helper()
	k, err := GenerateKeys()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func newSigner(tb testing.TB, k *Keys, service string, clock func() time.Time) *Signer {
	tb.Helper()
	s, err := k.Signer(service, clock)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func alice() Principal {
	return Principal{Service: Dialog, Subject: "alice", Workspace: "bank", Role: Editor, Scopes: []string{"ask"}, Names: []string{"group:finance"}}
}

func TestTokenShowsThePrincipal(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	for _, service := range Services() {
		p := alice()
		p.Service = "claims to be someone else"
		token, err := newSigner(t, keys, service, epoch).Token(t.Context(), p, Retriever)
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewVerifier(keys.Set(), epoch).Verify(token, Retriever)
		if err != nil {
			t.Fatal(err)
		}
		want := alice()
		want.Service = service
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", service, diff)
		}
	}
}

// registered and own are a good token's claims, for the tests that spoil one thing each.
func registered() jwt.Claims {
	return jwt.Claims{
		Issuer: Dialog, Subject: "alice", Audience: jwt.Audience{Retriever},
		IssuedAt: jwt.NewNumericDate(epoch()), NotBefore: jwt.NewNumericDate(epoch()), Expiry: jwt.NewNumericDate(epoch().Add(lifetime)),
	}
}

func sign(tb testing.TB, alg jose.SignatureAlgorithm, key any, kid string, r jwt.Claims, c claims) string {
	tb.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		tb.Fatal(err)
	}
	token, err := jwt.Signed(s).Claims(r).Claims(c).Serialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func TestConfusions(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	private := keys.Private[Dialog]
	public := private.Public().(ed25519.PublicKey)
	kid := KeyID(Dialog, public)
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	own := claims{Workspace: "bank", Role: "editor"}
	good := func(change func(r *jwt.Claims, c *claims)) string {
		r, c := registered(), own
		change(&r, &c)
		return sign(t, jose.EdDSA, private, kid, r, c)
	}
	nothing := func(*jwt.Claims, *claims) {}
	part := func(token string, i int) string { return strings.Split(token, ".")[i] }
	valid := good(nothing)
	for name, test := range map[string]struct {
		token string
		at    time.Duration
		ok    bool
	}{
		"good":                           {token: valid, ok: true},
		"good until a little after exp":  {token: valid, at: lifetime + skew - time.Second, ok: true},
		"good from a clock a bit ahead":  {token: valid, at: -skew, ok: true},
		"expired":                        {token: valid, at: lifetime + skew},
		"from the future":                {token: valid, at: -skew - time.Second},
		"empty":                          {token: ""},
		"not a token":                    {token: "rmb_abcdef"},
		"none":                           {token: "eyJhbGciOiJub25lIn0." + part(valid, 1) + "."},
		"none with its signature":        {token: "eyJhbGciOiJub25lIn0." + part(valid, 1) + "." + part(valid, 2)},
		"HS256 with the public key":      {token: sign(t, jose.HS256, []byte(public), kid, registered(), own)},
		"key of nobody":                  {token: sign(t, jose.EdDSA, stranger, "dialog.0123456789abcdef", registered(), own)},
		"key of a stranger under our id": {token: sign(t, jose.EdDSA, stranger, kid, registered(), own)},
		"no key id":                      {token: sign(t, jose.EdDSA, private, "", registered(), own)},
		"key of another service":         {token: sign(t, jose.EdDSA, keys.Private[Tools], KeyID(Tools, keys.Private[Tools].Public().(ed25519.PublicKey)), registered(), own)},
		"changed content":                {token: part(valid, 0) + "." + part(good(func(_ *jwt.Claims, c *claims) { c.Role = "admin" }), 1) + "." + part(valid, 2)},
		"for another service":            {token: good(func(r *jwt.Claims, _ *claims) { r.Audience = jwt.Audience{Gateway} })},
		"for several services":           {token: good(func(r *jwt.Claims, _ *claims) { r.Audience = jwt.Audience{Retriever, Gateway} })},
		"for nobody":                     {token: good(func(r *jwt.Claims, _ *claims) { r.Audience = nil })},
		"no end":                         {token: good(func(r *jwt.Claims, _ *claims) { r.Expiry = nil })},
		"no start":                       {token: good(func(r *jwt.Claims, _ *claims) { r.NotBefore = nil })},
		"no time":                        {token: good(func(r *jwt.Claims, _ *claims) { r.IssuedAt = nil })},
		"long life":                      {token: good(func(r *jwt.Claims, _ *claims) { r.Expiry = jwt.NewNumericDate(epoch().Add(time.Hour)) })},
		"unknown role":                   {token: good(func(_ *jwt.Claims, c *claims) { c.Role = "root" })},
		"larger than any of ours":        {token: good(func(_ *jwt.Claims, c *claims) { c.Workspace = strings.Repeat("w", maxToken) })},
		"two of them":                    {token: valid + "." + valid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := epoch().Add(test.at)
			p, err := NewVerifier(keys.Set(), func() time.Time { return now }).Verify(test.token, Retriever)
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("got %+v, %v", p, err)
			}
			// What exactly is wrong is for the log.
			if f, ok := errors.AsType[*fault.Error](err); ok && (strings.Contains(f.Message, kid) || f.Unwrap() == nil) {
				t.Errorf("message %q, cause %v", f.Message, f.Unwrap())
			}
		})
	}
}

func TestTokensAreReusedForHalfTheirLife(t *testing.T) {
	t.Parallel()
	now := epoch()
	s := newSigner(t, newKeys(t), Dialog, func() time.Time { return now })
	token := func(p Principal, audience string) string {
		t.Helper()
		token, err := s.Token(t.Context(), p, audience)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first := token(alice(), Retriever)
	if token(alice(), Retriever) != first {
		t.Error("a second token within the same moment")
	}
	// Whatever differs must give another token.
	seen := map[string]string{first: "first"}
	other := func(name string, p Principal, audience string) {
		t.Helper()
		got := token(p, audience)
		if twin, ok := seen[got]; ok {
			t.Errorf("%s has the token of %s", name, twin)
		}
		seen[got] = name
	}
	other("audience", alice(), Tools)
	for name, change := range map[string]func(*Principal){
		"subject":   func(p *Principal) { p.Subject = "bob" },
		"workspace": func(p *Principal) { p.Workspace = "shop" },
		"role":      func(p *Principal) { p.Role = Admin },
		"scopes":    func(p *Principal) { p.Scopes = nil },
		"names":     func(p *Principal) { p.Names = []string{"group:sales"} },
	} {
		p := alice()
		change(&p)
		other(name, p, Retriever)
	}
	now = now.Add(reuse)
	other("later", alice(), Retriever)
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := newSigner(t, newKeys(t), Dialog, epoch)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range maxCached {
				p := alice()
				p.Subject = fmt.Sprint(worker, i)
				if _, err := s.Token(t.Context(), p, Retriever); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.cache); n > maxCached {
		t.Errorf("%d tokens kept, at most %d", n, maxCached)
	}
}

// keysThatChange is a key set whose keys can be taken away.
type keysThatChange struct{ now KeySet }

func (k *keysThatChange) Key(kid string) (PublicKey, bool) { return k.now.Key(kid) }

func TestAKnownTokenIsStillChecked(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	trusted := &keysThatChange{keys.Set()}
	now := epoch()
	v := NewVerifier(trusted, func() time.Time { return now })
	token, err := newSigner(t, keys, Dialog, epoch).Token(t.Context(), alice(), Retriever)
	if err != nil {
		t.Fatal(err)
	}
	first, err := v.Verify(token, Retriever)
	if err != nil {
		t.Fatal(err)
	}
	first.Scopes[0] = "changed by who asked first"
	again, err := v.Verify(token, Retriever)
	if diff := cmp.Diff(alice(), again); err != nil || diff != "" {
		t.Errorf("again: %v (-want +got):\n%s", err, diff)
	}
	if _, err := v.Verify(token, Gateway); err == nil {
		t.Error("a known token is good for another service")
	}
	if _, err := v.Verify(token[:len(token)-4]+"AAAA", Retriever); err == nil {
		t.Error("a known token is good with another signature")
	}
	trusted.now = newKeys(t).Set()
	if _, err := v.Verify(token, Retriever); err == nil {
		t.Error("a known token is good though its key is no longer trusted")
	}
	trusted.now = keys.Set()
	now = now.Add(lifetime + skew)
	if _, err := v.Verify(token, Retriever); err == nil {
		t.Error("a known token is good after its time")
	}
}

func TestVerifiersRememberAFewTokens(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	v, s := NewVerifier(keys.Set(), epoch), newSigner(t, keys, Dialog, epoch)
	for i := range maxCached + 10 {
		p := alice()
		p.Subject = fmt.Sprint(i)
		token, err := s.Token(t.Context(), p, Retriever)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Verify(token, Retriever); err != nil || got.Subject != p.Subject {
			t.Fatalf("token %d shows %q, %v", i, got.Subject, err)
		}
	}
	if len(v.known) > maxCached {
		t.Errorf("%d tokens are remembered", len(v.known))
	}
}

func TestNewSignerRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewSigner("stranger", newKeys(t).Private[Dialog], nil); err == nil {
		t.Error("signs for a service that does not exist")
	}
	if _, err := NewSigner(Dialog, nil, nil); err == nil {
		t.Error("signs without a key")
	}
}

func FuzzVerify(f *testing.F) {
	keys := newKeys(f)
	valid, err := newSigner(f, keys, Dialog, epoch).Token(f.Context(), alice(), Retriever)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add("")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(`{"payload":"e30","signatures":[{"protected":"eyJhbGciOiJFZERTQSJ9","signature":""}]}`)
	verifier := NewVerifier(keys.Set(), epoch)
	f.Fuzz(func(t *testing.T, token string) {
		p, err := verifier.Verify(token, Retriever)
		switch {
		case err == nil && token != valid:
			// Base64 leaves unused bits in the last character; only those may differ.
			if len(token) != len(valid) || token[:len(valid)-1] != valid[:len(valid)-1] {
				t.Errorf("forged %q as %+v", token, p)
			}
		case err != nil && fault.KindOf(err) != fault.Unauthenticated:
			t.Errorf("%q: %v", token, err)
		}
	})
}

// Access lists are for the subject by any of their names, and for administrators.
func TestReads(t *testing.T) {
	t.Parallel()
	alice := Principal{Subject: "user:a1", Role: Viewer, Names: []string{"user:alice@example.com", "group:finance"}}
	for name, c := range map[string]struct {
		p       Principal
		readers []string
		want    bool
	}{
		"by subject":     {alice, []string{"user:a1"}, true},
		"by address":     {alice, []string{"group:x", "user:alice@example.com"}, true},
		"by group":       {alice, []string{"group:finance"}, true},
		"not listed":     {alice, []string{"user:bob"}, false},
		"empty list":     {alice, nil, false},
		"nobody's name":  {Principal{Role: Editor}, []string{""}, false},
		"administrator":  {Principal{Subject: "user:b", Role: Admin}, nil, true},
		"role in a name": {Principal{Subject: "admin", Role: Viewer}, []string{"user:admin"}, false},
	} {
		if got := c.p.Reads(c.readers); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
