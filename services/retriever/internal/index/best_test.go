package index

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// In whatever order chunks are offered, those are chosen that a look at all of them would choose.
func TestBest(t *testing.T) {
	t.Parallel()
	const limit = 50
	for name, test := range map[string]struct {
		chunks, scores int // scores tells how many different ones there are
		live, hidden   func(document int) bool
	}{
		"few":              {chunks: 30, scores: 10},
		"many":             {chunks: 5 * maxWaiting, scores: 1 << 20},
		"many of one kind": {chunks: maxTies, scores: 3},
		"replaced ones":    {chunks: 3 * maxWaiting, scores: 1 << 20, live: func(d int) bool { return d%3 > 0 }},
		"hidden ones":      {chunks: 3 * maxWaiting, scores: 1000, hidden: func(d int) bool { return d%10 > 0 }},
		"nothing":          {scores: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(1, 2))
			key := func(p place) string {
				return chunkKey(versionKey(fmt.Sprintf("%08d", p.number/5), "hash"), int(p.number%5))
			}
			number := func(documentID string) (n int) {
				_, _ = fmt.Sscanf(documentID, "%d", &n)
				return n
			}
			q := store.Query{Limit: limit, Live: func(id string) string {
				if test.live != nil && !test.live(number(id)) {
					return "another"
				}
				return "hash"
			}}
			if test.hidden != nil {
				q.Hidden = func(id string) bool { return test.hidden(number(id)) }
			}
			looked := 0
			b := best{query: q, keyOf: func(p place) ([]byte, error) {
				looked++
				return []byte(key(p)), nil
			}}
			var want []hit
			for _, n := range chance.Perm(test.chunks) {
				p := place{score: float32(1 + chance.IntN(test.scores)), number: uint32(n)}
				if document := n / 5; (test.live == nil || test.live(document)) && (test.hidden == nil || !test.hidden(document)) {
					want = append(want, hit{p, key(p)})
				}
				if err := b.offer(p); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.choose(); err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(want, func(a, b hit) int { return cmp.Or(-cmp.Compare(a.score, b.score), cmp.Compare(a.key, b.key)) })
			want = want[:min(limit, len(want))]
			if diff := gocmp.Diff(want, b.found, gocmp.AllowUnexported(hit{}, place{})); diff != "" {
				t.Errorf("best (-want +got):\n%s", diff)
			}
			if b.passed != (test.live != nil) {
				t.Errorf("passed over some: %t", b.passed)
			}
			if name == "many" && looked > 10*limit {
				t.Errorf("%d of %d chunks were looked at for %d", looked, test.chunks, limit)
			}
		})
	}
}
