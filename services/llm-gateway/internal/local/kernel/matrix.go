package kernel

// Matrix is a matrix with its bias, packed for one set: in panels of as many columns as a tile has, row after row, the
// last one filled up with zeros.
type Matrix struct {
	set    *Set
	k, n   int
	data   []float32
	bias   []float32
	panels int
}

// K returns how long the rows are that the matrix multiplies.
func (m *Matrix) K() int { return m.k }

// N returns how long the products are.
func (m *Matrix) N() int { return m.n }

// Panels returns into how many parts Multiply may be divided, each of PanelColumns columns.
func (m *Matrix) Panels() int { return m.panels }

// PanelColumns returns how many columns one panel has.
func (s *Set) PanelColumns() int { return s.columns }

// PackedSize returns how many floats a packed k × n matrix takes, its bias not counted.
func (s *Set) PackedSize(k, n int) int { return k * s.ceil(n) }

func (s *Set) ceil(n int) int { return (n + s.columns - 1) / s.columns * s.columns }

// Pack packs weights as layers have them, n rows of k: y = W x + bias. A nil bias is zeros.
func (s *Set) Pack(weights, bias []float32, k, n int) *Matrix {
	weights = weights[:k*n]
	m := &Matrix{data: make([]float32, s.PackedSize(k, n)), bias: make([]float32, s.ceil(n))}
	copy(m.bias, bias[:min(n, len(bias))])
	m.set, m.k, m.n, m.panels = s, k, n, s.ceil(n)/s.columns
	s.transpose(m.data, weights, k, k, n)
	return m
}

// together is how many rows transpose takes at once, a part of every set's panel, so that writes lie side by side.
const together = 8

// transpose packs n rows of k floats, stride apart, as the columns of panels.
func (s *Set) transpose(to, rows []float32, stride, k, n int) {
	width := s.columns
	place := func(j int) []float32 { return to[j/width*width*k+j%width:] }
	j := 0
	for ; j+together <= n; j += together {
		var row [together][]float32
		for i := range row {
			row[i] = rows[(j+i)*stride:][:k]
		}
		panel := place(j)
		for l := range k {
			p := (*[together]float32)(panel[l*width:])
			p[0], p[1], p[2], p[3] = row[0][l], row[1][l], row[2][l], row[3][l]
			p[4], p[5], p[6], p[7] = row[4][l], row[5][l], row[6][l], row[7][l]
		}
	}
	for ; j < n; j++ {
		panel := place(j)
		for l, v := range rows[j*stride:][:k] {
			panel[l*width] = v
		}
	}
}

// Columns packs rows of k floats, stride apart, as the columns of a matrix without bias, into space that is reused: the
// result is good until the next call with the same space. It has n columns and as many of zeros as fill the last panel.
func (s *Set) Columns(space *Matrix, rows []float32, stride, k, n int) {
	space.reset(s, k, n)
	if rest := n % s.columns; rest != 0 {
		clear(space.data[(space.panels-1)*s.columns*k:])
	}
	s.transpose(space.data, rows, stride, k, n)
	space.n = space.panels * s.columns
}

// Rows packs k rows of n floats, stride apart, as the rows of a matrix without bias, as Columns does.
func (s *Set) Rows(space *Matrix, rows []float32, stride, k, n int) {
	space.reset(s, k, n)
	width := s.columns
	for p := range space.panels {
		from := p * width
		columns := min(width, n-from)
		panel := space.data[p*width*k:][:width*k]
		for l := range k {
			copied := copy(panel[l*width:][:width], rows[l*stride+from:][:columns])
			clear(panel[l*width+copied : (l+1)*width])
		}
	}
}

func (m *Matrix) reset(s *Set, k, n int) {
	if size := s.PackedSize(k, n); cap(m.data) < size {
		m.data = make([]float32, size)
	} else {
		m.data = m.data[:size]
	}
	if size := s.ceil(n); cap(m.bias) < size { // never written to, so all zeros
		m.bias = make([]float32, size)
	} else {
		m.bias = m.bias[:size]
	}
	m.set, m.k, m.n, m.panels = s, k, n, s.ceil(n)/s.columns
}

// Multiply computes rows of c = a × m + bias, for the panels from <= p < to. a's rows are aStride apart, c's cStride.
func (m *Matrix) Multiply(c []float32, cStride int, a []float32, aStride, rows, from, to int) {
	if rows == 0 || from >= to {
		return
	}
	s, width := m.set, m.set.columns
	_ = a[(rows-1)*aStride+m.k-1]
	_ = c[(rows-1)*cStride+min(to*width, m.n)-1]
	_ = m.data[to*width*m.k-1]
	for p := from; p < to; p++ {
		panel, bias := m.data[p*width*m.k:][:width*m.k], m.bias[p*width:][:width]
		if columns := m.n - p*width; columns < width {
			m.edge(c[p*width:], cStride, a, aStride, panel, bias, rows, columns)
			continue
		}
		for i := 0; i < rows; i += s.rows {
			s.tile(c[i*cStride+p*width:], cStride, a[i*aStride:], aStride, panel, bias, m.k, min(s.rows, rows-i))
		}
	}
}

// edge computes a panel of which c has the first columns only.
func (m *Matrix) edge(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, rows, columns int) {
	s, width := m.set, m.set.columns
	tile, ok := s.tiles.Get().(*[maxTile]float32)
	if !ok {
		tile = new([maxTile]float32)
	}
	defer s.tiles.Put(tile)
	for i := 0; i < rows; i += s.rows {
		n := min(s.rows, rows-i)
		s.tile(tile[:], width, a[i*aStride:], aStride, panel, bias, m.k, n)
		for r := range n {
			copy(c[(i+r)*cStride:][:columns], tile[r*width:])
		}
	}
}

// maxTile is the size of the largest set's tile.
const maxTile = 12 * 32
