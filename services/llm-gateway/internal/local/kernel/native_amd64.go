package kernel

import "golang.org/x/sys/cpu"

// native returns what this processor and its system have.
func native() []*Set {
	var sets []*Set
	if cpu.X86.HasAVX512F && cpu.X86.HasFMA {
		sets = append(sets, &Set{name: "avx512", rows: 12, columns: 32, tile: tileAVX512, softmax: softmaxAVX512, gelu: geluAVX512, norm: normAVX512})
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		sets = append(sets, &Set{name: "avx2", rows: 6, columns: 16, tile: tileAVX2, softmax: softmaxAVX2, gelu: geluAVX2, norm: normAVX2})
	}
	return sets
}

//go:noescape
func tileAVX512(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, k, rows int)

//go:noescape
func softmaxAVX512(x []float32)

//go:noescape
func geluAVX512(x []float32)

//go:noescape
func normAVX512(x, residual, gamma, beta []float32, epsilon float32)

//go:noescape
func tileAVX2(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, k, rows int)

//go:noescape
func softmaxAVX2(x []float32)

//go:noescape
func geluAVX2(x []float32)

//go:noescape
func normAVX2(x, residual, gamma, beta []float32, epsilon float32)
