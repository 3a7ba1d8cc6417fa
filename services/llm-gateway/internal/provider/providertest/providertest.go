// Package providertest is the conformance suite of provider adapters: whatever a provider's wire format, these are the
// answers and failures that routes see. An adapter's test gives its format, which writes the parts of answers as they are on
// the wire, and opens a provider for the servers that the suite makes of it. For tests only.
package providertest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

// Format writes the parts of an answer as a provider has them on the wire.
type Format struct {
	ContentType string
	// Open begins an answer. Usage is nil for a provider that reports none.
	Open func(u *provider.Usage) string
	// Idle is what comes in between and says nothing; may be empty.
	Idle string
	Text func(s string) string
	// Reasoning is text that is nobody's business, in each way there is; nil for a provider without it.
	Reasoning func(s string) []string
	// Calls are parallel calls, event by event; nil for a provider without tools.
	Calls func(calls []Call) []string
	// End ends an answer.
	End func(f provider.Finish, u *provider.Usage) string
	// Terminator is what comes after End, and may be missing.
	Terminator string
	// Error and RateLimit are errors in the middle of an answer; RateLimit is empty where there is none. PlainError is one
	// instead of it.
	Error, RateLimit, PlainError string
	// Malformed is an event that can't be read. HugeLine begins one that is too long.
	Malformed, HugeLine string
	// Refusal is the body of an answer with a status that is not 200.
	Refusal func(words string) string
	// TooLong is the body of a 400 for a prompt that the model does not take.
	TooLong string
	// Ends says that the end of the connection is part of the end.
	Ends bool
	// Hasty is a provider whose errors may overtake text that came before them.
	Hasty bool
	// NoKey is a provider whose key goes over no wire, and so comes back over none.
	NoKey bool
	// NoCache is a provider that tells nothing about cached tokens, NoFilter one that has no content filter.
	NoCache, NoFilter bool
}

// Call is a call of a tool.
type Call struct {
	ID, Name string
	// Parts are its arguments as they come.
	Parts []string
}

// Key is the key that the provider must be configured with.
const Key = "sk-conformance-1234567890"

// Open returns the provider for a server.
type Open func(t *testing.T, url string) provider.Provider

const answer = "Refunds take 五 days."

// Request is what the suite asks.
func Request() provider.Request {
	return provider.Request{
		Messages:  []ask.Message{{Role: ask.System, Content: "Answer."}, {Role: ask.User, Content: "How long?"}},
		Model:     "m",
		MaxTokens: 100,
	}
}

// History is a conversation with calls of tools and their results.
func History() []ask.Message {
	return []ask.Message{
		{Role: ask.User, Content: "Weather in Paris and Rome?"},
		{Role: ask.Assistant, Calls: []ask.Call{{ID: "call_a", Name: "weather", Arguments: `{"city":"Paris"}`}, {ID: "call_b", Name: "weather", Arguments: `{"city":"Rome"}`}}},
		{Role: ask.ToolResult, Content: "Rain", CallID: "call_a"},
		{Role: ask.ToolResult, Content: `{"sky":"clear"}`, CallID: "call_b"},
		{Role: ask.User, Content: "And tomorrow?"},
	}
}

// behaviour is what a server does, and what comes of it.
type behaviour struct {
	steps []wiretest.Step
	want  want
}

type want struct {
	text   string
	calls  []ask.Call
	finish provider.Finish
	usage  provider.Usage // Estimated alone: what provider.Estimate says
	alive  int            // at least as many pieces without text or call

	kind   fault.Kind
	reason fault.Reason
	cause  error
	after  time.Duration
	begun  bool // the error comes with the usage so far
	hasty  bool // and may overtake text
}

// usage is what servers report.
func usage() *provider.Usage { return &provider.Usage{Prompt: 12, Completion: 7, Cached: 4} }

// counted is what comes of it.
func (f Format) counted() provider.Usage {
	u := *usage()
	if f.NoCache {
		u.Cached = 0
	}
	return u
}

func failed(k fault.Kind, r fault.Reason) want { return want{kind: k, reason: r} }

// begun is a failure after the first text.
func begun(k fault.Kind, r fault.Reason) want {
	return want{text: "Refunds ", kind: k, reason: r, begun: true}
}

// raw sends each as a write of its own.
func raw(parts ...string) []wiretest.Step {
	var out []wiretest.Step
	for _, p := range parts {
		out = append(out, wiretest.Raw(p))
	}
	return out
}

// whole are the writes of the whole answer without its end.
func (f Format) whole(u *provider.Usage) []string {
	return []string{f.Open(u), f.Text("Refunds "), f.Idle, f.Text("take 五 "), f.Text("days.")}
}

// answers are behaviours that end well.
func (f Format) answers() map[string]behaviour {
	good := want{text: answer, finish: provider.Stop, usage: f.counted()}
	end := f.End(provider.Stop, usage()) + f.Terminator
	finished := func(as provider.Finish) want { w := good; w.finish = as; return w }
	estimated := good
	estimated.usage = provider.Usage{Estimated: true}
	long := good
	long.text = strings.Repeat("é", 100_000)
	out := map[string]behaviour{
		"answers":                        {raw(append(f.whole(usage()), end)...), good},
		"in reads of one byte":           {[]wiretest.Step{wiretest.Bytewise(strings.Join(f.whole(usage()), "") + end)}, good},
		"all in one write":               {raw(strings.Join(f.whole(usage()), "") + end), good},
		"without usage":                  {raw(append(f.whole(nil), f.End(provider.Stop, nil)+f.Terminator)...), estimated},
		"closes after the end":           {raw(append(f.whole(usage()), f.End(provider.Stop, usage()))...), good},
		"is cut after the end":           {append(raw(append(f.whole(usage()), f.End(provider.Stop, usage()))...), wiretest.Cut()), good},
		"200,000 letters in one event":   {raw(f.Open(usage()), f.Text(long.text), end), long},
		"until the token limit":          {raw(append(f.whole(usage()), f.End(provider.Length, usage())+f.Terminator)...), finished(provider.Length)},
		"until a content filter":         {raw(append(f.whole(usage()), f.End(provider.Filtered, usage())+f.Terminator)...), finished(provider.Filtered)},
		"nothing at all":                 {raw(f.Open(usage()), end), want{finish: provider.Stop, usage: f.counted()}},
		"goes on after it has ended":     {append(raw(append(f.whole(usage()), end)...), wiretest.Raw("\n\n")), good},
		"ends with the connection alive": {append(raw(append(f.whole(usage()), end)...), f.rest()...), good},
	}
	if f.NoFilter {
		delete(out, "until a content filter")
	}
	if f.Ends {
		for _, name := range []string{"is cut after the end", "goes on after it has ended", "ends with the connection alive"} {
			delete(out, name)
		}
	}
	if f.Reasoning != nil {
		ways := f.Reasoning("hm")
		reasons := good
		reasons.alive = len(ways)
		out["reasons before it answers"] = behaviour{raw(slices.Concat([]string{f.Open(usage())}, ways, f.whole(usage())[1:], []string{end})...), reasons}
	}
	return out
}

// rest is a server that leaves the connection open behind a terminator.
func (f Format) rest() []wiretest.Step {
	if f.Terminator == "" {
		return nil
	}
	return []wiretest.Step{wiretest.Stall()}
}

// calls are behaviours that call tools.
func (f Format) calls() map[string]behaviour {
	if f.Calls == nil {
		return nil
	}
	one := Call{ID: "call_a", Name: "weather", Parts: []string{`{"city":`, `"Paris",`, `"days":2}`}}
	two := Call{ID: "call_b", Name: "clock", Parts: []string{`{"zone":"`, `UTC"}`}}
	bare := Call{ID: "call_c", Name: "now"}
	told := func(text string, calls ...Call) want {
		w := want{text: text, finish: provider.Called, usage: f.counted()}
		for _, c := range calls {
			arguments := strings.Join(c.Parts, "")
			if arguments == "" {
				arguments = "{}"
			}
			w.calls = append(w.calls, ask.Call{ID: c.ID, Name: c.Name, Arguments: arguments})
		}
		return w
	}
	end := f.End(provider.Called, usage()) + f.Terminator
	parts := func(calls ...Call) string { return strings.Join(f.Calls(calls), "") }
	cut := begun(fault.Unavailable, fault.ProviderStreamCut)
	cut.calls = told("", one).calls
	return map[string]behaviour{
		"calls a tool":                    {raw(slices.Concat([]string{f.Open(usage())}, f.Calls([]Call{one}), []string{end})...), told("", one)},
		"calls tools in parallel":         {raw(slices.Concat([]string{f.Open(usage())}, f.Calls([]Call{one, two}), []string{end})...), told("", one, two)},
		"calls tools in reads of a byte":  {[]wiretest.Step{wiretest.Bytewise(f.Open(usage()) + parts(one, two) + end)}, told("", one, two)},
		"speaks and calls":                {raw(f.Open(usage()), f.Text("Let me look.")+parts(one, bare), end), told("Let me look.", one, bare)},
		"calls without arguments":         {raw(f.Open(usage()), parts(bare), end), told("", bare)},
		"calls, and says that it stopped": {raw(f.Open(usage()), parts(one), f.End(provider.Stop, usage())+f.Terminator), told("", one)},
		"is cut behind a call":            {append(raw(f.Open(usage()), f.Text("Refunds "), parts(one)), wiretest.Cut()), cut},
	}
}

// failures are behaviours that end badly.
func (f Format) failures() map[string]behaviour {
	first := []string{f.Open(usage()), f.Text("Refunds ")}
	unavailable := failed(fault.Unavailable, fault.ProviderUnavailable)
	limited := failed(fault.Exhausted, fault.ProviderRateLimited)
	limited.after = 7 * time.Second
	rejected := failed(fault.Precondition, fault.ProviderRejected)
	unusable, tooLong := rejected, rejected
	unusable.cause, tooLong.cause = provider.ErrUnusable, provider.ErrTooLong
	nothing := failed(fault.Unavailable, fault.ProviderStreamCut)
	nothing.begun = true
	unread := unavailable
	unread.begun = true
	busy := unavailable
	busy.after = 3 * time.Second
	status := func(code int, header map[string]string, body string) []wiretest.Step {
		return []wiretest.Step{wiretest.Status(code, header, body)}
	}
	return map[string]behaviour{
		"an error after the first text":            {raw(append(first, f.Error)...), begun(fault.Unavailable, fault.ProviderUnavailable)},
		"a rate limit after the first text":        {raw(append(first, f.RateLimit)...), begun(fault.Exhausted, fault.ProviderRateLimited)},
		"breaks the connection in the middle":      {append(raw(first...), wiretest.Cut()), begun(fault.Unavailable, fault.ProviderStreamCut)},
		"breaks it in the middle of an event":      {append(raw(append(first, f.Text("take")[:12])...), wiretest.Cut()), begun(fault.Unavailable, fault.ProviderStreamCut)},
		"ends in the middle, without an end":       {raw(first...), begun(fault.Unavailable, fault.ProviderStreamCut)},
		"ends in the middle of an event":           {raw(append(first, torn(f.Text("take")))...), begun(fault.Unavailable, fault.ProviderStreamCut)},
		"ends without any event":                   {nil, nothing},
		"an event that is not JSON":                {raw(append(first, f.Malformed)...), begun(fault.Unavailable, fault.ProviderUnavailable)},
		"a line without end":                       {raw(f.Open(usage()), f.HugeLine), unread},
		"200 with an error as JSON":                {status(200, nil, f.PlainError), unread},
		"200 with a page":                          {status(200, nil, "<html>\n<body>hello</body>\n</html>"), want{begun: true, kind: fault.Unavailable, reason: 0}},
		"429 with Retry-After in seconds":          {status(429, map[string]string{"Retry-After": "7"}, f.Refusal("slow down")), limited},
		"429 with Retry-After as a date":           {status(429, map[string]string{"Retry-After": Now().Add(7 * time.Second).Format(http.TimeFormat)}, f.Refusal("slow down")), limited},
		"401 that quotes the key":                  {status(401, nil, f.Refusal("Incorrect API key provided: "+Key)), unusable},
		"403":                                      {status(403, nil, ""), unusable},
		"404":                                      {status(404, nil, f.Refusal("there is no model m")), unusable},
		"400 that quotes the key":                  {status(400, nil, f.Refusal("bad "+Key)), rejected},
		"400 for a prompt that is too long":        {status(400, nil, f.TooLong), tooLong},
		"302":                                      {status(302, map[string]string{"Location": "https://elsewhere.example.com/"}, ""), rejected},
		"500":                                      {status(500, nil, f.Refusal("boom")), unavailable},
		"503 with a page and Retry-After":          {status(503, map[string]string{"Retry-After": "3"}, "<html>upstream"), busy},
		"529":                                      {status(529, nil, f.Refusal("overloaded")), unavailable},
		"an error event in front of everything":    {raw(f.Error), unread},
		"a rate limit in front of everything":      {raw(f.RateLimit), want{begun: true, kind: fault.Exhausted, reason: fault.ProviderRateLimited}},
		"connection cut in front of everything":    {[]wiretest.Step{wiretest.Raw(""), wiretest.Cut()}, nothing},
		"connection cut in front of the headers":   {[]wiretest.Step{wiretest.Cut()}, unavailable},
		"an error that quotes the key in a stream": {raw(append(first, strings.ReplaceAll(strings.ReplaceAll(f.Error, "engine down", Key), "Engine down", Key))...), begun(fault.Unavailable, fault.ProviderUnavailable)},
	}
}

// torn is an event without its last letter.
func torn(event string) string {
	event = strings.TrimRight(event, "\r\n")
	return event[:len(event)-1]
}

// Now is what providers under test must have as their clock.
func Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// Run runs the suite.
func Run(t *testing.T, f Format, open Open) {
	t.Helper()
	all := f.answers()
	maps.Copy(all, f.calls())
	maps.Copy(all, f.failures())
	if f.NoKey {
		maps.DeleteFunc(all, func(name string, _ behaviour) bool { return strings.Contains(name, "quotes the key") })
	}
	if f.RateLimit == "" {
		maps.DeleteFunc(all, func(name string, _ behaviour) bool { return strings.HasPrefix(name, "a rate limit") })
	}
	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			b.want.hasty = f.Hasty
			check(ctx, t, open(t, wiretest.Serve(t, "", f.ContentType, b.steps...).URL), b.want)
		})
	}
	t.Run("refuses connections", func(t *testing.T) {
		t.Parallel()
		check(t.Context(), t, open(t, "http://127.0.0.1:1"), failed(fault.Unavailable, fault.ProviderUnavailable))
	})
	f.cancellations(t, open)
}

func (f Format) cancellations(t *testing.T, open Open) {
	t.Helper()
	endless := []wiretest.Step{wiretest.Raw(f.Open(usage())), wiretest.Endless(f.Text("on and on "))}
	t.Run("cancel before the headers", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		s := wiretest.Serve(t, "", f.ContentType, func(w *wiretest.Writer) bool {
			cancel()
			return wiretest.Wait()(w)
		})
		if _, err := open(t, s.URL).Generate(ctx, Request(), func(provider.Piece) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("Generate error = %v, want the context's", err)
		}
		stops(t, s)
	})
	t.Run("cancel while it stalls", func(t *testing.T) {
		t.Parallel()
		s := wiretest.Serve(t, "", f.ContentType, wiretest.Raw(f.Open(usage())), wiretest.Raw(f.Text("Refunds ")), wiretest.Stall())
		cancelAfter(t, open(t, s.URL), 1)
		stops(t, s)
	})
	t.Run("cancel stops the provider", func(t *testing.T) {
		t.Parallel()
		s := wiretest.Serve(t, "", f.ContentType, endless...)
		pieces := cancelAfter(t, open(t, s.URL), 50)
		stops(t, s)
		// What was under way in the buffers of two sockets is made; what would be made by a server nobody told is not.
		if made := s.Made(); made < pieces || made > 200_000 {
			t.Errorf("the provider made %d tokens for %d pieces that were taken", made, pieces)
		}
	})
	t.Run("an error from emit stops the provider", func(t *testing.T) {
		t.Parallel()
		s := wiretest.Serve(t, "", f.ContentType, endless...)
		gone := errors.New("gone")
		pieces := 0
		_, err := open(t, s.URL).Generate(t.Context(), Request(), func(provider.Piece) error {
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
