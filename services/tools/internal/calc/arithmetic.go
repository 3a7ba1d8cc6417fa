package calc

import (
	"slices"

	"github.com/cockroachdb/apd/v3"
)

// evaluator does the arithmetic. It remembers whether anything was rounded, and the first error, after which what it
// computes no longer matters.
type evaluator struct {
	ctx     *apd.Context
	depth   int
	rounded bool
	err     error
}

func newEvaluator() *evaluator {
	ctx := apd.BaseContext.WithPrecision(precision)
	ctx.MaxExponent, ctx.MinExponent = exponent, -exponent
	ctx.Rounding = apd.RoundHalfEven
	return &evaluator{ctx: ctx}
}

// fail returns a number for callers to go on with.
func (e *evaluator) fail(format string, a ...any) *apd.Decimal {
	if e.err == nil {
		e.err = failf(format, a...)
	}
	return new(apd.Decimal)
}

// note turns the conditions of one operation into an error or a remembered rounding.
func (e *evaluator) note(c apd.Condition, err error) {
	switch {
	case c.DivisionByZero(), c.DivisionUndefined():
		e.fail("division by zero")
	case c.Overflow(), c.SystemOverflow():
		e.fail("the result is too large")
	case c.Underflow(), c.Subnormal(), c.SystemUnderflow():
		e.fail("the result is too close to zero")
	case err != nil, c.InvalidOperation(), c.DivisionImpossible():
		e.fail("the expression has no real value")
	}
	e.rounded = e.rounded || c.Inexact()
}

func (e *evaluator) binary(operator string, x, y *apd.Decimal) *apd.Decimal {
	d := new(apd.Decimal)
	switch {
	case e.err != nil:
	case operator == "+":
		e.note(e.ctx.Add(d, x, y))
	case operator == "-":
		e.note(e.ctx.Sub(d, x, y))
	case operator == "/":
		e.note(e.ctx.Quo(d, x, y))
	case operator == "mod" && y.IsZero():
		e.fail("division by zero")
	case operator == "mod":
		e.note(e.ctx.Rem(d, x, y))
	case operator == "^" && new(apd.Decimal).Abs(y).Cmp(apd.New(10_000, 0)) > 0: // the running time grows with it
		e.fail("the exponent is larger than 10,000")
	case operator == "^":
		e.note(e.ctx.Pow(d, x, y))
	default:
		e.note(e.ctx.Mul(d, x, y))
	}
	return d
}

func (e *evaluator) pi() *apd.Decimal {
	d, _, err := apd.NewFromString("3.14159265358979323846264338327950288419716939937510582097494")
	e.note(apd.Inexact, err)
	return d
}

// function computes with the numbers between its parentheses, of which there is at least one.
type function func(e *evaluator, a []*apd.Decimal) *apd.Decimal

func functions() map[string]function {
	return map[string]function{
		"abs":   unary((*apd.Context).Abs),
		"ceil":  unary((*apd.Context).Ceil),
		"floor": unary((*apd.Context).Floor),
		"ln":    unary((*apd.Context).Ln),
		"log":   unary((*apd.Context).Log10),
		"log10": unary((*apd.Context).Log10),
		"sqrt":  unary((*apd.Context).Sqrt),
		"round": (*evaluator).round,
		"sum":   (*evaluator).sum,
		"avg": func(e *evaluator, a []*apd.Decimal) *apd.Decimal {
			return e.binary("/", e.sum(a), apd.New(int64(len(a)), 0))
		},
		"max": func(_ *evaluator, a []*apd.Decimal) *apd.Decimal { return slices.MaxFunc(a, (*apd.Decimal).Cmp) },
		"min": func(_ *evaluator, a []*apd.Decimal) *apd.Decimal { return slices.MinFunc(a, (*apd.Decimal).Cmp) },
	}
}

func unary(operation func(c *apd.Context, d, x *apd.Decimal) (apd.Condition, error)) function {
	return func(e *evaluator, a []*apd.Decimal) *apd.Decimal {
		d := new(apd.Decimal)
		switch {
		case len(a) > 1:
			e.fail("abs, ceil, floor, ln, log10 and sqrt take 1 number, not %d", len(a))
		case e.err == nil:
			e.note(operation(e.ctx, d, a[0]))
		}
		return d
	}
}

func (e *evaluator) sum(a []*apd.Decimal) *apd.Decimal {
	total := new(apd.Decimal)
	for _, x := range a {
		total = e.binary("+", total, x)
	}
	return total
}

// round rounds half away from zero, as people do, to the given decimal places.
func (e *evaluator) round(a []*apd.Decimal) *apd.Decimal {
	places := new(apd.Decimal)
	if len(a) > 1 {
		places = a[1]
	}
	n, err := places.Int64()
	if err != nil || n < 0 || n > 20 || len(a) > 2 {
		return e.fail("round takes a number and 0 to 20 decimal places")
	}
	ctx, d := *e.ctx, new(apd.Decimal)
	ctx.Rounding, ctx.Traps = apd.RoundHalfUp, apd.InvalidOperation
	if c, err := ctx.Quantize(d, a[0], int32(-n)); err != nil || c.InvalidOperation() {
		return e.fail("the number is too large to round")
	}
	return d
}
