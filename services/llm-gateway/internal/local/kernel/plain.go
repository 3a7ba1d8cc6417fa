package kernel

import (
	"math"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel/approx"
)

// plainColumns is a panel's width where there are no registers to fill.
const plainColumns = 8

func plain() *Set {
	return &Set{name: "plain", rows: 4, columns: plainColumns, tile: tilePlain, softmax: softmaxPlain, gelu: geluPlain, norm: normPlain}
}

// row is a row of a panel, or of what becomes of it.
type row = [plainColumns]float32

func tilePlain(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, k, rows int) {
	for i := range rows {
		sum, rest := row(bias), panel
		for _, v := range a[i*aStride:][:k] {
			p := (*row)(rest)
			rest = rest[plainColumns:]
			sum[0] += v * p[0]
			sum[1] += v * p[1]
			sum[2] += v * p[2]
			sum[3] += v * p[3]
			sum[4] += v * p[4]
			sum[5] += v * p[5]
			sum[6] += v * p[6]
			sum[7] += v * p[7]
		}
		*(*row)(c[i*cStride:]) = sum
	}
}

func softmaxPlain(v []float32) {
	highest := v[0]
	for _, f := range v {
		highest = max(highest, f)
	}
	var sum float32
	for i, f := range v {
		v[i] = exp(f - highest)
		sum += v[i]
	}
	for i := range v {
		v[i] /= sum
	}
}

// exp returns e^x of an x that is not positive.
func exp(x float32) float32 {
	x = max(x, approx.ExpMin)
	n := float32(math.RoundToEven(float64(x * approx.Log2E)))
	r := x - n*approx.LnHigh
	r -= n * approx.LnLow
	return math.Float32frombits(math.Float32bits(horner(approx.Exp[:], r)) + uint32(int32(n))<<approx.ExpBias)
}

func horner(coefficients []float32, x float32) float32 {
	sum := coefficients[0]
	for _, c := range coefficients[1:] {
		sum = sum*x + c
	}
	return sum
}

func geluPlain(v []float32) {
	for i, f := range v {
		t := min(max(f, -approx.GELUMax), approx.GELUMax)
		z := t * t
		v[i] = f * (0.5 + t*horner(approx.GELUNumerator[:], z)/horner(approx.GELUDenominator[:], z))
	}
}

func normPlain(v, residual, gamma, beta []float32, epsilon float32) {
	n := float32(len(v))
	var sum float32
	for i, r := range residual {
		v[i] += r
		sum += v[i]
	}
	mean := sum / n
	var squares float32
	for i := range v {
		v[i] -= mean
		squares += v[i] * v[i]
	}
	inverse := float32(1 / math.Sqrt(float64(squares/n+epsilon)))
	for i := range v {
		v[i] = v[i]*inverse*gamma[i] + beta[i]
	}
}
