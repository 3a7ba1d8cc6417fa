package calc

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEval(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"0.1+0.2", "0.1 + 0.2 = 0.3"},
		{"2+3*4", "2 + 3 * 4 = 14"},
		{"(2+3)*4", "(2 + 3) * 4 = 20"},
		{"-2^2", "-2 ^ 2 = -4"},
		{"2^3^2", "2 ^ 3 ^ 2 = 512"},
		{"2**100", "2 ^ 100 = 1267650600228229401496703205376"},
		{"10/4", "10 / 4 = 2.5"},
		{"1/3", "1 / 3 ≈ 0.33333333333333333333"},
		{"sqrt(2)*sqrt(2)", "sqrt(2) * sqrt(2) ≈ 2"},
		{"15% of 200", "15% of 200 = 30"},
		{"200 + 10%", "200 + 10% = 220"},
		{"200 - 10%", "200 - 10% = 180"},
		{"10% + 5%", "10% + 5% = 0.15"},
		{"17 % 5", "17 mod 5 = 2"},
		{"1,234.50 * 2", "1234.50 * 2 = 2469"},
		{"max(1,234)", "max(1, 234) = 234"},
		{"max((1,234), 2)", "max((1234), 2) = 1234"},
		{"１２＋３×２", "12 + 3 * 2 = 18"},
		{"（１＋２）÷４", "(1 + 2) / 4 = 0.75"},
		{"12加3乘以2", "12 + 3 * 2 = 18"},
		{"100减去百分之15", "100 - 15% = 85"},
		{"200的15%是多少？", "200 * 15% = 30"},
		{"3万除以4等于多少", "30000 / 4 = 7500"},
		{"What is 3 plus 4 times 2?", "3 + 4 * 2 = 11"},
		{"$19.99 * 3 =", "19.99 * 3 = 59.97"},
		{"round(2.345, 2)", "round(2.345, 2) = 2.35"},
		{"avg(1, 2, 6)", "avg(1, 2, 6) = 3"},
		{"log10(1000)", "log10(1000) ≈ 3"},
		{"1e3 + 1", "1e3 + 1 = 1001"},
		{"- 5 - -5", "-5 - -5 = 0"},
		{"0 * -1", "0 * -1 = 0"},
		{"3x4", "3 * 4 = 12"},
		{"10^50", "10 ^ 50 = 1E+50"},
		{"1_000 + 1", "1000 + 1 = 1001"},
		{"1加2。", "1 + 2 = 3"},
		{"max(1、2)", "max(1, 2) = 2"},
		{"200/10%", "200 / 10% = 2000"},
		{"3.5% of 1200", "3.5% of 1200 = 42"},
		{"1.5亿", "150000000 = 150000000"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			got, err := Eval(tt.in)
			if err != nil {
				t.Fatalf("Eval(%q): %v", tt.in, err)
			}
			if got.String() != tt.want {
				t.Errorf("Eval(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestEvalRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"nothing", "  ", "is empty"},
		{"division by zero", "1/0", "division by zero"},
		{"zero by zero", "0/0", "division by zero"},
		{"remainder by zero", "5 mod 0", "division by zero"},
		{"an open parenthesis", "(1+2", `")" is missing`},
		{"a closing parenthesis too many", "1+2)", `unexpected ")"`},
		{"a missing operand", "1+", "number is missing"},
		{"two operators", "2*/3", "number is missing"},
		{"two numbers", "1 2", "unexpected"},
		{"a list", "1_000、100", "unexpected"},
		{"a percentage before a number", "百分之1 2", "unexpected"},
		{"a huge exponent", "9^99999999", "exponent is larger"},
		{"a tower", "9^9999^9999", "too large"},
		{"an overflow", "10^9000", "too large"},
		{"a root of a negative", "sqrt(-1)", "no real value"},
		{"a negative to a fraction", "(-8)^0.5", "no real value"},
		{"a logarithm of zero", "ln(0)", "no finite value"},
		{"an unknown name", "system(1)", "is not a function here"},
		{"a string", `"a"+1`, "not part of an arithmetic"},
		{"a long number", strings.Repeat("9", 60), "more than 50 digits"},
		{"a long expression", strings.Repeat("1+", 300) + "1", "longer than 512"},
		{"deep parentheses", strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100), "nested"},
		{"many signs", strings.Repeat("-", 400) + "1", "nested"},
		{"wrong arguments", "sqrt(1, 2)", "take 1 number"},
		{"invalid UTF-8", "1+\xff", "UTF-8"},
		{"a percentage of nothing", "百分之", "number is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Eval(tt.in)
			if err == nil {
				t.Fatalf("Eval(%q) = %q, want an error with %q", tt.in, got, tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Eval(%q) error = %q, want it to contain %q", tt.in, err, tt.want)
			}
		})
	}
}

func FuzzEval(f *testing.F) {
	for _, s := range []string{"0.1+0.2", "200的15%", "max(1,2)", "9^9^9", "ln(1e-999)", "((((", "百分之百分之3", "1e99999", "0.5^9999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Eval(s)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 500+len(s) {
				t.Errorf("Eval(%q): an error of %d bytes", s, len(err.Error()))
			}
			return
		}
		if !utf8.ValidString(got.String()) || len(got.String()) > 8192 {
			t.Errorf("Eval(%q) = %q: not a short line of text", s, got)
		}
	})
}
