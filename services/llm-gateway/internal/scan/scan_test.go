package scan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/scan"
)

func TestObject(t *testing.T) {
	t.Parallel()
	data := []byte(` {"a":1, "b" : "x\"}]y" ,"c":[{"a":2},[]],"\u0064":null,"é":{"n":-0.5e+3}} `)
	var got []string
	err := scan.Object(data, func(key []byte, name, value scan.Span) error {
		got = append(got, fmt.Sprintf("%s %s=%s", key, name.Of(data), value.Of(data)))
		return nil
	})
	want := []string{`a "a"=1`, `b "b"="x\"}]y"`, `c "c"=[{"a":2},[]]`, `d "\u0064"=null`, `é "é"={"n":-0.5e+3}`}
	if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestArray(t *testing.T) {
	t.Parallel()
	data := []byte(`[1, "two" ,{"three":3},[4]]`)
	var got []string
	if err := scan.Array(data, func(v scan.Span) error { got = append(got, string(v.Of(data))); return nil }); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, "|") != `1|"two"|{"three":3}|[4]` {
		t.Errorf("got %q", got)
	}
	stop := errors.New("enough")
	if err := scan.Array(data, func(scan.Span) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the walk ended with %v", err)
	}
}

func TestWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		``, ` `, `null`, `[]`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a":1}}`, `{"a":1} x`, `{a:1}`, `{"a" 1}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`,
		`{"a":-}`, `{"a":1e}`, `{"a":tru}`, `{"a":"x}`, `{"a":"\x"}`, `{"a":"\u12G4"}`, `{"a":"\u12`, "{\"a\":\"\x01\"}", "{\"a\":\"12345678\n\"}", `{"a":[1,]}`, `{"a":[1}`, `{"a":{"b"}}`,
		`{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`,
	} {
		if err := scan.Object([]byte(bad), nil); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{`"plain"`: "plain", `"\u00e9\n"`: "é\n", `""`: "", "\"\xff\"": "\uFFFD"} {
		if got, ok := scan.Text([]byte(in)); !ok || got != want {
			t.Errorf("Text(%s) = %q, %t", in, got, ok)
		}
	}
	if _, ok := scan.Text([]byte(`12`)); ok {
		t.Error("a number is a text")
	}
	for in, want := range map[string]int{`0`: 0, `12`: 12, `2147483647`: 1<<31 - 1} {
		if got, ok := scan.Int([]byte(in)); !ok || got != want {
			t.Errorf("Int(%s) = %d, %t", in, got, ok)
		}
	}
	for _, bad := range []string{``, `-1`, `1.0`, `"1"`, `null`, `2147483648`, `99999999999999999999`} {
		if _, ok := scan.Int([]byte(bad)); ok {
			t.Errorf("Int(%s) is a number", bad)
		}
	}
	for in, want := range map[string]int{"": 0, "word": 1, "words": 2, "退款政策": 4, "twelve bytes": 3} {
		var s scan.Size
		s.Add([]byte(in))
		if got := s.Tokens(); got != want {
			t.Errorf("%q has %d tokens, want %d", in, got, want)
		}
	}
}

// FuzzObject holds the walk against encoding/json: whatever it takes is JSON, and whatever it refuses is not, or is nested too
// deeply.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":[true,false,null],"c":{"d":"e\n\u1234"}}`, `{"model":"m","messages":[]}`, `{}`, `{"a":"` + strings.Repeat("x", 40) + `"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var object map[string]json.RawMessage
		isObject := json.Unmarshal(data, &object) == nil && object != nil
		seen := map[string]json.RawMessage{}
		err := scan.Object(data, func(key []byte, _, value scan.Span) error {
			seen[strings.ToValidUTF8(string(key), "\uFFFD")] = value.Of(data)
			return nil
		})
		deep := new(scan.Error)
		if err != nil && errors.As(err, &deep) && deep.What == "nested too deeply" {
			return
		}
		if (err == nil) != isObject {
			t.Fatalf("%q: %v, while encoding/json says %t", data, err, isObject)
		}
		for key, value := range object {
			if _, ok := seen[key]; !ok {
				return // of keys that are no UTF-8, encoding/json makes others
			}
			if string(value) != string(seen[key]) {
				t.Fatalf("%q: %q is %q, not %q", data, key, seen[key], value)
			}
		}
	})
}

func BenchmarkObject(b *testing.B) {
	data := []byte(`{"model":"gpt","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("words of a prompt ", 120) + `"}]}`)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := scan.Object(data, func([]byte, scan.Span, scan.Span) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
