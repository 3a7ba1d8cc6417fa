package token

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/rivo/uniseg"
)

// charsMap is SentencePiece's compiled table of replacements: a double array (Aoe, 1989; in the layout of Darts-clone) from a
// text's beginning to a place among the replacements, each of which ends with a zero byte.
type charsMap struct {
	units        []uint32
	replacements []byte
}

// readCharsMap reads what tokenizer.json has in base 64: the array's size in bytes, the array, the replacements.
func readCharsMap(raw []byte) (*charsMap, error) {
	if len(raw) < 4 {
		return nil, errors.New("it is cut")
	}
	size := int(binary.LittleEndian.Uint32(raw))
	raw = raw[4:]
	if size%4 != 0 || size < 4 || size > len(raw) {
		return nil, errors.New("its array is larger than it")
	}
	m := &charsMap{units: make([]uint32, size/4), replacements: raw[size:]}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return m, nil
}

// find returns what stands for the shortest beginning of s that the table has, as spm_precompiled does.
func (m *charsMap) find(s string) (string, bool) {
	at := offset(m.units[0])
	for i := range len(s) {
		c := s[i]
		if c == 0 {
			return "", false
		}
		if at ^= uint32(c); at >= uint32(len(m.units)) {
			return "", false
		}
		unit := m.units[at]
		if unit&(1<<31|0xff) != uint32(c) {
			return "", false
		}
		at ^= offset(unit)
		if unit>>8&1 == 0 {
			continue
		}
		if at >= uint32(len(m.units)) {
			return "", false
		}
		from := m.units[at] & (1<<31 - 1)
		if from > uint32(len(m.replacements)) {
			return "", false
		}
		end := bytes.IndexByte(m.replacements[from:], 0)
		if end < 0 {
			end = len(m.replacements[from:])
		}
		return string(m.replacements[from:][:end]), true
	}
	return "", false
}

func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// longestCluster is the most bytes that a cluster of characters may have to be looked up as a whole.
const longestCluster = 6

// replace replaces clusters of characters, and what is in no cluster of the table, character by character.
func (m *charsMap) replace(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for rest, state := s, -1; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if len(cluster) < longestCluster {
			if r, ok := m.find(cluster); ok {
				b.WriteString(r)
				continue
			}
		}
		for _, c := range cluster {
			if r, ok := m.find(string(c)); ok {
				b.WriteString(r)
			} else {
				b.WriteRune(c)
			}
		}
	}
	return b.String()
}

// plain says whether s is printable ASCII, which no table changes.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
