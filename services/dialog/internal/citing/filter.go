// Package citing turns the markers in a streamed answer into citations that can be checked: a Filter finds the markers
// [n] while text flows by and drops the impossible ones, and a Citer says which sentence a marker stands for, which words
// of the source support it and whether they do. The package is pure and knows no model, no wire and no store.
package citing

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// maxHeld bounds a held marker in bytes, so that a bracket that never closes can't silence the answer. A group of twelve
// two-digit numbers fits.
const maxHeld = 64

// maxNumber bounds the numbers that are read at all; a request has at most 64 sources.
const maxNumber = 999

// Marker is one [n] in the text that a Filter let through.
type Marker struct {
	// Number is the n.
	Number uint32
	// Start and End are the marker's half-open byte range in all text returned so far.
	Start, End int
}

// Filter lets text through and holds back only what may be a citation marker: from an opening bracket until it closes or
// can no longer be one. It reads [1], [1,2], [1-3], [^1], 【1】 and ［１］, drops numbers that are not possible, and writes
// the others as [n]. A single space is held together with the text after it, so that a dropped marker leaves no hole.
// Text between backticks passes untouched: a[1] in code is no citation.
//
// What comes out does not depend on how the input is cut into pieces. A Filter is not safe for concurrent use.
type Filter struct {
	possible []uint32

	out     strings.Builder // of the current call
	markers []Marker        // of the current call
	offset  int             // bytes returned by earlier calls

	partial []byte // the beginning of a character
	held    []byte // an opening bracket and what follows it
	space   bool   // one space not yet written
	code    code
}

// code follows backticks: inline code ends with as many of them as it began with, or with the line.
type code struct {
	run  int // backticks read in a row
	open int // backticks that opened the code; 0 outside
}

// NewFilter returns a Filter that keeps the numbers in possible.
func NewFilter(possible []uint32) *Filter {
	return &Filter{possible: slices.Clone(possible)}
}

// Limit narrows the possible numbers from here on.
func (f *Filter) Limit(possible []uint32) { f.possible = slices.Clone(possible) }

// Restart begins anew with the numbers in possible, after Close, for text that follows on what came before.
func (f *Filter) Restart(possible []uint32) {
	f.Limit(possible)
	f.code = code{}
}

// Write takes the next piece of the answer and returns what may be shown, with the markers in it.
func (f *Filter) Write(piece string) (string, []Marker) {
	f.begin()
	data := piece
	if len(f.partial) > 0 {
		data = string(f.partial) + piece
		f.partial = f.partial[:0]
	}
	for len(data) > 0 {
		r, size := utf8.DecodeRuneInString(data)
		if r == utf8.RuneError && size == 1 && !utf8.FullRuneInString(data) {
			f.partial = append(f.partial, data...)
			break
		}
		f.next(r, data[:size])
		data = data[size:]
	}
	return f.end()
}

// Close returns what was still held. The Filter must not be written to afterwards, but after Restart.
func (f *Filter) Close() (string, []Marker) {
	f.begin()
	f.release()
	f.flushSpace()
	f.out.Write(f.partial)
	f.partial = nil
	return f.end()
}

func (f *Filter) begin() {
	f.out.Reset()
	f.markers = nil
}

func (f *Filter) end() (string, []Marker) {
	s := f.out.String()
	f.offset += len(s)
	return s, f.markers
}

// next takes one character; raw are its bytes, which for invalid UTF-8 is one byte.
func (f *Filter) next(r rune, raw string) {
	if len(f.held) > 0 {
		switch {
		case closes(r):
			f.closeMarker(raw)
			return
		case inMarker(r) && len(f.held)+len(raw) <= maxHeld:
			f.held = append(f.held, raw...)
			return
		}
		f.release()
	}
	inCode := f.code.next(r)
	switch {
	case opens(r) && !inCode:
		f.held = append(f.held, raw...)
	case r == ' ' && !f.space:
		f.space = true
	default:
		f.flushSpace()
		f.out.WriteString(raw)
	}
}

// closeMarker decides about the held group.
func (f *Filter) closeMarker(raw string) {
	_, size := utf8.DecodeRune(f.held)
	numbers, ok := parseGroup(string(f.held[size:]))
	if !ok {
		f.held = append(f.held, raw...)
		f.release()
		return
	}
	f.held = f.held[:0]
	f.code.next(']') // ends a run of backticks, as any character does
	kept := slices.DeleteFunc(numbers, func(n uint32) bool { return !slices.Contains(f.possible, n) })
	if len(kept) == 0 {
		f.space = false
		return
	}
	f.flushSpace()
	for _, n := range kept {
		start := f.offset + f.out.Len()
		f.out.WriteByte('[')
		f.out.WriteString(itoa(n))
		f.out.WriteByte(']')
		f.markers = append(f.markers, Marker{Number: n, Start: start, End: f.offset + f.out.Len()})
	}
}

// release lets held text through as it is: it was no marker.
func (f *Filter) release() {
	if len(f.held) == 0 {
		return
	}
	f.flushSpace()
	f.out.Write(f.held)
	f.held = f.held[:0]
	f.code.next(']')
}

func (f *Filter) flushSpace() {
	if f.space {
		f.out.WriteByte(' ')
		f.space = false
	}
}

// next tells whether r stands in code.
func (c *code) next(r rune) bool {
	if r == '`' {
		c.run++
		return true
	}
	if c.run > 0 {
		switch {
		case c.open == 0:
			c.open = c.run
		case c.run >= c.open:
			c.open = 0
		}
		c.run = 0
	}
	if r == '\n' && c.open < 3 {
		c.open = 0 // inline code does not go over the line
	}
	return c.open > 0
}

func opens(r rune) bool { return r == '[' || r == '【' || r == '［' }

func closes(r rune) bool { return r == ']' || r == '】' || r == '］' }

func inMarker(r rune) bool {
	return digit(r) >= 0 || separator(r) || r == ' ' || r == '-' || r == '–' || r == '^'
}

func separator(r rune) bool { return r == ',' || r == '，' || r == '、' || r == ';' || r == '；' }

func digit(r rune) int {
	switch {
	case '0' <= r && r <= '9':
		return int(r - '0')
	case '０' <= r && r <= '９':
		return int(r - '０')
	}
	return -1
}

// parseGroup reads the inside of a bracket: numbers and short ranges between separators. It reports false when that is
// not what it is.
func parseGroup(s string) ([]uint32, bool) {
	var numbers []uint32
	n, from := -1, -1
	blank := true // no digit since the last separator
	finish := func() bool {
		if n < 0 {
			return false
		}
		if from < 0 {
			from = n
		}
		if n < from || n-from > 16 {
			from = n
		}
		for i := from; i <= n; i++ {
			numbers = append(numbers, uint32(i))
		}
		n, from, blank = -1, -1, true
		return true
	}
	gap := false // a space came after the digits
	for _, r := range s {
		d := digit(r)
		switch {
		case d >= 0:
			if gap && n >= 0 {
				return nil, false // "[1 2]"
			}
			n, blank, gap = min(max(n, 0)*10+d, maxNumber+1), false, false
		case separator(r):
			if !finish() {
				return nil, false
			}
			gap = false
		case r == '-' || r == '–':
			if n < 0 || from >= 0 {
				return nil, false
			}
			n, from, gap = -1, n, false
		case r == '^':
			if !blank || n >= 0 {
				return nil, false
			}
		case r == ' ':
			gap = true
		}
	}
	if !finish() {
		return nil, false
	}
	return numbers, true
}

func itoa(n uint32) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}
