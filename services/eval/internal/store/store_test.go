package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, _, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// turn returns the n-th turn of a workspace, n minutes after noon, in session "s<n%2>" with trace "t<n>".
func turn(workspace string, n int) store.Turn {
	return store.Turn{
		Workspace: workspace, ID: fmt.Sprintf("turn-%02d", n), Session: fmt.Sprintf("s%d", n%2), TraceID: fmt.Sprintf("t%d", n), User: fmt.Sprintf("user:%d", n%2),
		Question: "how many pods?", Outcome: 1, Degraded: []string{"tools"}, Started: noon.Add(time.Duration(n) * time.Minute),
		Duration: 1500 * time.Millisecond, Record: []byte{1, 2, 3, byte(n)},
	}
}

func span(trace string, n int) store.Span {
	return store.Span{
		TraceID: trace, ID: fmt.Sprintf("span-%02d", n), Service: "dialog", Name: "Chat", Started: noon.Add(time.Duration(n) * time.Second),
		Duration: time.Millisecond, Status: "ok", Attributes: map[string]string{"rpc.method": "Chat"},
	}
}

func add(t *testing.T, s *store.Store, turns ...store.Turn) {
	t.Helper()
	for _, u := range turns {
		if added, err := s.AddTurn(t.Context(), u); err != nil || !added {
			t.Fatalf("AddTurn(%s) = %v, %v", u.ID, added, err)
		}
	}
}

func addSpans(t *testing.T, s *store.Store, spans ...store.Span) {
	t.Helper()
	if n, err := s.AddSpans(t.Context(), spans); err != nil || n != len(spans) {
		t.Fatalf("AddSpans = %d, %v; want %d", n, err, len(spans))
	}
}

func ids(t *testing.T, s *store.Store, workspace string) []string {
	t.Helper()
	turns, err := s.Turns(t.Context(), workspace, "", store.Position{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, u := range turns {
		ids = append(ids, u.ID)
	}
	return ids
}

func TestTurnComesBackAsItWentInAlsoAfterReopening(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "odd ?#% name")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	first, _, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := turn("w", 1)
	if _, err := first.AddTurn(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Turn(t.Context(), "w", want.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("turn (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "eval.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
	}
}

func TestTurnIsStoredOnce(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	add(t, s, turn("w", 1))
	again := turn("w", 1)
	again.Question = "something else"
	if added, err := s.AddTurn(t.Context(), again); err != nil || added {
		t.Errorf("second AddTurn = %v, %v; want false", added, err)
	}
	if got, _ := s.Turn(t.Context(), "w", again.ID); got.Question != "how many pods?" {
		t.Errorf("question = %q; the first record must stay", got.Question)
	}
}

func TestAnotherWorkspacesTurnDoesNotExist(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	mine, theirs := turn("mine", 1), turn("theirs", 1)
	theirs.TraceID = "shared"
	mine.TraceID = "shared"
	add(t, s, mine)
	if _, err := s.Turn(t.Context(), "theirs", mine.ID); !cmp.Equal(err, store.ErrNotFound, cmpopts.EquateErrors()) {
		t.Errorf("Turn = %v; want ErrNotFound", err)
	}
	if got := ids(t, s, "theirs"); got != nil {
		t.Errorf("list of the other workspace = %v", got)
	}
	add(t, s, theirs) // the same turn id in two workspaces
	secret, open := span("shared", 1), span("shared", 2)
	secret.Workspace = "theirs"
	addSpans(t, s, secret, open)
	got, err := s.Spans(t.Context(), "mine", "shared", 10)
	if diff := cmp.Diff([]store.Span{open}, got); err != nil || diff != "" {
		t.Errorf("spans, %v (-want +got):\n%s", err, diff)
	}
}

func TestTurnsPageThroughLatestFirst(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	var want []string
	for n := range 7 {
		add(t, s, turn("w", n), turn("other", n))
		want = append([]string{turn("w", n).ID}, want...)
	}
	tie := turn("w", 6) // the same start, a later id
	tie.ID = "turn-99"
	add(t, s, tie)
	want = append([]string{"turn-99"}, want...)
	var got []string
	var after store.Position
	for {
		page, err := s.Turns(t.Context(), "w", "", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			got = append(got, u.ID)
			if u.Record != nil {
				t.Errorf("summary of %s carries its record", u.ID)
			}
		}
		after = store.Position{Started: page[len(page)-1].Started, ID: page[len(page)-1].ID}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestSpansComeOnceAndByStart(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	addSpans(t, s, span("t", 2), span("t", 1))
	again := []store.Span{span("t", 2), span("t", 3), span("u", 1)} // one that is there in other company
	addSpans(t, s, again...)
	if n, err := s.AddSpans(t.Context(), again); err != nil || n != 0 {
		t.Errorf("AddSpans = %d, %v; they are there already", n, err)
	}
	got, err := s.Spans(t.Context(), "w", "t", 9)
	if diff := cmp.Diff([]store.Span{span("t", 1), span("t", 2), span("t", 3)}, got); err != nil || diff != "" {
		t.Errorf("spans, %v (-want +got):\n%s", err, diff)
	}
	got, err = s.Spans(t.Context(), "w", "t", 2)
	if diff := cmp.Diff([]store.Span{span("t", 1), span("t", 2)}, got); err != nil || diff != "" {
		t.Errorf("spans, %v (-want +got):\n%s", err, diff)
	}
	if got, err := s.Spans(t.Context(), "w", "", 2); err != nil || got != nil {
		t.Errorf("spans of no trace = %v, %v", got, err)
	}
}

func TestDeleteSessionTakesItsTurnsAndSpansAndKeepsLatecomersAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	doomed := turn("w", 1)
	doomed.Record = []byte(strings.Repeat("a very private question ", 40))
	add(t, s, turn("w", 0), doomed, turn("other", 1))
	addSpans(t, s, span("t0", 1), span("t1", 1))
	if n, err := s.Delete(t.Context(), "w", "s1", noon.Add(time.Hour)); err != nil || n != 1 {
		t.Fatalf("Delete = %d, %v; want 1", n, err)
	}
	if got := ids(t, s, "w"); !cmp.Equal(got, []string{"turn-00"}) {
		t.Errorf("left = %v", got)
	}
	if got := ids(t, s, "other"); len(got) != 1 {
		t.Errorf("the other workspace lost its turn")
	}
	if got, _ := s.Spans(t.Context(), "w", "t1", 9); got != nil {
		t.Errorf("spans are left: %v", got)
	}
	for _, name := range []string{"eval.db", "eval.db-wal"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || strings.Contains(string(b), "very private") {
			t.Errorf("%s still holds the text (%v)", name, err)
		}
	}
	if added, err := s.AddTurn(t.Context(), turn("w", 3)); err != nil || added {
		t.Errorf("a turn of the deleted session came back: %v, %v", added, err)
	}
	if added, err := s.AddTurn(t.Context(), turn("w", 61)); err != nil || !added {
		t.Errorf("a turn that began after the deletion is refused: %v, %v", added, err)
	}
}

func TestDeleteWorkspaceTakesEverySession(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	add(t, s, turn("w", 0), turn("w", 1), turn("other", 1))
	if n, err := s.Delete(t.Context(), "w", "", noon.Add(time.Hour)); err != nil || n != 2 {
		t.Fatalf("Delete = %d, %v; want 2", n, err)
	}
	if added, err := s.AddTurn(t.Context(), turn("w", 5)); err != nil || added {
		t.Errorf("AddTurn = %v, %v; want it kept away", added, err)
	}
	if got := ids(t, s, "other"); len(got) != 1 {
		t.Errorf("the other workspace lost its turn")
	}
}

func TestPruneKeepsWithinLimits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		limits store.Limits
		want   store.Pruned
		left   []string
	}{
		"no limits":         {store.Limits{}, store.Pruned{}, []string{"turn-03", "turn-02", "turn-01", "turn-00"}},
		"turns by age":      {store.Limits{TurnAge: 8 * time.Minute}, store.Pruned{Turns: 2}, []string{"turn-03", "turn-02"}},
		"turns by number":   {store.Limits{Turns: 1}, store.Pruned{Turns: 3}, []string{"turn-03"}},
		"spans by number":   {store.Limits{Spans: 1}, store.Pruned{Spans: 2}, []string{"turn-03", "turn-02", "turn-01", "turn-00"}},
		"spans by age":      {store.Limits{SpanAge: time.Minute}, store.Pruned{Spans: 3}, []string{"turn-03", "turn-02", "turn-01", "turn-00"}},
		"everything by age": {store.Limits{TurnAge: time.Minute, SpanAge: time.Minute}, store.Pruned{Turns: 4, Spans: 3}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			for n := range 4 {
				add(t, s, turn("w", n))
			}
			addSpans(t, s, span("t0", 0), span("t1", 1), span("t2", 2))
			got, err := s.Prune(t.Context(), tt.limits, noon.Add(10*time.Minute))
			if err != nil || got != tt.want {
				t.Errorf("Prune = %+v, %v; want %+v", got, err, tt.want)
			}
			if diff := cmp.Diff(tt.left, ids(t, s, "w")); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPruneCountsSpansNotSets(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for set := range 5 {
		var spans []store.Span
		for n := range 4 {
			spans = append(spans, span(fmt.Sprintf("t%d", set), 10*set+n))
		}
		addSpans(t, s, spans...)
	}
	got, err := s.Prune(t.Context(), store.Limits{Spans: 13}, noon) // 7 too many: two sets
	if err != nil || got != (store.Pruned{Spans: 8}) {
		t.Errorf("Prune = %+v, %v; want 8 spans", got, err)
	}
	for trace, want := range map[string]int{"t0": 0, "t1": 0, "t2": 4, "t4": 4} {
		if left, err := s.Spans(t.Context(), "w", trace, 100); err != nil || len(left) != want {
			t.Errorf("%d spans of %s are left, %v; want %d", len(left), trace, err, want)
		}
	}
	if got, err := s.Prune(t.Context(), store.Limits{SpanAge: time.Minute}, noon.Add(time.Minute+25*time.Second)); err != nil || got != (store.Pruned{Spans: 4}) {
		t.Errorf("Prune = %+v, %v; want the 4 that began 20 to 23 s after noon", got, err)
	}
}

// Spans that an earlier version has stored, a row for each, are there afterwards.
func TestSpansOfEarlierVersionsStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "eval.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"0001_traces.sql", "0002_follow.sql", "0003_user.sql"} {
		statements, err := os.ReadFile(filepath.Join("migrations", file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), string(statements)); err != nil {
			t.Fatal(err)
		}
	}
	want := []store.Span{span("t", 1), span("t", 2)}
	for _, sp := range append([]store.Span{span("u", 3)}, want...) {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sp.TraceID, sp.ID, sp.Parent, sp.Workspace,
			sp.Service, sp.Name, sp.Started.UnixNano(), int64(sp.Duration), sp.Status, sp.Error, `{"rpc.method":"Chat"}`); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 3"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Spans(t.Context(), "w", "t", 9)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("spans, %v (-want +got):\n%s", err, diff)
	}
}

func TestPruneByBytesGivesTheSpaceBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	const limit = 1 << 20
	for n := range 60 {
		u := turn("w", n)
		u.Record = make([]byte, 64<<10)
		add(t, s, u)
	}
	addSpans(t, s, span("t0", 0))
	p, err := s.Prune(t.Context(), store.Limits{Bytes: limit}, noon)
	if err != nil {
		t.Fatal(err)
	}
	used, err := s.Used(t.Context())
	if err != nil || used > limit {
		t.Errorf("used = %d, %v; want at most %d", used, err, limit)
	}
	if p.Turns == 0 || p.Turns == 60 || p.Spans != 1 {
		t.Errorf("pruned %+v; want some turns, after all spans", p)
	}
	info, err := os.Stat(filepath.Join(dir, "eval.db"))
	if err != nil || info.Size() > 2*limit {
		t.Errorf("file has %d bytes, %v; want the space given back", info.Size(), err)
	}
	if got := ids(t, s, "w"); len(got) == 0 || got[0] != "turn-59" {
		t.Errorf("the newest turn must stay, got %v", got)
	}
}

func TestChangedTellsOfTurnsAndSpans(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for name, change := range map[string]func(){
		"turn": func() { add(t, s, turn("w", 1)) },
		"span": func() { addSpans(t, s, span("t", 1)) },
	} {
		changed := s.Changed()
		change()
		select {
		case <-changed:
		default:
			t.Errorf("a new %s was not told", name)
		}
	}
	changed := s.Changed()
	_, _ = s.AddTurn(t.Context(), turn("w", 1))
	select {
	case <-changed:
		t.Error("a repeated turn was told as new")
	default:
	}
}

func TestOpenRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	t.Run("schema of a newer version", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s, _, err := store.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", filepath.Join(dir, "eval.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := store.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "newer ragmesh") {
			t.Errorf("Open = %v; want a hint at the newer version", err)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		if _, _, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "missing")); err == nil {
			t.Error("Open succeeded")
		}
	})
}

func TestStoreFailsOnEndedContextAndGoesOnAfterwards(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.AddTurn(ended, turn("w", 1)); err == nil {
		t.Error("AddTurn succeeded")
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	add(t, s, turn("w", 1))
}

// A file that is not what was written is set aside, and the new one is filled from the start. One that only lacks what was
// being written is not.
func TestDamage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		damage func(path string) error
		aside  bool
	}{
		"none":                  {func(string) error { return nil }, false},
		"the log's end cut off": {func(path string) error { return os.Truncate(path+"-wal", 5000) }, false},
		"the log's end overwritten": {func(path string) error {
			f, err := os.OpenFile(path+"-wal", os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("noise")
			return errors.Join(err, f.Close())
		}, false},
		"the file cut to a header": {func(path string) error { return errors.Join(os.Truncate(path, 100), os.Remove(path+"-wal")) }, true},
		"no database at all": {func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(strings.Repeat("noise", 1000)), 0o600), os.Remove(path+"-wal"))
		}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live, dir := t.TempDir(), t.TempDir()
			first, _, err := store.Open(t.Context(), live)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			if err := first.Follow(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			// The files as a crash leaves them: copied while they are open.
			for _, suffix := range []string{"", "-wal"} {
				data, err := os.ReadFile(filepath.Join(live, "eval.db"+suffix))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, "eval.db"+suffix), data, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := tc.damage(filepath.Join(dir, "eval.db")); err != nil {
				t.Fatal(err)
			}
			s, aside, err := store.Open(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if (aside != nil) != tc.aside {
				t.Errorf("set aside: %v, want %t", aside, tc.aside)
			}
			if _, err := s.AddTurn(t.Context(), store.Turn{Workspace: "w", ID: "t", Session: "s", Record: []byte("r")}); err != nil {
				t.Errorf("after that: %v", err)
			}
			if follows, err := s.Follows(t.Context()); err != nil || tc.aside && follows {
				t.Errorf("the new store is followed: %t, %v", follows, err)
			}
		})
	}
}

// TestTurnsOfSomebody: with a user, lists hold what they asked; a turn of before users were kept gets its own when it comes again.
func TestTurnsOfSomebody(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	old := turn("w", 1)
	old.User = ""
	add(t, s, turn("w", 0), old, turn("w", 2))
	own := func(user string) (ids []string) {
		turns, err := s.Turns(t.Context(), "w", user, store.Position{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range turns {
			ids = append(ids, u.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]string{"turn-02", "turn-00"}, own("user:0")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := own("user:1"); got != nil {
		t.Errorf("%v", got)
	}
	if _, err := s.AddTurn(t.Context(), turn("w", 1)); err != nil {
		t.Fatal(err)
	}
	if added, err := s.AddTurn(t.Context(), turn("w", 1)); added || err != nil {
		t.Errorf("again: %t, %v", added, err)
	}
	if diff := cmp.Diff([]string{"turn-01"}, own("user:1")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := s.Turn(t.Context(), "w", "turn-02"); err != nil || got.User != "user:0" {
		t.Errorf("%+v, %v", got, err)
	}
}
