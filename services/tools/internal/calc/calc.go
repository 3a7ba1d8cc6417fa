// Package calc evaluates the arithmetic people ask for, in decimal: 0.1 + 0.2 is 0.3. It reads English and Chinese
// operators, full-width characters, percentages and thousands separators. Size, depth, digits and exponents are bounded, so
// that evaluating any input ends within milliseconds. It knows nothing of tools; package builtin makes it one.
package calc

import (
	"fmt"

	"github.com/cockroachdb/apd/v3"
)

// Bounds of an expression.
const (
	MaxBytes  = 512 // of the expression
	maxDepth  = 32  // of nested parentheses and signs
	maxDigits = 50  // of one number
	precision = 60  // digits carried through the computation
	shown     = 20  // significant digits shown of a rounded result
	exponent  = 2000
)

// Result is the value of an expression.
type Result struct {
	// Expression is the input as it was understood, in ASCII operators.
	Expression string
	// Value is the number in plain decimal notation, or scientific when it is very large or small.
	Value string
	// Exact is false when Value was rounded, as in 1/3.
	Exact bool
}

// String returns the result as one line: "0.1 + 0.2 = 0.3".
func (r Result) String() string {
	sign := "="
	if !r.Exact {
		sign = "≈"
	}
	return r.Expression + " " + sign + " " + r.Value
}

// Error says why an expression has no value, in words for whoever wrote it.
type Error struct{ Message string }

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func failf(format string, a ...any) error { return &Error{Message: fmt.Sprintf(format, a...)} }

// Eval computes expression. Its errors are all of type *Error.
func Eval(expression string) (Result, error) {
	if len(expression) > MaxBytes {
		return Result{}, failf("the expression is longer than %d bytes", MaxBytes)
	}
	tokens, err := scan(expression)
	if err != nil {
		return Result{}, err
	}
	if len(tokens) == 0 {
		return Result{}, failf("the expression is empty; write for example 12.5%% * (3 + 4)")
	}
	p := parser{tokens: tokens, eval: newEvaluator()}
	value, err := p.expression(0)
	if err != nil {
		return Result{}, err
	}
	if t, ok := p.peek(); ok {
		return Result{}, failf("unexpected %q after a complete expression", t.text)
	}
	return p.eval.result(render(tokens), value.number)
}

// evaluator does the arithmetic and remembers whether anything was rounded.
type evaluator struct {
	ctx     *apd.Context
	rounded bool
}

func newEvaluator() *evaluator {
	ctx := apd.BaseContext.WithPrecision(precision)
	ctx.MaxExponent, ctx.MinExponent = exponent, -exponent
	ctx.Rounding = apd.RoundHalfEven
	return &evaluator{ctx: ctx}
}

// note turns the conditions of one operation into an error or a remembered rounding.
func (e *evaluator) note(c apd.Condition, err error) error {
	switch {
	case c.DivisionByZero(), c.DivisionUndefined():
		return failf("division by zero")
	case c.Overflow(), c.SystemOverflow():
		return failf("the result is too large")
	case c.Underflow(), c.Subnormal(), c.SystemUnderflow():
		return failf("the result is too close to zero")
	case err != nil, c.InvalidOperation(), c.DivisionImpossible():
		return failf("the expression has no real value")
	}
	if c.Inexact() {
		e.rounded = true
	}
	return nil
}

func (e *evaluator) binary(op kind, x, y *apd.Decimal) (*apd.Decimal, error) {
	d := new(apd.Decimal)
	var c apd.Condition
	var err error
	switch op {
	case plus:
		c, err = e.ctx.Add(d, x, y)
	case minus:
		c, err = e.ctx.Sub(d, x, y)
	case times:
		c, err = e.ctx.Mul(d, x, y)
	case divide:
		c, err = e.ctx.Quo(d, x, y)
	case modulo:
		if y.IsZero() {
			return nil, failf("division by zero")
		}
		c, err = e.ctx.Rem(d, x, y)
	case power:
		return e.power(x, y)
	default:
		return nil, failf("unknown operator")
	}
	return d, e.note(c, err)
}

// power bounds the exponent first: the library's running time grows with it.
func (e *evaluator) power(x, y *apd.Decimal) (*apd.Decimal, error) {
	if new(apd.Decimal).Abs(y).Cmp(apd.New(10_000, 0)) > 0 {
		return nil, failf("the exponent is larger than 10,000")
	}
	d := new(apd.Decimal)
	c, err := e.ctx.Pow(d, x, y)
	return d, e.note(c, err)
}

func (e *evaluator) result(expression string, v *apd.Decimal) (Result, error) {
	if v.Form != apd.Finite {
		return Result{}, failf("the expression has no finite value")
	}
	out := new(apd.Decimal)
	if e.rounded {
		if _, err := e.ctx.WithPrecision(shown).Round(out, v); err != nil {
			return Result{}, failf("the result is out of range")
		}
	} else {
		out.Set(v)
	}
	out, _ = new(apd.Decimal).Reduce(out)
	if out.IsZero() {
		out.Negative = false
	}
	text := out.Text('f')
	if magnitude := int64(out.Exponent) + out.NumDigits(); magnitude > 40 || magnitude < -20 {
		text = out.Text('E')
	}
	return Result{Expression: expression, Value: text, Exact: !e.rounded}, nil
}
