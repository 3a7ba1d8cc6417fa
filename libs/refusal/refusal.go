// Package refusal says faults in the words of OpenAI's HTTP API, for the services that speak it: a status, a type, a code and
// the parameter at fault, as OpenAI's clients read them.
package refusal

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Error is OpenAI's form of an error.
type Error struct {
	Error Body `json:"error"`
}

// Body is what is said of it.
type Body struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// Invalid is the fault of a parameter; without one, of the request.
func Invalid(param, format string, a ...any) error {
	f := fault.New(fault.Invalid, fault.InvalidRequest, format, a...)
	if param != "" {
		f = f.WithField(param, f.Message)
	}
	return f
}

// NoModel is the fault of a model that is not there, or that the caller may not use.
func NoModel(id string) error {
	return fault.New(fault.NotFound, fault.ModelNotFound, "The model `%s` does not exist or you do not have access to it.", Clip(id, 128)).WithField("model", "must be one of GET /v1/models")
}

const (
	invalidRequest = "invalid_request_error"
	serverError    = "server_error"
	noQuota        = "insufficient_quota"
)

// statusOf is the table between our kinds and OpenAI's statuses and types. Clients of OpenAI repeat what got 408, 409, 429 or
// 5xx by themselves.
func statusOf(k fault.Kind) (int, string) {
	switch k {
	case fault.Invalid, fault.Precondition:
		return http.StatusBadRequest, invalidRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized, invalidRequest
	case fault.Denied:
		return http.StatusForbidden, invalidRequest
	case fault.NotFound, fault.Unimplemented:
		return http.StatusNotFound, invalidRequest
	case fault.Exists, fault.Conflict:
		return http.StatusConflict, invalidRequest
	case fault.Exhausted:
		return http.StatusTooManyRequests, "rate_limit_error"
	case fault.Unavailable:
		return http.StatusServiceUnavailable, serverError
	case fault.Timeout:
		return http.StatusGatewayTimeout, serverError
	case fault.Canceled:
		return 499, serverError
	default:
		return http.StatusInternalServerError, serverError
	}
}

// Of returns an error's status and body.
func Of(err error) (int, Error) {
	f := fault.As(err)
	status, kind := statusOf(f.Kind)
	switch f.Reason {
	case fault.RequestTooLarge:
		status, kind = http.StatusRequestEntityTooLarge, invalidRequest
	case fault.BudgetExceeded:
		kind = noQuota
	case fault.NotCached: // as RFC 9111 has it
		status = http.StatusGatewayTimeout
	}
	body := Body{Message: f.Message, Type: kind}
	if len(f.Fields) > 0 {
		body.Param = &f.Fields[0].Path
	}
	if code := codeOf(f); code != "" {
		body.Code = &code
	}
	return status, Error{body}
}

func codeOf(f *fault.Error) string {
	switch f.Reason {
	case fault.InvalidRequest:
		return ""
	case fault.ReasonUnauthenticated:
		return "invalid_api_key"
	case fault.BudgetExceeded:
		return noQuota
	default:
		return strings.ToLower(fault.ReasonName(f.Reason))
	}
}

// Write answers with err.
func Write(w http.ResponseWriter, err error) {
	status, body := Of(err)
	f := fault.As(err)
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	if f.Reason == fault.BudgetExceeded || f.Reason == fault.NotCached {
		w.Header().Set("X-Should-Retry", "false") // OpenAI's clients would repeat it at once, as they do with every 429 and 5xx
	}
	JSON(w, status, body)
}

// JSON answers with a value.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// Clip cuts s to at most limit bytes, between characters.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
