// Package oidctest is an identity provider for tests, true to the wire: discovery, keys, authorization with PKCE, and tokens
// that are signed. It logs in whoever it is told to, and can be made to do what providers must not.
package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The client that a Provider knows.
const (
	ClientID     = "ragmesh"
	ClientSecret = "the client's secret"
)

// Provider is the identity provider.
type Provider struct {
	server *httptest.Server

	mu     sync.Mutex
	now    func() time.Time
	key    *rsa.PrivateKey
	id     string
	number int
	old    []map[string]any // public keys that are still shown
	person map[string]any
	change func(map[string]any)
	codes  map[string]grant
	away   bool
	asked  int
}

// grant is what a code stands for.
type grant struct{ challenge, nonce, redirect string }

// New starts a provider at which alice is logged in.
func New(tb testing.TB) *Provider {
	tb.Helper()
	p := &Provider{now: time.Now, codes: map[string]grant{}}
	p.Rotate(tb)
	p.old = nil
	p.LogIn(map[string]any{"sub": "248289761001", "name": "Alice", "email": "alice@example.com", "email_verified": true, "groups": []string{"staff"}})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		away := p.away
		p.mu.Unlock()
		if away {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(p.server.Close)
	return p
}

// URL is the provider's issuer URL.
func (p *Provider) URL() string { return p.server.URL }

// SetClock makes the provider live at another time.
func (p *Provider) SetClock(now func() time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

// LogIn says who is at the browser.
func (p *Provider) LogIn(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.person = claims
}

// Spoil changes the ID tokens of logins from now on; nil ends that.
func (p *Provider) Spoil(change func(claims map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change = change
}

// SetAway makes the provider answer nothing, or again.
func (p *Provider) SetAway(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

// Asked returns how often the keys were asked for.
func (p *Provider) Asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// Rotate signs with a new key from now on. The earlier ones are shown until Forget.
func (p *Provider) Rotate(tb testing.TB) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key != nil {
		p.old = append(p.old, p.jwk())
	}
	p.number++
	p.key, p.id = key, "key-"+strconv.Itoa(p.number)
}

// Forget shows the newest key only.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.old = nil
}

// Key returns the key that tokens are signed with, and its id.
func (p *Provider) Key() (*rsa.PrivateKey, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key, p.id
}

// Claims returns what a good token of the person who is logged in says, with changes; nil removes a claim.
func (p *Provider) Claims(changes map[string]any) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims(changes)
}

func (p *Provider) claims(changes map[string]any) map[string]any {
	now := p.now()
	all := map[string]any{"iss": p.server.URL, "aud": ClientID, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, p.person)
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// Token returns a token with the claims of [Provider.Claims].
func (p *Provider) Token(changes map[string]any) string {
	key, id := p.Key()
	return Sign(map[string]any{"alg": "RS256", "typ": "JWT", "kid": id}, p.Claims(changes), key)
}

// Sign returns a token with any header and claims, signed with RS256 whatever the header says.
func Sign(header, claims any, key *rsa.PrivateKey) string {
	return SignBytes(encode(header), encode(claims), key)
}

// SignBytes is Sign for what is no proper JSON.
func SignBytes(header, claims []byte, key *rsa.PrivateKey) string {
	input := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic("oidctest: sign: " + err.Error())
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("oidctest: encode: " + err.Error())
	}
	return data
}

// jwk returns the public key; p.mu is held.
func (p *Provider) jwk() map[string]any {
	return map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": p.id,
		"n": base64.RawURLEncoding.EncodeToString(p.key.N.Bytes()), "e": "AQAB",
	}
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": p.server.URL, "authorization_endpoint": p.server.URL + "/authorize", "token_endpoint": p.server.URL + "/token",
		"jwks_uri": p.server.URL + "/keys", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
	})
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	answer(w, http.StatusOK, map[string]any{"keys": append([]map[string]any{p.jwk()}, p.old...)})
}

// authorize sends the browser back with a code, as if the person had just typed their password.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("response_type") != "code" || q.Get("client_id") != ClientID || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" {
		http.Error(w, "bad authorization request", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = grant{challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), redirect: q.Get("redirect_uri")}
	p.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound) //nolint:gosec // that is what providers do
}

// token trades a code, once, for tokens: if the client, its redirect URI and its verifier are those that the code is for.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if id != ClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(ClientSecret)) != 1 {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	code := r.PostFormValue("code")
	p.mu.Lock()
	g, ok := p.codes[code]
	delete(p.codes, code)
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge || r.PostFormValue("redirect_uri") != g.redirect || r.PostFormValue("grant_type") != "authorization_code" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	key, kid := p.Key()
	claims := p.Claims(map[string]any{"nonce": g.nonce})
	p.mu.Lock()
	change := p.change
	p.mu.Unlock()
	if change != nil {
		change(claims)
	}
	token := Sign(map[string]any{"alg": "RS256", "kid": kid}, claims, key)
	answer(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": token})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
