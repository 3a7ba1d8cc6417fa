package main

import "fmt"

// neon is arm64 with vectors of 4 floats. Instructions that Go's assembler has no name for are written as numbers.
type neon struct {
	source
	slices []string // the function's at hand
}

func newNEON() *neon { return &neon{} }

// Pointers are in R0 to R3; R4 is how many elements there are, R5 how many are left.
func (m *neon) begin(name string, slices ...string) {
	m.table = name + "NEON"
	m.slices = slices
	size := 24 * len(slices)
	if len(slices) == 4 {
		size += 4 // epsilon
	}
	fmt.Fprintf(&m.body, "TEXT ·%sNEON(SB), NOSPLIT, $0-%d\n", name, size)
	m.pointers()
	m.line("MOVD %s_len+8(FP), R4", slices[0])
}

func (m *neon) pointers() {
	for i, s := range m.slices {
		m.line("MOVD %s_base+%d(FP), R%d", s, 24*i, i)
	}
}

func (m *neon) end() { m.line("RET\n") }

func (m *neon) constants(values ...float32) {
	m.declare(m.table, values)
	m.line("MOVD $%s<>(SB), R6", m.table)
	for i := range m.known {
		m.line("VLD1R.P 4(R6), [V%d.S4]", 31-i)
	}
}

func (m *neon) constant(value float32) register { return register(31 - m.index(value)) }

func (m *neon) each(body func()) {
	m.label++
	label := fmt.Sprintf("%s%d", m.table, m.label)
	m.pointers()
	m.line("MOVD R4, R5")
	m.mark(label)
	body()
	for i := range m.slices {
		m.line("ADD $16, R%d", i)
	}
	m.line("SUBS $4, R5, R5")
	m.line("BNE %s", label)
}

func (m *neon) load(to register, p pointer)    { m.line("VLD1 (R%d), [V%d.S4]", p, to) }
func (m *neon) store(from register, p pointer) { m.line("VST1 [V%d.S4], (R%d)", from, p) }

func (m *neon) set(to register, value float32) {
	if value == 0 {
		m.line("VEOR V%d.B16, V%d.B16, V%d.B16", to, to, to)
		return
	}
	m.move(to, m.constant(value))
}

func (m *neon) move(to, from register) { m.line("VMOV V%d.B16, V%d.B16", from, to) }

// word writes an instruction by its number.
func (m *neon) word(name string, code uint32, to, a, b register) {
	m.line("WORD $0x%08x // %s V%d.4S, V%d.4S, V%d.4S", code|uint32(b)<<16|uint32(a)<<5|uint32(to), name, to, a, b)
}

// unary is word for instructions of one operand.
func (m *neon) unary(name string, code uint32, to, from register) {
	m.line("WORD $0x%08x // %s V%d.4S, V%d.4S", code|uint32(from)<<5|uint32(to), name, to, from)
}

func (m *neon) add(to, a, b register)      { m.word("FADD", 0x4e20d400, to, a, b) }
func (m *neon) subtract(to, a, b register) { m.word("FSUB", 0x4ea0d400, to, a, b) }
func (m *neon) multiply(to, a, b register) { m.word("FMUL", 0x6e20dc00, to, a, b) }
func (m *neon) divide(to, a, b register)   { m.word("FDIV", 0x6e20fc00, to, a, b) }
func (m *neon) maximum(to, a, b register)  { m.word("FMAX", 0x4e20f400, to, a, b) }
func (m *neon) minimum(to, a, b register)  { m.word("FMIN", 0x4ea0f400, to, a, b) }
func (m *neon) round(to, from register)    { m.unary("FRINTN", 0x4e218800, to, from) }

func (m *neon) scale(x, n register) {
	m.unary("FCVTNS", 0x4e21a800, n, n)
	m.unary("SHL $23,", 0x4f375400, n, n)
	m.line("VADD V%d.S4, V%d.S4, V%d.S4", n, x, x)
}

func (m *neon) multiplyAdd(sum, a, b register) { m.line("VFMLA V%d.S4, V%d.S4, V%d.S4", b, a, sum) }

func (m *neon) multiplySubtract(sum, a, b register) {
	m.line("VFMLS V%d.S4, V%d.S4, V%d.S4", b, a, sum)
}

// horner begins each step in the other register, because a sum is what the instruction overwrites.
func (m *neon) horner(sum, spare, x register, coefficients []float32) register {
	m.set(sum, coefficients[0])
	for _, c := range coefficients[1:] {
		m.set(spare, c)
		m.multiplyAdd(spare, sum, x)
		sum, spare = spare, sum
	}
	return sum
}

func (m *neon) total(v, _ register) {
	m.word("FADDP", 0x6e20d400, v, v, v)
	m.word("FADDP", 0x6e20d400, v, v, v)
}

func (m *neon) greatest(v, _ register) {
	m.word("FMAXP", 0x6e20f400, v, v, v)
	m.word("FMAXP", 0x6e20f400, v, v, v)
}

func (m *neon) mean(v, spare register) {
	m.line("SCVTFS R4, F%d", spare)
	m.line("VDUP V%d.S[0], V%d.S4", spare, spare)
	m.divide(v, v, spare)
}

func (m *neon) inverseRoot(v, spare register, parameter string) {
	m.line("FMOVS %s+96(FP), F%d", parameter, spare)
	m.line("VDUP V%d.S[0], V%d.S4", spare, spare)
	m.add(v, v, spare)
	m.unary("FSQRT", 0x6ea1f800, v, v)
	m.divide(v, m.constant(1), v)
}

// neonRows is how many rows of four registers there are registers for.
const neonRows = 6

// tile: a kernel for each number of rows up to the most, behind one name. R8 to R13 point into the rows of a.
func (m *neon) tile() {
	fmt.Fprintf(&m.body, "// func tileNEON(c []float32, cStride int, a []float32, aStride int, panel, bias []float32, k, rows int)\n")
	fmt.Fprintf(&m.body, "TEXT ·tileNEON(SB), NOSPLIT, $0-128\n")
	for i, p := range []string{"c_base+0", "cStride+24", "a_base+32", "aStride+56", "panel_base+64", "bias_base+88", "k+112", "rows+120"} {
		m.line("MOVD %s(FP), R%d", p, i)
	}
	m.line("VLD1 (R5), [V0.S4, V1.S4, V2.S4, V3.S4]")
	for rows := neonRows; rows > 1; rows-- {
		m.line("CMP $%d, R7", rows)
		m.line("BEQ rows%d", rows)
	}
	for rows := 1; rows <= neonRows; rows++ {
		m.mark(fmt.Sprintf("rows%d", rows))
		m.tileRows(rows)
	}
	m.line("")
}

func (m *neon) tileRows(rows int) {
	m.line("MOVD R2, R8")
	for i := 1; i < rows; i++ {
		m.line("ADD R3<<2, R%d, R%d", 7+i, 8+i)
		for j := range 4 {
			m.move(register(4*i+j), register(j))
		}
	}
	loop := fmt.Sprintf("loop%d", rows)
	m.mark(loop)
	m.line("VLD1.P 64(R4), [V24.S4, V25.S4, V26.S4, V27.S4]")
	for i := range rows {
		value := register(28 + i%4)
		m.line("VLD1R.P 4(R%d), [V%d.S4]", 8+i, value)
		for j := range 4 {
			m.multiplyAdd(register(4*i+j), value, register(24+j))
		}
	}
	m.line("SUBS $1, R6, R6")
	m.line("BNE %s", loop)
	for i := range rows {
		m.line("VST1 [V%d.S4, V%d.S4, V%d.S4, V%d.S4], (R0)", 4*i, 4*i+1, 4*i+2, 4*i+3)
		if i < rows-1 {
			m.line("ADD R1<<2, R0, R0")
		}
	}
	m.line("RET")
}

var _ machine = (*neon)(nil)
