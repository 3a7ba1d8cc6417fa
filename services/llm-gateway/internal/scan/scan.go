// Package scan reads JSON where it lies. It walks over the members of an object or the elements of an array, checks on the
// way that all of it is JSON, and says from where to where values reach; it builds nothing. That is what handing requests and
// answers on as they came needs: most of them is nobody's business here, and decoding it would cost more than all the rest.
package scan

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep values may be nested.
const MaxDepth = 64

// Error says where something is no JSON, or not the JSON that was asked for.
type Error struct {
	Offset int
	What   string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.What, e.Offset) }

func wrong(at int, what string) error { return &Error{Offset: at, What: what} }

// Span is where a value lies: data[From:To].
type Span struct{ From, To int }

// Of returns the value.
func (s Span) Of(data []byte) []byte { return data[s.From:s.To] }

// Object calls each for the members of the object that data is, in order. A key is without its quotes, and what it says: one
// with escapes is decoded. name is where it lies, with its quotes. An error of each ends the walk.
func Object(data []byte, each func(key []byte, name, value Span) error) error {
	i := space(data, 0)
	end, err := members(data, i, 1, each)
	if err != nil {
		return err
	}
	return nothing(data, end)
}

// Array calls each for the elements of the array that data is, in order.
func Array(data []byte, each func(value Span) error) error {
	i := space(data, 0)
	end, err := elements(data, i, 1, each)
	if err != nil {
		return err
	}
	return nothing(data, end)
}

// nothing checks that nothing but white space is left.
func nothing(data []byte, i int) error {
	if i = space(data, i); i < len(data) {
		return wrong(i, "something after the value")
	}
	return nil
}

func members(data []byte, i, depth int, each func(key []byte, name, value Span) error) (int, error) {
	if i >= len(data) || data[i] != '{' {
		return i, wrong(i, "no object")
	}
	if depth > MaxDepth {
		return i, wrong(i, "nested too deeply")
	}
	if i = space(data, i+1); i < len(data) && data[i] == '}' {
		return i + 1, nil
	}
	for {
		name := Span{From: i}
		var err error
		if name.To, err = String(data, i); err != nil {
			return i, err
		}
		if i = space(data, name.To); i >= len(data) || data[i] != ':' {
			return i, wrong(i, "no colon after a key")
		}
		value := Span{From: space(data, i+1)}
		if value.To, err = skip(data, value.From, depth+1); err != nil {
			return value.From, err
		}
		if each != nil {
			if err := each(keyOf(data, name), name, value); err != nil {
				return i, err
			}
		}
		i = space(data, value.To)
		switch {
		case i < len(data) && data[i] == ',':
			i = space(data, i+1)
		case i < len(data) && data[i] == '}':
			return i + 1, nil
		default:
			return i, wrong(i, "an object without its end")
		}
	}
}

func elements(data []byte, i, depth int, each func(value Span) error) (int, error) {
	if i >= len(data) || data[i] != '[' {
		return i, wrong(i, "no array")
	}
	if depth > MaxDepth {
		return i, wrong(i, "nested too deeply")
	}
	if i = space(data, i+1); i < len(data) && data[i] == ']' {
		return i + 1, nil
	}
	for {
		value := Span{From: i}
		var err error
		if value.To, err = skip(data, i, depth+1); err != nil {
			return i, err
		}
		if each != nil {
			if err := each(value); err != nil {
				return i, err
			}
		}
		i = space(data, value.To)
		switch {
		case i < len(data) && data[i] == ',':
			i = space(data, i+1)
		case i < len(data) && data[i] == ']':
			return i + 1, nil
		default:
			return i, wrong(i, "an array without its end")
		}
	}
}

// skip returns where the value that begins at i ends.
func skip(data []byte, i, depth int) (int, error) {
	if i >= len(data) {
		return i, wrong(i, "a value is missing")
	}
	switch c := data[i]; {
	case c == '"':
		return String(data, i)
	case c == '{':
		return members(data, i, depth, nil)
	case c == '[':
		return elements(data, i, depth, nil)
	case c == '-' || c >= '0' && c <= '9':
		return number(data, i)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if len(data)-i >= len(word) && string(data[i:i+len(word)]) == word {
			return i + len(word), nil
		}
	}
	return i, wrong(i, "no value")
}

func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

const (
	each8  = 0x0101010101010101
	high8  = 0x80 * each8
	quotes = '"' * each8
	backs  = '\\' * each8
)

// plain returns how many bytes from i on are part of a string as they are, in eights.
func plain(data []byte, i int) int {
	for len(data)-i >= 8 {
		x := binary.LittleEndian.Uint64(data[i:])
		q, b := x^quotes, x^backs
		// For each of the three: is any byte below 0x20, a quote, a backslash? Bytes from 0x80 on are none of them.
		if special := ((x - 0x20*each8) &^ x) | ((q - each8) &^ q) | ((b - each8) &^ b); special&high8 != 0 {
			return i
		}
		i += 8
	}
	return i
}

// String returns where the string that begins at i ends, behind its closing quote.
func String(data []byte, i int) (int, error) {
	if i >= len(data) || data[i] != '"' {
		return i, wrong(i, "no string")
	}
	for i++; ; {
		if i = plain(data, i); i >= len(data) {
			return i, wrong(i, "a string without its end")
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, nil
		case c < ' ':
			return i, wrong(i, "a control character in a string")
		case c != '\\':
			i++
			continue
		}
		n := escape(data[i:])
		if n == 0 {
			return i, wrong(i, "a bad escape")
		}
		i += n
	}
}

// escape returns how long the escape is that s begins with, or 0.
func escape(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	if s[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s[1]) < 0 {
			return 0
		}
		return 2
	}
	if len(s) < 6 {
		return 0
	}
	for _, c := range s[2:6] {
		if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
			return 0
		}
	}
	return 6
}

func number(data []byte, i int) (int, error) {
	digits := func() bool {
		from := i
		for i < len(data) && data[i] >= '0' && data[i] <= '9' {
			i++
		}
		return i > from
	}
	if data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if !digits() {
		return i, wrong(i, "no number")
	}
	if i < len(data) && data[i] == '.' {
		if i++; !digits() {
			return i, wrong(i, "no number")
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !digits() {
			return i, wrong(i, "no number")
		}
	}
	return i, nil
}

// keyOf returns what a key says.
func keyOf(data []byte, name Span) []byte {
	raw := data[name.From+1 : name.To-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	s, _ := Text(name.Of(data))
	return []byte(s)
}

// Text returns what a string says; false for another value.
func Text(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	raw := value[1 : len(value)-1]
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw), true
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", false
	}
	return s, true
}

// Null says whether a value is null.
func Null(value []byte) bool { return string(value) == "null" }

// Int returns a whole number that is not negative, and at most 2^31-1; false for another value.
func Int(value []byte) (int, bool) {
	if len(value) == 0 || len(value) > 10 {
		return 0, false
	}
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n <= 1<<31-1
}

// Size counts text of JSON, to estimate how many tokens it has: four ASCII bytes or three others are one.
type Size struct{ narrow, wide int }

// Add counts more text.
func (s *Size) Add(raw []byte) {
	wide, i := 0, 0
	for ; len(raw)-i >= 8; i += 8 {
		wide += bits.OnesCount64(binary.LittleEndian.Uint64(raw[i:]) & high8)
	}
	for _, c := range raw[i:] {
		wide += int(c >> 7)
	}
	s.wide += wide
	s.narrow += len(raw) - wide
}

// Tokens is the estimate for what was counted.
func (s *Size) Tokens() int { return (s.narrow+3)/4 + (s.wide+2)/3 }
