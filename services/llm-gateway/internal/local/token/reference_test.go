package token_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/token"
)

// expected is what Hugging Face's tokenizers make of a text, or of a pair.
type expected struct {
	Text  string  `json:"text"`
	Pair  *string `json:"pair"`
	Limit int     `json:"limit"`
	IDs   []int32 `json:"ids"`
	Types []int32 `json:"types"`
}

// compare holds a tokenizer to a file of expectations and returns how many there were and where it differs.
func compare(t *testing.T, tok *token.Tokenizer, path string) (n int, differ []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return n, differ
		}
		var want expected
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		limit := want.Limit
		if limit == 0 {
			limit = 1 << 20
		}
		got := tok.Encode(want.Text, limit)
		if want.Pair != nil {
			got = tok.EncodePair(want.Text, *want.Pair, limit)
		}
		n++
		if !slices.Equal(got.IDs, want.IDs) || !slices.Equal(got.Types, want.Types) {
			differ = append(differ, want.Text)
			if len(differ) <= 20 && testing.Verbose() {
				t.Logf("%.300q (limit %d)\n got %v\nwant %v", want.Text, want.Limit, clip(got.IDs, want.IDs), clip(want.IDs, got.IDs))
			}
		}
	}
}

// clip shows where two lists part.
func clip(a, b []int32) []int32 {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return a[max(0, i-2):min(len(a), i+12)]
}

// TestAgreesWithTheReference compares with what testdata/reference.py wrote: small tokenizers of each kind, trained there.
func TestAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	models, err := filepath.Glob("testdata/*.json")
	if err != nil || len(models) == 0 {
		t.Fatalf("no tokenizers in testdata: %v", err)
	}
	for _, path := range models {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tok, err := token.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			n, differ := compare(t, tok, strings.TrimSuffix(path, ".json")+".jsonl")
			if n < 50 || len(differ) > 0 {
				t.Errorf("%d of %d texts differ from the reference; -v shows them", len(differ), n)
			}
		})
	}
}

// TestAgreesAtLength compares with the reference on as many texts as testdata/reference.py was asked for, in the folders that
// RAGMESH_TOKENS lists: a tokenizer.json and an expected.jsonl in each.
func TestAgreesAtLength(t *testing.T) {
	t.Parallel()
	folders := filepath.SplitList(os.Getenv("RAGMESH_TOKENS"))
	if len(folders) == 0 {
		t.Skip("RAGMESH_TOKENS names no folders made by testdata/reference.py")
	}
	for _, dir := range folders {
		tok, err := token.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		n, differ := compare(t, tok, filepath.Join(dir, "expected.jsonl"))
		t.Logf("%s: %d texts, %d differ", dir, n, len(differ))
		// Texts that spell a special token differ on purpose.
		differ = slices.DeleteFunc(differ, func(s string) bool {
			return slices.ContainsFunc([]string{"[SEP]", "[CLS]", "[UNK]", "[PAD]", "<s>", "</s>", "<unk>"}, func(special string) bool { return strings.Contains(s, special) })
		})
		if len(differ) > n/1000 {
			t.Errorf("%s: %d of %d texts differ, e.g. %.200q", dir, len(differ), n, differ[:min(3, len(differ))])
		}
	}
}
