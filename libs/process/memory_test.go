package process

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestMemoryIsGivenBackWhenItIsCalm(t *testing.T) {
	const mib = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		asked := []uint64{10, 40, 41, 42, 200, 400, 402, 404, 405, 440, 441, 480, 481, 482} // MiB, at each look
		look := 0
		var at []int
		ctx, cancel := context.WithCancel(t.Context())
		giveBack(ctx, func() uint64 {
			n := asked[look]
			if look++; look == len(asked) {
				cancel()
			}
			return n * mib
		}, func() { at = append(at, look-1) })
		// After the start; after the work, once; and again when as much was asked for since.
		if diff := cmp.Diff([]int{2, 6, 12}, at); diff != "" {
			t.Errorf("given back at looks (-want +got):\n%s", diff)
		}
	})
}

func TestAllocatedGrows(t *testing.T) {
	before := allocated()
	grown := make([][]byte, 0, 64)
	for range cap(grown) {
		grown = append(grown, make([]byte, 1<<20))
	}
	if now := allocated(); before == 0 || now < before+uint64(len(grown))<<20 {
		t.Errorf("allocated %d, then %d", before, now)
	}
}
