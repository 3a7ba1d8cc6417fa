package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/store"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

const (
	id1 = "01JD0000000000000000000001"
	id2 = "01JD0000000000000000000002"
	id3 = "01JD0000000000000000000003"
)

func clock() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }

func open(t *testing.T, b *bus.Bus, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Deps{Bus: b, Codec: record.Codec{}, Dir: dir, Now: clock, TurnFor: time.Minute, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sample(session, id, question string) turn.Turn {
	return turn.Turn{
		ID: id, Session: session, Workspace: "w", User: "u", Question: question, Standalone: question, Answer: "yes", Outcome: turn.Answered,
		StartedAt: clock(), CompletedAt: clock().Add(time.Second),
	}
}

func save(t *testing.T, s *store.Store, turns ...turn.Turn) {
	t.Helper()
	for _, tu := range turns {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		stored, err := s.Save(ctx, tu)
		cancel()
		if err != nil || stored != turn.StoredStream {
			t.Fatalf("save %s: %v %v", tu.ID, stored, err)
		}
	}
}

func mine() store.Reader { return store.Reader{User: "u"} }

func ids(turns []turn.Turn) []string {
	var out []string
	for _, t := range turns {
		out = append(out, t.ID)
	}
	return out
}

func TestHistory(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.New(t), t.TempDir())
	save(t, s, sample("s", id1, "one"), sample("s", id2, "two"), sample("s", id3, "three"), sample("other", "01JD0000000000000000000009", "x"), sample("s", id3, "three"))
	past, err := s.History(t.Context(), "w", "s", "", 2)
	if err != nil || !past.Known || past.User != "u" {
		t.Fatalf("%+v, %v", past, err)
	}
	if diff := cmp.Diff([]string{id2, id3}, ids(past.Turns)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range []struct{ workspace, session string }{{"w", "nope"}, {"v", "s"}} {
		if past, err := s.History(t.Context(), c.workspace, c.session, "", 2); err != nil || past.Known || len(past.Turns) != 0 {
			t.Errorf("%v: %+v %v", c, past, err)
		}
	}
	session, err := s.Session(t.Context(), mine(), "w", "s")
	if err != nil || session.Turns != 3 || session.Title != "one" {
		t.Errorf("session %+v %v", session, err)
	}
}

func TestTurnsByPage(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.New(t), t.TempDir())
	var want []string
	for i := range 120 {
		id := fmt.Sprintf("01JD%022d", i)
		want = append(want, id)
		save(t, s, sample("s", id, "q"))
	}
	var got []string
	after := ""
	for {
		conversation, err := s.Open(t.Context(), mine(), "w", "s", false)
		if err != nil {
			t.Fatal(err)
		}
		turns, more, err := conversation.After(t.Context(), after, 35)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(turns)...)
		if !more {
			break
		}
		after = turns[len(turns)-1].ID
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.New(t), t.TempDir())
	q := turn.Question{Workspace: "w", RequestID: "r", User: "u", Text: "one"}
	ctx := t.Context()
	if earlier, err := s.Claim(ctx, q, id1, "s"); err != nil || earlier != nil {
		t.Fatalf("first: %v %v", earlier, err)
	}
	if _, err := s.Claim(ctx, q, id2, "s2"); fault.ReasonOf(err) != fault.RequestInProgress {
		t.Errorf("while it runs: %v", err)
	}
	other := q
	other.User = "somebody else"
	if earlier, err := s.Claim(ctx, other, id3, "s3"); err != nil || earlier != nil {
		t.Errorf("another user: %v %v", earlier, err)
	}
	save(t, s, sample("s", id1, "one"))
	if earlier, err := s.Claim(ctx, q, id2, "s2"); err != nil || earlier == nil || earlier.ID != id1 {
		t.Errorf("after its end: %v %v", earlier, err)
	}
	q.Text = "two"
	if _, err := s.Claim(ctx, q, id2, "s2"); fault.ReasonOf(err) != fault.RequestIDReused {
		t.Errorf("another question: %v", err)
	}
}

func TestClaimOfATurnThatNeverEnded(t *testing.T) {
	t.Parallel()
	b, now := bustest.New(t), clock()
	s, err := store.Open(t.Context(), store.Deps{Bus: b, Codec: record.Codec{}, Dir: t.TempDir(), Now: func() time.Time { return now }, TurnFor: time.Minute, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	q := turn.Question{Workspace: "w", RequestID: "r", Text: "one"}
	if _, err := s.Claim(t.Context(), q, id1, "s"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	if earlier, err := s.Claim(t.Context(), q, id2, "s"); err != nil || earlier != nil {
		t.Errorf("%v %v", earlier, err)
	}
}

// A client that repeats its request after a crash gets its answer at once; a turn that runs elsewhere keeps its request.
func TestClaimOfACrashedProcess(t *testing.T) {
	t.Parallel()
	b, dir := bustest.New(t), t.TempDir()
	q := turn.Question{Workspace: "w", RequestID: "r", Text: "one"}
	if _, err := open(t, b, dir).Claim(t.Context(), q, id1, "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, b, t.TempDir()).Claim(t.Context(), q, id2, "s"); fault.ReasonOf(err) != fault.RequestInProgress {
		t.Errorf("another replica: %v", err)
	}
	again := open(t, b, dir)
	if earlier, err := again.Claim(t.Context(), q, id2, "s"); err != nil || earlier != nil {
		t.Errorf("the next process: %v %v", earlier, err)
	}
	if _, err := again.Claim(t.Context(), q, id3, "s"); fault.ReasonOf(err) != fault.RequestInProgress {
		t.Errorf("while that runs: %v", err)
	}
}

// replica opens a store with a folder and a connection of its own. It ends like a process: with its connection.
func replica(t *testing.T, url string) (s *store.Store, end func()) {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{URL: url, Name: "dialog", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(b.Close)
	t.Cleanup(end)
	for ok := false; !ok; time.Sleep(time.Millisecond) {
		ok, _ = b.Healthy()
	}
	return open(t, b, t.TempDir()), end
}

// A client whose server died repeats its request elsewhere, and is answered at once.
func TestClaimOfAReplicaThatDied(t *testing.T) {
	t.Parallel()
	server := bustest.NewServer(t, "127.0.0.1:0")
	first, die := replica(t, server.URL())
	second, _ := replica(t, server.URL())
	q := turn.Question{Workspace: "w", RequestID: "r", User: "u", Text: "one"}
	if _, err := first.Claim(t.Context(), q, id1, "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Claim(t.Context(), q, id2, "s"); fault.ReasonOf(err) != fault.RequestInProgress {
		t.Errorf("while it runs: %v", err)
	}
	die()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // until NATS has noticed
		earlier, err := second.Claim(t.Context(), q, id2, "s")
		if err == nil && earlier == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after its end: %v %v", earlier, err)
		}
	}
	done := sample("s", id2, "one")
	done.RequestID = q.RequestID
	save(t, second, done)
	late := sample("s", id1, "one")
	late.RequestID = q.RequestID
	if stored, err := second.Save(t.Context(), late); err == nil || stored != turn.NotStored {
		t.Errorf("the turn that lost its request was stored: %v %v", stored, err)
	}
	if earlier, err := second.Claim(t.Context(), q, id3, "s"); err != nil || earlier == nil || earlier.ID != id2 {
		t.Errorf("once more: %v %v", earlier, err)
	}
}

// A turn whose caller went away is no answer: who repeats the request gets a whole one.
func TestClaimOfAnInterruptedTurn(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.New(t), t.TempDir())
	q := turn.Question{Workspace: "w", RequestID: "r", User: "u", Text: "one"}
	if _, err := s.Claim(t.Context(), q, id1, "s"); err != nil {
		t.Fatal(err)
	}
	cut := sample("s", id1, "one")
	cut.RequestID, cut.Outcome = q.RequestID, turn.Interrupted
	save(t, s, cut)
	if earlier, err := s.Claim(t.Context(), q, id2, "s"); err != nil || earlier != nil {
		t.Errorf("%v %v", earlier, err)
	}
	if _, err := s.Claim(t.Context(), q, id3, "s"); fault.ReasonOf(err) != fault.RequestInProgress {
		t.Errorf("while that runs: %v", err)
	}
}

// Of several that repeat a request whose process has ended, one runs it.
func TestClaimTakenOverOnce(t *testing.T) {
	t.Parallel()
	b, dir := bustest.New(t), t.TempDir()
	q := turn.Question{Workspace: "w", RequestID: "r", Text: "one"}
	if _, err := open(t, b, dir).Claim(t.Context(), q, id1, "s"); err != nil {
		t.Fatal(err)
	}
	s := open(t, b, dir)
	results := make(chan error, 8)
	for range cap(results) {
		go func() { results <- second(s.Claim(t.Context(), q, id2, "s")) }()
	}
	got := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			got++
		case fault.ReasonOf(err) != fault.RequestInProgress:
			t.Errorf("%v", err)
		}
	}
	if got != 1 {
		t.Errorf("%d took it over", got)
	}
}

func TestSpool(t *testing.T) {
	t.Parallel()
	addr, natsDir, dir := bustest.FreeAddr(t), t.TempDir(), t.TempDir()
	b, err := bus.Connect(t.Context(), bus.Options{URL: "nats://" + addr, Name: "dialog", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)

	s := open(t, b, dir)
	if stored, err := s.Save(t.Context(), sample("s", id1, "one")); err != nil || stored != turn.StoredSpooled {
		t.Fatalf("while NATS is away: %v %v", stored, err)
	}
	if got, err := s.Turn(t.Context(), mine(), "w", id1); err != nil || got.Question != "one" {
		t.Errorf("a spooled turn read back: %v %v", got, err)
	}
	if _, err := s.Turn(t.Context(), mine(), "v", id1); err == nil {
		t.Error("a spooled turn read from another workspace")
	}
	if _, err := s.History(t.Context(), "w", "s", "", 5); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("history while NATS is away: %v", err)
	}
	// What a crash left behind: a write that was cut off, and a file that is no turn.
	for name, content := range map[string]string{".w.s." + id2: "half", "w.s." + id3 + ".turn": "\xff\xff\xff"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, b, dir) // the process starts again
	if s.Spooled() != 2 {
		t.Errorf("%d turns in the spool", s.Spooled())
	}

	server, err := natsserver.Start(t.Context(), natsserver.Options{Dir: natsDir, Addr: addr, NoSync: true, MaxStore: 4 << 30, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	rounds := make(chan struct{}, 1)
	go func() {
		drained <- s.Drain(ctx, func() {
			select {
			case rounds <- struct{}{}:
			default:
			}
		})
	}()
	for s.Spooled() > 0 {
		select {
		case <-rounds:
		case <-time.After(time.Minute):
			t.Fatal("the spool is not drained")
		}
	}
	cancel()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	past, err := s.History(t.Context(), "w", "s", "", 5)
	if err != nil || !past.Known || len(past.Turns) != 1 || past.Turns[0].ID != id1 {
		t.Errorf("after NATS is back: %+v %v", past, err)
	}
	if session, err := s.Session(t.Context(), mine(), "w", "s"); err != nil || session.Title != "one" {
		t.Errorf("session %+v %v", session, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "w.s."+id3+".unreadable")); err != nil {
		t.Errorf("the file that is no turn is gone: %v", err)
	}
}

func TestSpoolThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := bustest.New(t)
	if _, err := store.Open(t.Context(), store.Deps{Bus: b, Codec: record.Codec{}, Dir: filepath.Join(file, "spool"), Now: clock, Log: zerolog.Nop()}); err == nil {
		t.Error("opened")
	}
}

func TestDeleteAndRename(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.New(t), t.TempDir())
	ctx := t.Context()
	save(t, s, sample("s", id1, "one"), sample("s", id2, "two"))
	if _, err := s.Rename(ctx, mine(), "w", "s", "New"); err != nil {
		t.Error(err)
	}
	away := errors.New("away")
	if _, err := s.Delete(ctx, mine(), "w", "s", func(context.Context) error { return away }); !errors.Is(err, away) {
		t.Errorf("delete that nobody can be told of: %v", err)
	}
	announced := 0
	announce := func(context.Context) error {
		announced++
		if _, err := s.Turn(ctx, mine(), "w", id1); err != nil {
			t.Errorf("gone before it is announced: %v", err)
		}
		return nil
	}
	if n, err := s.Delete(ctx, mine(), "w", "s", announce); err != nil || n != 2 || announced != 1 {
		t.Errorf("delete: %d %v, announced %d times", n, err, announced)
	}
	if _, err := s.Turn(ctx, mine(), "w", id1); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("a deleted turn: %v", err)
	}
	for what, err := range map[string]error{
		"delete again": second(s.Delete(ctx, mine(), "w", "s", announce)), "rename": second(s.Rename(ctx, mine(), "w", "s", "x")), "session": second(s.Session(ctx, mine(), "w", "s")),
	} {
		if fault.ReasonOf(err) != fault.SessionNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A crash between a turn's record and its session's: the next start finishes it, and repeating it changes nothing.
func TestSessionsAreRecovered(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	s := open(t, b, t.TempDir())
	save(t, s, sample("known", id1, "one"))
	for _, tu := range []turn.Turn{sample("known", id2, "two"), sample("new", id3, "three")} {
		payload, err := record.Codec{}.Encode(tu)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), bus.TurnSubject("w", tu.Session, tu.ID), tu.ID, payload); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 {
		s = open(t, b, t.TempDir())
		ctx, cancel := context.WithCancel(t.Context())
		rounds := 0
		if err := s.Drain(ctx, func() {
			if rounds++; rounds > 2 { // the first beats of the next round come after the recovery
				cancel()
			}
		}); err != nil {
			t.Fatal(err)
		}
		for session, want := range map[string]uint32{"known": 2, "new": 1} {
			if got, err := s.Session(t.Context(), mine(), "w", session); err != nil || got.Turns != want {
				t.Errorf("round %d, session %s: %+v %v, want %d turns", round, session, got, err, want)
			}
		}
	}
}

// A crash amid the drain, after the stream took a turn and before its file was dropped: it is moved again, and is there once.
func TestDrainIsRepeatable(t *testing.T) {
	t.Parallel()
	b, dir := bustest.New(t), t.TempDir()
	s := open(t, b, dir)
	for i, id := range []string{id1, id2, id3} {
		tu := sample("s", id, "one")
		payload, err := record.Codec{}.Encode(tu)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "w.s."+id+".turn"), payload, 0o600); err != nil {
			t.Fatal(err)
		}
		if i < 2 { // these two had got through
			save(t, s, tu)
		}
	}
	s = open(t, b, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Drain(ctx, func() {
		if s.Spooled() == 0 {
			cancel()
		}
	}); err != nil {
		t.Fatal(err)
	}
	conversation, err := s.Open(t.Context(), mine(), "w", "s", true)
	if err != nil {
		t.Fatal(err)
	}
	turns, _, err := conversation.After(t.Context(), "", 10)
	if diff := cmp.Diff([]string{id1, id2, id3}, ids(turns)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if session, err := s.Session(t.Context(), mine(), "w", "s"); err != nil || session.Turns != 3 {
		t.Errorf("session %+v %v", session, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestSaveWithoutTime(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.New(t), t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stored, err := s.Save(ctx, sample("s", id1, "one"))
	if err != nil || stored != turn.StoredSpooled || errors.Is(err, context.Canceled) {
		t.Errorf("%v %v", stored, err)
	}
}

// What was said in a deleted session is on no disk any more: not in a stream, not in a bucket, not in the spool.
func TestDeleteLeavesNothingOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := natsserver.Start(t.Context(), natsserver.Options{Dir: filepath.Join(dir, "nats"), NoSync: true, MaxStore: 4 << 30, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	b := bustest.Join(t, server)
	s := open(t, b, filepath.Join(dir, "spool"))
	ctx := t.Context()
	const canary = "zanzibarquokka"
	var turns []turn.Turn
	for i := range 5 {
		tu := sample("s", fmt.Sprintf("01JD%022d", i), "what is "+canary)
		tu.Answer, tu.RequestID = canary, fmt.Sprint("r", i)
		turns = append(turns, tu)
		save(t, s, tu)
		save(t, s, sample("other", fmt.Sprintf("01JE%022d", i), "kept"))
		for _, said := range []string{"first " + canary, "then " + canary} {
			if err := s.SaveFeedback(ctx, tu, "u", []byte(said)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if list, _, err := s.Sessions(ctx, mine(), "w", store.Mark{}, 9); err != nil || len(list) != 2 || !slices.ContainsFunc(list, func(e store.Session) bool { return e.Title == "What is "+canary }) {
		t.Errorf("sessions %+v %v", list, err)
	}
	if !held(t, dir, canary, false) {
		t.Fatal("it was never there")
	}
	if n, err := s.Delete(ctx, mine(), "w", "s", func(context.Context) error { return nil }); err != nil || n != uint64(len(turns)) {
		t.Fatalf("deleted %d, %v", n, err)
	}
	if past, err := s.History(ctx, "w", "other", "", 9); err != nil || len(past.Turns) != 5 {
		t.Errorf("the other session: %+v %v", past, err)
	}
	b.Close()
	server.Shutdown()
	held(t, dir, canary, true)
}

// held says whether a file in dir holds a word, and reports it when it must not be.
func held(t *testing.T, dir, word string, wrong bool) bool {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		n := strings.Count(string(data), word)
		if found += n; n > 0 && wrong {
			t.Errorf("%s holds it %d times", strings.TrimPrefix(path, dir), n)
		}
		return err
	})
	if err != nil && wrong { // files come and go while the server runs
		t.Error(err)
	}
	return found > 0
}
