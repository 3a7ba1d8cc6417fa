package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/retain"
	"github.com/ragmesh/ragmesh/services/dialog/internal/store"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Which turns are left of a conversation follows from what each took the place of.
func TestConversations(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.New(t), t.TempDir())
	cases := 0
	for name, c := range map[string]struct {
		turns   []string // n, or n>what it took the place of; in the order they are saved
		at      string   // as it was when this one was asked
		want    string
		missing bool
	}{
		"none replaced":              {turns: []string{"1", "2", "3"}, want: "1 2 3"},
		"the last":                   {turns: []string{"1", "2", "3>2"}, want: "1 3"},
		"the last again":             {turns: []string{"1", "2", "3>2", "4>3", "5"}, want: "1 4 5"},
		"the first":                  {turns: []string{"1", "2", "3>1", "4"}, want: "3 4"},
		"the first twice":            {turns: []string{"1", "2>1", "3>2"}, want: "3"},
		"the first twice, by itself": {turns: []string{"1", "2>1", "3>1"}, want: "3"},
		"in the middle":              {turns: []string{"1", "2", "3", "4>2"}, want: "1 4"},
		"a branch is left":           {turns: []string{"1", "2", "3", "4>1", "5>2"}, want: "1 5"},
		"a branch of a branch":       {turns: []string{"1", "2", "3>2", "4", "5>4", "6>2", "7"}, want: "1 6 7"},
		"saved in another order":     {turns: []string{"3", "1", "4>2", "2"}, want: "1 4"},
		"what is not there":          {turns: []string{"2", "3>1"}, want: "3"},
		"before the last":            {turns: []string{"1", "2", "3"}, at: "3", want: "1 2"},
		"before the first":           {turns: []string{"1", "2", "3"}, at: "1", want: ""},
		"before one that replaces":   {turns: []string{"1", "2", "3>2"}, at: "3", want: "1"},
		"before one that is gone":    {turns: []string{"1", "2", "3", "4>1", "5"}, at: "3", want: "1 2"},
		"before none":                {turns: []string{"1", "2"}, at: "9", missing: true},
	} {
		cases++ // ids of turns are never used twice
		prefix := fmt.Sprintf("01JD%021d", cases)
		id := func(n string) string {
			if n == "" {
				return ""
			}
			return prefix + n
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session := strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					return r
				}
				return '-'
			}, name)
			for _, tu := range c.turns {
				n, replaces, _ := strings.Cut(tu, ">")
				one := sample(session, id(n), "question "+n)
				one.Replaces = id(replaces)
				save(t, s, one)
			}
			for _, page := range []int{9, 2, 1} { // whatever is read at once
				past, err := s.History(t.Context(), "w", session, id(c.at), page)
				if err != nil || past.Found == c.missing || !past.Known || past.User != "u" {
					t.Fatalf("%+v %v", past, err)
				}
				var want []string
				for _, n := range strings.Fields(c.want) {
					want = append(want, id(n))
				}
				want = want[max(0, len(want)-page):]
				if diff := cmp.Diff(want, ids(past.Turns)); diff != "" {
					t.Errorf("the newest %d (-want +got):\n%s", page, diff)
				}
			}
			if c.at != "" {
				return
			}
			view, err := s.Session(t.Context(), mine(), "w", session)
			want := strings.Fields(c.want)
			if err != nil || int(view.Turns) != len(want) || int(view.All) != len(c.turns) || view.Title != "question "+want[0] {
				t.Errorf("the view of it: %+v %v", view, err)
			}
			conversation, err := s.Open(t.Context(), mine(), "w", session, false)
			if err != nil || conversation.Len() != len(want) {
				t.Fatalf("%d turns, %v", conversation.Len(), err)
			}
			if all, err := s.Open(t.Context(), mine(), "w", session, true); err != nil || all.Len() != len(c.turns) {
				t.Errorf("all of them: %d, %v", all.Len(), err)
			}
		})
	}
}

// While NATS is away nobody can tell whose session it is. A turn that was asked in somebody else's then is not kept there.
func TestATurnInSomebodyElsesSessionIsNotKept(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	s := open(t, b, t.TempDir())
	save(t, s, sample("s", id1, "hers"))
	his := sample("s", id2, "his")
	his.User = "v"
	save(t, s, his)
	past, err := s.History(t.Context(), "w", "s", "", 5)
	if err != nil || len(past.Turns) != 1 || past.User != "u" {
		t.Errorf("%+v %v", past, err)
	}
	if n, err := b.Count(t.Context(), bus.Turns, bus.TurnSubject("w", "s", "*")); err != nil || n != 1 {
		t.Errorf("%d turns are kept, %v", n, err)
	}
}

// Several replicas delete what is due: each session once, and none that was asked in since.
func TestExpiry(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	s := open(t, b, t.TempDir())
	ctx := t.Context()
	for i := range 20 {
		tu := sample(fmt.Sprintf("s%02d", i), fmt.Sprintf("01JD%022d", i), "q")
		tu.CompletedAt = clock().Add(time.Duration(i) * time.Hour)
		save(t, s, tu)
	}
	due := clock().Add(10 * time.Hour)
	var announced atomic.Int32
	replica := func() *store.Expiry {
		return open(t, b, t.TempDir()).Expiry(func(context.Context, string, string) error {
			announced.Add(1)
			return nil
		})
	}
	some, err := replica().Quiet(ctx, "w", due, 4)
	if err != nil || len(some) != 4 || some[0] != (retain.Session{Workspace: "w", ID: "s00"}) {
		t.Errorf("the oldest four: %v %v", some, err)
	}
	var group sync.WaitGroup
	var done atomic.Int32
	for range 3 {
		x := replica()
		group.Go(func() {
			list, err := x.Quiet(ctx, "w", due, 100)
			if err != nil {
				t.Error(err)
			}
			for _, e := range list {
				deleted, err := x.Expire(ctx, e, due)
				if err != nil {
					t.Error(err)
				}
				if deleted {
					done.Add(1)
				}
			}
		})
	}
	group.Wait()
	left, _, err := s.Sessions(ctx, mine(), "w", store.Mark{}, 100)
	if err != nil || len(left) != 10 || done.Load() != 10 || announced.Load() != 10 {
		t.Errorf("%d are left, %d were deleted and %d announced: %v", len(left), done.Load(), announced.Load(), err)
	}
	if again, err := replica().Expire(ctx, retain.Session{Workspace: "w", ID: "s15"}, due); err != nil || again {
		t.Errorf("one that was asked in since: %t %v", again, err)
	}
}

// Turns of one session that two replicas save at once are counted once each, whatever they take the place of.
func TestSavedAtOnce(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	stores := []*store.Store{open(t, b, t.TempDir()), open(t, b, t.TempDir())}
	var group sync.WaitGroup
	for i := range 16 {
		tu := sample("s", fmt.Sprintf("01JD%022d", i), fmt.Sprint("question ", i))
		if i%5 == 4 {
			tu.Replaces = fmt.Sprintf("01JD%022d", i-1)
		}
		group.Go(func() {
			if _, err := stores[i%2].Save(t.Context(), tu); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var drains sync.WaitGroup
	for _, s := range stores { // whose views could not be written in time
		drains.Go(func() { _ = s.Drain(ctx, func() {}) })
	}
	end := time.Now().Add(time.Minute)
	for {
		e, err := stores[0].Session(t.Context(), mine(), "w", "s")
		if err == nil && e.Turns == 13 && e.All == 16 && e.Title == "question 0" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v %v", e, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	drains.Wait()
	past, err := stores[1].History(t.Context(), "w", "s", "", 100)
	if err != nil || len(past.Turns) != 13 || !slices.IsSorted(ids(past.Turns)) {
		t.Errorf("%v %v", ids(past.Turns), err)
	}
}

// A conversation is read while one of its turns waits in the spool: that one is counted once, when the stream has it.
func TestATurnThatWaitsIsCountedOnce(t *testing.T) {
	t.Parallel()
	away, err := bus.Connect(t.Context(), bus.Options{URL: "nats://" + bustest.FreeAddr(t), Name: "dialog", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(away.Close)
	dir := t.TempDir()
	if stored, err := open(t, away, dir).Save(t.Context(), sample("s", id3, "three")); err != nil || stored != turn.StoredSpooled {
		t.Fatalf("while NATS is away: %v %v", stored, err)
	}

	s := open(t, bustest.New(t), dir)
	second := sample("s", id2, "two")
	second.Replaces = id1
	save(t, s, sample("s", id1, "one"), second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var drain sync.WaitGroup
	drain.Go(func() { _ = s.Drain(ctx, func() {}) })
	var e store.Session
	for end := time.Now().Add(time.Minute); e.All != 3; time.Sleep(10 * time.Millisecond) {
		if e, err = s.Session(t.Context(), mine(), "w", "s"); err != nil || time.Now().After(end) {
			t.Fatalf("%+v %v", e, err)
		}
	}
	cancel()
	drain.Wait()
	if e.Turns != 2 || e.LastTurn != id3 {
		t.Errorf("%+v", e)
	}
}

// What earlier builds wrote is read: a title in the view, and one count.
func TestViewsOfEarlierBuilds(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	s, err := store.Open(t.Context(), store.Deps{Bus: b, Codec: record.Codec{}, Dir: t.TempDir(), Now: clock, TurnFor: time.Minute, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, sample("s", id1, "one"))
	kv, err := b.KV(t.Context(), bus.Sessions)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "w.s", []byte(`{"title":"Mine","user":"u","created_at":"2026-11-20T12:00:00Z","updated_at":"2026-11-20T12:00:00Z","turns":1,"last_turn":"`+id1+`"}`)); err != nil {
		t.Fatal(err)
	}
	save(t, s, sample("s", id2, "two"))
	if e, err := s.Session(t.Context(), mine(), "w", "s"); err != nil || e.Title != "Mine" || e.Turns != 2 || e.All != 2 {
		t.Errorf("%+v %v", e, err)
	}
}
