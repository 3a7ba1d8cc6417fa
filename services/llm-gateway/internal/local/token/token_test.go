package token_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/token"
)

func load(t testing.TB, name string) *token.Tokenizer {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTextIsNeverASpecialToken(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"wordpiece": "a [SEP] b [CLS]", "unigram": "a </s> b <s>", "unigram-bytes": "a </s> b <s>"} {
		got := load(t, name).Encode(text, 100)
		inner := got.IDs[1 : len(got.IDs)-1]
		if slices.Contains(inner, got.IDs[0]) || slices.Contains(inner, got.IDs[len(got.IDs)-1]) {
			t.Errorf("%s: %q became %v", name, text, got.IDs)
		}
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"wordpiece", "unigram"} {
		tok := load(t, name)
		if got := tok.Encode("the refund", 100); got.Unknown != 0 {
			t.Errorf("%s: %d unknown in words it was trained on", name, got.Unknown)
		}
		whole := tok.Encode("the ☃ refund ☂ the ☄", 100)
		if whole.Unknown != 3 {
			t.Errorf("%s: %d unknown, want 3", name, whole.Unknown)
		}
		cut := tok.Encode("the ☃ refund ☂ the ☄", len(whole.IDs)-1)
		if cut.Unknown != 2 || len(cut.IDs) != len(whole.IDs)-1 {
			t.Errorf("%s: %d unknown in %d tokens, want 2 in %d", name, cut.Unknown, len(cut.IDs), len(whole.IDs)-1)
		}
	}
	if got := load(t, "unigram-bytes").Encode("☃", 100); got.Unknown != 0 || len(got.IDs) < 5 {
		t.Errorf("a model that spells by bytes: %+v", got)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	tok := load(t, "wordpiece")
	long := strings.Repeat("the refund takes five days ", 100)
	for _, limit := range []int{-1, 0, 1, 2, 3, 4, 7, 64} {
		if got := tok.Encode(long, limit); len(got.IDs) != max(2, limit) || len(got.Types) != len(got.IDs) {
			t.Errorf("limit %d: %d ids, %d types", limit, len(got.IDs), len(got.Types))
		}
		if got := tok.EncodePair(long, long, limit); len(got.IDs) != max(3, limit) || len(got.Types) != len(got.IDs) {
			t.Errorf("pair, limit %d: %d ids, %d types", limit, len(got.IDs), len(got.Types))
		}
	}
	short := tok.Encode("the refund", 100)
	if got := tok.EncodePair("the refund", long, 20); !slices.Equal(got.IDs[:len(short.IDs)], short.IDs) {
		t.Error("the shorter text of a pair was cut")
	}
}

// edit returns a test tokenizer's file with one change.
func edit(t *testing.T, name string, change func(m map[string]any)) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	set := func(path string, v any) func(map[string]any) {
		return func(m map[string]any) {
			keys := strings.Split(path, ".")
			for _, k := range keys[:len(keys)-1] {
				m = m[k].(map[string]any)
			}
			m[keys[len(keys)-1]] = v
		}
	}
	replace := map[string]any{"type": "Replace", "pattern": map[string]any{"String": "a"}, "content": strings.Repeat("a", 1000)}
	tests := []struct {
		name, base string
		change     func(map[string]any)
		want       string
	}{
		{"another model", "wordpiece", set("model.type", "BPE"), `model: "BPE" is not supported`},
		{"another normalizer", "wordpiece", set("normalizer.type", "Prepend"), `normalizer: "Prepend" is not supported`},
		{"another pre-tokenizer", "wordpiece", set("pre_tokenizer.type", "ByteLevel"), `pre_tokenizer: "ByteLevel" is not supported`},
		{"another post-processor", "wordpiece", set("post_processor.type", "ByteLevel"), `post_processor: "ByteLevel" is not supported`},
		{"no vocabulary", "wordpiece", set("model.vocab", map[string]any{}), "vocabulary of 0"},
		{"a negative id", "wordpiece", set("model.vocab", map[string]any{"[UNK]": -1}), "id -1"},
		{"an id beyond reason", "wordpiece", set("model.vocab", map[string]any{"[UNK]": 1 << 30}), "id 1073741824"},
		{"no unknown token", "wordpiece", set("model.unk_token", "nope"), `unk_token "nope"`},
		{"an unknown token beyond the vocabulary", "unigram", set("model.unk_id", 100000), "unk_id"},
		{"no unknown token in Unigram", "unigram", set("model.unk_id", nil), "unk_id"},
		{"a broken pair", "unigram", set("model.vocab", []any{[]any{"a"}}), "a text and its score"},
		{"bytes without tokens", "unigram", set("model.byte_fallback", true), "byte_fallback"},
		{"an array beyond its end", "unigram", set("normalizer", map[string]any{"type": "Precompiled", "precompiled_charsmap": "/////w=="}), "precompiled_charsmap"},
		{"a text put in that is too long", "unigram", set("normalizer", replace), "puts in 1000 bytes"},
		{"too many steps", "unigram", set("normalizer", map[string]any{"type": "Sequence", "normalizers": slices.Repeat([]any{map[string]any{"type": "NFC"}}, 33)}), "too many steps"},
		{"special tokens without ids", "wordpiece", set("post_processor.special_tokens", map[string]any{}), "has no ids"},
		{"special tokens beyond the vocabulary", "wordpiece", set("post_processor.special_tokens", map[string]any{
			"[CLS]": map[string]any{"ids": []any{1 << 20}}, "[SEP]": map[string]any{"ids": []any{-4}},
		}), "is no token's"},
		{"a template without its text", "wordpiece", set("post_processor.single", []any{}), "does not name each text once"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := token.Parse(edit(t, tt.base, tt.change))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
	if _, err := token.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), token.File) {
		t.Errorf("a folder without tokenizer: %v", err)
	}
}

// FuzzParse takes any file: what comes out of it must keep its promises for any text.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "The refund 退款 \x00 é\u0301 ﬁ")
	}
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		tok, err := token.Parse(raw)
		if err != nil {
			return
		}
		check(t, tok, tok.Encode(text, 64), 64)
		check(t, tok, tok.EncodePair(text, text, 64), 64)
	})
}

func FuzzEncode(f *testing.F) {
	var all []*token.Tokenizer
	for _, name := range []string{"wordpiece", "wordpiece-cased", "unigram", "unigram-old", "unigram-bytes"} {
		all = append(all, load(f, name))
	}
	f.Add("The refund takes five days 退款需要五个工作日")
	f.Add("\xff\x00▁ ▁\u0301\u200d👩‍👩‍👧‍👦")
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range all {
			check(t, tok, tok.Encode(text, 64), 64)
			check(t, tok, tok.EncodePair(text, text, 64), 64)
		}
	})
}

func check(t *testing.T, tok *token.Tokenizer, e token.Encoding, limit int) {
	t.Helper()
	if len(e.IDs) != len(e.Types) || len(e.IDs) > max(limit, 16) || e.Unknown < 0 || e.Unknown > len(e.IDs) {
		t.Errorf("%d ids, %d types, %d unknown", len(e.IDs), len(e.Types), e.Unknown)
	}
	for i, id := range e.IDs {
		if id < 0 || int(id) >= tok.Size() || e.Types[i] < 0 || e.Types[i] > 1 {
			t.Fatalf("id %d of type %d; size %d", id, e.Types[i], tok.Size())
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat("The refund takes five working days, and the fee of 12.50 euros is returned as well. ", 10)
	for _, name := range []string{"wordpiece", "unigram"} {
		tok := load(b, name)
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n += len(tok.Encode(text, 1<<20).IDs)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
