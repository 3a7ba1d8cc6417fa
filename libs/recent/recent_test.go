package recent_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ragmesh/ragmesh/libs/recent"
)

func TestWhatIsUsedStaysAndTheBoundHolds(t *testing.T) {
	t.Parallel()
	const most = 100
	c := recent.New[int, int](most, 0)
	c.Put(0, 42, 1)
	for i := 1; i < 1000; i++ {
		c.Put(i, i, 1)
		if i%10 == 0 {
			if v, ok := c.Get(0); !ok || v != 42 {
				t.Fatalf("after %d others, what is used all the time is %d, %v", i, v, ok)
			}
		}
	}
	kept := 0
	for i := range 1000 {
		if v, ok := c.Get(i); ok {
			if kept++; i > 0 && v != i {
				t.Errorf("value of %d is %d", i, v)
			}
		}
	}
	if kept < most/2 || kept > most {
		t.Errorf("%d values are kept, want at most %d and not less than half", kept, most)
	}
}

func TestSizesCount(t *testing.T) {
	t.Parallel()
	c := recent.New[string, bool](100, 0)
	c.Put("too large", true, 26)
	if _, ok := c.Get("too large"); ok {
		t.Error("a value larger than a quarter of the bound is kept")
	}
	for range 100 {
		c.Put("again", true, 25)
	}
	c.Put("other", true, 25)
	for _, key := range []string{"again", "other"} {
		if _, ok := c.Get(key); !ok {
			t.Errorf("%q is gone: what is put again counts again", key)
		}
	}
}

func TestClear(t *testing.T) {
	t.Parallel()
	c := recent.New[int, int](8, 0)
	for i := range 8 {
		c.Put(i, i, 1)
	}
	c.Clear()
	for i := range 8 {
		if _, ok := c.Get(i); ok {
			t.Errorf("%d is still there", i)
		}
	}
}

func TestWhatIsNotUsedGoesWithTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const age = time.Minute
		c := recent.New[string, bool](100, age)
		c.Put("used", true, 1)
		c.Put("left", true, 1)
		for range 10 {
			time.Sleep(age * 9 / 10)
			if _, ok := c.Get("used"); !ok {
				t.Fatal("what is used is gone")
			}
		}
		if _, ok := c.Get("left"); ok {
			t.Error("what was left is there after nine ages")
		}
		time.Sleep(3 * age) // and no timer is left, or the bubble would not end
		if _, ok := c.Get("used"); ok {
			t.Error("what was used is there three ages later")
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c := recent.New[int, int](64, time.Hour)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 1000 {
				c.Put(i%100, i%100, 1)
				if v, ok := c.Get(i % 100); ok && v != i%100 {
					t.Errorf("Get(%d) = %d", i%100, v)
				}
			}
		})
	}
	group.Wait()
}
