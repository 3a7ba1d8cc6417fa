// Package web is the edge's door for HTTP: every request passes it before anything else sees it, whatever protocol it speaks and
// whether anybody serves its path. It refuses what no honest client sends (paths that mean something else than they say, bodies
// beyond the bound, pages of other sites where nobody has to show who they are), answers browsers' questions about pages of
// allowed origins (CORS), and gives every answer the headers that keep browsers from doing more with it than reading it.
package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/rs/cors"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
)

// Config says what browsers may do.
type Config struct {
	Origins []string      `yaml:"allowed_origins" doc:"Sites whose pages may call this server from a browser (CORS), each as https://host or https://host:port. None when empty."`
	HSTS    time.Duration `yaml:"hsts" doc:"How long browsers remember to come with TLS only (Strict-Transport-Security), for a server that a proxy with TLS stands before. Duration, up to 2 years (17520h); 0 for no such header."`
}

// maxHSTS is what browsers' lists of such servers ask for.
const maxHSTS = 2 * 365 * 24 * time.Hour

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var wrong []error
	for i, origin := range c.Origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.Contains(origin, "*") {
			wrong = append(wrong, config.Invalid(fmt.Sprintf("allowed_origins[%d]", i), "must be a scheme and a host, such as https://intranet.example, not %q", origin))
		}
	}
	if c.HSTS < 0 || c.HSTS > maxHSTS {
		wrong = append(wrong, config.Invalid("hsts", "must be 0s to %s, not %s", maxHSTS, c.HSTS))
	}
	return errors.Join(wrong...)
}

// Allows says whether pages of an origin may call.
func (c Config) Allows(origin string) bool {
	return slices.ContainsFunc(c.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
}

// Deps are what a Door asks.
type Deps struct {
	// Site refuses requests from other sites where that is to be refused. The origin is empty when the request has none, or an
	// allowed one.
	Site func(r *http.Request, origin string) error
	// Methods and Exposed are the methods that pages of allowed origins may use, and the headers of answers that they may read.
	Methods, Exposed []string
	// Refuse answers a request that is not let in.
	Refuse func(w http.ResponseWriter, r *http.Request, f *fault.Error)
}

// Door lets requests in. It is safe for concurrent use.
type Door struct {
	cfg   Config
	deps  Deps
	cors  *cors.Cors // nil when no page of another site may call
	bytes atomic.Int64
}

// New returns a door for bodies of at most so many bytes.
func New(cfg Config, bytes int64, deps Deps) *Door {
	d := &Door{cfg: cfg, deps: deps}
	d.Bound(bytes)
	if len(cfg.Origins) > 0 {
		d.cors = cors.New(cors.Options{
			AllowedOrigins: cfg.Origins,
			AllowedMethods: deps.Methods,
			// An allowed page may send what it likes: whether it is let in depends on the key it has, which no browser adds.
			AllowedHeaders: []string{"*"},
			ExposedHeaders: deps.Exposed,
			MaxAge:         7200,
		})
	}
	return d
}

// Bound changes how large bodies may be.
func (d *Door) Bound(bytes int64) { d.bytes.Store(bytes) }

// Wrap returns what serves next to those whom the door lets in.
func (d *Door) Wrap(next http.Handler) http.Handler {
	if d.cors != nil {
		next = d.cors.Handler(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mark(w.Header())
		if err := d.check(r); err != nil {
			d.deps.Refuse(w, r, fault.As(err))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, d.bytes.Load())
		next.ServeHTTP(w, r)
	})
}

// mark sets what every answer says to browsers, unless its handler knows better: that it is what it says it is, that nothing in
// it is to be run or framed, that its address is nobody else's business, and that it is not to be kept.
func (d *Door) mark(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if d.cfg.HSTS > 0 {
		h.Set("Strict-Transport-Security", fmt.Sprintf("max-age=%d", int(d.cfg.HSTS.Seconds())))
	}
}

func (d *Door) check(r *http.Request) error {
	if !plainPath(r.URL) {
		return fault.New(fault.Invalid, fault.InvalidRequest, "the path is not written as it is served; leave out empty, dotted and encoded parts")
	}
	if most := d.bytes.Load(); r.ContentLength > most {
		return fault.New(fault.Exhausted, fault.RequestTooLarge, "the request is too large (%d bytes, at most %d); send less at once, and documents in parts", r.ContentLength, most)
	}
	if len(r.Header["Authorization"]) > 1 || len(r.Header["Origin"]) > 1 || len(r.Header["Content-Type"]) > 1 {
		return fault.New(fault.Invalid, fault.InvalidRequest, "a header that may come once came more often")
	}
	origin := r.Header.Get("Origin")
	if origin != "" && d.cfg.Allows(origin) {
		origin = ""
	}
	return d.deps.Site(r, origin)
}

// plainPath says whether a path means what it says to everybody on the way: proxies, logs and this server's routes.
func plainPath(u *url.URL) bool {
	p := u.Path
	if p == "*" { // of OPTIONS
		return true
	}
	clean := path.Clean(p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	if clean != p || !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return false
	}
	encoded := strings.ToLower(u.EscapedPath())
	if rest, ok := strings.CutPrefix(encoded, "/v1/models/"); ok { // a model's name has a slash in it, which clients encode
		encoded = strings.ReplaceAll(rest, "%2f", "")
	}
	for _, hidden := range []string{"%2f", "%2e", "%25"} {
		if strings.Contains(encoded, hidden) {
			return false
		}
	}
	return true
}
