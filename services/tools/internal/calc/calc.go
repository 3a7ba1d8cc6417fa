// Package calc evaluates the arithmetic people ask for, in decimal: 0.1 + 0.2 is 0.3. It reads English and Chinese
// operators, full-width characters, percentages and thousands separators. Size, depth, digits and exponents are bounded, so
// that evaluating any input ends within milliseconds. It knows nothing of tools; package builtin makes it one.
//
// The grammar is data for the parser generator participle; the arithmetic is apd's. Libraries that parse and evaluate were
// tried and gave other numbers: gval has no operator that joins from the right (2^3^2 is 64 there, and 2^0.5 is 1), expr
// reads literals as 64 bit integers and binary floats.
package calc

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
)

// Bounds of an expression.
const (
	MaxBytes  = 512 // of the expression
	maxDepth  = 32  // of nested parentheses, signs and powers
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
	switch {
	case len(expression) > MaxBytes:
		return Result{}, failf("the expression is longer than %d bytes", MaxBytes)
	case !utf8.ValidString(expression):
		return Result{}, failf("the expression is not valid UTF-8")
	}
	plain := normalize(expression)
	if strings.TrimSpace(plain) == "" {
		return Result{}, failf("the expression is empty; write for example 12.5%% * (3 + 4)")
	}
	parsed, err := grammar.ParseString("", plain)
	if err != nil {
		return Result{}, explain(err)
	}
	e := newEvaluator()
	v := parsed.eval(e)
	shortest := e.format(v.number)
	if e.err != nil {
		return Result{}, e.err
	}
	return Result{Expression: v.text, Value: shortest, Exact: !e.rounded}, nil
}

// format writes a result in plain notation unless that takes too many zeros.
func (e *evaluator) format(v *apd.Decimal) string {
	if v.Form != apd.Finite {
		e.fail("the expression has no finite value")
	}
	out := new(apd.Decimal).Set(v)
	if e.rounded {
		if _, err := e.ctx.WithPrecision(shown).Round(out, v); err != nil {
			e.fail("the result is out of range")
		}
	}
	out.Reduce(out)
	if out.IsZero() {
		out.Negative = false
	}
	if magnitude := int64(out.Exponent) + out.NumDigits(); magnitude > 40 || magnitude < -20 {
		return out.Text('E')
	}
	return out.Text('f')
}
