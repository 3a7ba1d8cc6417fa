// Package approx holds the series that package kernel and its generator compute functions by. Every kernel uses the same
// ones, so that they differ by rounding only.
package approx

// Exp. e^x is 2^n p(r) with n = round(x Log2E) and r = x - n LnHigh - n LnLow; p is Taylor's. x is not below ExpMin.
const (
	ExpMin  = -87
	Log2E   = 1.44269504088896341
	LnHigh  = 0.693359375
	LnLow   = -2.12194440e-4
	ExpBias = 23 // the exponent's place in a float
)

// Exp are p's coefficients, the highest power first. On |r| <= ln(2)/2 the rest is below 1e-8 of the value.
var Exp = [...]float32{1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1}

// GELUMax is where the normal distribution's integral is as good as 0 and 1.
const GELUMax = 5.25

// GELU is x (1/2 + x P(x²)/Q(x²)), x in the fraction kept within ±GELUMax; coefficients with the highest power first.
// The fraction was fitted to the integral by least squares with the greatest errors weighed up; it is off by 4e-9,
// which is below a float's rounding.
var (
	GELUNumerator   = [...]float32{2.438898683010393e-08, 6.392183422576636e-06, 0.00015852614887990057, 0.004617834463715553, 0.03273378312587738, 0.3989422619342804}
	GELUDenominator = [...]float32{1.2478860753617482e-06, 7.089773862389848e-05, 0.0018264640821143985, 0.02802886813879013, 0.24871771037578583, 1}
)
