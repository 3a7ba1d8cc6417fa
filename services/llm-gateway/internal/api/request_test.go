package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

func TestRead(t *testing.T) {
	t.Parallel()
	c, err := read([]byte(` {"mod\u0065l":"gpt","messages":[{"role":"system","content":"Be brief."},
		{"role":"user","content":[{"type":"text","text":"What is on it?"},{"type":"image_url","image_url":{"url":"data:..."}}]}],
		"stream":true,"max_completion_tokens":50,"n":2,"user":"u1","prompt_cache_key":"k1","logprobs":false} `))
	if err != nil {
		t.Fatal(err)
	}
	if c.model != "gpt" || !c.stream || c.withUsage || c.maxTokens != 50 || c.choices != 2 || c.session != "k1" {
		t.Errorf("read %+v", c)
	}
	if c.prompt < 800 || c.prompt > 830 {
		t.Errorf("the prompt is taken for %d tokens", c.prompt)
	}
	if diff := cmp.Diff([]string{"n", "image_url"}, c.others); diff != "" {
		t.Errorf("what others can't have (-want +got):\n%s", diff)
	}
}

// What not every provider can do is seen, however it is written, and nothing is taken for it that is not.
func TestReadTellsToolsAndSchemas(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]bool{
		``:                                     {false, false},
		`,"tools":null,"response_format":null`: {false, false},
		`,"tools":[ ],"functions":[]`:          {false, false},
		`,"tools":[{"type":"function","function":{"name":"f"}}]`:                  {true, false},
		`,"functions":[{"name":"f"}],"tools":[]`:                                  {true, false},
		`,"to\u006fls":[{}]`:                                                      {true, false},
		`,"tools":"f"`:                                                            {true, false},
		`,"response_format":{"type":"text"}`:                                      {false, false},
		`,"response_format":{"type":"json_object"}`:                               {false, false},
		`,"response_format":{"type":"json_\u0073chema","json_schema":{}}`:         {false, true},
		`,"response_format":{"type":"json_schema","type":"text"}`:                 {false, true},
		`,"response_format":{"JSON_SCHEMA":{"name":"n"}}`:                         {false, true},
		`,"tools":[{}],"response_format":{"json_schema":{},"type":"json_schema"}`: {true, true},
	} {
		c, err := read([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}]` + body + `}`))
		if err != nil || [2]bool{c.tools, c.schema} != want {
			t.Errorf("%s: %+v, %v", body, c, err)
		}
	}
}

// Earlier calls become text for who has no tools, in either of the forms that OpenAI had, and every other message stays as it came.
func TestEarlierCallsAsText(t *testing.T) {
	t.Parallel()
	const call = `{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}`
	for in, want := range map[string]string{
		`{"role":"user", "content":"x","name":"n"}`:                                               ``,
		`{"role":"assistant","content":"x","tool_calls":null,"function_call":null}`:               ``,
		`{"role":"assistant","content":[{"type":"text","text":"x"}],"tool_calls":[` + call + `]}`: `{"role":"assistant","content":"x\n\n[called f (c1) with {}]"}`,
		`{"role":"assistant","tool_calls":[` + call + `]},{"role":"tool","tool_call_id":"c1","content":"1"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"2"}]},{"role":"user","content":"<x>"}`: `{"role":"assistant","content":"[called f (c1) with {}]"},` +
			`{"role":"user","content":"[f (c1) returned]\n1\n\n[call c2 returned]\n2"},{"role":"user","content":"<x>"}`,
		`{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"1"}`: `{"role":"assistant","content":"[called f with {}]"},{"role":"user","content":"[f returned]\n1"}`,
		`{"role":"assistant","content":7,"tool_calls":[` + call + `]}`:                                                                   `{"role":"assistant","content":7,"tool_calls":[` + call + `]}`,
	} {
		body := `{"model":"m","messages":[` + in + `],"stop":"x"}`
		c, err := read([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if c.calls != (want != "") {
			t.Errorf("%s holds calls: %v", in, c.calls)
		}
		if want == "" {
			want = in
		}
		if got := string(c.in("m", provider.Wire{PlainCalls: true})); got != `{"model":"m","messages":[`+want+`],"stop":"x"}` {
			t.Errorf("%s\nbecame %s", in, got)
		}
		if got := string(c.in("m", provider.Wire{})); got != body {
			t.Errorf("with tools %s\nbecame %s", in, got)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	const messages = `"messages":[{"role":"user","content":"x"}]`
	for name, test := range map[string]struct{ body, param, says string }{
		"no JSON":              {`{"model":"m",`, "", "could not parse"},
		"nothing":              {``, "", "could not parse"},
		"two values":           {`{"model":"m",` + messages + `} {}`, "", "could not parse"},
		"no UTF-8":             {"{\"model\":\"m\xff\"," + messages + `}`, "", "UTF-8"},
		"nested too deeply":    {`{"model":"m",` + messages + `,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "", "nested"},
		"no model":             {`{` + messages + `}`, "model", "model"},
		"a model of numbers":   {`{"model":1,` + messages + `}`, "model", "model"},
		"no messages":          {`{"model":"m"}`, "messages", "Missing"},
		"empty messages":       {`{"model":"m","messages":[]}`, "messages", "empty"},
		"messages of text":     {`{"model":"m","messages":["x"]}`, "messages", "objects"},
		"messages null":        {`{"model":"m","messages":null}`, "messages", "array"},
		"a model twice":        {`{"model":"m",` + messages + `,"mod\u0065l":"n"}`, "model", "Duplicate"},
		"a model in capitals":  {`{"model":"m",` + messages + `,"Model":"n"}`, "Model", "model"},
		"a long s":             {`{"model":"m",` + messages + `,"ſtream":true}`, "ſtream", "stream"},
		"tools in capitals":    {`{"model":"m",` + messages + `,"Tools":[{}]}`, "Tools", "tools"},
		"usage in capitals":    {`{"model":"m",` + messages + `,"stream":true,"stream_options":{"INCLUDE_USAGE":false}}`, "stream_options", "include_usage"},
		"stream as text":       {`{"model":"m",` + messages + `,"stream":"yes"}`, "stream", "boolean"},
		"options, no stream":   {`{"model":"m",` + messages + `,"stream_options":{"include_usage":true}}`, "stream_options", "stream"},
		"no tokens":            {`{"model":"m",` + messages + `,"max_tokens":0}`, "max_tokens", "minimum"},
		"two limits":           {`{"model":"m",` + messages + `,"max_tokens":1,"max_completion_tokens":1}`, "max_tokens", "same time"},
		"no choice":            {`{"model":"m",` + messages + `,"n":0}`, "n", "integer"},
		"too many parameters":  {`{"model":"m",` + messages + strings.Repeat(`,"a":1`, 0) + many(120) + `}`, "", "100"},
		"a part that is none":  {`{"model":"m","messages":[{"role":"user","content":[1]}]}`, "messages", "part"},
		"a list and something": {`[{"model":"m"}]`, "", "could not parse"},
	} {
		_, err := read([]byte(test.body))
		f := fault.As(err)
		if f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Message, test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
			continue
		}
		param := ""
		if len(f.Fields) > 0 {
			param = f.Fields[0].Path
		}
		if param != test.param {
			t.Errorf("%s: about %q, want %q", name, param, test.param)
		}
	}
}

// many are n parameters nobody knows.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"p` + strings.Repeat("x", i) + `":1`)
	}
	return b.String()
}

// What a provider gets is what the caller sent, but for the model and the usage of a stream.
func TestIn(t *testing.T) {
	t.Parallel()
	const messages = `"messages":[{"role":"user","content":"say \"model\""}]`
	for name, test := range map[string]struct {
		body, want string
		legacy     bool
	}{
		"plain":      {`{"model":"m",` + messages + `,"temperature":0.10}`, `{"model":"gpt-\"4",` + messages + `,"temperature":0.10}`, false},
		"model last": {`{` + messages + ` , "model" : "m" }`, `{` + messages + ` , "model" : "gpt-\"4" }`, false},
		"stream":     {`{"model":"m",` + messages + `,"stream":true}`, `{"model":"gpt-\"4",` + messages + `,"stream":true,"stream_options":{"include_usage":true}}`, false},
		"stream, no options": {
			`{"stream_options":null,"model":"m",` + messages + `,"stream":true}`,
			`{"stream_options":{"include_usage":true},"model":"gpt-\"4",` + messages + `,"stream":true}`, false,
		},
		"stream, empty options": {
			`{"stream_options":{ },"model":"m",` + messages + `,"stream":true}`,
			`{"stream_options":{"include_usage":true},"model":"gpt-\"4",` + messages + `,"stream":true}`, false,
		},
		"stream, other options": {
			`{"stream_options":{"x":1},"model":"m",` + messages + `,"stream":true}`,
			`{"stream_options":{"include_usage":true,"x":1},"model":"gpt-\"4",` + messages + `,"stream":true}`, false,
		},
		"stream, without usage": {
			`{"model":"m","stream_options":{"include_usage": false},` + messages + `,"stream":true}`,
			`{"model":"gpt-\"4","stream_options":{"include_usage": true},` + messages + `,"stream":true}`, false,
		},
		"stream, with usage": {
			`{"model":"m","stream_options":{"include_usage":true},` + messages + `,"stream":true}`,
			`{"model":"gpt-\"4","stream_options":{"include_usage":true},` + messages + `,"stream":true}`, false,
		},
		"an older server": {
			`{"max_completion_tokens":5,"model":"m",` + messages + `}`,
			`{"max_tokens":5,"model":"gpt-\"4",` + messages + `}`, true,
		},
	} {
		c, err := read([]byte(test.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for range 2 { // for the second target as for the first
			if got := string(c.in(`gpt-"4`, provider.Wire{LegacyMaxTokens: test.legacy})); got != test.want {
				t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
			}
		}
	}
}

// FuzzRead: what is taken is JSON, and what is made of it for a provider too, with the model that was meant.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"a":1}}`,
		`{"messages":[{"content":[{"type":"text","text":"x"}]}],"model":"m","max_completion_tokens":7}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, err := read([]byte(body))
		if err != nil {
			return
		}
		var before, after map[string]any
		if err := json.Unmarshal([]byte(body), &before); err != nil {
			t.Fatalf("%q was taken: %v", body, err)
		}
		if err := json.Unmarshal(c.in("other", provider.Wire{LegacyMaxTokens: true}), &after); err != nil {
			t.Fatalf("%q became what is no JSON: %v", body, err)
		}
		if before["model"] != c.model || after["model"] != "other" {
			t.Fatalf("%q: the model is %q, then %v", body, c.model, after["model"])
		}
		if options, _ := after["stream_options"].(map[string]any); c.stream && options["include_usage"] != true {
			t.Fatalf("%q: no usage is asked for: %v", body, after)
		}
	})
}
