package calc

import (
	"errors"
	"strings"

	"github.com/alecthomas/participle/v2"
	"github.com/alecthomas/participle/v2/lexer"
	"golang.org/x/text/width"
)

// spellings gives operators their one spelling. Earlier pairs win, so longer words stand before those they begin with.
var spellings = strings.NewReplacer(
	"multiplied by", "*", "divided by", "/", "to the power of", "^", "plus", "+", "minus", "-", "times", "*", "over", "/",
	"modulo", " mod ", "mod", " mod ", "percent", "%", "of", " of ", "max", "max" /* has an x that is no operator */, "x", "*",
	"加上", "+", "加", "+", "减去", "-", "减", "-", "減", "-", "乘以", "*", "乘", "*", "除以", "/", "除", "/", "的", "*",
	"**", "^", "−", "-", "–", "-", "×", "*", "·", "*", "÷", "/", "、", " , ", ";", " , ", "萬", "万", "億", "亿",
	// Words around an expression do not change it.
	"what is", " ", "calculate", " ", "compute", " ", "equals", " ", "等于多少", " ", "是多少", " ", "等于几", " ", "等于", " ",
	"计算", " ", "?", " ", "=", " ", "$", " ", "€", " ", "£", " ", "¥", " ", "元", " ", "。", " ", "\u00a0", " ",
)

func normalize(s string) string { return spellings.Replace(strings.ToLower(width.Fold.String(s))) }

// grammar reads a sum. Commas in numbers separate thousands, but between the parentheses of a function they separate
// arguments: max(1,234) is 234. Hence the states of the lexer.
//
//nolint:gochecknoglobals // a compiled pattern
var grammar = participle.MustBuild[sum](participle.Lexer(lexer.MustStateful(lexer.Rules{
	"Root": {{Name: "Unopened", Pattern: `\)`}, lexer.Include("Group")},
	"Group": {
		{Name: "Grouped", Pattern: `(?:\d+(?:_\d+|,\d{3})*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+|[百千万亿]+)?`},
		lexer.Include("Arguments"),
	},
	"Arguments": {
		{Name: "space", Pattern: `\s+`},
		{Name: "Number", Pattern: `(?:\d+(?:_\d+)*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+|[百千万亿]+)?`},
		{Name: "Operator", Pattern: `[-+*/^%,]|of|mod|百分之`},
		{Name: "Function", Pattern: `[a-z]+(?:10)?\s*\(`, Action: lexer.Push("Arguments")},
		{Name: "Word", Pattern: `[a-z]+`},
		{Name: "Open", Pattern: `\(`, Action: lexer.Push("Group")},
		{Name: "Close", Pattern: `\)`, Action: lexer.Pop()},
		{Name: "Foreign", Pattern: `.`},
	},
})))

type sum struct {
	First *product `parser:"@@"`
	Rest  []addend `parser:"@@*"`
}

type addend struct {
	Operator string   `parser:"@('+' | '-')"`
	Operand  *product `parser:"@@"`
}

type product struct {
	First *signed  `parser:"@@"`
	Rest  []factor `parser:"@@*"`
}

type factor struct {
	Operator string  `parser:"@('*' | '/' | 'of' | 'mod' | '%')"`
	Operand  *signed `parser:"@@"`
}

// signed binds less than a power: -2^2 is -4.
type signed struct {
	Sign    string  `parser:"( @('+' | '-')"`
	Operand *signed `parser:"  @@ )"`
	Power   *power  `parser:"| @@"`
}

type power struct {
	Base     *operand `parser:"@@"`
	Exponent *signed  `parser:"('^' @@)?"`
}

// operand may be a percentage. A percent sign with another operand behind it is the remainder: 17 % 5.
type operand struct {
	PerHundred bool     `parser:"@'百分之'?"`
	Number     string   `parser:"( @(Grouped | Number)"`
	Constant   string   `parser:"| @Word"`
	Call       *call    `parser:"| @@"`
	Group      *sum     `parser:"| '(' @@ ')' )"`
	Percents   []string `parser:"( @'%' (?! Grouped | Number | Word | Function | '(' | '百分之') )*"`
}

type call struct {
	Function  string `parser:"@Function"` // and its parenthesis
	Arguments []*sum `parser:"@@ (',' @@)* ')'"`
}

// explain says what is wrong with an expression that the grammar does not cover.
func explain(err error) error {
	wrong, ok := errors.AsType[*participle.UnexpectedTokenError](err)
	if !ok {
		return failf("the expression can't be read")
	}
	found, message := wrong.Unexpected, wrong.Message()
	missing := "a number"
	if strings.HasSuffix(message, `(expected ")")`) {
		missing = `")"`
	}
	switch {
	case found.Type == grammar.Lexer().Symbols()["Foreign"]:
		return failf("%q is not part of an arithmetic expression", found.Value)
	case !strings.Contains(message, "(expected "):
		return failf("unexpected %q after a complete expression", found.Value)
	case found.EOF():
		return failf("%s is missing at the end", missing)
	}
	return failf("%s is missing before %q", missing, found.Value)
}
