package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
)

// shelf is a store in memory.
type shelf struct {
	mu   sync.Mutex
	kept map[string][]byte
	away bool
	slow time.Duration // for who gets
	long time.Duration // for who puts
}

func (s *shelf) Get(ctx context.Context, workspace, key string) ([]byte, error) {
	select {
	case <-time.After(s.slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errors.New("away")
	}
	return s.kept[workspace+"/"+key], nil
}

func (s *shelf) Put(_ context.Context, workspace, key string, value []byte) error {
	time.Sleep(s.long)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("away")
	}
	s.kept[workspace+"/"+key] = value
	return nil
}

func (s *shelf) Forget(_ context.Context, workspace string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.kept {
		if strings.HasPrefix(key, workspace+"/") {
			delete(s.kept, key)
		}
	}
	return nil
}

// counter counts what a cache says.
type counter struct {
	mu   sync.Mutex
	said map[string]int
}

func (c *counter) CacheAsked(result string) { c.add(result) }
func (c *counter) CacheFailed(op string)    { c.add(op + " failed") }

func (c *counter) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said[what]++
}

type fixture struct {
	*cache.Cache
	shelf *shelf
	said  map[string]int
}

func made() *fixture {
	s, c := &shelf{kept: map[string][]byte{}}, &counter{said: map[string]int{}}
	return &fixture{cache.New(cache.Options{Age: time.Hour, Bytes: 1000}, cache.Deps{Store: s, Meter: c, Clock: time.Now}), s, c.said}
}

var call = cache.Call{Workspace: "w", Key: cache.NewKey([]byte("q")), Mode: cache.On}

// Who wants what is kept, or nothing, has nothing made: not even where it is being made for others.
func TestOnlyWhatIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, only := made(), call
		only.Mode = cache.Only
		calls, none := 0, 0
		miss := func(when string) {
			t.Helper()
			if g := f.do(t.Context(), only, says(&none, "no")); fault.ReasonOf(g.err) != fault.NotCached || len(g.pieces) != 0 {
				t.Errorf("%s: %+v", when, g)
			}
		}
		miss("before")
		ended := make(chan got)
		go func() { ended <- f.do(t.Context(), call, says(&calls, "a", "b")) }()
		time.Sleep(1500 * time.Millisecond) // the first word is there
		miss("meanwhile")
		<-ended
		synctest.Wait()
		if g := f.do(t.Context(), only, says(&none, "no")); g.err != nil || g.from != cache.Kept || strings.Join(g.pieces, "") != "ab" {
			t.Errorf("kept: %+v", g)
		}
		time.Sleep(time.Hour)
		miss("when it is too old")
		f.shelf.away = true
		miss("when the store is away")
		if diff := cmp.Diff(map[string]int{"miss": 5, "hit": 1, "get failed": 1}, f.said); diff != "" || calls != 1 || none != 0 {
			t.Errorf("made %d and %d times; said (-want +got):\n%s", calls, none, diff)
		}
	})
}

// got is what a call got.
type got struct {
	pieces []string
	end    string
	from   cache.Origin
	err    error
}

func (g *got) take(_ cache.Origin, p []byte) error {
	g.pieces = append(g.pieces, string(p))
	return nil
}

func (f *fixture) do(ctx context.Context, c cache.Call, work cache.Work) got {
	var g got
	var end []byte
	end, g.from, g.err = f.Do(ctx, c, work, g.take)
	g.end = string(end)
	return g
}

// says is work that says words, a second between them.
func says(calls *int, words ...string) cache.Work {
	return func(ctx context.Context, out func([]byte) error) ([]byte, bool, error) {
		*calls++
		for _, w := range words {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
			if err := out([]byte(w)); err != nil {
				return nil, false, err
			}
		}
		return []byte("end"), true, nil
	}
}

func want(t *testing.T, what string, g got, from cache.Origin, pieces ...string) {
	t.Helper()
	if diff := cmp.Diff(pieces, g.pieces); diff != "" || g.from != from || g.err != nil || g.end != "end" {
		t.Errorf("%s: from %d, end %q, %v; pieces (-want +got):\n%s", what, g.from, g.end, g.err, diff)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, calls := made(), 0
		ask := func(m cache.Mode, words ...string) got {
			c := call
			c.Mode = m
			g := f.do(t.Context(), c, says(&calls, words...))
			synctest.Wait() // it is kept
			return g
		}
		want(t, "off", ask(cache.Off, "a"), cache.Made, "a")
		want(t, "default", ask(cache.Default, "b"), cache.Made, "b")
		want(t, "read-only, nothing there", ask(cache.ReadOnly, "c"), cache.Made, "c")
		want(t, "on, nothing there", ask(cache.On, "d", "e"), cache.Made, "d", "e")
		want(t, "on", ask(cache.On, "f"), cache.Kept, "d", "e")
		want(t, "read-only", ask(cache.ReadOnly, "g"), cache.Kept, "d", "e")
		want(t, "refresh", ask(cache.Refresh, "h"), cache.Made, "h")
		want(t, "after the refresh", ask(cache.On, "i"), cache.Kept, "h")
		time.Sleep(2 * time.Hour)
		want(t, "too old", ask(cache.On, "j"), cache.Made, "j")
		if err := f.Forget(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		want(t, "forgotten", ask(cache.On, "k"), cache.Made, "k")
		other := call
		other.Workspace = "other"
		want(t, "another workspace", f.do(t.Context(), other, says(&calls, "l")), cache.Made, "l")
		synctest.Wait()
		if diff := cmp.Diff(map[string]int{"hit": 3, "miss": 5, "refresh": 1}, f.said); diff != "" || calls != 8 {
			t.Errorf("%d calls; counted (-want +got):\n%s", calls, diff)
		}
	})
}

// Those who ask the same while the answer is made get it as it comes, and it is made once.
func TestSharedWhileItIsMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, calls := made(), 0
		results := make([]got, 5)
		var firsts []time.Duration
		var mu sync.Mutex
		began := time.Now()
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 400 * time.Millisecond)
				var g got
				var end []byte
				end, g.from, g.err = f.Do(t.Context(), call, says(&calls, "a", "b", "c"), func(from cache.Origin, p []byte) error {
					mu.Lock()
					defer mu.Unlock()
					if len(g.pieces) == 0 {
						firsts = append(firsts, time.Since(began))
					}
					return g.take(from, p)
				})
				g.end = string(end)
				results[i] = g
			})
		}
		all.Wait()
		for i, g := range results {
			from := cache.Shared
			if i == 0 {
				from = cache.Made
			}
			want(t, "call", g, from, "a", "b", "c")
		}
		if firsts[0] != time.Second || firsts[4] > 1600*time.Millisecond || calls != 1 {
			t.Errorf("made %d times, first pieces after %v", calls, firsts)
		}
	})
}

// When who asked first goes away, the answer goes on for the others; when all have, it ends.
func TestLeaderGoesAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, calls := made(), 0
		leader, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if g := f.do(leader, call, says(&calls, "a", "b", "c")); !errors.Is(g.err, context.Canceled) {
				t.Errorf("the leader got %+v", g)
			}
		})
		all.Go(func() {
			time.Sleep(500 * time.Millisecond)
			want(t, "the follower", f.do(t.Context(), call, says(&calls, "never")), cache.Shared, "a", "b", "c")
		})
		time.AfterFunc(1500*time.Millisecond, leave)
		all.Wait()

		ended := make(chan error, 1)
		alone, gone := context.WithCancel(t.Context())
		other := call
		other.Key = cache.NewKey([]byte("other"))
		time.AfterFunc(time.Second, gone)
		g := f.do(alone, other, func(ctx context.Context, _ func([]byte) error) ([]byte, bool, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, true, ctx.Err()
		})
		if !errors.Is(g.err, context.Canceled) || !errors.Is(<-ended, context.Canceled) || calls != 1 {
			t.Errorf("alone: %+v, %d calls", g, calls)
		}
	})
}

// A follower whose leader had too little time asks itself, as long as it has shown nothing.
func TestFollowerTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, calls := made(), 0
		var all sync.WaitGroup
		for _, limit := range []time.Duration{500 * time.Millisecond, time.Minute} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				if limit > time.Second {
					time.Sleep(100 * time.Millisecond)
				}
				g := f.do(ctx, call, says(&calls, "a"))
				if limit > time.Second {
					want(t, "the follower", g, cache.Made, "a")
				} else if !errors.Is(g.err, context.DeadlineExceeded) {
					t.Errorf("the leader got %+v", g)
				}
			})
		}
		all.Wait()
		if calls != 2 {
			t.Errorf("made %d times", calls)
		}
	})
}

// Failures, answers that are not to be kept and those that are too large are not there later. A failure is everybody's who waits.
func TestNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, calls := made(), 0
		failing := func(ctx context.Context, out func([]byte) error) ([]byte, bool, error) {
			_, _, _ = says(&calls, "a")(ctx, out)
			return nil, true, fault.New(fault.Unavailable, fault.ProviderStreamCut, "cut")
		}
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if g := f.do(t.Context(), call, failing); fault.ReasonOf(g.err) != fault.ProviderStreamCut || len(g.pieces) != 1 {
					t.Errorf("%+v", g)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		panics := f.do(t.Context(), call, func(context.Context, func([]byte) error) ([]byte, bool, error) { panic("no") })
		if fault.KindOf(panics.err) != fault.Internal {
			t.Errorf("%+v", panics)
		}
		for name, work := range map[string]cache.Work{
			"not to be kept": func(context.Context, func([]byte) error) ([]byte, bool, error) { return []byte("end"), false, nil },
			"too large": func(_ context.Context, out func([]byte) error) ([]byte, bool, error) {
				return []byte("end"), true, out(make([]byte, 2000))
			},
		} {
			synctest.Wait()
			if g := f.do(t.Context(), call, work); g.err != nil || g.from != cache.Made {
				t.Errorf("%s: %+v", name, g)
			}
		}
		synctest.Wait()
		if len(f.shelf.kept) > 0 || calls != 1 {
			t.Errorf("kept %v, %d calls", f.shelf.kept, calls)
		}
	})
}

// A store that is away or slow costs little time and no answer.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, calls := made(), 0
		f.shelf.away = true
		want(t, "away", f.do(t.Context(), call, says(&calls, "a")), cache.Made, "a")
		synctest.Wait()
		f.shelf.away, f.shelf.slow = false, time.Hour
		began := time.Now()
		want(t, "slow", f.do(t.Context(), call, says(&calls, "b")), cache.Made, "b")
		if took := time.Since(began); took != 1300*time.Millisecond {
			t.Errorf("took %s", took)
		}
		synctest.Wait()
		if diff := cmp.Diff(map[string]int{"get failed": 2, "put failed": 1, "miss": 2}, f.said); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

func TestKeysTellPartsApart(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for _, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {}} {
		var b [][]byte
		for _, p := range parts {
			b = append(b, []byte(p))
		}
		keys[cache.NewKey(b...)] = true
	}
	if len(keys) != 5 {
		t.Errorf("%d keys of 5", len(keys))
	}
}

// Whatever stands in the store, it is an answer or nothing.
func FuzzKept(f *testing.F) {
	f.Add([]byte{1, 2, 3, 'e', 'n', 'd', 1, 'a'})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := made()
		c.shelf.kept["w/"+call.Key] = data
		g := c.do(t.Context(), call, func(context.Context, func([]byte) error) ([]byte, bool, error) { return nil, false, nil })
		if g.err != nil {
			t.Error(g.err)
		}
	})
}

// A workspace that is deleted leaves nothing, not even answers that are made or put into the store just then; and who asks
// afterwards gets none of them.
func TestForgetsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, calls := made(), 0
		empty := func(when string) {
			t.Helper()
			synctest.Wait()
			f.shelf.mu.Lock()
			defer f.shelf.mu.Unlock()
			if len(f.shelf.kept) > 0 {
				t.Errorf("%s there is still an answer", when)
			}
		}
		forget := func() {
			t.Helper()
			if err := f.Forget(t.Context(), call.Workspace); err != nil {
				t.Error(err)
			}
		}
		ended := make(chan got)
		go func() { ended <- f.do(t.Context(), call, says(&calls, "a", "b")) }()
		time.Sleep(1500 * time.Millisecond) // the first word is there
		forget()
		read := call
		read.Mode = cache.ReadOnly
		want(t, "who asks afterwards", f.do(t.Context(), read, says(&calls, "c")), cache.Made, "c")
		want(t, "who asked before", <-ended, cache.Made, "a", "b")
		empty("of what was being made")

		f.shelf.long = time.Second
		want(t, "the next", f.do(t.Context(), call, says(&calls, "d")), cache.Made, "d")
		forget()
		empty("of what was being kept")
		gone, leave := context.WithCancel(t.Context())
		want(t, "the last", f.do(t.Context(), call, says(&calls, "e")), cache.Made, "e")
		leave()
		if err := f.Forget(gone, call.Workspace); !errors.Is(err, context.Canceled) || calls != 4 {
			t.Errorf("somebody who went away: %v; made %d times", err, calls)
		}
		time.Sleep(2 * time.Second) // the flight ends
	})
}
