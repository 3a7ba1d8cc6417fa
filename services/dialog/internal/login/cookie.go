package login

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/services/dialog/internal/oidc"
)

// Cookies are what browsers keep for us. Secure ones have a prefix with which browsers take them only from this very host over
// TLS, so that no page of a neighbouring host can set one.
type Cookies struct{ secure bool }

// NewCookies returns the cookies of a server that browsers reach at an address.
func NewCookies(publicURL string) Cookies {
	return Cookies{secure: strings.HasPrefix(publicURL, "https://")}
}

const (
	loginName   = "ragmesh_login"
	attemptName = "ragmesh_attempt"
)

func (c Cookies) name(name string) string {
	if c.secure {
		return "__Host-" + name
	}
	return name
}

// Login returns what a request's cookie says of a login. It is empty where there is none, or more than one.
func (c Cookies) Login(header http.Header) string { return c.value(header, loginName) }

func (c Cookies) value(header http.Header, name string) string {
	if len(header["Cookie"]) == 0 {
		return ""
	}
	found := (&http.Request{Header: header}).CookiesNamed(c.name(name))
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

func (c Cookies) set(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	cookie := &http.Cookie{ //nolint:gosec // not Secure only where the server is reached without TLS, on this machine
		Name: c.name(name), Value: value, Path: "/", MaxAge: int(lifetime.Seconds()), Secure: c.secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // Strict would hide the attempt from the provider's redirect
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// attempt is a login under way. Only the browser that began it has it: that is what keeps one person's login out of another's
// browser, whoever sends the link.
type attempt struct {
	oidc.Attempt
	Issuer string    `json:"issuer"`
	Return string    `json:"return"`
	Until  time.Time `json:"until"`
}

func (a attempt) encode() string {
	data, err := json.Marshal(a)
	if err != nil {
		panic("login: encode attempt: " + err.Error()) // texts and a time
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// readAttempt reads what encode wrote. The browser's owner may have changed it, which spoils nobody's login but their own.
func readAttempt(value string, now time.Time) (attempt, bool) {
	data, err := base64.RawURLEncoding.DecodeString(value)
	var a attempt
	if err != nil || json.Unmarshal(data, &a) != nil || a.State == "" || a.Nonce == "" || a.Verifier == "" || !now.Before(a.Until) {
		return attempt{}, false
	}
	return a, true
}

// afterwards is where a browser goes when nothing else was asked for.
const afterwards = "/auth/me"

// localPath returns where to go after the login: a path of this server, or the usual one when it is anything else. Browsers
// read \ as / and skip control characters, so that neither may be in it.
func localPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || len(path) > 2048 || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsRune(path, '\\') ||
		strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f }) ||
		strings.HasPrefix(u.Path, "/auth/") || strings.HasPrefix(u.Path, "//") || strings.ContainsRune(u.Path, '\\') {
		return afterwards
	}
	return path
}
