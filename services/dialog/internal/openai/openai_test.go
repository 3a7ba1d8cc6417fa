package openai

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// asker says what it is told to and keeps the question.
type asker struct {
	asked  turn.Question
	events []turn.Event
	err    error
}

func (a *asker) Ask(_ context.Context, q turn.Question, sink turn.Sink) error {
	a.asked = q
	for _, e := range a.events {
		if sink(e) != nil {
			break // a turn whose listener has gone is no error
		}
	}
	return a.err
}

// doors lets everybody into the workspace default.
type doors struct{ err error }

func (d doors) Admit(r *http.Request, workspace string) (context.Context, Caller, error) {
	if d.err != nil {
		return nil, Caller{}, d.err
	}
	if workspace != "default" {
		return nil, Caller{}, fault.New(fault.NotFound, fault.WorkspaceNotFound, "there is no workspace %q", workspace)
	}
	return r.Context(), Caller{Workspace: workspace, User: "key:1"}, nil
}

func (d doors) Workspaces(r *http.Request) (context.Context, []Workspace, error) {
	return r.Context(), []Workspace{{ID: "default"}, {ID: "support", CreatedAt: time.Unix(1000, 0)}}, d.err
}

func answered() []turn.Event {
	t := turn.Turn{
		ID: "T1", Session: "S1", TraceID: "abc", Standalone: "价格？", Outcome: turn.Answered, Answer: "费用 12 元 [1]",
		Finish: turn.FinishStop, Usage: turn.Usage{Prompt: 10, Completion: 5}, Revisions: map[string]string{"dialog": "rev"},
		Sources: []turn.Source{{Number: 1, ID: "c", Passage: &turn.Passage{DocumentID: "d", Title: "Fees", SourceURI: "fees.md", Pages: []turn.PageRegion{{Page: 3}}}}},
		Citations: []turn.Citation{{
			Citation: citing.Citation{Marker: citing.Marker{Number: 1, Start: len("费用 12 元 "), End: len("费用 12 元 [1]")}, Claim: "费用 12 元", Quote: "12 元", Support: evidence.Supported},
			Title:    "Fees", URI: "fees.md", DocumentID: "d", SourceStart: 7, SourceEnd: 13,
		}},
	}
	return []turn.Event{
		{Started: &turn.Started{Turn: "T1", Session: "S1", TraceID: "abc"}},
		{Source: &t.Sources[0]}, {Delta: "费用 12 元"}, {Heartbeat: true}, {Delta: " [1]"}, {Citation: &t.Citations[0]},
		{Completed: &turn.Ended{Turn: t}},
	}
}

func serve(t *testing.T, d Deps) *httptest.Server {
	t.Helper()
	d.Now = func() time.Time { return time.Unix(1_700_000_000, 0) }
	if d.Gate == nil {
		d.Gate = doors{}
	}
	if d.Report == nil {
		d.Report = func(context.Context, error) {}
	}
	d.Prompts = func(context.Context) ([]string, error) { return []string{"brief", "default"}, nil }
	mux := http.NewServeMux()
	for pattern, h := range New(d).Routes() {
		mux.HandleFunc(pattern, h)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func post(t *testing.T, s *httptest.Server, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

const annotationJSON = `{"type":"url_citation","url_citation":{"start_index":8,"end_index":11,"title":"Fees","url":"fees.md"}}`

const recordJSON = `{"turn_id":"T1","session_id":"S1","trace_id":"abc","outcome":"answered","question":"价格？",` +
	`"citations":[{"number":1,"support":"supported","claim":"费用 12 元","quote":"12 元","title":"Fees","uri":"fees.md","start":7,"end":13,"document_id":"d"}],` +
	`"sources":[{"number":1,"type":"passage","title":"Fees","uri":"fees.md","document_id":"d","pages":[3]}],"degradations":[]}`

func TestWholeAnswer(t *testing.T) {
	t.Parallel()
	a := &asker{events: answered()}
	status, header, body := post(t, serve(t, Deps{Asker: a}), `{"model":"default/brief","messages":[
		{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"},{"role":"assistant","content":"Hi."},
		{"role":"developer","content":"In Chinese."},{"role":"user","content":[{"type":"text","text":"价格"},{"type":"text","text":"？"}]}],
		"temperature":0.2,"top_p":0.9,"max_tokens":99999,"stop":"\n\n","seed":1,"tools":[],"tool_choice":"none","n":1,"response_format":{"type":"text"}}`,
		"Idempotency-Key", "a key of theirs")
	if status != http.StatusOK || header.Get("X-Request-Id") != "T1" {
		t.Fatalf("status %d, %v: %s", status, header, body)
	}
	want := `{"id":"chatcmpl-T1","object":"chat.completion","created":1700000000,"model":"default/brief","system_fingerprint":"rev",` +
		`"choices":[{"index":0,"message":{"role":"assistant","content":"费用 12 元 [1]","refusal":null,"annotations":[` + annotationJSON + `]},"logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15},"ragmesh":` + recordJSON + "}\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	low, nucleus := 0.2, 0.9
	question := turn.Question{
		Workspace: "default", User: "key:1", Text: "价格？", PromptID: "brief", Session: a.asked.Session, RequestID: a.asked.RequestID,
		History: []turn.Exchange{{Question: "Hello", Answer: "Hi."}},
		Form:    turn.Form{Instructions: "Be brief.\n\nIn Chinese.", MaxTokens: 32768, Temperature: &low, TopP: &nucleus, Stop: []string{"\n\n"}},
	}
	if diff := cmp.Diff(question, a.asked); diff != "" {
		t.Errorf("question (-want +got):\n%s", diff)
	}
	if !slug.MatchString(a.asked.Session) || !slug.MatchString(a.asked.RequestID) {
		t.Errorf("session %q, request id %q", a.asked.Session, a.asked.RequestID)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	status, header, body := post(t, serve(t, Deps{Asker: &asker{events: answered()}}),
		`{"model":"default","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"价格？"}]}`)
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("status %d, %v: %s", status, header, body)
	}
	start := `data: {"id":"chatcmpl-T1","object":"chat.completion.chunk","created":1700000000,"model":"default",`
	want := start + `"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
		start + `"choices":[{"index":0,"delta":{"content":"费用 12 元"},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
		": still at work\n\n" +
		start + `"choices":[{"index":0,"delta":{"content":" [1]"},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
		start + `"system_fingerprint":"rev","choices":[{"index":0,"delta":{"annotations":[` + annotationJSON + `]},"logprobs":null,"finish_reason":"stop"}],"ragmesh":` + recordJSON + "}\n\n" +
		start + `"system_fingerprint":"rev","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}` + "\n\n" +
		"data: [DONE]\n\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestAConversationKeepsItsSession(t *testing.T) {
	t.Parallel()
	a := &asker{events: answered()}
	s := serve(t, Deps{Asker: a})
	session := func(body string) string {
		if status, _, text := post(t, s, body); status != http.StatusOK {
			t.Fatalf("status %d: %s", status, text)
		}
		return a.asked.Session
	}
	first := session(`{"model":"default","messages":[{"role":"user","content":"A?"}]}`)
	if next := session(`{"model":"default","messages":[{"role":"user","content":"A?"},{"role":"assistant","content":"B."},{"role":"user","content":"C?"}]}`); next != first {
		t.Errorf("the second question is in session %s, the first in %s", next, first)
	}
	if other := session(`{"model":"default","messages":[{"role":"user","content":"C?"}]}`); other == first {
		t.Error("two conversations share a session")
	}
	if other := session(`{"model":"default","user":"ann","messages":[{"role":"user","content":"A?"}]}`); other == first {
		t.Error("two users share a session")
	}
	if named := session(`{"model":"default","ragmesh":{"session_id":"S9"},"messages":[{"role":"user","content":"A?"}]}`); named != "S9" || a.asked.History != nil {
		t.Errorf("a named session is %s, with history %v", named, a.asked.History)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, Deps{Asker: &asker{events: answered()}})
	user := `"messages":[{"role":"user","content":"A?"}]`
	for name, test := range map[string]struct {
		body   string
		status int
		param  string
		says   string
	}{
		"no JSON":                {`{`, 400, "", "could not parse the JSON body"},
		"empty":                  {``, 400, "", "could not parse the JSON body"},
		"two values":             {`{"model":"default",` + user + `} {}`, 400, "", "after its end"},
		"no model":               {`{` + user + `}`, 400, "model", "you must provide a model parameter"},
		"unknown parameter":      {`{"model":"default","temprature":1,` + user + `}`, 400, "temprature", "Unrecognized request argument supplied: temprature"},
		"wrong type":             {`{"model":"default","stream":"yes",` + user + `}`, 400, "stream", "Invalid type for 'stream'"},
		"no messages":            {`{"model":"default","messages":[]}`, 400, "messages", "empty array"},
		"ends with an assistant": {`{"model":"default","messages":[{"role":"assistant","content":"A"}]}`, 400, "messages", "the last must be a user's"},
		"blank":                  {`{"model":"default","messages":[{"role":"user","content":" "}]}`, 400, "messages", "not empty"},
		"image":                  {`{"model":"default","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, 400, "", `"image_url" are not supported`},
		"unknown role":           {`{"model":"default","messages":[{"role":"robot","content":"A"}]}`, 400, "messages[0].role", "Invalid value: 'robot'"},
		"tool result":            {`{"model":"default","messages":[{"role":"tool","content":"A"}]}`, 400, "messages[0].role", "clients bring no tools"},
		"tools":                  {`{"model":"default","tools":[{"type":"function"}],` + user + `}`, 400, "tools", "Unsupported parameter: 'tools'"},
		"two answers":            {`{"model":"default","n":2,` + user + `}`, 400, "n", "only 1 is supported"},
		"JSON wanted":            {`{"model":"default","response_format":{"type":"json_object"},` + user + `}`, 400, "response_format", "prose with citations"},
		"hot":                    {`{"model":"default","temperature":3,` + user + `}`, 400, "temperature", "from 0 to 2"},
		"no tokens":              {`{"model":"default","max_completion_tokens":0,` + user + `}`, 400, "max_completion_tokens", "integer below minimum"},
		"five stops":             {`{"model":"default","stop":["a","b","c","d","e"],` + user + `}`, 400, "stop", "at most 4"},
		"usage of no stream":     {`{"model":"default","stream_options":{},` + user + `}`, 400, "stream_options", "only allowed when 'stream'"},
		"no such workspace":      {`{"model":"elsewhere",` + user + `}`, 404, "model", "does not exist or you do not have access"},
		"a model like a path":    {`{"model":"../default",` + user + `}`, 404, "model", "does not exist or you do not have access"},
		"session like a path":    {`{"model":"default","ragmesh":{"session_id":"../x"},` + user + `}`, 400, "ragmesh.session_id", "Invalid"},
		"too large":              {`{"model":"default","user":"` + strings.Repeat("a", maxBody) + `",` + user + `}`, 413, "", "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, _, body := post(t, s, test.body)
			var got refusal.Error
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			param := ""
			if got.Error.Param != nil {
				param = *got.Error.Param
			}
			if status != test.status || param != test.param || !strings.Contains(got.Error.Message, test.says) || got.Error.Type != "invalid_request_error" {
				t.Errorf("status %d, body %s; want %d about %q: %s", status, body, test.status, test.param, test.says)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	const ask, streamed = `{"model":"default","messages":[{"role":"user","content":"A?"}]}`, `{"model":"default","stream":true,"messages":[{"role":"user","content":"A?"}]}`
	failed := slices.Concat(answered()[:3], []turn.Event{{Failed: &turn.Ended{Turn: turn.Turn{Outcome: turn.Failed, Failure: &turn.Failure{Reason: "SERVICE_UNAVAILABLE", Message: "No model answers."}}}}})
	unknown := slices.Concat(answered()[:1], []turn.Event{{Failed: &turn.Ended{Turn: turn.Turn{Outcome: turn.Failed, Failure: &turn.Failure{Reason: "PROMPT_NOT_FOUND", Message: "x"}}}}})
	busy := fault.New(fault.Exhausted, fault.Overloaded, "too many").WithRetryAfter(1500 * time.Millisecond)
	for name, test := range map[string]struct {
		deps   Deps
		body   string
		status int
		says   string
		header string
	}{
		"busy":                {Deps{Asker: &asker{err: busy}}, ask, 429, `"type":"rate_limit_error","param":null,"code":"overloaded"`, "2"},
		"busy, streamed":      {Deps{Asker: &asker{err: busy}}, streamed, 429, `"type":"rate_limit_error"`, "2"},
		"failed":              {Deps{Asker: &asker{events: failed}}, ask, 503, `"message":"No model answers.","type":"server_error"`, ""},
		"failed in a stream":  {Deps{Asker: &asker{events: failed}}, streamed, 200, `data: {"error":{"message":"No model answers."`, ""},
		"no such prompt":      {Deps{Asker: &asker{events: unknown}}, ask, 404, `"code":"model_not_found"`, ""},
		"without its end":     {Deps{Asker: &asker{events: answered()[:4]}}, ask, 500, `"type":"server_error"`, ""},
		"no key":              {Deps{Asker: &asker{}, Gate: doors{err: fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "no key")}}, ask, 401, `"code":"invalid_api_key"`, ""},
		"not what it expects": {Deps{Asker: &asker{err: errors.New("secret detail")}}, ask, 500, `"type":"server_error"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var reported error
			test.deps.Report = func(_ context.Context, err error) { reported = err }
			status, header, body := post(t, serve(t, test.deps), test.body)
			if status != test.status || !strings.Contains(body, test.says) || header.Get("Retry-After") != test.header {
				t.Errorf("status %d, Retry-After %q, body %s", status, header.Get("Retry-After"), body)
			}
			if strings.Contains(body, "secret") {
				t.Errorf("internals are told: %s", body)
			}
			if strings.Contains(body, "[DONE]") {
				t.Errorf("a failed stream says that it is whole: %s", body)
			}
			if reported == nil {
				t.Error("the failure was not reported")
			}
		})
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	s := serve(t, Deps{Asker: &asker{}})
	get := func(path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	want := `{"data":[{"id":"default","object":"model","created":0,"owned_by":"ragmesh"},{"id":"default/brief","object":"model","created":0,"owned_by":"ragmesh"},` +
		`{"id":"support","object":"model","created":1000,"owned_by":"ragmesh"},{"id":"support/brief","object":"model","created":1000,"owned_by":"ragmesh"}],"object":"list"}` + "\n"
	if status, body := get("/v1/models"); status != http.StatusOK || body != want {
		t.Errorf("status %d: %s", status, body)
	}
	if status, body := get("/v1/models/support/brief"); status != http.StatusOK || !strings.Contains(body, `"id":"support/brief"`) {
		t.Errorf("status %d: %s", status, body)
	}
	for _, path := range []string{"/v1/models/gpt", "/v1/embeddings"} {
		if status, body := get(path); status != http.StatusNotFound || !strings.Contains(body, `"error"`) {
			t.Errorf("%s: status %d: %s", path, status, body)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"model":"default","messages":[{"role":"user","content":"A?"}]}`)
	f.Add(`{"model":"a/b","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"stop":["a"],"ragmesh":{"filter":{}}}`)
	f.Add(`{"model":null,"messages":null,"stop":null,"tools":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		r, err := decode(strings.NewReader(body), http.Header{"Idempotency-Key": {body}})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.NotFound {
				t.Errorf("%v is the server's fault", err)
			}
			return
		}
		q := r.question(Caller{Workspace: "default", User: "u"})
		if strings.TrimSpace(q.Text) == "" || !slug.MatchString(q.Session) || len(q.Form.Instructions) > maxInstructions {
			t.Errorf("question %+v", q)
		}
	})
}
