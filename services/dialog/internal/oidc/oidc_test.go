package oidc

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/oidc/oidctest"
)

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuer is the configuration of a provider for tests.
func issuer(p *oidctest.Provider, name string) access.Issuer {
	cfg := access.Config{OIDC: []access.Issuer{{Name: name, URL: p.URL(), ClientID: oidctest.ClientID, Audiences: []string{oidctest.ClientID, "api"}}}}
	return cfg.Issuers()[0]
}

func providers(t *testing.T, c *clock, issuers ...access.Issuer) *Providers {
	t.Helper()
	all, err := New(issuers, Options{Redirect: "http://localhost/auth/callback", Clock: c.Now, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func newProvider(t *testing.T, c *clock) *oidctest.Provider {
	t.Helper()
	p := oidctest.New(t)
	p.SetClock(c.Now)
	return p
}

func TestGoodTokens(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := newProvider(t, c)
	all := providers(t, c, issuer(p, "corp"))
	key, kid := p.Key()
	for name, token := range map[string]string{
		"plain":                    p.Token(nil),
		"for another audience":     p.Token(map[string]any{"aud": []string{"other", "api"}}),
		"of an access token":       oidctest.Sign(map[string]any{"alg": "RS256", "kid": kid, "typ": "at+jwt"}, p.Claims(nil), key),
		"of one, written whole":    oidctest.Sign(map[string]any{"alg": "RS256", "kid": kid, "typ": "application/AT+JWT"}, p.Claims(nil), key),
		"without key id":           oidctest.Sign(map[string]any{"alg": "RS256"}, p.Claims(nil), key),
		"expired within the skew":  p.Token(map[string]any{"exp": c.Now().Add(-20 * time.Second).Unix()}),
		"made ahead of our clock":  p.Token(map[string]any{"iat": c.Now().Add(20 * time.Second).Unix(), "nbf": c.Now().Add(20 * time.Second).Unix()}),
		"with fractions of time":   p.Token(map[string]any{"exp": float64(c.Now().Unix()) + 10.5}),
		"without a time it starts": p.Token(map[string]any{"iat": nil}),
	} {
		claims, err := all.Verify(t.Context(), "corp", token, true)
		if err != nil || claims["sub"] != "248289761001" {
			t.Errorf("%s: %v %v", name, claims, err)
		}
	}
}

// forge returns a token with a made-up signature.
func forge(header, claims map[string]any, signature []byte) string {
	return input(header, claims) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func input(header, claims map[string]any) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	return base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
}

func TestConfusedTokens(t *testing.T) {
	t.Parallel()
	c := newClock()
	p, other := newProvider(t, c), newProvider(t, c)
	key, kid := p.Key()
	otherKey, otherID := other.Key()
	other.Rotate(t) // its second key has a name of its own
	_, otherSecond := other.Key()
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	all := providers(t, c, issuer(p, "corp"), issuer(other, "partner"))
	if _, err := all.Verify(t.Context(), "corp", p.Token(nil), true); err != nil {
		t.Fatal(err)
	}
	symmetric := func(secret []byte, alg string) string {
		header := map[string]any{"alg": alg, "kid": kid}
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input(header, p.Claims(nil))))
		return forge(header, p.Claims(nil), mac.Sum(nil))
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwk := map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(stranger.N.Bytes()), "e": "AQAB", "kid": kid}
	good := p.Claims(nil)
	header := func(changes map[string]any) map[string]any {
		h := map[string]any{"alg": "RS256", "kid": kid}
		for k, v := range changes {
			h[k] = v
		}
		return h
	}
	signed := strings.Split(p.Token(nil), ".")
	raw := func(payload string) string {
		h, _ := json.Marshal(header(nil))
		return oidctest.SignBytes(h, []byte(payload), key)
	}
	body, _ := json.Marshal(good)
	doubled := func(claim, value string) string {
		return raw(strings.TrimSuffix(string(body), "}") + `,"` + claim + `":` + value + "}")
	}
	at := func(d time.Duration) int64 { return c.Now().Add(d).Unix() }

	for name, token := range map[string]string{
		"alg none":                         forge(map[string]any{"alg": "none"}, good, nil),
		"alg None":                         forge(map[string]any{"alg": "None"}, good, nil),
		"alg none with the old signature":  input(map[string]any{"alg": "none", "kid": kid}, good) + "." + signed[2],
		"no alg":                           forge(map[string]any{"kid": kid}, good, []byte("x")),
		"HS256 with the public key, PEM":   symmetric(public, "HS256"),
		"HS256 with the public key, DER":   symmetric(der, "HS256"),
		"HS256 with the modulus":           symmetric(key.N.Bytes(), "HS256"),
		"HS256 with nothing":               symmetric(nil, "HS256"),
		"another algorithm of the family":  input(header(map[string]any{"alg": "PS256"}), good) + "." + signed[2],
		"an algorithm of another family":   input(header(map[string]any{"alg": "ES256"}), good) + "." + signed[2],
		"signed by a stranger":             oidctest.Sign(header(nil), good, stranger),
		"signature cut off":                signed[0] + "." + signed[1] + ".",
		"signature of something else":      signed[0] + "." + signed[1] + "." + strings.Split(p.Token(map[string]any{"x": 1}), ".")[2],
		"unknown key":                      oidctest.Sign(header(map[string]any{"kid": "nobody"}), good, key),
		"key id is a path":                 oidctest.Sign(header(map[string]any{"kid": "../../../../dev/null"}), good, key),
		"key id is an address":             oidctest.Sign(header(map[string]any{"kid": other.URL() + "/keys"}), good, key),
		"key id is SQL":                    oidctest.Sign(header(map[string]any{"kid": "x' UNION SELECT 'y"}), good, key),
		"key id is endless":                oidctest.Sign(header(map[string]any{"kid": strings.Repeat("k", 5000)}), good, key),
		"key id is a number":               oidctest.Sign(header(map[string]any{"kid": 1}), good, key),
		"key of the other provider":        oidctest.Sign(header(map[string]any{"kid": otherSecond}), good, otherKey),
		"the other provider's, same name":  oidctest.Sign(header(map[string]any{"kid": otherID}), good, otherKey),
		"the other provider's token":       other.Token(nil),
		"the other's, with our issuer":     other.Token(map[string]any{"iss": p.URL()}),
		"brings its own key":               oidctest.Sign(header(map[string]any{"jwk": jwk}), good, stranger),
		"brings its own key, no key id":    oidctest.Sign(map[string]any{"alg": "RS256", "jwk": jwk}, good, stranger),
		"says where its keys are":          oidctest.Sign(header(map[string]any{"jku": other.URL() + "/keys", "kid": otherSecond}), good, otherKey),
		"says where its certificate is":    oidctest.Sign(header(map[string]any{"x5u": other.URL() + "/keys"}), good, stranger),
		"brings a certificate":             oidctest.Sign(header(map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(der)}}), good, stranger),
		"demands what nobody knows":        oidctest.Sign(header(map[string]any{"crit": []string{"exp"}, "exp": 1}), good, key),
		"payload not encoded":              oidctest.Sign(header(map[string]any{"crit": []string{"b64"}, "b64": false}), good, key),
		"of another issuer":                p.Token(map[string]any{"iss": "https://evil.example"}),
		"of nearly the issuer":             p.Token(map[string]any{"iss": p.URL() + "/"}),
		"of no issuer":                     p.Token(map[string]any{"iss": nil}),
		"of two issuers":                   p.Token(map[string]any{"iss": []string{p.URL(), "x"}}),
		"for another audience":             p.Token(map[string]any{"aud": "other"}),
		"for nobody":                       p.Token(map[string]any{"aud": nil}),
		"for a part of our name":           p.Token(map[string]any{"aud": "rag"}),
		"about nobody":                     p.Token(map[string]any{"sub": ""}),
		"expired":                          p.Token(map[string]any{"exp": at(-31 * time.Second)}),
		"never expires":                    p.Token(map[string]any{"exp": nil}),
		"expires in words":                 p.Token(map[string]any{"exp": "tomorrow"}),
		"not good yet":                     p.Token(map[string]any{"nbf": at(31 * time.Second)}),
		"from the future":                  p.Token(map[string]any{"iat": at(31 * time.Second)}),
		"bound to a key":                   p.Token(map[string]any{"cnf": map[string]any{"jkt": "x"}}),
		"a notice of a logout":             p.Token(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}),
		"of the type of a notice":          oidctest.Sign(header(map[string]any{"typ": "logout+jwt"}), good, key),
		"of the type of a proof":           oidctest.Sign(header(map[string]any{"typ": "dpop+jwt"}), good, key),
		"with two issuers":                 doubled("iss", `"`+p.URL()+`"`),
		"with two audiences":               doubled("aud", `"api"`),
		"with two subjects":                doubled("sub", `"root"`),
		"with two ends":                    doubled("exp", "99999999999"),
		"with its issuer in another case":  p.Token(map[string]any{"iss": nil, "ISS": p.URL()}),
		"with its subject in another case": p.Token(map[string]any{"sub": nil, "Sub": "root"}),
		"a token in a token":               raw(`"` + p.Token(nil) + `"`),
		"a token as the payload":           raw(p.Token(nil)),
		"a list":                           raw("[]"),
		"no JSON":                          raw("{"),
		"encrypted":                        "a.b.c.d.e",
		"written in JSON":                  `{"payload":"` + signed[1] + `","signatures":[{"protected":"` + signed[0] + `","signature":"` + signed[2] + `"}]}`,
		"with spaces":                      " " + p.Token(nil),
		"with padding":                     p.Token(nil) + "==",
		"with nothing in it":               "..",
		"empty":                            "",
	} {
		claims, err := all.Verify(t.Context(), "corp", token, true)
		if fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v %v", name, claims, err)
		}
		if err != nil && len(token) > 20 && strings.Contains(fault.As(err).Message, token[:20]) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
	if _, err := all.Verify(t.Context(), "nobody", p.Token(nil), true); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a provider that is not there: %v", err)
	}
	if n := other.Asked(); n > 0 {
		t.Errorf("the other provider was asked %d times for what is not its own", n)
	}
}

func TestAlgorithmsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := newProvider(t, c)
	cfg := issuer(p, "corp")
	cfg.Algorithms = []string{"ES256"}
	if _, err := providers(t, c, cfg).Verify(t.Context(), "corp", p.Token(nil), true); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("RS256 where only ES256 is allowed: %v", err)
	}
}

func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := newProvider(t, c)
	all := providers(t, c, issuer(p, "corp"))
	verify := func(token string) error {
		_, err := all.Verify(t.Context(), "corp", token, true)
		return err
	}
	before := p.Token(nil)
	if err := verify(before); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute)
	p.Rotate(t)
	if err := verify(p.Token(nil)); err != nil {
		t.Errorf("signed with the new key: %v", err)
	}
	if err := verify(before); err != nil {
		t.Errorf("signed with the old key, which is still shown: %v", err)
	}
	asked := p.Asked()
	// Made-up key ids don't make us bother the provider.
	for i := range 50 {
		key, _ := p.Key()
		if err := verify(oidctest.Sign(map[string]any{"alg": "RS256", "kid": strings.Repeat("x", i+1)}, p.Claims(nil), key)); fault.KindOf(err) != fault.Unauthenticated {
			t.Fatalf("unknown key: %v", err)
		}
	}
	if n := p.Asked() - asked; n != 0 {
		t.Errorf("the provider was asked %d times within %s", n, between)
	}
	// A second rotation right after the first is noticed once it may be asked again.
	p.Rotate(t)
	after := p.Token(nil)
	if err := verify(after); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("too soon: %v", err)
	}
	c.pass(between)
	if err := verify(after); err != nil {
		t.Errorf("later: %v", err)
	}
	// A key that was taken back counts no more once the keys have been read again.
	p.Forget()
	c.pass(between)
	if err := all.list[0].refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := verify(p.Token(nil)); err != nil {
		t.Error(err)
	}
	if err := verify(before); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("signed with a key that was taken back: %v", err)
	}
}

func TestProviderIsAway(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := newProvider(t, c)
	p.SetAway(true)
	all := providers(t, c, issuer(p, "corp"))
	token := p.Token(map[string]any{"exp": c.Now().Add(48 * time.Hour).Unix()})
	verify := func(online bool) error {
		_, err := all.Verify(t.Context(), "corp", token, online)
		return err
	}
	if err := verify(true); fault.KindOf(err) != fault.Unavailable || fault.As(err).RetryAfter == 0 {
		t.Errorf("away from the start: %v", err)
	}
	if _, err := all.AuthURL(t.Context(), "corp", Attempt{State: "s", Nonce: "n", Verifier: "v"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("log in while it is away: %v", err)
	}
	if s := all.States(); s[0].Ready || s[0].Problem == "" {
		t.Errorf("state %+v", s)
	}
	p.SetAway(false)
	c.pass(betweenFirst)
	if err := verify(false); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("offline, without keys: %v", err)
	}
	if err := verify(true); err != nil {
		t.Errorf("back: %v", err)
	}
	if s := all.States(); !s[0].Ready || s[0].Problem != "" {
		t.Errorf("state %+v", s)
	}
	asked := p.Asked()
	p.SetAway(true)
	c.pass(maxKeyAge - time.Minute)
	if err := verify(false); err != nil {
		t.Errorf("away for a day, offline: %v", err)
	}
	if n := p.Asked() - asked; n != 0 {
		t.Errorf("asked %d times although offline", n)
	}
	c.pass(2 * time.Minute)
	if err := verify(true); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("away for longer: %v", err)
	}
}

func TestUnknownKeyWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := newProvider(t, c)
	all := providers(t, c, issuer(p, "corp"))
	if _, err := all.Verify(t.Context(), "corp", p.Token(nil), true); err != nil {
		t.Fatal(err)
	}
	p.Rotate(t)
	p.SetAway(true)
	c.pass(between)
	// It may be the provider's newest: nobody can say, so it is not called bad.
	if _, err := all.Verify(t.Context(), "corp", p.Token(nil), true); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestReadKeysLeavesOutWhatIsNoUse(t *testing.T) {
	t.Parallel()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	n := base64.RawURLEncoding.EncodeToString(short.N.Bytes())
	for name, set := range map[string]string{
		"symmetric":      `{"keys":[{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0","kid":"a"}]}`,
		"short":          `{"keys":[{"kty":"RSA","n":"` + n + `","e":"AQAB","kid":"a"}]}`,
		"for encryption": `{"keys":[{"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`,
		"unknown kind":   `{"keys":[{"kty":"XYZ"}]}`,
		"none":           `{"keys":[]}`,
		"no JSON":        `<html>`,
	} {
		if keys, err := readKeys([]byte(set)); err == nil {
			t.Errorf("%s: %v", name, keys)
		}
	}
	keys, err := readKeys([]byte(`{"keys":[{"kty":"XYZ"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`))
	if err != nil || len(keys) != 1 || !keys[0].fits("EdDSA") || keys[0].fits("RS256") || keys[0].fits("ES256") {
		t.Errorf("%v %v", keys, err)
	}
}

func FuzzVerify(f *testing.F) {
	c := newClock()
	p := oidctest.New(f)
	p.SetClock(c.Now)
	cfg := access.Config{OIDC: []access.Issuer{{Name: "corp", URL: p.URL(), Audiences: []string{oidctest.ClientID}}}}
	all, err := New(cfg.Issuers(), Options{Clock: c.Now, Log: zerolog.Nop()})
	if err != nil {
		f.Fatal(err)
	}
	good := p.Token(nil)
	if _, err := all.Verify(f.Context(), "corp", good, true); err != nil {
		f.Fatal(err)
	}
	f.Add("a.b.c")
	f.Add(good[:len(good)-4])
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := all.Verify(t.Context(), "corp", token, false); err == nil && token != good {
			t.Fatalf("%q is good", token)
		}
	})
}
