package main

import (
	"slices"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel/approx"
)

// gelu: x Φ(x), see package approx.
func gelu(m machine) {
	m.begin("gelu", "x")
	m.constants(slices.Concat([]float32{-approx.GELUMax, approx.GELUMax, 0.5}, approx.GELUNumerator[:], approx.GELUDenominator[:])...)
	m.each(func() {
		m.load(0, 0)
		m.maximum(1, 0, m.constant(-approx.GELUMax))
		m.minimum(1, 1, m.constant(approx.GELUMax))
		m.multiply(2, 1, 1)
		above := m.horner(3, 4, 2, approx.GELUNumerator[:])
		below := m.horner(5, 6, 2, approx.GELUDenominator[:])
		m.multiply(above, above, 1)
		m.divide(above, above, below)
		m.add(above, above, m.constant(0.5))
		m.multiply(0, 0, above)
		m.store(0, 0)
	})
	m.end()
}

// softmax: once over the elements for the greatest, once for the powers, once to divide by their sum.
func softmax(m machine) {
	m.begin("softmax", "x")
	m.constants(slices.Concat([]float32{approx.ExpMin, approx.Log2E, approx.LnHigh, approx.LnLow, 1}, approx.Exp[:])...)
	const highest, sum = 0, 1
	m.load(highest, 0)
	m.each(func() {
		m.load(2, 0)
		m.maximum(highest, highest, 2)
	})
	m.greatest(highest, 2)
	m.set(sum, 0)
	m.each(func() {
		m.load(2, 0)
		m.subtract(2, 2, highest)
		m.maximum(2, 2, m.constant(approx.ExpMin))
		m.multiply(3, 2, m.constant(approx.Log2E))
		m.round(3, 3)
		m.multiplySubtract(2, 3, m.constant(approx.LnHigh))
		m.multiplySubtract(2, 3, m.constant(approx.LnLow))
		power := m.horner(4, 5, 2, approx.Exp[:])
		m.scale(power, 3)
		m.add(sum, sum, power)
		m.store(power, 0)
	})
	m.total(sum, 2)
	m.set(2, 1)
	m.divide(sum, 2, sum)
	m.each(func() {
		m.load(2, 0)
		m.multiply(2, 2, sum)
		m.store(2, 0)
	})
	m.end()
}

// norm: once over the elements for their mean, once for their variance, once for the result.
func norm(m machine) {
	m.begin("norm", "x", "residual", "gamma", "beta")
	m.constants(1)
	const average, inverse = 0, 1
	m.set(average, 0)
	m.each(func() {
		m.load(2, 0)
		m.load(3, 1)
		m.add(2, 2, 3)
		m.add(average, average, 2)
		m.store(2, 0)
	})
	m.total(average, 2)
	m.mean(average, 2)
	m.set(inverse, 0)
	m.each(func() {
		m.load(2, 0)
		m.subtract(2, 2, average)
		m.multiplyAdd(inverse, 2, 2)
	})
	m.total(inverse, 2)
	m.mean(inverse, 2)
	m.inverseRoot(inverse, 2, "epsilon")
	m.each(func() {
		m.load(2, 0)
		m.subtract(2, 2, average)
		m.multiply(2, 2, inverse)
		m.load(3, 2)
		m.load(4, 3)
		m.multiplyAdd(4, 2, 3)
		m.store(4, 0)
	})
	m.end()
}
