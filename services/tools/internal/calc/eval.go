package calc

import (
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// value is an operand and how to write it. percent remembers that it is a percentage, because 200 + 10% means 220.
type value struct {
	number  *apd.Decimal
	percent bool
	text    string
}

func (s *sum) eval(e *evaluator) value {
	v := s.First.eval(e)
	for _, r := range s.Rest {
		next := r.Operand.eval(e)
		share := next.number
		if next.percent && !v.percent {
			share = e.binary("*", v.number, share)
		}
		v = value{e.binary(r.Operator, v.number, share), v.percent && next.percent, v.text + " " + r.Operator + " " + next.text}
	}
	return v
}

func (p *product) eval(e *evaluator) value {
	v := p.First.eval(e)
	for _, r := range p.Rest {
		next, operator := r.Operand.eval(e), strings.Replace(r.Operator, "%", "mod", 1)
		v = value{number: e.binary(operator, v.number, next.number), text: v.text + " " + operator + " " + next.text}
	}
	return v
}

func (s *signed) eval(e *evaluator) value {
	if e.depth++; e.depth > maxDepth {
		return value{number: e.fail("the expression is nested more than %d deep", maxDepth)}
	}
	defer func() { e.depth-- }()
	if s.Power != nil {
		return s.Power.eval(e)
	}
	v := s.Operand.eval(e)
	if s.Sign == "-" {
		v.number = new(apd.Decimal).Neg(v.number)
	}
	v.text = s.Sign + v.text
	return v
}

func (p *power) eval(e *evaluator) value {
	base := p.Base.eval(e)
	if p.Exponent == nil {
		return base
	}
	exp := p.Exponent.eval(e)
	return value{number: e.binary("^", base.number, exp.number), text: base.text + " ^ " + exp.text}
}

func (o *operand) eval(e *evaluator) value {
	var v value
	switch {
	case o.Group != nil:
		v = o.Group.eval(e)
		v.text = "(" + v.text + ")"
	case o.Call != nil:
		v = o.Call.eval(e)
	case o.Constant == "pi":
		v = value{number: e.pi(), text: "pi"}
	case o.Constant != "":
		v.number = e.unknown(o.Constant)
	default:
		v = e.numeral(o.Number)
	}
	signs := len(o.Percents)
	if o.PerHundred {
		signs++
	}
	for range signs {
		v = value{e.binary("/", v.number, apd.New(100, 0)), true, v.text + "%"}
	}
	return v
}

// numeral reads 1,234.5 and 3万, which is 30000.
func (e *evaluator) numeral(s string) value {
	s = strings.NewReplacer(",", "", "_", "").Replace(s)
	digits := strings.TrimRight(s, "百千万亿")
	d, _, err := apd.NewFromString(digits)
	switch {
	case err != nil || d.Exponent > exponent || d.Exponent < -exponent:
		return value{number: e.fail("%q is not a number this calculator can hold", digits)}
	case d.NumDigits() > maxDigits:
		return value{number: e.fail("a number has more than %d digits", maxDigits)}
	case digits == s:
		return value{number: d, text: s}
	}
	for _, unit := range s[len(digits):] {
		d.Exponent += map[rune]int32{'百': 2, '千': 3, '万': 4, '亿': 8}[unit]
	}
	return value{number: d, text: d.Text('f')}
}

func (c *call) eval(e *evaluator) value {
	name := strings.TrimRight(c.Function, " (")
	f, ok := functions()[name]
	if !ok {
		return value{number: e.unknown(name)}
	}
	var numbers []*apd.Decimal
	var texts []string
	for _, a := range c.Arguments {
		v := a.eval(e)
		numbers, texts = append(numbers, v.number), append(texts, v.text)
	}
	return value{number: f(e, numbers), text: name + "(" + strings.Join(texts, ", ") + ")"}
}

func (e *evaluator) unknown(name string) *apd.Decimal {
	return e.fail("%q is not a function here; there are abs, avg, ceil, floor, ln, log10, max, min, round, sqrt, sum and pi", name)
}
