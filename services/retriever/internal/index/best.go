package index

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// place is where a chunk lies in a scan's state of the index, and what it scores.
type place struct {
	score   float32
	number  uint32
	segment int
}

// hit is a chunk that was found.
type hit struct {
	place
	key string
}

const (
	// maxWaiting is how many chunks wait to be looked at. Their keys are read from the best one on, until there are enough: most
	// chunks with a common word are never looked at.
	maxWaiting = 1 << 12
	// maxTies bounds the chunks whose keys are read because they score as the last of the best does: by their keys, those that are
	// chosen don't depend on where an index's history has put them.
	maxTies = 5_000
)

// best chooses the best chunks that are live and not hidden of those it is offered.
type best struct {
	keyOf   func(place) ([]byte, error)
	query   store.Query
	found   []hit // best first, at most the query's limit
	passed  bool  // chunks were passed over because they are not live
	waiting []place
	ties    int
}

// offer takes a chunk into account.
func (b *best) offer(p place) error {
	if b.full() && p.score < b.last() {
		return nil
	}
	if b.waiting = append(b.waiting, p); len(b.waiting) < maxWaiting {
		return nil
	}
	return b.choose()
}

func (b *best) full() bool { return len(b.found) == b.query.Limit }

// last is what the last of the best scores.
func (b *best) last() float32 { return b.found[len(b.found)-1].score }

// choose looks at those that wait, as long as they can be among the best.
func (b *best) choose() error {
	for left := heap(b.waiting); len(left) > 0; {
		p := left[0]
		if b.full() {
			if p.score == b.last() {
				b.ties++
			}
			if p.score < b.last() || b.ties > maxTies {
				break
			}
		}
		left = pop(left)
		if err := b.look(p); err != nil {
			return err
		}
	}
	b.waiting = b.waiting[:0]
	return nil
}

// look takes a chunk among the best if it may be.
func (b *best) look(p place) error {
	key, err := b.keyOf(p)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	h := hit{place: p, key: string(key)}
	documentID, hash, _ := splitKey(h.key)
	if b.query.Hidden != nil && b.query.Hidden(documentID) {
		return nil
	}
	if b.query.Live(documentID) != hash {
		b.passed = true
		return nil
	}
	at, _ := slices.BinarySearchFunc(b.found, h, func(a, b hit) int {
		return cmp.Or(-cmp.Compare(a.score, b.score), cmp.Compare(a.key, b.key))
	})
	if at == b.query.Limit {
		return nil
	}
	if b.full() {
		b.found = b.found[:len(b.found)-1]
	}
	b.found = slices.Insert(b.found, at, h)
	return nil
}

// heap arranges places so that the best is the first, and returns them.
func heap(places []place) []place {
	for i := len(places)/2 - 1; i >= 0; i-- {
		sink(places, i)
	}
	return places
}

// pop takes the first off a heap.
func pop(places []place) []place {
	last := len(places) - 1
	places[0] = places[last]
	sink(places[:last], 0)
	return places[:last]
}

// sink moves the place at i down to where it belongs in a heap.
func sink(places []place, i int) {
	for {
		child := 2*i + 1
		if child+1 < len(places) && places[child+1].score > places[child].score {
			child++
		}
		if child >= len(places) || places[child].score <= places[i].score {
			return
		}
		places[i], places[child] = places[child], places[i]
		i = child
	}
}
