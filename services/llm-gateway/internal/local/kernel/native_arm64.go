package kernel

// native returns what every arm64 has.
func native() []*Set {
	return []*Set{{name: "neon", rows: 6, columns: 16, tile: tileNEON, softmax: softmaxNEON, gelu: geluNEON, norm: normNEON}}
}

//go:noescape
func tileNEON(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, k, rows int)

//go:noescape
func softmaxNEON(x []float32)

//go:noescape
func geluNEON(x []float32)

//go:noescape
func normNEON(x, residual, gamma, beta []float32, epsilon float32)
