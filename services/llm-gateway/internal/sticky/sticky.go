// Package sticky keeps a session where it was: what is chosen by chance is chosen by the session's name instead, which falls
// on the same place every time.
package sticky

import (
	"hash/fnv"
	"strings"
)

// Point is where names fall together, in [0, 1): the same for the same names, and evenly spread over different ones.
func Point(names ...string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(names, "\x00"))) // a hash takes everything
	x := h.Sum64()                                      // its upper bits hardly know of the last bytes; splitmix64 mixes them
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}
