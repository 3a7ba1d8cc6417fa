package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// tap stands between langchaingo and the network for one request. It sets what langchaingo can't, and remembers what it
// hides. Its reader runs in a goroutine of langchaingo's, hence the lock.
type tap struct {
	client      *http.Client
	key         string
	temperature bool
	clock       func() time.Time

	mu      sync.Mutex
	failure *fault.Error
	finish  string
	usage   *usage
	done    bool
}

// maxRequestBytes bounds a rendered request; prompts are bounded long before it.
const maxRequestBytes = 8 << 20

// Do sends a request of langchaingo's.
func (t *tap) Do(req *http.Request) (*http.Response, error) {
	if err := t.prepare(req); err != nil {
		return nil, err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, t.fail(fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider does not answer"))
	}
	if resp.StatusCode != http.StatusOK {
		err := t.fail(refused(resp, t.key, t.clock()))
		resp.Body.Close()
		return nil, err
	}
	resp.Body = newEvents(resp.Body, t)
	return resp, nil
}

// prepare sets the key and takes out the temperature langchaingo sends when none was asked for.
func (t *tap) prepare(req *http.Request) error {
	req.Header.Del("Authorization")
	req.Header.Del("OpenAI-Organization") // langchaingo reads one from the environment
	if t.key != "" {
		req.Header.Set("Authorization", "Bearer "+t.key)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("User-Agent", "ragmesh-llm-gateway")
	if t.temperature || req.Body == nil {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(req.Body, maxRequestBytes))
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	raw = withoutNumber(raw, "temperature")
	req.Body = io.NopCloser(bytes.NewReader(raw))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
	req.ContentLength = int64(len(raw))
	return nil
}

// withoutNumber takes a number out of an object in JSON, which json.Marshal has written. Decoding and encoding the object costs
// many times as much: it holds the whole prompt.
func withoutNumber(object []byte, field string) []byte {
	depth, key := 0, false // key: a string that begins here is a key of the object
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
			key = depth == 1
		case '}', ']':
			depth--
		case ',':
			key = depth == 1
		case '"':
			begin := i
			for i++; i < len(object) && object[i] != '"'; i++ {
				if object[i] == '\\' {
					i++
				}
			}
			if key && i < len(object) && string(object[begin+1:i]) == field {
				return withoutMember(object, begin)
			}
			key = false
		}
	}
	return object
}

// withoutMember takes out the member of an object that begins at begin and whose value is a number.
func withoutMember(object []byte, begin int) []byte {
	end := begin + bytes.IndexAny(object[begin:], ",}")
	switch {
	case end < begin:
		return object
	case object[end] == ',':
		end++
	case object[begin-1] == ',':
		begin--
	}
	return slices.Concat(object[:begin], object[end:])
}

// fail remembers the first failure.
func (t *tap) fail(err *fault.Error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure == nil {
		t.failure = err
	}
	return t.failure
}

// ended says whether the provider said that the answer is whole.
func (t *tap) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done || t.finish != ""
}

// see remembers what a chunk says about the end.
func (t *tap) see(c *chunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Usage != nil {
		t.usage = c.Usage
	}
	if len(c.Choices) > 0 && c.Choices[0].FinishReason != "" {
		t.finish = c.Choices[0].FinishReason
	}
}

// result says how the exchange ended, after langchaingo returned err.
func (t *tap) result(err error, messages []ask.Message, answer string) (provider.Result, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.failure != nil:
		return provider.Result{}, t.failure
	case err != nil:
		return provider.Result{}, fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider failed")
	case !t.done && t.finish == "":
		return provider.Result{}, cut(nil)
	}
	out := provider.Result{Finish: provider.Stop}
	switch t.finish {
	case "length":
		out.Finish = provider.Length
	case "content_filter":
		out.Finish = provider.Filtered
	}
	if t.usage == nil || t.usage.Completion == 0 && answer != "" {
		out.Usage = provider.Estimate(messages, answer)
	} else {
		out.Usage = provider.Usage{Prompt: t.usage.Prompt, Completion: t.usage.Completion}
	}
	return out, nil
}

func cut(cause error) *fault.Error {
	return fault.Wrap(cause, fault.Unavailable, fault.ProviderStreamCut, "the model's answer broke off before its end")
}

// maxErrorBytes bounds what is read of a refusal, for the log.
const maxErrorBytes = 8 << 10

// refused turns a status other than 200 into a fault. The provider's words go to the log only, without the key.
func refused(resp *http.Response, key string, now time.Time) *fault.Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	words := strings.ToValidUTF8(string(body), "\uFFFD")
	if key != "" {
		words = strings.ReplaceAll(words, key, "[redacted]")
	}
	cause := fmt.Errorf("status %d: %s", resp.StatusCode, words)
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		cause = fmt.Errorf("%w: status %d", provider.ErrUnusable, resp.StatusCode) // its words may quote parts of the key
	case http.StatusNotFound:
		cause = fmt.Errorf("%w: %w", provider.ErrUnusable, cause)
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		if strings.Contains(words, "context_length") || strings.Contains(words, "maximum context length") {
			cause = fmt.Errorf("%w: %w", provider.ErrTooLong, cause)
		}
	}
	after := retryAfter(resp.Header, now)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return fault.Wrap(cause, fault.Exhausted, fault.ProviderRateLimited, "the model's provider limits our rate").WithRetryAfter(after)
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return fault.Wrap(cause, fault.Precondition, fault.ProviderRejected, "the model's provider rejects our credentials")
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusRequestTimeout:
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider fails (status %d)", resp.StatusCode).
			WithRetryAfter(after)
	default:
		return fault.Wrap(cause, fault.Precondition, fault.ProviderRejected, "the model's provider rejects the request (status %d)", resp.StatusCode)
	}
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

// reported is the error object of a stream.
type reported struct {
	Message string          `json:"message"`
	Type    string          `json:"type"`
	Code    json.RawMessage `json:"code"`
}

// inStream turns an error that the provider sent inside the stream into a fault.
func inStream(raw json.RawMessage) *fault.Error {
	var e reported
	if err := json.Unmarshal(raw, &e); err != nil {
		_ = json.Unmarshal(raw, &e.Message) // some servers send a bare string
	}
	cause := errors.New("error event: " + clip(e.Type+" "+string(e.Code)+" "+e.Message, 500))
	kind := strings.ToLower(e.Type + " " + string(e.Code))
	if strings.Contains(kind, "rate_limit") || strings.Contains(kind, "429") {
		return fault.Wrap(cause, fault.Exhausted, fault.ProviderRateLimited, "the model's provider limits our rate")
	}
	return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider failed while it answered")
}

func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
