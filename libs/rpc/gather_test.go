package rpc

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// flushes notes what each flush took along.
type flushes struct {
	*httptest.ResponseRecorder

	mu      sync.Mutex
	pending string
	left    chan string
}

func newFlushes() *flushes {
	return &flushes{ResponseRecorder: httptest.NewRecorder(), left: make(chan string, 100)}
}

func (f *flushes) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending += string(p)
	return len(p), nil
}

func (f *flushes) Flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left <- f.pending
	f.pending = ""
}

func TestMessagesThatFollowEachOtherLeaveTogether(t *testing.T) {
	t.Parallel()
	f := newFlushes()
	g := &gatherer{ResponseWriter: f}
	send := func(messages ...string) {
		g.mu.Lock() // no flush in between, however slow the machine
		for _, m := range messages {
			_, _ = f.Write([]byte(m))
		}
		g.mu.Unlock()
		for range messages {
			g.Flush()
		}
	}
	next := func() string {
		select {
		case s := <-f.left:
			return s
		case <-time.After(time.Minute):
			t.Fatal("nothing is flushed")
			return ""
		}
	}
	send("a")
	send("b", "c", "d")
	got := []string{next(), next()}
	send("e")
	got = append(got, next())
	if diff := cmp.Diff([]string{"a", "bcd", "e"}, got); diff != "" {
		t.Errorf("flushes (-want +got):\n%s", diff)
	}
	send("f")
	g.end()
	if again := g.waiting && g.timer.Stop(); again {
		t.Error("a flush is still to come after the handler's end")
	}
}

func TestGathererIsAWriterWithDeadlines(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g := &gatherer{ResponseWriter: w}
		defer g.end()
		if err := http.NewResponseController(g).SetReadDeadline(time.Time{}); err != nil {
			t.Errorf("SetReadDeadline: %v", err)
		}
		g.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("status %d", resp.StatusCode)
	}
}
