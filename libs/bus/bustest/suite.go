package bustest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/bus"
)

// Run runs the suite. open returns a bus whose streams and buckets are its own; it is called once for each test.
func Run(t *testing.T, open func(tb testing.TB) *bus.Bus) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *bus.Bus){
		"topology is idempotent":                  topologyTwice,
		"publish drops a repeated id":             publishDeduplicates,
		"a turn is written once":                  turnOnce,
		"a message above the limit is refused":    tooLarge,
		"last of a subject":                       last,
		"last n of a session":                     lastN,
		"tail and count":                          tail,
		"purge counts":                            purge,
		"consume acknowledges":                    consumeAcks,
		"a forgotten consumer begins anew":        consumerForgotten,
		"consume repeats what failed":             consumeRepeats,
		"consume repeats what panicked":           consumePanics,
		"consume gives up what is terminated":     consumeTerminates,
		"consume gives up after the last attempt": consumeGivesUp,
		"consume bounds what is in flight":        consumeBounds,
		"consume drains":                          consumeDrains,
		"consume carries the trace":               consumeTrace,
		"keys and values":                         keyValue,
		"watch shows what is there and changes":   watch,
		"follow shows what is there and comes":    follow,
		"objects":                                 objects,
		"spans may be lost but usually are not":   spans,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func follow(t *testing.T, b *bus.Bus) {
	ctx, cancel := context.WithCancel(bound(t))
	publish := func(day, text string) {
		t.Helper()
		ok(t, b.Publish(ctx, bus.UsageSubject("w", "n", day, "0"), "", []byte(text)))
	}
	seen := make(chan string, 16)
	done := make(chan error, 1)
	begin := func() {
		go func() {
			done <- b.Follow(ctx, bus.Usage, func(m bus.Message) {
				if m.Sequence == 0 {
					seen <- "that is all"
					return
				}
				seen <- string(m.Data)
			})
		}()
	}
	next := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("followed %q, want %q", got, want)
			}
		case <-bound(t).Done():
			t.Fatalf("%q does not come", want)
		}
	}
	publish("1", "old")
	publish("2", "two")
	publish("1", "new") // takes the place of the first
	begin()
	for _, want := range []string{"two", "new", "that is all"} {
		next(want)
	}
	publish("3", "three")
	next("three")
	three, err := b.Last(ctx, bus.Usage, bus.UsageSubject("w", "n", "3", "0"))
	ok(t, err)
	ok(t, b.Swap(ctx, three.Subject, three.Sequence, []byte("swapped")))
	next("swapped")
	if err := b.Swap(ctx, three.Subject, three.Sequence, []byte("late")); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("swapping what has changed: %v", err)
	}
	cancel()
	ok(t, <-done)
}

func topologyTwice(t *testing.T, b *bus.Bus) {
	ok(t, b.EnsureTopology(bound(t)))
	if healthy, detail := b.Healthy(); !healthy {
		t.Errorf("not healthy: %s", detail)
	}
}

func publishDeduplicates(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	subject := bus.EventSubject("feedback", "w")
	for range 2 {
		ok(t, b.Publish(ctx, subject, "same", []byte("x")))
	}
	n, err := b.Purge(ctx, bus.Events, subject)
	ok(t, err)
	same(t, "messages", n, uint64(1))
}

func turnOnce(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	subject := bus.TurnSubject("w", "s", "t")
	ok(t, b.Publish(ctx, subject, "first", []byte("first")))
	is(t, b.Publish(ctx, subject, "second", []byte("second")), bus.ErrExists)
	m, err := b.Last(ctx, bus.Turns, subject)
	ok(t, err)
	same(t, "turn", string(m.Data), "first")
}

func tooLarge(t *testing.T, b *bus.Bus) {
	is(t, b.Publish(bound(t), bus.TurnSubject("w", "s", "t"), "id", make([]byte, 1<<21)), bus.ErrTooLarge)
}

func last(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	_, err := b.Last(ctx, bus.Events, bus.EventSubject("audit", "w"))
	is(t, err, bus.ErrNotFound)
	for i := range 3 {
		ok(t, b.Publish(ctx, bus.EventSubject("audit", "w"), fmt.Sprint("id", i), fmt.Append(nil, i)))
	}
	m, err := b.Last(ctx, bus.Events, bus.EventSubject("audit", "w"))
	ok(t, err)
	same(t, "data", string(m.Data), "2")
	same(t, "id", m.ID, "id2")
	if m.Sequence == 0 || m.Time.IsZero() {
		t.Errorf("sequence %d, time %s", m.Sequence, m.Time)
	}
}

func lastN(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	session := func(s string) string { return bus.TurnSubject("w", s, "*") }
	for i := range 40 {
		for _, s := range []string{"one", "two"} {
			ok(t, b.Publish(ctx, bus.TurnSubject("w", s, fmt.Sprintf("%04d", i)), fmt.Sprint(s, i), fmt.Appendf(nil, "%s-%d", s, i)))
		}
	}
	read := func(filter string, n int, before uint64) ([]string, []bus.Message) {
		t.Helper()
		messages, err := b.LastN(ctx, bus.Turns, filter, n, before)
		ok(t, err)
		var out []string
		for _, m := range messages {
			out = append(out, string(m.Data))
		}
		return out, messages
	}
	none, _ := read(session("none"), 3, 0)
	same(t, "no messages", len(none), 0)
	newest, messages := read(session("one"), 3, 0)
	same(t, "newest", newest, []string{"one-37", "one-38", "one-39"})
	older, messages := read(session("one"), 3, messages[0].Sequence)
	same(t, "page before", older, []string{"one-34", "one-35", "one-36"})
	oldest, _ := read(session("one"), 30, messages[0].Sequence)
	same(t, "first page has", len(oldest), 30)
	same(t, "first page ends", oldest[29], "one-33")
	all, _ := read(session("two"), 100, 0)
	same(t, "all", len(all), 40)
	early, _ := read(session("one"), 2, 2)
	same(t, "before the second message of all", early, []string{"one-0"})
	if _, err := b.LastN(ctx, bus.Turns, session("one"), 0, 0); err == nil {
		t.Error("n = 0 is no error")
	}
}

func tail(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	if got, start, err := b.Tail(ctx, bus.Turns, 3, 0); err != nil || len(got) != 0 || start != 0 {
		t.Errorf("of an empty stream: %v from %d, %v", got, start, err)
	}
	for i := range 10 {
		ok(t, b.Publish(ctx, bus.TurnSubject("w", fmt.Sprint("s", i%2), fmt.Sprint(i)), fmt.Sprint(i), fmt.Append(nil, i)))
	}
	_, err := b.Purge(ctx, bus.Turns, bus.TurnSubject("w", "*", "5"))
	ok(t, err)
	n, err := b.Count(ctx, bus.Turns, bus.TurnSubject("w", "s1", "*"))
	ok(t, err)
	same(t, "count", n, uint64(4))
	none, err := b.Count(ctx, bus.Turns, bus.TurnSubject("w", "nobody", "*"))
	ok(t, err)
	same(t, "count of nothing", none, uint64(0))
	var pages [][]string
	var before uint64
	for first := true; first || before > 0; first = false {
		messages, start, err := b.Tail(ctx, bus.Turns, 4, before)
		ok(t, err)
		var page []string
		for _, m := range messages {
			page = append(page, string(m.Data))
		}
		pages, before = append(pages, page), start
	}
	same(t, "pages", pages, [][]string{{"6", "7", "8", "9"}, {"2", "3", "4"}, {"0", "1"}})
}

func purge(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	for i := range 3 {
		ok(t, b.Publish(ctx, bus.TurnSubject("w", "a", fmt.Sprint(i)), fmt.Sprint("a", i), []byte("x")))
		ok(t, b.Publish(ctx, bus.TurnSubject("w", "b", fmt.Sprint(i)), fmt.Sprint("b", i), []byte("x")))
	}
	n, err := b.Purge(ctx, bus.Turns, bus.TurnSubject("w", "a", "*"))
	ok(t, err)
	same(t, "purged", n, uint64(3))
	left, err := b.LastN(ctx, bus.Turns, bus.TurnSubject("w", "*", "*"), 10, 0)
	ok(t, err)
	same(t, "left", len(left), 3)
	if _, err := b.Purge(ctx, bus.Turns, ""); err == nil {
		t.Error("purging everything is not refused")
	}
}

func keyValue(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	kv, err := b.KV(ctx, bus.Sessions)
	ok(t, err)
	_, err = kv.Get(ctx, "w.s")
	is(t, err, bus.ErrNotFound)
	first, err := kv.Create(ctx, "w.s", []byte("one"))
	ok(t, err)
	_, err = kv.Create(ctx, "w.s", []byte("two"))
	is(t, err, bus.ErrExists)
	second, err := kv.Update(ctx, "w.s", []byte("two"), first)
	ok(t, err)
	_, err = kv.Update(ctx, "w.s", []byte("three"), first)
	is(t, err, bus.ErrConflict)
	e, err := kv.Get(ctx, "w.s")
	ok(t, err)
	same(t, "value", string(e.Value), "two")
	same(t, "revision", e.Revision, second)
	_, err = kv.Put(ctx, "other.s", []byte("x"))
	ok(t, err)
	keys, err := kv.Keys(ctx, "w.>")
	ok(t, err)
	same(t, "keys of a workspace", keys, []string{"w.s"})
	entries, err := kv.List(ctx, "")
	ok(t, err)
	same(t, "entries", len(entries), 2)
	same(t, "last written comes last", entries[1].Key, "other.s")
	ok(t, kv.Delete(ctx, "w.s"))
	ok(t, kv.Delete(ctx, "w.s"))
	_, err = kv.Get(ctx, "w.s")
	is(t, err, bus.ErrNotFound)
	keys, err = kv.Keys(ctx, "w.>")
	ok(t, err)
	same(t, "keys after delete", len(keys), 0)
	_, err = kv.Create(ctx, "w.s", []byte("again"))
	ok(t, err)
	if _, err := b.KV(ctx, "RAGMESH_NONE"); err == nil {
		t.Error("a bucket outside of the topology is no error")
	}
	if _, err := kv.Put(ctx, "not a key", nil); err == nil {
		t.Error("a key with spaces is no error")
	}
}

func watch(t *testing.T, b *bus.Bus) {
	ctx, cancel := context.WithCancel(bound(t))
	kv, err := b.KV(ctx, bus.Keys)
	ok(t, err)
	_, err = kv.Put(ctx, "a", []byte("1"))
	ok(t, err)
	type seen struct {
		Key, Value string
		Deleted    bool
	}
	got, ended := make(chan seen, 10), make(chan error, 1)
	go func() {
		ended <- kv.Watch(ctx, "", func(e bus.Entry) { got <- seen{e.Key, string(e.Value), e.Deleted} })
	}()
	same(t, "what is there", receive(t, got), seen{"a", "1", false})
	same(t, "mark", receive(t, got), seen{})
	_, err = kv.Put(ctx, "b", []byte("2"))
	ok(t, err)
	same(t, "change", receive(t, got), seen{"b", "2", false})
	ok(t, kv.Delete(ctx, "a"))
	same(t, "delete", receive(t, got), seen{"a", "", true})
	cancel()
	ok(t, receive(t, ended))
}

func objects(t *testing.T, b *bus.Bus) {
	ctx := bound(t)
	store, err := b.Objects(ctx, bus.Originals)
	ok(t, err)
	_, err = store.Get(ctx, "doc")
	is(t, err, bus.ErrNotFound)
	there, err := store.Exists(ctx, "doc")
	ok(t, err)
	same(t, "exists", there, false)
	want := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3 MiB: several chunks
	ok(t, store.Put(ctx, "doc", bytes.NewReader(want)))
	r, err := store.Get(ctx, "doc")
	ok(t, err)
	got, err := io.ReadAll(r)
	ok(t, err)
	ok(t, r.Close())
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
	broken := errors.New("disk gone")
	is(t, store.Put(ctx, "doc", io.MultiReader(bytes.NewReader([]byte("new")), failing{broken})), broken)
	r, err = store.Get(ctx, "doc")
	ok(t, err)
	got, err = io.ReadAll(r)
	ok(t, err)
	same(t, "size after a failed put", len(got), len(want))
	ok(t, store.Delete(ctx, "doc"))
	ok(t, store.Delete(ctx, "doc"))
	there, err = store.Exists(ctx, "doc")
	ok(t, err)
	same(t, "exists after delete", there, false)
	if _, err := b.Objects(ctx, "RAGMESH_NONE"); err == nil {
		t.Error("a store outside of the topology is no error")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func spans(t *testing.T, b *bus.Bus) {
	ok(t, b.Spans("dialog").PublishSpans(bound(t), []byte("otlp")))
	deadline := time.Now().Add(wait)
	for {
		m, err := b.Last(bound(t), bus.SpanStream, bus.SpanSubject("dialog"))
		if err == nil {
			same(t, "spans", string(m.Data), "otlp")
			return
		}
		is(t, err, bus.ErrNotFound)
		if time.Now().After(deadline) {
			t.Fatal("spans have not come")
		}
	}
}

// bound returns a context that ends when a step takes too long.
func bound(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(wait):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
