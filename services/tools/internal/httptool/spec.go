// Package httptool makes tools of HTTP endpoints that are declared in YAML. Where a tool may go is declared too: every host
// and every address that is not public has to be on the plugin's egress list, redirects included, and what a person or a
// model puts into arguments never changes the host, the path's shape or a header. Secrets come by reference and appear in no
// error and no log.
package httptool

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/ohler55/ojg/jp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
)

// Bounds of a plugin.
const (
	DefaultTimeout  = 5 * time.Second
	maxTimeout      = time.Minute
	defaultMaxBytes = 64 << 10
	maxMaxBytes     = 1 << 20
)

// Spec is a plugin file, tools/<name>.yaml. The file's stem is the tool's name.
type Spec struct {
	Description map[string]string `yaml:"description" doc:"What the tool does, for people and models, by language (en, zh)."`
	InputSchema map[string]any    `yaml:"input_schema" doc:"JSON Schema (draft 2020-12) of the arguments, of type object."`
	Method      string            `yaml:"method" doc:"GET, POST, PUT, PATCH or DELETE; GET when empty."`
	URL         string            `yaml:"url" doc:"Address; {argument} in its path is replaced, percent-escaped. The host is literal."`
	Query       map[string]string `yaml:"query" doc:"Query parameters; {argument} is replaced. A parameter whose argument is absent is left out."`
	Body        map[string]string `yaml:"body" doc:"Fields of a JSON body; a value that is exactly {argument} keeps the argument's JSON type."`
	Headers     map[string]Header `yaml:"headers" doc:"Request headers, literal or by secret reference."`
	Auth        Auth              `yaml:"auth" doc:"How the tool shows who it is."`
	Timeout     time.Duration     `yaml:"timeout" doc:"Longest a call may take. Duration, up to 1m; 5s when 0."`
	Egress      []string          `yaml:"egress" doc:"Hosts the tool may contact, redirects included (api.example.com, *.example.com, host:port), and networks (10.0.0.0/8) that may hold their addresses. Addresses that are not public are refused unless a network or literal address here holds them. Empty: the URL's host only."`
	Response    Response          `yaml:"response" doc:"What becomes of the response."`
	SideEffects bool              `yaml:"side_effects" doc:"The call changes something outside and needs approval."`
}

// Header is a header's value.
type Header struct {
	Value  string        `yaml:"value" doc:"Literal value."`
	Secret config.Secret `yaml:"secret" doc:"Reference to the value."`
}

// Auth is how a tool shows who it is.
type Auth struct {
	Bearer config.Secret `yaml:"bearer" doc:"Reference to a bearer token."`
}

// Response says what becomes of a response.
type Response struct {
	Path     string       `yaml:"path" doc:"JSONPath of the part to keep, for example $.data.balance; empty keeps all."`
	Text     string       `yaml:"text" doc:"Go text template of the result's text over the kept part (.) ; empty gives the part as JSON."`
	MaxBytes config.Bytes `yaml:"max_bytes" doc:"Largest response that is read. Bytes, up to 1MiB; 64KiB when 0."`
}

// Validate checks the file, for the loader, which adds the place.
func (s Spec) Validate() error {
	_, err := compile("", s)
	return err
}

// plugin is a Spec that was checked and taken apart.
type plugin struct {
	name     string
	method   string
	base     *url.URL // scheme and host
	path     pattern
	query    []parameter
	body     []parameter
	headers  map[string]Header
	bearer   config.Secret
	egress   egress
	selectOf jp.Expr
	text     *template.Template
	maxBytes int64
}

type parameter struct {
	name  string
	value pattern
}

func isPlaceholder(s string) bool { return placeholder().MatchString(s) }

func placeholder() *regexp.Regexp { return regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`) }

// compile checks spec. Its errors name the key that is wrong.
func compile(name string, s Spec) (*plugin, error) {
	p := &plugin{name: name, headers: s.Headers, bearer: s.Auth.Bearer, maxBytes: int64(s.Response.MaxBytes)}
	if err := registry.CheckSchema(s.InputSchema); err != nil {
		return nil, config.Invalid("input_schema", "is wrong: %s", err)
	}
	for _, step := range []func(Spec) error{p.setMethod, p.setURL, p.setParameters, p.setHeaders, p.setResponse} {
		if err := step(s); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *plugin) setMethod(s Spec) error {
	p.method = strings.ToUpper(s.Method)
	if p.method == "" {
		p.method = http.MethodGet
	}
	allowed := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	if !slices.Contains(allowed, p.method) {
		return config.Invalid("method", "must be one of %s, not %q", strings.Join(allowed, ", "), s.Method)
	}
	if len(s.Body) > 0 && p.method == http.MethodGet {
		return config.Invalid("body", "must be empty: a GET request has none")
	}
	if s.Timeout < 0 || s.Timeout > maxTimeout {
		return config.Invalid("timeout", "must be 0 to %s, not %s", maxTimeout, s.Timeout)
	}
	return nil
}

func (p *plugin) setURL(s Spec) error {
	scheme, rest, ok := strings.Cut(s.URL, "://")
	if !ok || (scheme != "http" && scheme != "https") {
		return config.Invalid("url", "must begin with http:// or https://")
	}
	host, path, _ := strings.Cut(rest, "/")
	if host == "" || strings.ContainsAny(host, "{}@?#") {
		return config.Invalid("url", "must have a literal host, without user, query or {argument}")
	}
	if strings.ContainsAny(path, "?#") {
		return config.Invalid("url", "must not have a query; parameters belong under query")
	}
	base, err := url.Parse(scheme + "://" + host)
	if err != nil {
		return config.Invalid("url", "has a malformed host")
	}
	p.base = base
	if p.path, err = parsePattern("/"+path, s.InputSchema, true); err != nil {
		return config.Invalid("url", "is wrong: %s", err)
	}
	if p.egress, err = parseEgress(s.Egress, base); err != nil {
		return config.Invalid("egress", "is wrong: %s", err)
	}
	return nil
}

func (p *plugin) setParameters(s Spec) error {
	var err error
	if p.query, err = parseParameters("query", s.Query, s.InputSchema); err != nil {
		return err
	}
	if p.body, err = parseParameters("body", s.Body, s.InputSchema); err != nil {
		return err
	}
	return nil
}

func parseParameters(key string, values map[string]string, schema map[string]any) ([]parameter, error) {
	var out []parameter
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v, err := parsePattern(values[name], schema, false)
		if err != nil {
			return nil, config.Invalid(key+"."+name, "is wrong: %s", err)
		}
		out = append(out, parameter{name: name, value: v})
	}
	return out, nil
}

func (p *plugin) setHeaders(s Spec) error {
	for name, h := range s.Headers {
		switch canonical := http.CanonicalHeaderKey(name); {
		case canonical == "Host" || canonical == "Content-Length" || canonical == "Transfer-Encoding" || canonical == "Connection":
			return config.Invalid("headers."+name, "can't be set")
		case canonical == "Authorization" && !s.Auth.Bearer.IsZero():
			return config.Invalid("headers."+name, "is set by auth.bearer already")
		case (h.Value == "") == h.Secret.IsZero():
			return config.Invalid("headers."+name, "must have either value or secret")
		case isPlaceholder(h.Value):
			return config.Invalid("headers."+name, "must be literal: arguments can't go into headers")
		}
	}
	return nil
}

func (p *plugin) setResponse(s Spec) error {
	if p.maxBytes == 0 {
		p.maxBytes = defaultMaxBytes
	}
	if p.maxBytes < 0 || p.maxBytes > maxMaxBytes {
		return config.Invalid("response.max_bytes", "must be 0 to 1MiB")
	}
	if s.Response.Path != "" {
		x, err := jp.ParseString(s.Response.Path)
		if err != nil {
			return config.Invalid("response.path", "is no JSONPath: %s", err)
		}
		p.selectOf = x
	}
	if s.Response.Text != "" {
		t, err := template.New("text").Option("missingkey=error").Parse(s.Response.Text)
		if err != nil {
			return config.Invalid("response.text", "is no template: %s", err)
		}
		p.text = t
	}
	return nil
}
