// Package kernel has the arithmetic that an encoder spends its time in: products of matrices, softmax, GELU and layer
// normalisation over float32. There is a set of kernels for AVX-512, one for AVX2 with FMA, one for NEON and one in plain Go,
// which every platform has; Best picks at run time. They are made by the program in generate, and agree with the plain ones to rounding:
// results of different sets are compared with a tolerance, never byte by byte.
//
// Everything here checks the lengths of slices before a kernel runs, and panics where they are too short.
package kernel

//go:generate go run ./generate .

import (
	"fmt"
	"strings"
	"sync"
)

// Lane is what lengths are rounded up to where a kernel may write past a row's end.
const Lane = 16

// Set is kernels for one kind of processor. Safe for concurrent use.
type Set struct {
	name string
	// rows and columns are the size of the tile of a product that is computed in registers.
	rows, columns int
	// tile computes rows × columns of c from a and a packed panel, each column beginning with its bias.
	tile tileFunc
	// softmax, gelu and norm take lengths that are multiples of Lane.
	softmax func(x []float32)
	gelu    func(x []float32)
	norm    func(x, residual, gamma, beta []float32, epsilon float32)
	// tiles are what products that are narrower than a tile are computed in.
	tiles sync.Pool
}

// tileFunc: c[i][j] = bias[j] + sum over l < k of a[i][l] panel[l][j], for i < rows and all of a panel's columns. Strides
// count floats. What is written in assembly checks no lengths.
type tileFunc func(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, k, rows int)

// Name returns what the kernels are for: avx512, avx2, neon or plain.
func (s *Set) Name() string { return s.name }

// Sets returns the sets that this processor can run, the fastest first. The last is the plain one.
func Sets() []*Set { return append(native(), plain()) }

// Best returns the fastest set this processor can run.
func Best() *Set { return Sets()[0] }

// Named returns the set of that name; of an empty one, the best.
func Named(name string) (*Set, error) {
	var have []string
	for _, s := range Sets() {
		if s.name == name || name == "" {
			return s, nil
		}
		have = append(have, s.name)
	}
	return nil, fmt.Errorf("find kernels %q: this processor runs %s", name, strings.Join(have, ", "))
}

// Round returns n rounded up to a multiple of Lane.
func Round(n int) int { return (n + Lane - 1) / Lane * Lane }

// Softmax turns x[:n] into its softmax. It may write up to Round(n).
func (s *Set) Softmax(x []float32, n int) {
	if n == 0 {
		return
	}
	padded := Round(n)
	x = x[:padded]
	for i := n; i < padded; i++ {
		x[i] = lowest
	}
	s.softmax(x)
}

// lowest is what weighs nothing in a softmax.
const lowest = -3e38

// GELU puts x through the Gaussian error linear unit.
func (s *Set) GELU(x []float32) {
	whole := len(x) / Lane * Lane
	if whole > 0 {
		s.gelu(x[:whole])
	}
	if whole < len(x) {
		var rest [Lane]float32
		n := copy(rest[:], x[whole:])
		s.gelu(rest[:])
		copy(x[whole:], rest[:n])
	}
}

// Norm adds residual to x and normalises the sum to mean 0 and variance 1, scaled by gamma and moved by beta.
func (s *Set) Norm(x, residual, gamma, beta []float32, epsilon float32) {
	n := len(x)
	residual, gamma, beta = residual[:n], gamma[:n], beta[:n]
	switch {
	case n == 0:
	case n%Lane != 0:
		normPlain(x, residual, gamma, beta, epsilon)
	default:
		s.norm(x, residual, gamma, beta, epsilon)
	}
}
