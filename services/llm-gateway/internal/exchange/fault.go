package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Cut is the failure of an answer that breaks off.
func Cut(cause error) *fault.Error {
	return fault.Wrap(cause, fault.Unavailable, fault.ProviderStreamCut, "the model's answer broke off before its end")
}

// Unreadable is the failure of a provider that answers what it should not.
func Unreadable(cause error) *fault.Error {
	return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider answered something that is not understood")
}

// TooLarge is the failure of a provider that sends more at once than is taken.
func TooLarge(cause error) *fault.Error {
	return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent an event that is too large")
}

// Cannot is the failure of a request for what a provider does not have. It is told before the provider is asked.
func Cannot(format string, a ...any) *fault.Error {
	return fault.New(fault.Precondition, fault.ProviderRejected, format, a...)
}

// maxWords bounds what is read of a refusal, for the log.
const maxWords = 8 << 10

// refused turns a status other than 200 into a fault. The provider's words go to the log only, without the key.
func refused(resp *http.Response, key string, now time.Time) *fault.Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxWords))
	told := read(body)
	cause := &provider.Refusal{
		Status: resp.StatusCode, Code: without(key, told.word()), Message: without(key, clip(told.Message, 500)),
		Words: without(key, strings.ToValidUTF8(string(body), "\uFFFD")),
	}
	return refusal(cause, told, max(retryAfter(resp.Header, now), told.delay()))
}

// Refused is the fault of a request that a provider's own library says was refused.
func Refused(status int, h http.Header, code, message string, now time.Time) *fault.Error {
	told := report{Type: code, Message: message}
	cause := &provider.Refusal{Status: status, Code: code, Message: clip(message, 500), Words: clip(message, maxWords)}
	return refusal(cause, told, retryAfter(h, now))
}

func refusal(cause *provider.Refusal, told report, after time.Duration) *fault.Error {
	switch status := cause.Status; {
	case status == http.StatusTooManyRequests:
		return fault.Wrap(cause, fault.Exhausted, fault.ProviderRateLimited, "the model's provider limits our rate").WithRetryAfter(after)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, told.badKey():
		*cause = provider.Refusal{Status: status, Why: provider.ErrUnusable} // its words may quote parts of the key
		return fault.Wrap(cause, fault.Precondition, fault.ProviderRejected, "the model's provider rejects our credentials")
	case status >= 500, status == http.StatusRequestTimeout:
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider fails (status %d)", status).WithRetryAfter(after)
	case status == http.StatusNotFound:
		cause.Why = provider.ErrUnusable
		return fault.Wrap(cause, fault.Precondition, fault.ProviderRejected, "the model's provider has no such model, or another address (status %d)", status)
	case told.tooLong():
		cause.Why = provider.ErrTooLong
		return fault.Wrap(cause, fault.Precondition, fault.ProviderRejected, "the prompt is longer than the model takes")
	case told.filtered():
		return fault.Wrap(cause, fault.Precondition, fault.ProviderRejected, "the content filter of the model's provider rejects the prompt")
	default:
		return fault.Wrap(cause, fault.Precondition, fault.ProviderRejected, "the model's provider rejects the request (status %d)", status)
	}
}

// Reported turns an error that the provider sent in an answer it had begun into a fault.
func (a *Answer) Reported(raw json.RawMessage) *fault.Error {
	told := read(raw)
	told.Message = without(a.key, told.Message)
	return told.fault()
}

// Reported is the fault of an error that a provider's own library says came in an answer.
func Reported(code, message string) *fault.Error { return report{Type: code, Message: message}.fault() }

func (r report) fault() *fault.Error {
	name := r.Type + " " + r.Status + " " + text(r.Code)
	cause := errors.New("error event: " + clip(name+" "+r.Message, 500))
	if kind := strings.ToLower(name); strings.Contains(kind, "rate_limit") || strings.Contains(kind, "resource_exhausted") ||
		strings.Contains(kind, "429") || strings.Contains(kind, "throttl") {
		return fault.Wrap(cause, fault.Exhausted, fault.ProviderRateLimited, "the model's provider limits our rate").WithRetryAfter(r.delay())
	}
	return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider failed while it answered")
}

// report is an error as providers tell it: the fields of all of them together.
type report struct {
	Message string          `json:"message"`
	Type    string          `json:"type"`   // OpenAI, Anthropic
	Status  string          `json:"status"` // Google
	Code    json.RawMessage `json:"code"`   // text or number
	Details []struct {
		RetryDelay string `json:"retryDelay"` // Google
		Reason     string `json:"reason"`
	} `json:"details"`
}

// read reads an error object, one in an object's error, or a text in either's place.
func read(raw []byte) report {
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if raw = bytes.TrimSpace(raw); json.Unmarshal(raw, &outer) == nil && Some(outer.Error) {
		raw = outer.Error
	}
	var r report
	if err := json.Unmarshal(raw, &r); err != nil && json.Unmarshal(raw, &r.Message) != nil {
		r.Message = strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return r
}

// text is a code as text, be it one or a number.
func text(code json.RawMessage) string {
	if !Some(code) {
		return ""
	}
	return strings.Trim(string(code), `"`)
}

// word is the error's name.
func (r report) word() string {
	for _, s := range []string{text(r.Code), r.Status, r.Type} {
		if _, err := strconv.Atoi(s); s != "" && err != nil {
			return clip(s, 100)
		}
	}
	return ""
}

// delay is how long Google says to wait.
func (r report) delay() time.Duration {
	for _, d := range r.Details {
		if delay, err := time.ParseDuration(d.RetryDelay); err == nil {
			return min(max(delay, 0), maxRetryAfter)
		}
	}
	return 0
}

func (r report) has(what ...string) bool {
	words := strings.ToLower(r.Type + " " + text(r.Code) + " " + r.Message)
	return slices.ContainsFunc(what, func(s string) bool { return strings.Contains(words, s) })
}

// tooLong knows how OpenAI, vLLM, DeepSeek, llama.cpp, Anthropic, Google and Bedrock say it.
func (r report) tooLong() bool {
	return r.has("context_length_exceeded", "maximum context length", "exceed_context_size", "context window", "prompt is too long",
		"input is too long", "exceeds the maximum number of tokens", "exceeds the available context size")
}

// filtered knows how OpenAI and Azure say that the prompt did not pass.
func (r report) filtered() bool {
	return r.has("content_filter", "content_policy_violation", "responsibleaipolicyviolation")
}

// badKey knows Google, which says 400 to keys that are none.
func (r report) badKey() bool {
	for _, d := range r.Details {
		if d.Reason == "API_KEY_INVALID" {
			return true
		}
	}
	return false
}

func without(key, s string) string {
	if key == "" {
		return s
	}
	return strings.ReplaceAll(s, key, "[redacted]")
}

func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

const maxRetryAfter = time.Hour

// retryAfter reads when to come back: milliseconds as OpenAI and Azure send them, seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	d := time.Duration(0)
	if ms, err := strconv.ParseInt(h.Get("Retry-After-Ms"), 10, 32); err == nil {
		d = time.Duration(ms) * time.Millisecond
	} else if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil && s < maxRetryAfter.Seconds() {
		d = time.Duration(s * float64(time.Second))
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		d = at.Sub(now)
	} else if h.Get("Retry-After") != "" {
		d = maxRetryAfter
	}
	return min(max(d, 0), maxRetryAfter)
}
