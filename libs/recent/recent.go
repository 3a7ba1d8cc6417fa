// Package recent keeps in memory what was used recently, within a bound, for what is dear to make and may be made again.
package recent

import (
	"sync"
	"time"
)

// Cache keeps values that were used recently. It is safe for concurrent use; values are shared, so nobody changes them.
//
// There are two generations: what is used moves to the young one, and when that has half of the bound it becomes the old one,
// whose values are dropped with it unless they have been used meanwhile. That costs a map access for each use, and no list.
type Cache[K comparable, V any] struct {
	most int
	age  time.Duration

	mu         sync.Mutex
	young, old map[K]entry[V]
	size       int  // of young
	ageing     bool // a timer runs
}

type entry[V any] struct {
	value V
	size  int
}

// New returns a cache for values whose sizes add up to most. What nobody has used for twice the age is not there any more, also
// when nothing else comes; 0 lets it stay.
func New[K comparable, V any](most int, age time.Duration) *Cache[K, V] {
	return &Cache[K, V]{most: most, age: age, young: map[K]entry[V]{}}
}

// Get returns the value of a key, if it is kept.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[key]
	if ok {
		return e.value, true
	}
	if e, ok = c.old[key]; ok {
		delete(c.old, key)
		c.put(key, e)
	}
	return e.value, ok
}

// Put keeps a value of a size, unless it is larger than a quarter of the bound.
func (c *Cache[K, V]) Put(key K, value V, size int) {
	if size > c.most/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.old, key)
	c.put(key, entry[V]{value, size})
}

// Clear lets go of everything.
func (c *Cache[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old, c.size = map[K]entry[V]{}, nil, 0
}

// put is Put for who holds mu.
func (c *Cache[K, V]) put(key K, e entry[V]) {
	if c.size+e.size > c.most/2 {
		c.turn()
	}
	if before, ok := c.young[key]; ok {
		c.size -= before.size
	}
	c.young[key] = e
	c.size += e.size
	if c.age > 0 && !c.ageing {
		c.ageing = true
		time.AfterFunc(c.age, c.grow)
	}
}

// turn makes the young generation the old one.
func (c *Cache[K, V]) turn() {
	c.old, c.young, c.size = c.young, make(map[K]entry[V], len(c.young)), 0
}

// grow turns the generations once an age, as long as there is something in them.
func (c *Cache[K, V]) grow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	if c.ageing = len(c.old) > 0; c.ageing {
		time.AfterFunc(c.age, c.grow)
	}
}
