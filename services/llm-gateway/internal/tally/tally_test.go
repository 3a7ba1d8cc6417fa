package tally_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/tally"
)

// wire is a bus in memory.
type wire struct {
	mu       sync.Mutex
	away     bool
	messages int
	heard    []func(string, []byte)
	listens  chan struct{} // a signal for each that does; nil for none
}

func (w *wire) PublishLossy(_ context.Context, subject string, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages++
	for _, heard := range w.heard {
		heard(subject, payload)
	}
	return nil
}

func (w *wire) Overhear(ctx context.Context, _ string, heard func(string, []byte)) error {
	w.mu.Lock()
	w.heard = append(w.heard, heard)
	w.mu.Unlock()
	if w.listens != nil {
		w.listens <- struct{}{}
	}
	<-ctx.Done()
	return nil
}

func (w *wire) Healthy() (bool, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.away, ""
}

// book is taken from and told.
type book struct {
	mu          sync.Mutex
	taken, told []account.Taken
}

func (b *book) take(t ...account.Taken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = append(b.taken, t...)
}

func (b *book) Taken() []account.Taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.taken
	b.taken = nil
	return taken
}

func (b *book) Others(taken []account.Taken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, taken...)
}

func TestOthersHear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, a, b := &wire{}, &book{}, &book{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for node, book := range map[string]*book{"a": a, "b": b} {
			go func() { ended <- tally.Run(ctx, tally.Deps{Book: book, Bus: w, Node: node, Log: zerolog.Nop()}) }()
		}
		who := account.Who{Workspace: "w", Key: "k"}
		a.take(account.Taken{Who: who, Requests: 3, Tokens: 700}, account.Taken{Who: account.Who{Workspace: "w"}, Tokens: -5})
		time.Sleep(time.Second)
		synctest.Wait()
		want := []account.Taken{{Who: who, Requests: 3, Tokens: 700}, {Who: account.Who{Workspace: "w"}, Tokens: -5}}
		if diff := cmp.Diff(want, b.told); diff != "" || len(a.told) != 0 || w.messages != 1 {
			t.Errorf("%d messages; a was told %v, b (-want +got):\n%s", w.messages, a.told, diff)
		}

		many := make([]account.Taken, 2500)
		for i := range many {
			many[i] = account.Taken{Who: who, Requests: 1}
		}
		b.take(many...)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(a.told) != len(many) || w.messages != 4 {
			t.Errorf("%d rows in %d messages", len(a.told), w.messages-1)
		}

		w.mu.Lock()
		w.away = true
		w.mu.Unlock()
		a.take(account.Taken{Who: who, Requests: 9})
		time.Sleep(time.Second)
		w.mu.Lock()
		w.away = false
		w.heard[0]("ragmesh.limit.v1.x", []byte{0xff})
		w.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(b.told) != 2 || w.messages != 4 {
			t.Errorf("what was taken while the bus was away is told later: %v", b.told[2:])
		}
		stop()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// deaf is a bus on which nothing can be heard.
type deaf struct{ wire }

func (*deaf) Overhear(context.Context, string, func(string, []byte)) error {
	return errors.New("closed")
}

func TestWhoHearsNothingSaysSo(t *testing.T) {
	t.Parallel()
	if err := tally.Run(t.Context(), tally.Deps{Book: &book{}, Bus: &deaf{}, Node: "a", Log: zerolog.Nop()}); err == nil {
		t.Error("Run = nil")
	}
}

// What comes from elsewhere may be anything.
func FuzzHear(f *testing.F) {
	f.Add([]byte{0xa, 1, 'b', 0x12, 6, 0xa, 1, 'w', 0x18, 1, 0x20})
	f.Fuzz(func(t *testing.T, payload []byte) {
		w := &wire{listens: make(chan struct{}, 1)}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- tally.Run(ctx, tally.Deps{Book: &book{}, Bus: w, Node: "a", Log: zerolog.Nop()}) }()
		<-w.listens
		_ = w.PublishLossy(ctx, "ragmesh.limit.v1.x", payload)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
