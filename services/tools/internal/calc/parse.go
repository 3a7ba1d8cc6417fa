package calc

import (
	"slices"

	"github.com/cockroachdb/apd/v3"
)

// value is an operand. percent remembers that it was written as a percentage, because 200 + 10% means 220.
type value struct {
	number  *apd.Decimal
	percent bool
}

// parser evaluates while it reads, by precedence climbing.
type parser struct {
	tokens []token
	at     int
	depth  int
	eval   *evaluator
}

func (p *parser) peek() (token, bool) {
	if p.at == len(p.tokens) {
		return token{}, false
	}
	return p.tokens[p.at], true
}

// binding returns how tightly an operator binds; 0 for what is no binary operator.
func binding(k kind) int {
	switch k {
	case plus, minus:
		return 1
	case times, divide, modulo:
		return 2
	case power:
		return 4 // above signs: -2^2 is -4
	default:
		return 0
	}
}

const signBinding = 3

// expression reads operands joined by operators that bind tighter than floor.
func (p *parser) expression(floor int) (value, error) {
	if p.depth++; p.depth > maxDepth {
		return value{}, failf("the expression is nested too deeply")
	}
	defer func() { p.depth-- }()
	left, err := p.operand()
	if err != nil {
		return value{}, err
	}
	for {
		op, ok := p.peek()
		tight := binding(op.kind)
		if !ok || tight == 0 || tight <= floor {
			return left, nil
		}
		p.at++
		below := tight
		if op.kind == power {
			below-- // to the right: 2^3^2 is 2^9
		}
		right, err := p.expression(below)
		if err != nil {
			return value{}, err
		}
		if left, err = p.combine(op.kind, left, right); err != nil {
			return value{}, err
		}
	}
}

func (p *parser) combine(op kind, left, right value) (value, error) {
	if (op == plus || op == minus) && right.percent && !left.percent {
		share, err := p.eval.binary(times, left.number, right.number)
		if err != nil {
			return value{}, err
		}
		right = value{number: share}
	}
	n, err := p.eval.binary(op, left.number, right.number)
	return value{number: n, percent: left.percent && right.percent && (op == plus || op == minus)}, err
}

// operand reads a number, a name, a call or a parenthesis, with signs before and percent signs after it.
func (p *parser) operand() (value, error) {
	t, ok := p.peek()
	if !ok {
		return value{}, failf("the expression ends where a number should follow")
	}
	p.at++
	var v value
	switch t.kind {
	case plus, minus:
		signed, err := p.expression(signBinding)
		if err != nil {
			return value{}, err
		}
		if t.kind == minus {
			signed.number = new(apd.Decimal).Neg(signed.number)
		}
		return signed, nil
	case number:
		v = value{number: t.number}
	case open:
		inner, err := p.expression(0)
		if err != nil {
			return value{}, err
		}
		if err := p.expect(closing, ")"); err != nil {
			return value{}, err
		}
		v = inner
	case name:
		n, err := p.named(t.text)
		if err != nil {
			return value{}, err
		}
		v = value{number: n}
	default:
		return value{}, failf("a number is missing before %q", t.text)
	}
	return p.percents(v)
}

func (p *parser) percents(v value) (value, error) {
	for {
		if t, ok := p.peek(); !ok || t.kind != percent {
			return v, nil
		}
		p.at++
		n, err := p.eval.binary(divide, v.number, apd.New(100, 0))
		if err != nil {
			return value{}, err
		}
		v = value{number: n, percent: true}
	}
}

func (p *parser) expect(k kind, text string) error {
	t, ok := p.peek()
	if !ok {
		return failf("%q is missing at the end", text)
	}
	if t.kind != k {
		return failf("%q is missing before %q", text, t.text)
	}
	p.at++
	return nil
}

// named reads a constant or a function call.
func (p *parser) named(id string) (*apd.Decimal, error) {
	if id == "pi" {
		pi, _, err := apd.NewFromString("3.14159265358979323846264338327950288419716939937510582097494")
		p.eval.rounded = true
		return pi, err
	}
	f, ok := functions()[id]
	if !ok {
		return nil, failf("%q is not a function here; there are abs, avg, ceil, floor, ln, log10, max, min, round, sqrt, sum and pi", id)
	}
	if err := p.expect(open, "("); err != nil {
		return nil, err
	}
	var args []*apd.Decimal
	for {
		v, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		args = append(args, v.number)
		if t, ok := p.peek(); !ok || t.kind != comma {
			break
		}
		p.at++
	}
	if err := p.expect(closing, ")"); err != nil {
		return nil, err
	}
	if len(args) < f.least || len(args) > f.most {
		return nil, failf("%s takes %d to %d arguments, not %d", id, f.least, f.most, len(args))
	}
	return f.apply(p.eval, args)
}

type function struct {
	least, most int
	apply       func(*evaluator, []*apd.Decimal) (*apd.Decimal, error)
}

const manyArguments = 100

func functions() map[string]function {
	return map[string]function{
		"sqrt":  unary((*apd.Context).Sqrt),
		"abs":   unary((*apd.Context).Abs),
		"floor": unary((*apd.Context).Floor),
		"ceil":  unary((*apd.Context).Ceil),
		"ln":    unary((*apd.Context).Ln),
		"log10": unary((*apd.Context).Log10),
		"log":   unary((*apd.Context).Log10),
		"round": {1, 2, round},
		"max": {1, manyArguments, func(_ *evaluator, a []*apd.Decimal) (*apd.Decimal, error) {
			return slices.MaxFunc(a, (*apd.Decimal).Cmp), nil
		}},
		"min": {1, manyArguments, func(_ *evaluator, a []*apd.Decimal) (*apd.Decimal, error) {
			return slices.MinFunc(a, (*apd.Decimal).Cmp), nil
		}},
		"sum": {1, manyArguments, sum},
		"avg": {1, manyArguments, func(e *evaluator, a []*apd.Decimal) (*apd.Decimal, error) {
			total, err := sum(e, a)
			if err != nil {
				return nil, err
			}
			return e.binary(divide, total, apd.New(int64(len(a)), 0))
		}},
	}
}

func unary(op func(c *apd.Context, d, x *apd.Decimal) (apd.Condition, error)) function {
	return function{1, 1, func(e *evaluator, a []*apd.Decimal) (*apd.Decimal, error) {
		d := new(apd.Decimal)
		c, err := op(e.ctx, d, a[0])
		return d, e.note(c, err)
	}}
}

func sum(e *evaluator, a []*apd.Decimal) (*apd.Decimal, error) {
	total := new(apd.Decimal)
	for _, x := range a {
		next, err := e.binary(plus, total, x)
		if err != nil {
			return nil, err
		}
		total = next
	}
	return total, nil
}

// round rounds half away from zero, as people do, to the given decimal places.
func round(e *evaluator, a []*apd.Decimal) (*apd.Decimal, error) {
	var places int64
	if len(a) == 2 {
		n, err := a[1].Int64()
		if err != nil || n < 0 || n > 20 {
			return nil, failf("round takes 0 to 20 decimal places")
		}
		places = n
	}
	ctx := *e.ctx
	ctx.Rounding = apd.RoundHalfUp
	ctx.Traps = apd.InvalidOperation
	d := new(apd.Decimal)
	c, err := ctx.Quantize(d, a[0], int32(-places))
	if err != nil || c.InvalidOperation() {
		return nil, failf("the number is too large to round")
	}
	return d, nil
}
