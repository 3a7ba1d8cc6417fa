package weights

import (
	"encoding/binary"
	"math"
)

// dtype is a type by its name in a header.
type dtype string

// sizes are the types of the format and how many bytes a value takes. A file may hold any; only floats are read.
var sizes = map[dtype]int{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
	"F8_E4M3": 1, "F8_E5M2": 1,
}

func (d dtype) size() int { return sizes[d] }

func (d dtype) float() bool { return d == "F32" || d == "F16" || d == "BF16" }

// floats converts all of dst from raw.
func (d dtype) floats(dst []float32, raw []byte) {
	raw = raw[:len(dst)*d.size()]
	switch d {
	case "F32":
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case "F16":
		for i := range dst {
			dst[i] = half(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	case "BF16":
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	}
}

// half returns the value of IEEE 754's float of 16 bits.
func half(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exponent {
	case 31: // infinite, or not a number
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	case 0: // zero, or without the leading one
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
}
