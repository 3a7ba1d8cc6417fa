// Package stack spares goroutines that soon go deep the growing of their stacks in steps.
//
// A goroutine begins with a stack of a few KiB, which is copied to one of twice the size whenever it is full, frame by frame.
// For one that lives as long as a single call through interceptors, codecs and a search that is three copies of ever more
// frames: 6 % of what a turn took. Growing at the beginning, while there is nothing to copy, costs next to nothing.
package stack

// reserve is what is left of a stack of 32 KiB, where calls between services end up, for the frames above.
const reserve = 16 << 10

// Grow gives the calling goroutine room for deep calls. It is called first thing in a goroutine that is made for one of them.
//
//go:noinline
func Grow() {
	var room [reserve]byte
	touch(&room)
}

// touch keeps the compiler from leaving room out.
//
//go:noinline
func touch(room *[reserve]byte) { room[0] = 1 }
