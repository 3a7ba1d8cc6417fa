package calc

import (
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
	"golang.org/x/text/width"
)

// kind is what a token is.
type kind uint8

const (
	number kind = iota + 1
	name
	plus
	minus
	times
	divide
	modulo
	power
	percent
	open
	closing
	comma
)

// token is one word of an expression. text is how it is shown.
type token struct {
	kind   kind
	text   string
	number *apd.Decimal
}

// spelling is a way to write an operator. Longer spellings come before those they begin with.
type spelling struct {
	text string
	kind kind
	show string
}

func spellings() []spelling {
	return []spelling{
		{"multiplied by", times, "*"}, {"divided by", divide, "/"}, {"to the power of", power, "^"},
		{"plus", plus, "+"}, {"minus", minus, "-"}, {"times", times, "*"}, {"over", divide, "/"}, {"modulo", modulo, "mod"},
		{"mod", modulo, "mod"}, {"percent", percent, "%"}, {"of", times, "of"},
		{"加上", plus, "+"}, {"加", plus, "+"}, {"减去", minus, "-"}, {"减", minus, "-"}, {"減", minus, "-"},
		{"乘以", times, "*"}, {"乘", times, "*"}, {"除以", divide, "/"}, {"除", divide, "/"}, {"的", times, "*"},
		{"**", power, "^"}, {"^", power, "^"}, {"+", plus, "+"}, {"-", minus, "-"}, {"−", minus, "-"}, {"–", minus, "-"},
		{"*", times, "*"}, {"×", times, "*"}, {"·", times, "*"}, {"x", times, "*"}, {"/", divide, "/"}, {"÷", divide, "/"},
		{"%", percent, "%"}, {"(", open, "("}, {")", closing, ")"}, {"（", open, "("}, {"）", closing, ")"}, {",", comma, ","},
		{"、", comma, ","}, {";", comma, ","},
	}
}

// ignored are words around an expression that do not change it.
func ignored() []string {
	return []string{"what is", "calculate", "compute", "等于多少", "是多少", "等于几", "等于", "计算", "equals",
		"?", "=", "$", "€", "£", "¥", "￥", "元", "。"}
}

// scale is a Chinese unit behind a number: 3万 is 30,000.
func scale(r rune) (int32, bool) {
	switch r {
	case '百':
		return 2, true
	case '千':
		return 3, true
	case '万', '萬':
		return 4, true
	case '亿', '億':
		return 8, true
	default:
		return 0, false
	}
}

const perHundred = "百分之" // stands before its number: 百分之15 is 15%

// scan splits s into tokens.
func scan(s string) ([]token, error) {
	if !utf8.ValidString(s) {
		return nil, failf("the expression is not valid UTF-8")
	}
	s = strings.ToLower(width.Narrow.String(s))
	known, noise := spellings(), ignored()
	var tokens []token
	calls, depth := make([]bool, 0, maxDepth), 0 // for each open parenthesis: is it a function's?
	owed := false                                // a percent sign that stands before its number
	for s = trim(s, noise); s != ""; s = trim(s, noise) {
		if rest, ok := strings.CutPrefix(s, perHundred); ok {
			s, owed = rest, true
			continue
		}
		inCall := depth > 0 && calls[depth-1]
		if digits, n := scanNumber(s, !inCall); n > 0 {
			t, used, err := numeral(digits, s[n:])
			if err != nil {
				return nil, err
			}
			s = s[n+used:]
			tokens = append(tokens, t)
			if owed {
				tokens, owed = append(tokens, token{kind: percent, text: "%"}), false
			}
			continue
		}
		t, n := scanWord(s, known)
		switch {
		case n == 0:
			r, _ := utf8.DecodeRuneInString(s)
			return nil, failf("%q is not part of an arithmetic expression", string(r))
		case t.kind == open:
			if depth == maxDepth {
				return nil, failf("more than %d nested parentheses", maxDepth)
			}
			calls, depth = append(calls[:depth], len(tokens) > 0 && tokens[len(tokens)-1].kind == name), depth+1
		case t.kind == closing && depth > 0:
			depth--
		}
		s = s[n:]
		tokens = append(tokens, t)
	}
	if owed {
		return nil, failf("a number is missing after %s", perHundred)
	}
	return moduloSigns(tokens), nil
}

// trim cuts spaces and words that do not matter from the front of s.
func trim(s string, noise []string) string {
	for {
		before := len(s)
		s = strings.TrimLeft(s, " \t\r\n\u00a0\u3000")
		for _, w := range noise {
			s = strings.TrimPrefix(s, w)
		}
		if len(s) == before {
			return s
		}
	}
}

// moduloSigns makes a percent sign between two operands the remainder: 17 % 5.
func moduloSigns(tokens []token) []token {
	for i := range tokens {
		if tokens[i].kind != percent || i+1 == len(tokens) {
			continue
		}
		if k := tokens[i+1].kind; k == number || k == name || k == open {
			tokens[i].kind, tokens[i].text = modulo, "mod"
		}
	}
	return tokens
}

// scanWord reads an operator or a name.
func scanWord(s string, known []spelling) (token, int) {
	letters := 0
	for letters < len(s) && 'a' <= s[letters] && s[letters] <= 'z' {
		letters++
	}
	for _, w := range known {
		if !strings.HasPrefix(s, w.text) {
			continue
		}
		if letters > 0 && len(strings.Fields(w.text)) == 1 && letters != len(w.text) {
			continue // "max" is not "m", "x" is not part of "exp"
		}
		return token{kind: w.kind, text: w.show}, len(w.text)
	}
	if letters == 0 {
		return token{}, 0
	}
	if letters < len(s) && s[letters] == '1' && s[:letters] == "log" { // log10
		if strings.HasPrefix(s[letters:], "10") {
			return token{kind: name, text: "log10"}, letters + 2
		}
	}
	return token{kind: name, text: s[:letters]}, letters
}

// scanNumber returns the digits of the number that s begins with, without separators, and how many bytes it takes. A comma
// separates thousands when exactly three digits follow, unless commas separate arguments here.
func scanNumber(s string, commas bool) (string, int) {
	var b strings.Builder
	i, point, digits := 0, false, 0
	for i < len(s) {
		c := s[i]
		switch {
		case isDigit(c):
			digits++
		case c == '.' && !point && i+1 < len(s) && isDigit(s[i+1]):
			point = true
		case c == '_' && digits > 0 && i+1 < len(s) && isDigit(s[i+1]):
			i++
			continue
		case c == ',' && commas && digits > 0 && !point && thousands(s[i+1:]):
			i++
			continue
		default:
			return withExponent(&b, s, i, digits)
		}
		b.WriteByte(c)
		i++
	}
	return withExponent(&b, s, i, digits)
}

// withExponent appends e+06 when s goes on so at i.
func withExponent(b *strings.Builder, s string, i, digits int) (string, int) {
	if digits == 0 {
		return "", 0
	}
	j := i
	if j < len(s) && s[j] == 'e' {
		j++
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		start := j
		for j < len(s) && isDigit(s[j]) {
			j++
		}
		if j > start {
			b.WriteString(s[i:j])
			i = j
		}
	}
	return b.String(), i
}

func thousands(s string) bool {
	return len(s) >= 3 && isDigit(s[0]) && isDigit(s[1]) && isDigit(s[2]) && (len(s) == 3 || !isDigit(s[3]))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// numeral makes a token of digits and the Chinese units behind them, and says how many bytes the units take.
func numeral(digits, rest string) (token, int, error) {
	mantissa, exp, _ := strings.Cut(digits, "e")
	if len(mantissa) > maxDigits || len(exp) > 5 {
		return token{}, 0, failf("a number has more than %d digits", maxDigits)
	}
	d, _, err := apd.NewFromString(digits)
	if err != nil || d.Exponent > exponent || d.Exponent < -exponent {
		return token{}, 0, failf("%q is not a number this calculator can hold", digits)
	}
	text, used := digits, 0
	for used < len(rest) && used < 16 {
		r, n := utf8.DecodeRuneInString(rest[used:])
		zeros, ok := scale(r)
		if !ok || strings.HasPrefix(rest[used:], perHundred) {
			break
		}
		d.Exponent += zeros
		used += n
	}
	if used > 0 {
		text = d.Text('f')
	}
	return token{kind: number, text: text, number: d}, used, nil
}

// render writes tokens the way people do: spaces around operators, none inside parentheses.
func render(tokens []token) string {
	var b strings.Builder
	operand := false // does an operand end here?
	for _, t := range tokens {
		switch t.kind {
		case plus, minus, times, divide, modulo, power:
			if operand {
				b.WriteString(" " + t.text + " ")
			} else {
				b.WriteString(t.text)
			}
			operand = false
		case comma:
			b.WriteString(", ")
			operand = false
		default:
			b.WriteString(t.text)
			operand = t.kind != open
		}
	}
	return b.String()
}
