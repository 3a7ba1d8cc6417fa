package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
)

func plain(t testing.TB) *kernel.Set {
	t.Helper()
	s, err := kernel.Named("plain")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func random(r *rand.Rand, n int, by float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = by * (2*r.Float32() - 1)
	}
	return v
}

// guard stands behind what a kernel may write to.
const guard = 12345

// compare fails when got is further from want than rounding explains.
func compare(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tolerance*max(1, math.Abs(float64(want[i])))) {
			t.Fatalf("%s: element %d of %d is %g, want %g", what, i, len(want), got[i], want[i])
		}
	}
}

func TestProducts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, set := range kernel.Sets() {
		for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 31, 64, 100, 387} {
			for _, n := range []int{1, 7, 8, 15, 16, 17, 31, 32, 33, 64, 70} {
				for _, rows := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25} {
					product(t, r, set, k, n, rows)
				}
			}
		}
	}
}

// product compares with sums in double precision, and looks at what lies around the result.
func product(t *testing.T, r *rand.Rand, set *kernel.Set, k, n, rows int) {
	t.Helper()
	weights, bias := random(r, k*n, 1), random(r, n, 1)
	aStride, cStride := k+r.IntN(3), n+r.IntN(3)
	a := random(r, (rows-1)*aStride+k, 1)
	c := make([]float32, (rows-1)*cStride+n)
	for i := range c {
		c[i] = guard
	}
	m := set.Pack(weights, bias, k, n)
	m.Multiply(c, cStride, a, aStride, rows, 0, m.Panels())
	want := make([]float32, len(c))
	for i := range want {
		want[i] = guard
	}
	for i := range rows {
		for j := range n {
			sum := float64(bias[j])
			for l := range k {
				sum += float64(a[i*aStride+l]) * float64(weights[j*k+l])
			}
			want[i*cStride+j] = float32(sum)
		}
	}
	compare(t, fmt.Sprintf("%s: %d × %d × %d", set.Name(), rows, k, n), c, want, 2e-5)
}

func TestProductsOfWhatIsPackedForTheMoment(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, set := range kernel.Sets() {
		var columns, rowwise kernel.Matrix
		for _, n := range []int{70, 1, 33, 16, 5, 64} {
			for _, k := range []int{32, 7, 64} {
				stride := k + 3
				v := random(r, n*stride, 1)
				a := random(r, 5*n+5*k, 1)
				what := fmt.Sprintf("%s: %d, %d", set.Name(), n, k)

				set.Columns(&columns, v, stride, k, n) // scores of 5 queries of k
				width := columns.N()
				got := make([]float32, 5*width)
				columns.Multiply(got, width, a, k, 5, 0, columns.Panels())
				for i := range 5 {
					want := make([]float32, width)
					for j := range n {
						for l := range k {
							want[j] += a[i*k+l] * v[j*stride+l]
						}
					}
					compare(t, what+" by columns", got[i*width:][:width], want, 1e-4)
				}

				set.Rows(&rowwise, v, stride, n, k) // values mixed by 5 rows of weights
				got = make([]float32, 5*k)
				rowwise.Multiply(got, k, a, n, 5, 0, rowwise.Panels())
				for i := range 5 {
					want := make([]float32, k)
					for l := range n {
						for j := range k {
							want[j] += a[i*n+l] * v[l*stride+j]
						}
					}
					compare(t, what+" by rows", got[i*k:][:k], want, 1e-4)
				}
			}
		}
	}
}

func TestPartsOfAProduct(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for _, set := range kernel.Sets() {
		weights, a := random(r, 20*90, 1), random(r, 7*20, 1)
		m := set.Pack(weights, nil, 20, 90)
		whole, parts := make([]float32, 7*90), make([]float32, 7*90)
		m.Multiply(whole, 90, a, 20, 7, 0, m.Panels())
		for p := range m.Panels() {
			m.Multiply(parts, 90, a, 20, 7, p, p+1)
		}
		compare(t, set.Name(), parts, whole, 0)
	}
}

func TestSoftmax(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for _, set := range kernel.Sets() {
		for _, by := range []float32{0, 0.1, 5, 60, 1000} {
			for n := 1; n < 100; n += 1 + n/9 {
				x := append(random(r, kernel.Round(n), by), guard)
				want, sum, highest := make([]float32, n), 0.0, math.Inf(-1)
				for _, v := range x[:n] {
					highest = max(highest, float64(v))
				}
				for _, v := range x[:n] {
					sum += math.Exp(float64(v) - highest)
				}
				for i, v := range x[:n] {
					want[i] = float32(math.Exp(float64(v)-highest) / sum)
				}
				set.Softmax(x, n)
				compare(t, fmt.Sprintf("%s: %d of up to %g", set.Name(), n, by), x[:n], want, 3e-7)
				if x[len(x)-1] != guard {
					t.Fatalf("%s: wrote past the end", set.Name())
				}
			}
		}
	}
}

func TestGELU(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	for _, set := range kernel.Sets() {
		for _, by := range []float32{0, 0.01, 1, 6, 50} {
			for n := 1; n < 200; n += 1 + n/7 {
				x := append(random(r, n, by), guard)
				want := make([]float32, n)
				for i, v := range x[:n] {
					want[i] = float32(float64(v) / 2 * math.Erfc(-float64(v)/math.Sqrt2))
				}
				set.GELU(x[:n])
				compare(t, fmt.Sprintf("%s: %d of up to %g", set.Name(), n, by), x[:n], want, 1.2e-6*max(1, float64(by)/5))
				if x[n] != guard {
					t.Fatalf("%s: wrote past the end", set.Name())
				}
			}
		}
	}
}

func TestNorm(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	for _, set := range kernel.Sets() {
		for _, n := range []int{1, 5, 8, 16, 32, 48, 78, 312, 384, 768, 1024} {
			x, residual, gamma, beta := random(r, n, 3), random(r, n, 3), random(r, n, 1), random(r, n, 1)
			var sum, squares float64
			for i := range x {
				sum += float64(x[i]) + float64(residual[i])
			}
			for i := range x {
				d := float64(x[i]) + float64(residual[i]) - sum/float64(n)
				squares += d * d
			}
			want := make([]float32, n)
			for i := range x {
				d := float64(x[i]) + float64(residual[i]) - sum/float64(n)
				want[i] = float32(d/math.Sqrt(squares/float64(n)+1e-5)*float64(gamma[i]) + float64(beta[i]))
			}
			set.Norm(x, residual, gamma, beta, 1e-5)
			tolerance := 2e-6
			if n == 1 {
				tolerance = 1e-3 // nothing but rounding is left of a difference from itself
			}
			compare(t, fmt.Sprintf("%s: %d", set.Name(), n), x, want, tolerance)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	for _, set := range kernel.Sets() {
		if got, err := kernel.Named(set.Name()); err != nil || got.Name() != set.Name() {
			t.Errorf("%s: got %v, %v", set.Name(), got, err)
		}
	}
	if got, err := kernel.Named(""); err != nil || got.Name() != kernel.Best().Name() {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := kernel.Named("mmx"); err == nil {
		t.Error("kernels for MMX were found")
	}
	if sets := kernel.Sets(); sets[len(sets)-1].Name() != plain(t).Name() {
		t.Error("the plain set is not the last")
	}
}

func BenchmarkMultiply(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const rows, k, n = 96, 384, 1536
	for _, set := range kernel.Sets() {
		b.Run(set.Name(), func(b *testing.B) {
			m := set.Pack(random(r, k*n, 1), nil, k, n)
			a, c := random(r, rows*k, 1), make([]float32, rows*n)
			for b.Loop() {
				m.Multiply(c, n, a, k, rows, 0, m.Panels())
			}
			b.ReportMetric(2*rows*k*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func BenchmarkFunctions(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, set := range kernel.Sets() {
		x, y := random(r, 384, 1), random(r, 384, 1)
		b.Run("gelu/"+set.Name(), func(b *testing.B) {
			for b.Loop() {
				set.GELU(x)
			}
		})
		b.Run("softmax/"+set.Name(), func(b *testing.B) {
			for b.Loop() {
				set.Softmax(x, 384)
			}
		})
		b.Run("norm/"+set.Name(), func(b *testing.B) {
			for b.Loop() {
				set.Norm(x, y, y, y, 1e-12)
			}
		})
	}
}
