package main

import "fmt"

// avx is amd64 with vectors of 8 or 16 floats, and FMA.
type avx struct {
	source
	suffix string // of functions' names
	prefix string // of registers' names
	lanes  int
}

func newAVX(suffix, prefix string, lanes int) *avx {
	return &avx{suffix: suffix, prefix: prefix, lanes: lanes}
}

// pointers hold first elements; AX is the offset in bytes, CX where it ends, R8 how many elements there are.
var avxPointers = [...]string{"DI", "SI", "BX", "DX"}

func (m *avx) v(r register) string { return fmt.Sprintf("%s%d", m.prefix, r) }

func (m *avx) begin(name string, slices ...string) {
	m.table = name + m.suffix
	size := 24 * len(slices)
	if len(slices) == 4 {
		size += 4 // epsilon
	}
	fmt.Fprintf(&m.body, "TEXT ·%s%s(SB), NOSPLIT, $0-%d\n", name, m.suffix, size)
	for i, s := range slices {
		m.line("MOVQ %s_base+%d(FP), %s", s, 24*i, avxPointers[i])
	}
	m.line("MOVQ %s_len+8(FP), R8", slices[0])
	m.line("LEAQ (R8*4), CX")
	m.line("XORQ AX, AX")
}

func (m *avx) end() {
	m.line("VZEROUPPER")
	m.line("RET\n")
}

// resident says whether there are registers enough to keep constants in.
func (m *avx) resident() bool { return m.lanes == 16 }

func (m *avx) constants(values ...float32) {
	m.declare(m.table, values)
	if m.resident() {
		for i := range m.known {
			m.line("VBROADCASTSS %s<>+%d(SB), %s", m.table, 4*i, m.v(register(31-i)))
		}
	}
}

func (m *avx) constant(value float32) register {
	i := m.index(value)
	if m.resident() {
		return register(31 - i)
	}
	m.line("VBROADCASTSS %s<>+%d(SB), %s", m.table, 4*i, m.v(15))
	return 15
}

func (m *avx) each(body func()) {
	m.label++
	label := fmt.Sprintf("%s%d", m.table, m.label)
	m.line("XORQ AX, AX")
	m.mark(label)
	body()
	m.line("ADDQ $%d, AX", 4*m.lanes)
	m.line("CMPQ AX, CX")
	m.line("JB %s", label)
}

func (m *avx) load(to register, p pointer) {
	m.line("VMOVUPS (%s)(AX*1), %s", avxPointers[p], m.v(to))
}

func (m *avx) store(from register, p pointer) {
	m.line("VMOVUPS %s, (%s)(AX*1)", m.v(from), avxPointers[p])
}

func (m *avx) set(to register, value float32) {
	if value == 0 {
		m.line("VXORPS X%d, X%d, X%d", to, to, to)
		return
	}
	m.line("VBROADCASTSS %s<>+%d(SB), %s", m.table, 4*m.index(value), m.v(to))
}

// op writes to = a op b; the assembler wants the operands from right to left.
func (m *avx) op(name string, to, a, b register) {
	m.line("%s %s, %s, %s", name, m.v(b), m.v(a), m.v(to))
}

func (m *avx) add(to, a, b register)      { m.op("VADDPS", to, a, b) }
func (m *avx) subtract(to, a, b register) { m.op("VSUBPS", to, a, b) }
func (m *avx) multiply(to, a, b register) { m.op("VMULPS", to, a, b) }
func (m *avx) divide(to, a, b register)   { m.op("VDIVPS", to, a, b) }
func (m *avx) maximum(to, a, b register)  { m.op("VMAXPS", to, a, b) }
func (m *avx) minimum(to, a, b register)  { m.op("VMINPS", to, a, b) }

func (m *avx) round(to, from register) {
	name := "VROUNDPS"
	if m.lanes == 16 {
		name = "VRNDSCALEPS"
	}
	m.line("%s $0, %s, %s", name, m.v(from), m.v(to))
}

func (m *avx) scale(x, n register) {
	m.line("VCVTPS2DQ %s, %s", m.v(n), m.v(n))
	m.line("VPSLLD $23, %s, %s", m.v(n), m.v(n))
	m.line("VPADDD %s, %s, %s", m.v(n), m.v(x), m.v(x))
}

func (m *avx) multiplyAdd(sum, a, b register)      { m.op("VFMADD231PS", sum, a, b) }
func (m *avx) multiplySubtract(sum, a, b register) { m.op("VFNMADD231PS", sum, a, b) }

func (m *avx) horner(sum, _, x register, coefficients []float32) register {
	m.set(sum, coefficients[0])
	for _, c := range coefficients[1:] {
		m.op("VFMADD213PS", sum, x, m.constant(c))
	}
	return sum
}

func (m *avx) total(v, spare register)    { m.fold("VADDPS", v, spare) }
func (m *avx) greatest(v, spare register) { m.fold("VMAXPS", v, spare) }

// fold halves a vector until one element is left, and spreads it.
func (m *avx) fold(op string, v, spare register) {
	if m.lanes == 16 {
		m.line("VEXTRACTF64X4 $1, Z%d, Y%d", v, spare)
		m.line("%s Y%d, Y%d, Y%d", op, spare, v, v)
	}
	m.line("VEXTRACTF128 $1, Y%d, X%d", v, spare)
	m.line("%s X%d, X%d, X%d", op, spare, v, v)
	for _, order := range []int{0x4e, 0xb1} {
		m.line("VPERMILPS $0x%x, X%d, X%d", order, v, spare)
		m.line("%s X%d, X%d, X%d", op, spare, v, v)
	}
	m.line("VBROADCASTSS X%d, %s", v, m.v(v))
}

func (m *avx) mean(v, spare register) {
	m.line("VXORPS X%d, X%d, X%d", spare, spare, spare)
	m.line("VCVTSI2SSQ R8, X%d, X%d", spare, spare)
	m.line("VBROADCASTSS X%d, %s", spare, m.v(spare))
	m.divide(v, v, spare)
}

func (m *avx) inverseRoot(v, spare register, parameter string) {
	m.line("VBROADCASTSS %s+96(FP), %s", parameter, m.v(spare))
	m.add(v, v, spare)
	m.line("VSQRTPS %s, %s", m.v(v), m.v(v))
	m.set(spare, 1)
	m.divide(v, spare, v)
}

// Tiles have two registers of columns. AVX-512 has registers for 12 rows of them, AVX2 for 6.
func (m *avx) rows() int { return 6 * m.lanes / 8 }

// unroll is how many steps of k stand in one round of the loop.
const unroll = 4

// tile: a kernel for each number of rows up to the most, behind one name.
func (m *avx) tile() {
	name := "tile" + m.suffix
	fmt.Fprintf(&m.body, "// func %s(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, k, rows int)\n", name)
	fmt.Fprintf(&m.body, "TEXT ·%s(SB), NOSPLIT, $0-128\n", name)
	for _, p := range []struct{ parameter, register string }{
		{"c_base+0", "DI"}, {"cStride+24", "R8"}, {"a_base+32", "SI"}, {"aStride+56", "R9"},
		{"panel_base+64", "BX"}, {"bias_base+88", "DX"}, {"k+112", "CX"}, {"rows+120", "R10"},
	} {
		m.line("MOVQ %s(FP), %s", p.parameter, p.register)
	}
	m.line("SHLQ $2, R8")
	m.line("SHLQ $2, R9")
	m.line("LEAQ (R9)(R9*2), AX")
	for rows := m.rows(); rows > 1; rows-- {
		m.line("CMPQ R10, $%d", rows)
		m.line("JEQ rows%d", rows)
	}
	for rows := 1; rows <= m.rows(); rows++ {
		m.mark(fmt.Sprintf("rows%d", rows))
		m.tileRows(rows)
	}
	m.line("")
}

func (m *avx) tileRows(rows int) {
	bytes := 4 * m.lanes
	// Every third row has a pointer of its own; those between are one or two strides from it.
	bases := []string{"SI", "R11", "R12", "R13"}[:(rows+2)/3]
	for i := 1; i < len(bases); i++ {
		m.line("LEAQ (%s)(AX*1), %s", bases[i-1], bases[i])
	}
	m.line("VMOVUPS (DX), %s", m.v(0))
	m.line("VMOVUPS %d(DX), %s", bytes, m.v(1))
	for i := 1; i < rows; i++ {
		m.line("VMOVAPS %s, %s", m.v(0), m.v(register(2*i)))
		m.line("VMOVAPS %s, %s", m.v(1), m.v(register(2*i+1)))
	}
	many, one, done := fmt.Sprintf("many%d", rows), fmt.Sprintf("one%d", rows), fmt.Sprintf("done%d", rows)
	m.line("SUBQ $%d, CX", unroll)
	m.line("JB %s", one)
	m.mark(many)
	for step := range unroll {
		m.tileStep(rows, step, bases)
	}
	m.advance(unroll, bases)
	m.line("SUBQ $%d, CX", unroll)
	m.line("JAE %s", many)
	m.mark(one)
	m.line("ADDQ $%d, CX", unroll)
	m.line("JZ %s", done)
	m.mark(one + "more")
	m.tileStep(rows, 0, bases)
	m.advance(1, bases)
	m.line("DECQ CX")
	m.line("JNZ %s", one+"more")
	m.mark(done)
	for i := range rows {
		m.line("VMOVUPS %s, (DI)", m.v(register(2*i)))
		m.line("VMOVUPS %s, %d(DI)", m.v(register(2*i+1)), bytes)
		if i < rows-1 {
			m.line("ADDQ R8, DI")
		}
	}
	m.line("VZEROUPPER")
	m.line("RET")
}

func (m *avx) advance(steps int, bases []string) {
	m.line("ADDQ $%d, BX", steps*2*4*m.lanes)
	for _, base := range bases {
		m.line("ADDQ $%d, %s", 4*steps, base)
	}
}

// tileStep adds one k's products.
func (m *avx) tileStep(rows, step int, bases []string) {
	bytes := 4 * m.lanes
	left, spare := register(2*m.rows()), register(2*m.rows()+2)
	m.line("VMOVUPS %d(BX), %s", step*2*bytes, m.v(left))
	m.line("VMOVUPS %d(BX), %s", step*2*bytes+bytes, m.v(left+1))
	for i := range rows {
		index := [...]string{"", "(R9*1)", "(R9*2)"}[i%3]
		value := spare + register(i%2)
		m.line("VBROADCASTSS %d(%s)%s, %s", 4*step, bases[i/3], index, m.v(value))
		m.multiplyAdd(register(2*i), value, left)
		m.multiplyAdd(register(2*i+1), value, left+1)
	}
}

var _ machine = (*avx)(nil)
