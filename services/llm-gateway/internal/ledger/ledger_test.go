package ledger_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string, now *time.Time) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(ledger.Options{Dir: dir, Clock: func() time.Time { return *now }, Log: zerolog.Nop(), Segment: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closed(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	if err := l.CloseFile(); err != nil {
		t.Fatal(err)
	}
}

var (
	alice  = ledger.Payer{Workspace: "team", Key: "user:alice"}
	target = ledger.Target{Route: "default", Provider: "openai", Model: "m"}
	most   = ledger.Most{Prompt: 100, Completion: 50, Cost: 1000}
	answer = ledger.Try{Target: target, Answered: true, Prompt: 10, CachedPrompt: 4, Completion: 5, Cost: 70}
	broken = ledger.Try{Target: target, Prompt: 10, Completion: 1, Cost: 30, Estimated: true, Unpriced: true}
)

func sum(l *ledger.Ledger, workspace string) map[string]ledger.Numbers {
	out := map[string]ledger.Numbers{}
	for _, e := range l.Usage(workspace, 0, ledger.DayOf(noon)+100) {
		name := strings.Join([]string{e.Day.String(), e.Key, e.Route, e.Provider, e.Model}, " ")
		n := out[name]
		n.Add(e.Numbers)
		out[name] = n
	}
	return out
}

// What was written down is there after the process has ended in whatever way, and what had no end counts as unsettled, once.
func TestLedgerOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), noon
	l := open(t, dir, &now)
	answered, failed, left, none := l.Begin(alice, "default", most), l.Begin(alice, "default", most), l.Begin(alice, "default", most), l.Begin(alice, "default", most)
	l.Tried(answered, broken)
	l.Tried(answered, answer)
	l.End(answered)
	l.Tried(failed, broken)
	l.End(failed)
	l.End(none) // no provider was asked in the end
	l.Tried(left, broken)
	l.Cached(alice, "default")
	want := map[string]ledger.Numbers{
		"2026-11-21 user:alice default openai m": {Requests: 1, Failed: 3, Prompt: 40, CachedPrompt: 4, Completion: 8, Cost: 160, Unpriced: 3, Estimated: 3},
		"2026-11-21 user:alice default  ":        {Requests: 1, Cached: 1},
	}
	if diff := cmp.Diff(want, sum(l, "team")); diff != "" {
		t.Fatalf("before (-want +got):\n%s", diff)
	}
	want["2026-11-21 user:alice default  "] = ledger.Numbers{
		Requests: 1, Cached: 1, Unsettled: 1, Prompt: 100, Completion: 50, Cost: 1000, UnsettledCost: 1000, Estimated: 1,
	}
	for range 3 { // it is settled once
		node := l.Node()
		l = open(t, dir, &now) // the one before was killed: nothing was closed
		if diff := cmp.Diff(want, sum(l, "team")); diff != "" || l.Node() != node || l.Open() != 0 {
			t.Fatalf("node %s, was %s; after (-want +got):\n%s", l.Node(), node, diff)
		}
		if got := l.Spent(alice, ledger.DayOf(now)); got.Day != 1160 || got.Month != 1160 {
			t.Errorf("spent %+v", got)
		}
	}
	closed(t, l)
}

// A journal grows by as much as there is to remember, not by what was asked.
func TestJournalStaysSmall(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), noon
	l := open(t, dir, &now)
	for range 5000 {
		id := l.Begin(alice, "default", most)
		l.Tried(id, answer)
		l.End(id)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "journal-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Size() > 17<<10 {
		t.Errorf("%v bytes, %v", info.Size(), err)
	}
	l = open(t, dir, &now)
	if got := sum(l, "team")["2026-11-21 user:alice default openai m"]; got.Requests != 5000 || got.Cost != 5000*70 {
		t.Errorf("%+v", got)
	}
	closed(t, l)
}

// Whatever the end of the journal looks like after a power cut, what stands before it counts; and a segment that was not finished
// leaves the one before it in charge.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	now := noon
	whole := func(t *testing.T) (dir, file string, data []byte) {
		t.Helper()
		dir = t.TempDir()
		l := open(t, dir, &now)
		for range 3 {
			l.Tried(l.Begin(alice, "default", most), answer)
		}
		closed(t, l)
		files, _ := filepath.Glob(filepath.Join(dir, "journal-*"))
		data, err := os.ReadFile(files[len(files)-1])
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		return dir, files[0], data
	}
	_, _, data := whole(t)
	for cut := len(data) - 1; cut >= 0; cut -= 7 {
		dir, file, data := whole(t)
		if err := os.WriteFile(file, append(data[:cut:cut], make([]byte, 50)...), 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir, &now)
		got := sum(l, "team")["2026-11-21 user:alice default openai m"].Requests
		if got > 2 || cut > len(data)-10 && got != 2 {
			t.Errorf("cut at %d of %d: %d requests", cut, len(data), got)
		}
		l.Tried(l.Begin(alice, "default", most), answer)
		closed(t, l)
		if again := sum(open(t, dir, &now), "team")["2026-11-21 user:alice default openai m"].Requests; again != got+1 {
			t.Errorf("cut at %d: %d requests after %d and one more", cut, again, got)
		}
	}
	dir, file, data := whole(t)
	next := strings.TrimSuffix(file, "1") + "2"
	if err := os.WriteFile(next, data[:15], 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, &now)
	if got := sum(l, "team")["2026-11-21 user:alice default openai m"].Requests; got != 3 {
		t.Errorf("beside a segment that was not finished: %d requests", got)
	}
	closed(t, l)
	// One whose journal can't be read at all takes another name, so that it takes nothing back that others have from it.
	if err := os.WriteFile(file, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "journal-*"))
	for _, f := range files {
		_ = os.WriteFile(f, []byte("?"), 0o600)
	}
	if again := open(t, dir, &now); again.Node() == l.Node() {
		t.Error("the name outlives the journal")
	}
}

// What others said counts once however often they say it, and what this process said before it lost it.
func TestPagesOfOthers(t *testing.T) {
	t.Parallel()
	now := noon
	l := open(t, t.TempDir(), &now)
	defer closed(t, l)
	day := ledger.DayOf(now)
	page := func(node string, life uint64, day ledger.Day, cost uint64) ledger.Page {
		return ledger.Page{Workspace: "team", Node: node, Day: day, Life: life, Rows: []ledger.Row{
			{Key: "user:alice", Target: target, Numbers: ledger.Numbers{Requests: 1, Cost: cost}}, {Key: "user:bob", Target: target, Numbers: ledger.Numbers{Cost: 1}},
		}}
	}
	l.Tried(l.Begin(alice, "default", most), answer)
	for range 2 {
		l.Fold(page("other", 0, day, 100))
		l.Fold(page("other", 0, day, 200))
		l.Fold(page("other", 0, day-20, 400))  // this month
		l.Fold(page("other", 0, day-21, 1000)) // the month before
		l.Fold(page(l.Node(), 0, day, 5000))   // what it knows better
		l.Fold(page(l.Node(), 0, day-1, 10))   // what it has forgotten
	}
	whole, own := l.Spent(ledger.Payer{Workspace: "team"}, day), l.Spent(alice, day)
	if diff := cmp.Diff([]ledger.Spent{{Day: 271, Month: 683}, {Day: 270, Month: 680}}, []ledger.Spent{whole, own}); diff != "" {
		t.Errorf("spent (-want +got):\n%s", diff)
	}
	if got := l.Usage("team", day-21, day-20); len(got) != 4 {
		t.Errorf("usage of two days: %+v", got)
	}
	if got := l.Usage("elsewhere", 0, day); len(got) != 0 {
		t.Errorf("usage of another workspace: %+v", got)
	}
}

// After its deletion a workspace's name begins anew with nothing; what was used stays as numbers without names, on the disk too.
func TestDeletedWorkspaceLeavesNumbers(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), noon
	l := open(t, dir, &now)
	day := ledger.DayOf(now)
	under := l.Begin(alice, "default", most) // is answered after the deletion
	l.Tried(l.Begin(alice, "default", most), answer)
	l.Tried(l.Begin(ledger.Payer{Workspace: "team", Key: "user:bob"}, "default", most), answer)
	l.Tried(l.Begin(ledger.Payer{Workspace: "kept", Key: "user:carol"}, "default", most), answer)
	l.Fold(ledger.Page{Workspace: "team", Node: "other", Day: day, Rows: []ledger.Row{{Key: "user:dan", Target: target, Numbers: ledger.Numbers{Requests: 1, Cost: 5}}}})
	l.Close("team", 7)
	l.Close("team", 3) // an older word changes nothing
	l.Tried(under, answer)
	check := func(l *ledger.Ledger) {
		t.Helper()
		if got := sum(l, "team"); len(got) != 0 {
			t.Errorf("the new workspace used %+v", got)
		}
		if got := l.Spent(ledger.Payer{Workspace: "team"}, day); got != (ledger.Spent{}) {
			t.Errorf("the new workspace spent %+v", got)
		}
		if got := sum(l, "kept"); len(got) != 1 {
			t.Errorf("another workspace used %+v", got)
		}
	}
	check(l)
	pages, err := l.Unshipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if p.Workspace != "team" {
			continue
		}
		want := []ledger.Row{{Target: target, Numbers: ledger.Numbers{Requests: 3, Prompt: 30, CachedPrompt: 12, Completion: 15, Cost: 210}}}
		if diff := cmp.Diff(want, p.Rows, cmpopts.EquateEmpty()); diff != "" || p.Life != 0 {
			t.Errorf("life %d, rows (-want +got):\n%s", p.Life, diff)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "journal-*"))
	for _, f := range files {
		if data, err := os.ReadFile(f); err != nil || strings.Contains(string(data), "user:bob") || !strings.Contains(string(data), "user:carol") {
			t.Errorf("%s names keys of the deleted workspace, or none at all (%v)", f, err)
		}
	}
	l.Tried(l.Begin(alice, "default", most), answer)
	if got := sum(l, "team"); len(got) != 1 {
		t.Errorf("after it began anew: %+v", got)
	}
	closed(t, l)
	l = open(t, dir, &now)
	if got := sum(l, "team"); len(got) != 1 {
		t.Errorf("after a restart: %+v", got)
	}
	closed(t, l)
}

// What was handed on is not handed on again until it changes; a day that is over leaves the journal once others have it, and
// stays to be seen.
func TestPagesAreHandedOn(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), noon
	l := open(t, dir, &now)
	ship := func() (n int) {
		t.Helper()
		pages, err := l.Unshipped()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pages {
			l.Shipped(p)
		}
		return len(pages)
	}
	l.Tried(l.Begin(alice, "default", most), answer)
	pages, err := l.Unshipped()
	if err != nil || len(pages) != 1 {
		t.Fatal(pages, err)
	}
	l.Tried(l.Begin(alice, "default", most), answer)
	l.Shipped(pages[0])
	if got := []int{l.Waiting(), ship(), ship()}; !cmp.Equal(got, []int{1, 1, 0}) {
		t.Errorf("waiting and shipped: %v", got)
	}
	now = now.Add(72 * time.Hour)
	if err := l.Tidy(); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := sum(l, "team")["2026-11-21 user:alice default openai m"]; got.Requests != 2 {
		t.Errorf("after it is over: %+v", got)
	}
	closed(t, l)
	l = open(t, dir, &now)
	if got := ship(); got != 0 {
		t.Errorf("%d pages of days that are over are handed on again", got)
	}
	closed(t, l)
}

// The rows of a page are bounded; beyond that keys are not told apart, and the sums are right all the same.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	now := noon
	l, err := ledger.Open(ledger.Options{Dir: t.TempDir(), Clock: func() time.Time { return now }, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, l)
	for i := range 2500 {
		l.Cached(ledger.Payer{Workspace: "team", Key: "user:" + strconv.Itoa(i)}, "default")
	}
	var all ledger.Numbers
	rows := l.Usage("team", 0, ledger.DayOf(now))
	for _, r := range rows {
		all.Add(r.Numbers)
	}
	if len(rows) > 2001 || all.Cached != 2500 {
		t.Errorf("%d rows, %+v", len(rows), all)
	}
}

// TestKilledProcess kills a process while it works, again and again in one folder. What it had said about a request before counts
// once: as settled when it said that it was, else as settled or unsettled; and nothing that it did not say.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv("LEDGER_CHILD"); dir != "" {
		child(t, dir)
		return
	}
	t.Parallel()
	rounds := 6
	if n, err := strconv.Atoi(os.Getenv("RAGMESH_LEDGER_KILLS")); err == nil {
		rounds = n
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(7, 7))
	var asked, settled, total uint64
	for round := range rounds {
		a, s := killed(t, dir, random.IntN(2000))
		asked, settled = asked+a, settled+s
		now := time.Now()
		l := open(t, dir, &now)
		var all ledger.Numbers
		for _, e := range l.Usage("team", 0, ledger.DayOf(now)+1) {
			all.Add(e.Numbers)
		}
		total = all.Requests + all.Unsettled
		if all.Requests < settled || total < asked || all.Prompt != 10*all.Requests+100*all.Unsettled || all.UnsettledCost != 1000*all.Unsettled {
			t.Fatalf("round %d: %d were asked and %d settled; the ledger has %+v", round, asked, settled, all)
		}
		asked, settled = total, all.Requests // what was begun and not yet said
		closed(t, l)
	}
	t.Logf("%d kills, %d requests, %d of them unsettled", rounds, total, total-settled)
	if total == 0 {
		t.Error("the child did nothing")
	}
}

// killed runs the child until it has said so many lines, kills it, and returns how many requests it said it asked and settled.
func killed(t *testing.T, dir string, lines int) (asked, settled uint64) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$")
	c.Env = append(os.Environ(), "LEDGER_CHILD="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for n := 0; scanner.Scan(); n++ {
		switch scanner.Text() {
		case "asked":
			asked++
		case "settled":
			settled++
		}
		if n == lines {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = c.Wait() // it was killed
	return asked, settled
}

// child asks and settles in many goroutines and says so after each, until it is killed.
func child(t *testing.T, dir string) {
	t.Helper()
	now := time.Now()
	l := open(t, dir, &now)
	var mu sync.Mutex
	say := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100_000 { // an end, should nobody kill it
				id := l.Begin(alice, "default", most)
				say("asked")
				l.Tried(id, answer)
				say("settled")
			}
		})
	}
	go func() {
		for {
			_ = l.Sync()
			time.Sleep(time.Millisecond)
		}
	}()
	all.Wait()
}

func FuzzReplay(f *testing.F) {
	dir, now := f.TempDir(), noon
	l := open(f, dir, &now)
	l.Tried(l.Begin(alice, "default", most), answer)
	l.Cached(alice, "default")
	l.Close("team", 3)
	l.End(l.Begin(alice, "default", most))
	closed(f, l)
	files, _ := filepath.Glob(filepath.Join(dir, "journal-*"))
	data, _ := os.ReadFile(files[0])
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "journal-000000000001"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir, &now)
		closed(t, l)
	})
}

func BenchmarkRequest(b *testing.B) {
	l, err := ledger.Open(ledger.Options{Dir: b.TempDir(), Clock: time.Now, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	defer closed(b, l)
	b.ReportAllocs()
	for b.Loop() {
		id := l.Begin(alice, "default", most)
		l.Tried(id, answer)
		l.End(id)
	}
}
