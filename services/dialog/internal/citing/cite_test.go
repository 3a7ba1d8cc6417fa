package citing

import (
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/text"
)

func TestClaim(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ before, want string }{
		"open sentence":              {"First thing. The daily limit is 50,000 ", "The daily limit is 50,000"},
		"closed sentence":            {"First thing. The daily limit is 50,000. ", "The daily limit is 50,000."},
		"after another marker":       {"First. The daily limit is 50,000 [1]", "The daily limit is 50,000"},
		"clause between two markers": {"The daily limit is 50,000 [1] and the monthly limit is 200,000 ", "and the monthly limit is 200,000"},
		"clause too short":           {"The daily limit is 50,000 [1] in all ", "The daily limit is 50,000 in all"},
		"Chinese open":               {"先看这里。每日限额为五万元", "每日限额为五万元"},
		"Chinese closed":             {"先看这里。每日限额为五万元。", "每日限额为五万元。"},
		"list item":                  {"Steps:\n\n- Open the app and log in ", "Open the app and log in"},
		"nothing before":             {" [1] ", ""},
		"brackets that are text":     {"See [the page] for the limit ", "See [the page] for the limit"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Claim(tc.before); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestClaimIsBounded(t *testing.T) {
	t.Parallel()
	got := Claim(strings.Repeat("很长的句子", 2000))
	if len(got) > MaxClaim || !strings.HasSuffix(got, "句子") {
		t.Errorf("%d bytes, ends %q", len(got), tail(got, 9))
	}
}

// overlap is a stand-in for evidence's: the share of the claim's words that the quote holds.
func overlap(claim string) Judge {
	return func(quote string) (evidence.Support, float64) { return share(claim, quote) }
}

func share(claim, quote string) (evidence.Support, float64) {
	in := map[string]bool{}
	for _, tok := range text.Tokens(quote) {
		in[tok.Term] = true
	}
	hit, all := 0.0, 0.0
	for _, tok := range text.Tokens(claim) {
		if tok.Stop {
			continue
		}
		all++
		if in[tok.Term] {
			hit++
		}
	}
	if all == 0 {
		return evidence.Unverified, 0
	}
	if hit/all >= 0.8 {
		return evidence.Supported, hit / all
	}
	return evidence.Unsupported, hit / all
}

func TestCite(t *testing.T) {
	t.Parallel()
	en := "Cards are sent by post. The daily limit is 50,000 dollars. It resets at midnight. Offices close at five."
	zh := "银行卡由邮局寄送。每日转账限额为五万元。限额在午夜重置。"
	list := "Limits:\n\n- The daily limit is 50,000 dollars. It resets at midnight.\n  * The weekly limit is 200,000 dollars.\n1. Cards are sent by post.\n2、每月限额为一百万元。\n"
	tests := map[string]struct {
		source, answer string
		quote          string
		support        evidence.Support
	}{
		"one sentence":          {en, "The daily limit is 50,000 dollars [1]", "The daily limit is 50,000 dollars.", evidence.Supported},
		"two neighbours":        {en, "The daily limit is 50,000 dollars and resets at midnight [1]", "The daily limit is 50,000 dollars. It resets at midnight.", evidence.Supported},
		"Chinese":               {zh, "每日转账限额为五万元[1]", "每日转账限额为五万元。", evidence.Supported},
		"list item":             {list, "The daily limit is 50,000 dollars [1]", "The daily limit is 50,000 dollars.", evidence.Supported},
		"nested list item":      {list, "The weekly limit is 200,000 dollars [1]", "The weekly limit is 200,000 dollars.", evidence.Supported},
		"numbered list item":    {list, "Cards are sent by post [1]", "Cards are sent by post.", evidence.Supported},
		"Chinese list item":     {list, "每月限额为一百万元[1]", "每月限额为一百万元。", evidence.Supported},
		"item and neighbour":    {list, "The daily limit is 50,000 dollars and resets at midnight [1]", "The daily limit is 50,000 dollars. It resets at midnight.", evidence.Supported},
		"no list":               {"It was so. 12. of May is the day the offices close.", "12. of May is the day the offices close [1]", "12. of May is the day the offices close.", evidence.Supported},
		"not what it says":      {en, "The monthly fee was abolished years ago [1]", "Cards are sent by post.", evidence.Unsupported},
		"a source without text": {"", "The daily limit [1]", "", evidence.Unsupported},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewCiter([]Source{{Number: 1, Text: tc.source}}, overlap)
			start := strings.Index(tc.answer, "[1]")
			got := c.Cite(tc.answer, Marker{Number: 1, Start: start, End: start + 3})
			if got.Quote != tc.quote || got.Support != tc.support {
				t.Errorf("quote %q support %d, want %q %d", got.Quote, got.Support, tc.quote, tc.support)
			}
			if tc.source[got.QuoteStart:got.QuoteEnd] != got.Quote {
				t.Errorf("range %d-%d is not the quote", got.QuoteStart, got.QuoteEnd)
			}
		})
	}
}

func TestQuoteIsBounded(t *testing.T) {
	t.Parallel()
	for _, s := range []string{strings.Repeat("x", 5000), strings.Repeat("word ", 2000), strings.Repeat("字", 3000)} {
		for _, span := range pieces(s) {
			if n := span.End - span.Start; n > MaxQuote || n == 0 {
				t.Errorf("piece of %d bytes", n)
			}
			if quote := s[span.Start:span.End]; !strings.Contains(s, quote) || strings.ToValidUTF8(quote, "") != quote {
				t.Errorf("piece is not cut between characters")
			}
		}
	}
}
