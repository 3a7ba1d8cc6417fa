package mockllm_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
)

func TestNamesSayHowModelsBehave(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]mockllm.Behaviour{
		"mock":                            {Length: 64},
		"mock-len3":                       {Length: 3},
		"mock-ttft50-itl5-len64-fail0.01": {FirstToken: 50 * time.Millisecond, Interval: 5 * time.Millisecond, Length: 64, Failures: 0.01},
		"mock-fail1-itl0.5-ttft0":         {Interval: 500 * time.Microsecond, Length: 64, Failures: 1},
		"gpt-4":                           {Length: -1},
		"mock-len":                        {Length: -1},
		"mock-len0":                       {Length: -1},
		"mock-len100001":                  {Length: -1},
		"mock-ttft1e9":                    {Length: -1},
		"mock-fail1.5":                    {Length: -1},
		"mock-speed9":                     {Length: -1},
		"mock-ttft5x":                     {Length: -1},
	} {
		got, err := mockllm.Parse(name)
		if want.Length < 0 {
			if err == nil {
				t.Errorf("Parse(%q) = %+v, want an error", name, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("mock-ttft50-itl5-len64-fail0.01")
	f.Add("mock-len1e4")
	f.Fuzz(func(t *testing.T, model string) {
		b, err := mockllm.Parse(model)
		if err != nil {
			return
		}
		if b.FirstToken < 0 || b.Interval < 0 || b.Length < 1 || b.Length > 100_000 || !(b.Failures >= 0 && b.Failures <= 1) {
			t.Errorf("Parse(%q) = %+v, out of bounds", model, b)
		}
	})
}

func serve(t *testing.T, seed uint64) (*mockllm.Server, *httptest.Server) {
	t.Helper()
	mock := mockllm.New(seed)
	server := httptest.NewServer(mock)
	t.Cleanup(server.Close)
	return mock, server
}

func post(t *testing.T, url, body string) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func TestStreamHasOpenAIsForm(t *testing.T) {
	t.Parallel()
	mock, server := serve(t, 1)
	resp, body := post(t, server.URL, `{"model":"mock-len20","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"short"},{"role":"user","content":[{"type":"text","text":"the quick brown fox jumps"}]}]}`)
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type = %q", got)
	}
	var kinds []string
	var text strings.Builder
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			t.Fatalf("line %q is no event", lines.Text())
		}
		kinds = append(kinds, kind(t, data, &text))
	}
	want := append(append([]string{"role"}, repeat("token", 20)...), "stop", "usage 20", "[DONE]")
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if strings.Count(text.String(), "[") != 2 || !strings.HasSuffix(text.String(), "].") {
		t.Errorf("answer = %q, want two sentences with a marker each", text.String())
	}
	counts := mock.Counts()
	counts.Active = 0 // it may not have noticed yet that it is done
	if diff := cmp.Diff(mockllm.Counts{Requests: 1, Tokens: 20, PromptTokens: 9, CompletionTokens: 20}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func kind(t *testing.T, data string, text *strings.Builder) string {
	t.Helper()
	if data == "[DONE]" {
		return data
	}
	var e struct {
		Object  string
		Choices []struct {
			Delta  map[string]string
			Finish *string `json:"finish_reason"`
		}
		Usage *struct {
			Completion int `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(data), &e); err != nil || e.Object != "chat.completion.chunk" {
		t.Fatalf("event %s: %v", data, err)
	}
	switch {
	case e.Usage != nil && len(e.Choices) == 0:
		return fmt.Sprintf("usage %d", e.Usage.Completion)
	case e.Choices[0].Finish != nil:
		return *e.Choices[0].Finish
	case e.Choices[0].Delta["role"] != "":
		return "role"
	default:
		text.WriteString(e.Choices[0].Delta["content"])
		return "token"
	}
}

func repeat(s string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

func TestAnswerWithoutStream(t *testing.T) {
	t.Parallel()
	_, server := serve(t, 1)
	resp, body := post(t, server.URL, `{"model":"mock-len9","max_completion_tokens":4,"messages":[{"role":"user","content":"one two three four five"}]}`)
	var got struct {
		Object  string
		Choices []struct {
			Message struct{ Role, Content string }
			Finish  string `json:"finish_reason"`
		}
		Usage map[string]int
	}
	if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %v", resp.Status, body, err)
	}
	if got.Object != "chat.completion" || got.Choices[0].Finish != "length" || got.Usage["completion_tokens"] != 4 || got.Choices[0].Message.Content == "" {
		t.Errorf("answer = %+v", got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	_, server := serve(t, 1)
	for body, want := range map[string]int{
		`{"model":"gpt-4","messages":[]}`:                           http.StatusNotFound,
		`{"model":"mock-fail1","messages":[]}`:                      http.StatusServiceUnavailable,
		`{"model":`:                                                 http.StatusBadRequest,
		`{"model":"mock","messages":[{"role":"user","content":7}]}`: http.StatusBadRequest,
	} {
		resp, answer := post(t, server.URL, body)
		var e struct{ Error struct{ Message string } }
		if err := json.Unmarshal(answer, &e); err != nil || resp.StatusCode != want || e.Error.Message == "" {
			t.Errorf("%s: %s %s, want status %d and an error's form", body, resp.Status, answer, want)
		}
	}
}

func TestChanceIsRepeatable(t *testing.T) {
	t.Parallel()
	fates := func() string {
		_, server := serve(t, 7)
		var all strings.Builder
		for range 100 {
			_, err := mockllm.Ask(t.Context(), server.Client(), server.URL+"/v1", "mock-len2-fail0.3", "a b c")
			fmt.Fprint(&all, err == nil, " ")
		}
		return all.String()
	}
	first := fates()
	if second := fates(); first != second {
		t.Errorf("two runs differ:\n%s\n%s", first, second)
	}
	if failed := strings.Count(first, "false"); failed < 15 || failed > 45 {
		t.Errorf("%d of 100 requests failed, want about 30", failed)
	}
}

func TestTokensComeWhenTheNameSays(t *testing.T) {
	t.Parallel()
	_, server := serve(t, 1)
	begin := time.Now()
	reply, err := mockllm.Ask(t.Context(), server.Client(), server.URL+"/v1", "mock-ttft40-itl10-len5", "a b c")
	took := time.Since(begin)
	if err != nil || reply.Tokens != 5 {
		t.Fatalf("Ask = %+v, %v; want 5 tokens", reply, err)
	}
	if reply.FirstToken < 40*time.Millisecond || took < 80*time.Millisecond {
		t.Errorf("first token after %s, all after %s; want at least 40ms and 80ms", reply.FirstToken, took)
	}
}

func TestLeavingStopsTheAnswer(t *testing.T) {
	t.Parallel()
	mock, server := serve(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if reply, err := mockllm.Ask(ctx, server.Client(), server.URL+"/v1", "mock-itl20-len1000", "a b c"); err == nil {
		t.Errorf("Ask = %+v, want the context's error", reply)
	}
	server.Close() // waits for the handler
	if made := mock.Counts().Tokens; made > 900 {
		t.Errorf("%d tokens were made for a caller who had gone", made)
	}
}
