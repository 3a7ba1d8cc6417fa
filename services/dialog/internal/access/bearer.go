package access

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// maxToken bounds a bearer token. Those of providers that list a person's groups have a few KiB.
const maxToken = 16 << 10

// bearer returns the token of a request's Authorization headers; "" when there are none.
func bearer(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default: // a proxy might look at another one than we do
		return "", fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "send one Authorization header, not %d", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return "", fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "send an API key or a token as \"Authorization: Bearer ...\"")
	case len(token) > maxToken:
		return "", fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "the token is longer than %d bytes", maxToken)
	case strings.ContainsAny(token, " \t\r\n,"):
		return "", fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "send one token, without spaces")
	}
	return token, nil
}

// isJWT reports what looks like a signed JSON Web Token: three parts. An API key has one.
func isJWT(token string) bool { return strings.Count(token, ".") == 2 }

// issuerOf returns who a token says has made it, which is proved by nothing yet: it only says whom to ask.
func issuerOf(token string) (string, bool) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil {
		return "", false
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(data, &claims) != nil || claims.Issuer == "" {
		return "", false
	}
	return claims.Issuer, true
}
