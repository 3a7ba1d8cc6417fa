// Package login lets people log in with a browser, at the identity providers of the configuration, and out again. A browser
// that is logged in has a cookie which counts like an API key; package access knows what it allows.
package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/oidc"
)

const (
	// attemptFor is how long somebody may take to log in at the provider.
	attemptFor = 10 * time.Minute
	// maxCode bounds a code, and whatever else a provider sends back through the browser.
	maxCode = 4096
	// redeemFor bounds the time for trading a code for a login.
	redeemFor = 15 * time.Second
)

// Providers are the identity providers.
type Providers interface {
	LoginNames() []string
	AuthURL(ctx context.Context, issuer string, t oidc.Attempt) (string, error)
	Redeem(ctx context.Context, issuer, code string, t oidc.Attempt) (map[string]any, error)
}

// Gate is the edge.
type Gate interface {
	// Identify says who sends a request. The context carries them.
	Identify(r *http.Request) (context.Context, access.Grant, error)
	// Try counts an attempt to log in against the sender's address, until it is forgiven.
	Try(r *http.Request) (forgive func(), err error)
	// Person says who somebody is whom a provider vouches for.
	Person(issuer string, claims map[string]any) (access.Person, error)
	// Places returns the workspaces somebody reaches, and their role there.
	Places(ctx context.Context, who access.Grant) ([]Place, error)
	// Note tells the audit trail what somebody did, or why they could not.
	Note(r *http.Request, actor, action, issuer string, err error)
}

// Place is a workspace and what somebody may do there.
type Place struct {
	Workspace string `json:"workspace"`
	Role      string `json:"role"`
}

// Deps is what a Handler needs.
type Deps struct {
	Providers Providers
	Gate      Gate
	Logins    *access.Logins
	Cookies   Cookies
	Lifetime  time.Duration
	Clock     func() time.Time
	// Report tells the access log how a request ended.
	Report func(ctx context.Context, err error)
}

// Handler serves the routes below /auth/. It is safe for concurrent use.
type Handler struct{ deps Deps }

// New returns a Handler.
func New(d Deps) *Handler { return &Handler{deps: d} }

// Routes are the handler's patterns, as [http.ServeMux] takes them.
func (h *Handler) Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /auth/login":    h.login,
		"GET /auth/callback": h.callback,
		"POST /auth/logout":  h.logout,
		"GET /auth/me":       h.me,
		"/auth/":             h.unknown,
	}
}

// Redirect is where providers send browsers back to, when this server has a public address.
func Redirect(publicURL string) string {
	if publicURL == "" {
		return ""
	}
	return publicURL + "/auth/callback"
}

// login sends the browser to a provider.
func (h *Handler) login(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	names := h.deps.Providers.LoginNames()
	issuer := query.Get("issuer")
	if issuer == "" && len(names) == 1 {
		issuer = names[0]
	}
	switch {
	case len(names) == 0:
		h.fail(r.Context(), w, fault.New(fault.NotFound, fault.InvalidRequest, "nobody can log in with a browser here: auth.login.public_url and an auth.oidc with client_id are not configured"))
		return
	case !slices.Contains(names, issuer):
		h.fail(r.Context(), w, fault.New(fault.Invalid, fault.InvalidRequest, "say with which identity provider: /auth/login?issuer=NAME").WithField("issuer", "must be one of the configured providers"))
		return
	}
	a := attempt{
		Attempt: oidc.Attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()},
		Issuer:  issuer, Return: localPath(query.Get("return")), Until: h.deps.Clock().Add(attemptFor),
	}
	to, err := h.deps.Providers.AuthURL(r.Context(), issuer, a.Attempt)
	if err != nil {
		h.fail(r.Context(), w, err)
		return
	}
	h.deps.Cookies.set(w, attemptName, a.encode(), attemptFor)
	h.redirect(w, r, to)
}

// callback is where the provider sends the browser back to.
func (h *Handler) callback(w http.ResponseWriter, r *http.Request) {
	a, known := readAttempt(h.deps.Cookies.value(r.Header, attemptName), h.deps.Clock())
	h.deps.Cookies.set(w, attemptName, "", 0) // an attempt has one end, good or bad
	who, err := h.finish(r, a, known)
	if err != nil {
		h.deps.Gate.Note(r, "", "login", "", err)
		h.fail(r.Context(), w, err)
		return
	}
	ctx := context.WithoutCancel(r.Context()) // once the code is spent, the login is made
	// The browser's earlier login ends, and what it showed before never becomes the new one.
	if err := h.deps.Logins.Delete(ctx, h.deps.Cookies.Login(r.Header)); err != nil {
		h.fail(r.Context(), w, err)
		return
	}
	id, _, err := h.deps.Logins.Create(ctx, who, h.deps.Lifetime)
	if err != nil {
		h.fail(r.Context(), w, err)
		return
	}
	h.deps.Gate.Note(r, who.Subject(), "login", who.Issuer, nil)
	h.deps.Cookies.set(w, loginName, id, h.deps.Lifetime)
	h.redirect(w, r, localPath(a.Return))
}

// finish says who has logged in.
func (h *Handler) finish(r *http.Request, a attempt, known bool) (access.Person, error) {
	query := r.URL.Query()
	state, code := query.Get("state"), query.Get("code")
	forgive, err := h.deps.Gate.Try(r)
	if err != nil {
		return access.Person{}, err
	}
	bad := func(format string, args ...any) error {
		return fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, format, args...)
	}
	switch {
	case !known || subtle.ConstantTimeCompare([]byte(state), []byte(a.State)) != 1:
		return access.Person{}, bad("this login was not begun in this browser, or too long ago; log in again")
	case query.Get("error") != "":
		return access.Person{}, bad("the identity provider did not let you in (%s); log in again", errorCode(query.Get("error")))
	case code == "" || len(code) > maxCode:
		return access.Person{}, bad("the identity provider sent no code; log in again")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), redeemFor)
	defer cancel()
	claims, err := h.deps.Providers.Redeem(ctx, a.Issuer, code, a.Attempt)
	if err != nil {
		if fault.KindOf(err) != fault.Unauthenticated {
			forgive()
		}
		return access.Person{}, err
	}
	forgive()
	return h.deps.Gate.Person(a.Issuer, claims)
}

// errorCode returns a provider's error code if it is one, such as access_denied: anybody can write anything there.
func errorCode(code string) string {
	if len(code) > 64 {
		return "error"
	}
	for _, r := range code {
		if (r < 'a' || r > 'z') && r != '_' {
			return "error"
		}
	}
	return code
}

// logout ends the browser's login, on every replica.
func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	ctx, who, err := h.deps.Gate.Identify(r)
	if err != nil && fault.KindOf(err) != fault.Unauthenticated { // who is not logged in is logged out
		h.fail(r.Context(), w, err)
		return
	}
	if err == nil && who.Person != nil {
		if err := h.deps.Logins.Delete(ctx, h.deps.Cookies.Login(r.Header)); err != nil {
			h.fail(ctx, w, err)
			return
		}
		h.deps.Gate.Note(r, who.Subject, "logout", who.Person.Issuer, nil)
	}
	h.deps.Cookies.set(w, loginName, "", 0)
	quiet(w)
	w.WriteHeader(http.StatusNoContent)
	h.deps.Report(r.Context(), nil)
}

// me is who sends a request.
type me struct {
	Subject    string   `json:"subject"`
	Name       string   `json:"name,omitempty"`
	Email      string   `json:"email,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	Issuer     string   `json:"issuer,omitempty"`
	Scopes     []string `json:"scopes,omitempty"`
	Workspaces []Place  `json:"workspaces"`
}

// me answers with who is asking and what they reach.
func (h *Handler) me(w http.ResponseWriter, r *http.Request) {
	ctx, who, err := h.deps.Gate.Identify(r)
	if err != nil {
		h.fail(r.Context(), w, err)
		return
	}
	out := me{Subject: who.Subject, Scopes: who.Scopes}
	if p := who.Person; p != nil {
		out.Name, out.Email, out.Groups, out.Issuer = p.Display, p.Email, p.Groups, p.Issuer
	}
	if out.Workspaces, err = h.deps.Gate.Places(ctx, who); err != nil {
		h.fail(ctx, w, err)
		return
	}
	answer(w, http.StatusOK, out)
	h.deps.Report(ctx, nil)
}

func (h *Handler) unknown(w http.ResponseWriter, r *http.Request) {
	h.fail(r.Context(), w, fault.New(fault.NotFound, fault.InvalidRequest, "there are GET /auth/login, GET /auth/callback, POST /auth/logout and GET /auth/me"))
}

// refusal is what is said instead of an answer. Who must log in is told where.
type refusal struct {
	Code    string  `json:"code"`
	Reason  string  `json:"reason"`
	Message string  `json:"message"`
	Login   []entry `json:"login,omitempty"`
}

type entry struct {
	Issuer string `json:"issuer"`
	URL    string `json:"url"`
}

func (h *Handler) fail(ctx context.Context, w http.ResponseWriter, err error) {
	f := fault.As(err)
	status, code := statusOf(f.Kind)
	out := refusal{Code: code, Reason: fault.ReasonName(f.Reason), Message: f.Message}
	if f.Kind == fault.Unauthenticated {
		for _, name := range h.deps.Providers.LoginNames() {
			out.Login = append(out.Login, entry{Issuer: name, URL: "/auth/login?issuer=" + url.QueryEscape(name)})
		}
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(max(int(f.RetryAfter.Seconds()), 1)))
	}
	answer(w, status, out)
	h.deps.Report(ctx, err)
}

// statusOf returns a kind's status, and its code as Connect has it in JSON.
func statusOf(k fault.Kind) (status int, code string) {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest, "invalid_argument"
	case fault.Unauthenticated:
		return http.StatusUnauthorized, "unauthenticated"
	case fault.Denied:
		return http.StatusForbidden, "permission_denied"
	case fault.NotFound:
		return http.StatusNotFound, "not_found"
	case fault.Exhausted:
		return http.StatusTooManyRequests, "resource_exhausted"
	case fault.Unavailable, fault.Timeout:
		return http.StatusServiceUnavailable, "unavailable"
	default:
		return http.StatusInternalServerError, "internal"
	}
}

// redirect sends the browser on. The address it comes from, with the code in it, is nobody's business.
func (h *Handler) redirect(w http.ResponseWriter, r *http.Request, to string) {
	quiet(w)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	h.deps.Report(r.Context(), nil)
}

func answer(w http.ResponseWriter, status int, v any) {
	quiet(w)
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// quiet keeps an answer out of caches and its address out of others' logs.
func quiet(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}
