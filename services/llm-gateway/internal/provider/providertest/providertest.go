// Package providertest is the conformance suite of provider adapters: whatever a provider's wire format, these are the
// answers and failures that routes see. An adapter's test gives, for each behaviour, a provider on a server that behaves so.
// For tests only.
package providertest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Behaviour is what the server behind a provider does.
type Behaviour string

// The behaviours. Answer is "Refunds take 五 days." with usage 12 and 7 unless it says otherwise.
const (
	Answers      Behaviour = "answers"
	SplitChunks  Behaviour = "answers in reads of one byte"
	NoUsage      Behaviour = "answers without usage"
	NoTerminator Behaviour = "answers, and closes after the finish reason"
	Reasons      Behaviour = "reasons before it answers"
	LongLine     Behaviour = "answers with 200,000 letters in one event"
	CutLength    Behaviour = "answers until the token limit"
	Filtered     Behaviour = "is stopped by its content filter"
	ErrorMid     Behaviour = "sends an error after the first text"
	RateLimitMid Behaviour = "sends a rate limit error after the first text"
	CutMid       Behaviour = "breaks the connection after the first text"
	EndsMid      Behaviour = "ends cleanly after the first text, without an end marker"
	EndsAtOnce   Behaviour = "ends without any event"
	Malformed    Behaviour = "sends an event that is not JSON"
	HugeLine     Behaviour = "sends a line without end"
	PlainError   Behaviour = "answers 200 with an error as JSON"
	RateLimits   Behaviour = "answers 429 with Retry-After 7"
	Unauthorized Behaviour = "answers 401 and quotes the key"
	Forbidden    Behaviour = "answers 403"
	BadRequest   Behaviour = "answers 400"
	Redirects    Behaviour = "answers 302"
	Fails        Behaviour = "answers 503"
	Refuses      Behaviour = "refuses connections"
	Stalls       Behaviour = "stalls after the first text"
	Endless      Behaviour = "sends text without end"
)

// Key is the key a subject must be configured with.
const Key = "sk-conformance-1234567890"

// Subject is a provider on a server with one behaviour.
type Subject struct {
	Provider provider.Provider
	// Ended gets a value when the server is done with a request.
	Ended <-chan struct{}
}

type want struct {
	text   string
	finish provider.Finish
	usage  provider.Usage
	kind   fault.Kind
	reason fault.Reason
	after  time.Duration
}

const answer = "Refunds take 五 days."

func table() map[Behaviour]want {
	usage := provider.Usage{Prompt: 12, Completion: 7}
	whole := want{text: answer, finish: provider.Stop, usage: usage}
	failed := func(text string, k fault.Kind, r fault.Reason) want { return want{text: text, kind: k, reason: r} }
	estimated := whole
	estimated.usage = provider.Usage{Estimated: true}
	long := whole
	long.text = strings.Repeat("é", 100_000)
	limited := failed("", fault.Exhausted, fault.ProviderRateLimited)
	limited.after = 7 * time.Second
	cutLength, filtered := whole, whole
	cutLength.finish, filtered.finish = provider.Length, provider.Filtered
	return map[Behaviour]want{
		Answers: whole, SplitChunks: whole, NoUsage: estimated, NoTerminator: estimated, Reasons: whole, LongLine: long,
		CutLength: cutLength, Filtered: filtered,
		ErrorMid:     failed("Refunds ", fault.Unavailable, fault.ProviderUnavailable),
		RateLimitMid: failed("Refunds ", fault.Exhausted, fault.ProviderRateLimited),
		CutMid:       failed("Refunds ", fault.Unavailable, fault.ProviderStreamCut),
		EndsMid:      failed("Refunds ", fault.Unavailable, fault.ProviderStreamCut),
		EndsAtOnce:   failed("", fault.Unavailable, fault.ProviderStreamCut),
		Malformed:    failed("Refunds ", fault.Unavailable, fault.ProviderUnavailable),
		HugeLine:     failed("", fault.Unavailable, fault.ProviderUnavailable),
		PlainError:   failed("", fault.Unavailable, fault.ProviderUnavailable),
		RateLimits:   limited,
		Unauthorized: failed("", fault.Precondition, fault.ProviderRejected),
		Forbidden:    failed("", fault.Precondition, fault.ProviderRejected),
		BadRequest:   failed("", fault.Precondition, fault.ProviderRejected),
		Redirects:    failed("", fault.Precondition, fault.ProviderRejected),
		Fails:        failed("", fault.Unavailable, fault.ProviderUnavailable),
		Refuses:      failed("", fault.Unavailable, fault.ProviderUnavailable),
	}
}

// Request is what the suite asks.
func Request() provider.Request {
	return provider.Request{
		Messages:  []ask.Message{{Role: ask.System, Content: "Answer."}, {Role: ask.User, Content: "How long?"}},
		Model:     "m",
		MaxTokens: 100,
	}
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T, b Behaviour) Subject) {
	t.Helper()
	for b, w := range table() {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			check(ctx, t, open(t, b), w)
		})
	}
	t.Run("cancel while it stalls", func(t *testing.T) {
		t.Parallel()
		s := open(t, Stalls)
		cancelAfter(t, s, 1)
		stops(t, s)
	})
	t.Run("cancel stops the provider", func(t *testing.T) {
		t.Parallel()
		s := open(t, Endless)
		cancelAfter(t, s, 50)
		stops(t, s)
	})
	t.Run("an error from emit stops the provider", func(t *testing.T) {
		t.Parallel()
		s := open(t, Endless)
		gone := errors.New("gone")
		pieces := 0
		_, err := s.Provider.Generate(t.Context(), Request(), func(provider.Piece) error {
			if pieces++; pieces == 50 {
				return gone
			}
			return nil
		})
		if !errors.Is(err, gone) || pieces != 50 {
			t.Errorf("after %d pieces: %v, want emit's own error after 50", pieces, err)
		}
		stops(t, s)
	})
}

func check(ctx context.Context, t *testing.T, s Subject, w want) {
	t.Helper()
	var b strings.Builder
	got, err := s.Provider.Generate(ctx, Request(), func(p provider.Piece) error {
		b.WriteString(p.Text)
		return nil
	})
	if b.String() != w.text {
		t.Errorf("text of %d bytes %.80q, want %d bytes %.80q", b.Len(), b.String(), len(w.text), w.text)
	}
	if w.kind == fault.Internal {
		if err != nil {
			t.Fatalf("Generate: %v", err)
		}
		if w.usage.Estimated {
			w.usage = provider.Estimate(Request().Messages, w.text)
		}
		if got.Finish != w.finish || got.Usage != w.usage {
			t.Errorf("Generate = %+v, want finish %v and usage %+v", got, w.finish, w.usage)
		}
		return
	}
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != w.kind || f.Reason != w.reason || f.RetryAfter != w.after {
		t.Fatalf("Generate error = %v, want %v %v and RetryAfter %s", err, w.kind, w.reason, w.after)
	}
	if strings.Contains(f.Error(), Key) || strings.Contains(f.Error(), Key[:8]) {
		t.Errorf("the error tells the key: %v", f)
	}
}

// cancelAfter cancels behind the nth piece and wants Generate back promptly.
func cancelAfter(t *testing.T, s Subject, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var canceled time.Time
	pieces := 0
	_, err := s.Provider.Generate(ctx, Request(), func(p provider.Piece) error {
		if pieces++; p.Text != "" && pieces == n {
			canceled = time.Now()
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Generate error = %v, want the context's", err)
	}
	if took := time.Since(canceled); took > 2*time.Second { // promptly; generous, for machines under load
		t.Errorf("Generate returned %s after the cancellation", took)
	}
}

// stops waits until the server is done with the request it was answering without end.
func stops(t *testing.T, s Subject) {
	t.Helper()
	select {
	case <-s.Ended:
	case <-time.After(10 * time.Second):
		t.Error("the server still makes tokens 10s after the client went away")
	}
}
