package bedrock

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

// model is one that streams.
const model = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"

func identity(t *testing.T) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "never-sent")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
}

func open(t *testing.T, url string) *Provider {
	t.Helper()
	p, err := New(t.Context(), Config{Region: "eu-central-1", BaseURL: url, MaxConnections: 8}, providertest.Now)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// frame is a message of Amazon's binary streams.
func frame(kind, name string, payload any) string {
	raw, _ := json.Marshal(payload)
	m := eventstream.Message{Payload: raw}
	m.Headers.Set(":message-type", eventstream.StringValue(kind))
	m.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	m.Headers.Set(":"+kind+"-type", eventstream.StringValue(name))
	var out bytes.Buffer
	_ = eventstream.NewEncoder().Encode(&out, m)
	return out.String()
}

// chunk is a frame with one of Anthropic's events.
func chunk(event string) string {
	return frame("event", "chunk", map[string]string{"bytes": base64.StdEncoding.EncodeToString([]byte(event))})
}

func quote(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

// huge begins a message of more than Amazon's library takes.
func huge() string {
	prelude := binary.BigEndian.AppendUint32(nil, 64<<20)
	prelude = binary.BigEndian.AppendUint32(prelude, 1<<20)
	return string(binary.BigEndian.AppendUint32(prelude, crc32.ChecksumIEEE(prelude))) + strings.Repeat("x", 1<<20)
}

func format() providertest.Format {
	return providertest.Format{
		ContentType: "application/vnd.amazon.eventstream",
		Open: func(u *provider.Usage) string {
			tokens := 0
			if u != nil {
				tokens = u.Prompt
			}
			return chunk(fmt.Sprintf(`{"type":"message_start","message":{"id":"x","type":"message","role":"assistant","content":[],"model":"m","usage":{"input_tokens":%d,"output_tokens":1}}}`, tokens))
		},
		Idle: chunk(`{"type":"ping"}`),
		Text: func(s string) string {
			return chunk(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":` + quote(s) + `}}`)
		},
		Reasoning: func(s string) []string {
			return []string{chunk(`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":` + quote(s) + `}}`)}
		},
		End: func(f provider.Finish, u *provider.Usage) string {
			reason := map[provider.Finish]string{provider.Stop: "end_turn", provider.Length: "max_tokens", provider.Filtered: "refusal"}[f]
			tokens := 0
			if u != nil {
				tokens = u.Completion
			}
			return chunk(fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":%q,"stop_sequence":null},"usage":{"output_tokens":%d}}`, reason, tokens))
		},
		Terminator: chunk(`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":7}}`),
		Error:      frame("exception", "modelStreamErrorException", map[string]string{"message": "engine down"}),
		RateLimit:  frame("exception", "throttlingException", map[string]string{"message": "slow down"}),
		PlainError: `{"message":"model not ready"}`,
		Malformed:  chunk(`{"type":"content_block_delta","index":0,"delta":{"te`),
		HugeLine:   huge(),
		Refusal:    func(words string) string { return `{"message":` + quote(words) + `}` },
		TooLong:    `{"message":"Input is too long for requested model."}`,
		NoCache:    true, Ends: true, NoKey: true, Hasty: true,
	}
}

func TestConformance(t *testing.T) {
	identity(t)
	providertest.Run(t, format(), func(t *testing.T, url string) provider.Provider {
		t.Helper()
		return providertest.WithModel(open(t, url), model)
	})
}

func TestRequestOnTheWire(t *testing.T) {
	identity(t)
	type object = map[string]any
	s := wiretest.Serve(t, "", "application/vnd.amazon.eventstream", wiretest.Raw(format().Open(nil)+format().End(provider.Stop, nil)))
	cold := 0.0
	r := providertest.Request()
	r.Model, r.Temperature, r.Stop = model, &cold, []string{"END"}
	r.Messages = []ask.Message{
		{Role: ask.System, Content: "A"}, {Role: ask.User, Content: "1"}, {Role: ask.Assistant, Content: "2"}, {Role: ask.Assistant, Content: " "},
		{Role: ask.User, Content: "3"}, {Role: ask.System, Content: "B"},
	}
	if _, err := open(t, s.URL).Generate(t.Context(), r, func(provider.Piece) error { return nil }); err != nil {
		t.Fatal(err)
	}
	text := func(s string) []any { return []any{object{"type": "text", "text": s}} }
	want := object{
		"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100.0, "system": "A\n\nB", "temperature": least, "stop_sequences": []any{"END"},
		"messages": []any{
			object{"role": "user", "content": text("1")}, object{"role": "assistant", "content": text("2")}, object{"role": "user", "content": text("3")},
		},
	}
	got := s.Requests()[0]
	if diff := cmp.Diff(want, got.Body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if auth := got.Header.Get("Authorization"); !strings.Contains(auth, "Credential=AKIATEST/") || !strings.Contains(auth, "/eu-central-1/bedrock/") {
		t.Errorf("authorization %q", auth)
	}
	if want := "/model/" + strings.ReplaceAll(model, ":", "%3A") + "/invoke-with-response-stream"; got.Path != want {
		t.Errorf("path %q, want %q", got.Path, want)
	}
}

// Models of other families answer as a whole.
func TestModelsThatDoNotStream(t *testing.T) {
	identity(t)
	s := wiretest.Serve(t, "/model/amazon.nova-lite-v1:0/invoke", "application/json", wiretest.Raw(
		`{"output":{"message":{"content":[{"text":"Five days."}],"role":"assistant"}},"stopReason":"max_tokens","usage":{"inputTokens":12,"outputTokens":7,"totalTokens":19}}`))
	r := providertest.Request()
	r.Model = "amazon.nova-lite-v1:0"
	text := ""
	out, err := open(t, s.URL).Generate(t.Context(), r, func(p provider.Piece) error {
		text += p.Text
		return nil
	})
	if want := (provider.Result{Finish: provider.Length, Usage: provider.Usage{Prompt: 12, Completion: 7}}); err != nil || text != "Five days." || out != want {
		t.Errorf("Generate = %q, %+v, %v", text, out, err)
	}
}

func TestWhatItCannotDoIsRefusedUnasked(t *testing.T) {
	identity(t)
	s := wiretest.Serve(t, "", "")
	for _, change := range []func(*provider.Request){
		func(r *provider.Request) { r.Tools = []provider.Tool{{Name: "f"}} },
		func(r *provider.Request) { r.Schema = &provider.Schema{JSON: json.RawMessage(`{}`)} },
	} {
		r := providertest.Request()
		change(&r)
		if _, err := open(t, s.URL).Generate(t.Context(), r, func(provider.Piece) error { return nil }); fault.ReasonOf(err) != fault.ProviderRejected {
			t.Errorf("Generate error = %v", err)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// Calls of tools from earlier in a conversation are told as text.
func TestEarlierCallsAreText(t *testing.T) {
	t.Parallel()
	r := providertest.Request()
	r.Messages = providertest.History()
	out, err := messages(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(out); !strings.Contains(got, "[called weather (call_a) with") || !strings.Contains(got, "[weather (call_a) returned]") {
		t.Errorf("messages are %s", got)
	}
}

// FuzzFrames sends any bytes. What is handed on, Amazon's library reads without panic, and only what was sent.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(format().Text("a") + format().Text("b")))
	f.Add([]byte(format().Error + format().Text("a")[:20]))
	f.Add([]byte(huge()))
	f.Add([]byte("{\"message\":\"model not ready\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, _ := io.ReadAll(newFrames(io.NopCloser(bytes.NewReader(body))))
		if !bytes.HasPrefix(body, out) {
			t.Errorf("%q came of %q", out, body)
		}
		r := bytes.NewReader(out)
		for d := eventstream.NewDecoder(); r.Len() > 0; {
			if _, err := d.Decode(r, nil); err != nil {
				t.Fatalf("the library does not read what was handed on: %v", err)
			}
		}
	})
}

// A header of a type that there is none makes the library panic: it never gets there.
func TestHeadersThatMakeTheLibraryPanic(t *testing.T) {
	t.Parallel()
	body := []byte(frame("event", "chunk", "x"))
	at := bytes.Index(body, []byte(":message-type")) + len(":message-type")
	body[at] = 120
	binary.BigEndian.PutUint32(body[len(body)-4:], crc32.ChecksumIEEE(body[:len(body)-4]))
	if out, err := io.ReadAll(newFrames(io.NopCloser(bytes.NewReader(body)))); !errors.Is(err, errFrame) || len(out) > 0 {
		t.Errorf("%q, %v", out, err)
	}
}
