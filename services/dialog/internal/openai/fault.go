package openai

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// failure is OpenAI's form of an error.
type failure struct {
	Error failureBody `json:"error"`
}

type failureBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// invalid is an error about a parameter.
func invalid(param, format string, a ...any) error {
	f := fault.New(fault.Invalid, fault.InvalidRequest, format, a...)
	if param != "" {
		f = f.WithField(param, f.Message)
	}
	return f
}

// noModel is the error for a model that is not there, or that the caller may not use.
func noModel(id string) error {
	return fault.New(fault.NotFound, fault.ModelNotFound, "The model `%s` does not exist or you do not have access to it.", clip(id, 128)).WithField("model", "must be one of GET /v1/models")
}

// modelUnknown says of a workspace or prompt that is not there what a client of OpenAI understands.
func modelUnknown(err error, id string) error {
	switch fault.ReasonOf(err) {
	case fault.WorkspaceNotFound, fault.PromptNotFound:
		return noModel(id)
	}
	return err
}

// statuses is the table between our kinds and OpenAI's statuses and types. Clients of OpenAI repeat what got 408, 409, 429 or
// 5xx by themselves.
var statuses = map[fault.Kind]struct {
	status int
	kind   string
}{
	fault.Internal:        {http.StatusInternalServerError, "server_error"},
	fault.Invalid:         {http.StatusBadRequest, "invalid_request_error"},
	fault.Unauthenticated: {http.StatusUnauthorized, "invalid_request_error"},
	fault.Denied:          {http.StatusForbidden, "invalid_request_error"},
	fault.NotFound:        {http.StatusNotFound, "invalid_request_error"},
	fault.Exists:          {http.StatusConflict, "invalid_request_error"},
	fault.Conflict:        {http.StatusConflict, "invalid_request_error"},
	fault.Precondition:    {http.StatusBadRequest, "invalid_request_error"},
	fault.Exhausted:       {http.StatusTooManyRequests, "rate_limit_error"},
	fault.Unavailable:     {http.StatusServiceUnavailable, "server_error"},
	fault.Timeout:         {http.StatusGatewayTimeout, "server_error"},
	fault.Canceled:        {499, "server_error"},
	fault.Unimplemented:   {http.StatusNotFound, "invalid_request_error"},
}

// bodyOf returns an error's status and body.
func bodyOf(err error) (int, failure) {
	f := fault.As(err)
	entry, ok := statuses[f.Kind]
	if !ok {
		entry = statuses[fault.Internal]
	}
	if f.Reason == fault.RequestTooLarge {
		entry.status, entry.kind = http.StatusRequestEntityTooLarge, "invalid_request_error"
	}
	body := failureBody{Message: f.Message, Type: entry.kind}
	if len(f.Fields) > 0 {
		body.Param = &f.Fields[0].Path
	}
	if code := codeOf(f); code != "" {
		body.Code = &code
	}
	return entry.status, failure{body}
}

func codeOf(f *fault.Error) string {
	switch f.Reason {
	case fault.InvalidRequest:
		return ""
	case fault.ReasonUnauthenticated:
		return "invalid_api_key"
	default:
		return strings.ToLower(fault.ReasonName(f.Reason))
	}
}

// writeError answers with err.
func writeError(w http.ResponseWriter, err error) {
	status, body := bodyOf(err)
	if after := fault.As(err).RetryAfter; after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	writeJSON(w, status, body)
}
