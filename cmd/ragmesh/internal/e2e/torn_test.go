package e2e_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// edit changes the newest file that matches a pattern.
func edit(pattern string, change func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(data, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no file %s: %v", pattern, err)
		}
		path := slices.MaxFunc(found, func(a, b string) int { return modified(t, a).Compare(modified(t, b)) })
		content, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func modified(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:max(0, len(b)-n)] } }
func noise(n int) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, bytes.Repeat([]byte{0xa5}, n)...) }
}

func zeroes(n int) func([]byte) []byte {
	return func(b []byte) []byte {
		clear(b[max(0, len(b)-n):])
		return b
	}
}

func remove(pattern string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(data, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no file %s: %v", pattern, err)
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const streams = "nats/jetstream/$G/streams/"

// Files whose last write a power cut has torn: the next start works with what is whole, rebuilds what can be, and says what it
// did. Only the record that was torn itself may be gone, and that only where it stands in the one place that has it.
func TestTornFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	original := filepath.Join(t.TempDir(), "data")
	v := e2e.StartVictim(t, original)
	v.Await()
	dir := documents(t)
	must(t, &v.System, "ingest", "--base", dir, dir)
	var turns []string
	for range 3 {
		turns = append(turns, ask(t, &v.System, "What does a replacement card cost?").GetTurnId())
	}
	must(t, &v.System, "trace", turns[2])
	v.Kill()

	tests := map[string]struct {
		damage func(*testing.T, string)
		// lost is how many of the newest turns may be gone.
		lost int
		says string // in the log; empty for anything but errors
	}{
		"eval's log cut off":    {edit("eval/eval.db-wal", cut(3000)), 0, ""},
		"eval's log with noise": {edit("eval/eval.db-wal", noise(3000)), 0, ""},
		"eval's file": {func(t *testing.T, data string) {
			t.Helper()
			remove("eval/eval.db-wal")(t, data) // which would bring it back
			edit("eval/eval.db", func([]byte) []byte { return bytes.Repeat([]byte("noise"), 1000) })(t, data)
		}, 0, "filled anew"},
		"eval's folder":                   {remove("eval"), 0, ""},
		"the index's newest segment":      {edit("retriever/index/default/store/*.zap", cut(50)), 0, "built anew"},
		"the index's list":                {edit("retriever/index/default/store/root.bolt", func([]byte) []byte { return []byte("noise") }), 0, "built anew"},
		"the index's folder":              {remove("retriever/index"), 0, "taken from their originals again"},
		"turns cut off":                   {edit(streams+"RAGMESH_TURNS/msgs/*.blk", cut(10)), 1, ""},
		"turns with noise":                {edit(streams+"RAGMESH_TURNS/msgs/*.blk", noise(1000)), 0, ""},
		"turns with zeroes at the end":    {edit(streams+"RAGMESH_TURNS/msgs/*.blk", zeroes(100)), 1, ""},
		"records of documents with noise": {edit(streams+"KV_RAGMESH_DOCUMENTS/msgs/*.blk", noise(1000)), 0, ""},
		"originals with noise":            {edit(streams+"OBJ_RAGMESH_ORIGINALS/msgs/*.blk", noise(1000)), 0, ""},
		"a consumer's state":              {edit(streams+"RAGMESH_TURNS/obs/eval-turns/o.dat", cut(5)), 0, ""},
		"no consumer's state":             {remove(streams + "RAGMESH_TURNS/obs/eval-turns/o.dat"), 0, ""},
		"the spool": {func(t *testing.T, data string) {
			t.Helper()
			for _, name := range []string{"default.s.01M7XRBSA5ME0J4TMAAAQZT8EW.turn", ".default.s.01M7XRBSA5ME0J4TMAAAQZT8EX"} {
				if err := os.WriteFile(filepath.Join(data, "dialog", "spool", name), []byte("\xff\xffhalf"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, 0, "it is set aside"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(data, os.DirFS(original)); err != nil {
				t.Fatal(err)
			}
			tc.damage(t, data)
			v := e2e.StartVictim(t, data)
			v.Await()
			c, err := client.New(client.Options{Server: v.Server})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			k := &check{t: t, client: c}
			k.until("both documents are found", func() bool {
				for query, want := range map[string]string{"replacement card": "12 euros", "补办银行卡": "12欧元"} {
					found, err := c.Retriever.Search(t.Context(), &retrieverv1.SearchRequest{Query: query})
					if err != nil {
						t.Fatal(err)
					}
					if n := len(found.GetPassages()); n == 0 || !strings.Contains(found.GetPassages()[0].GetText(), want) {
						return false
					}
				}
				return true
			})
			for _, turn := range turns[:len(turns)-tc.lost] {
				if _, err := c.Dialog.GetTurn(t.Context(), &dialogv1.GetTurnRequest{TurnId: turn}); err != nil {
					t.Errorf("turn %s: %v", turn, err)
				}
				k.until("eval has turn "+turn, func() bool {
					_, err := c.Eval.GetTrace(t.Context(), &evalv1.GetTraceRequest{TurnId: turn})
					return err == nil
				})
			}
			if turn := ask(t, &v.System, "What does a replacement card cost?"); !strings.Contains(turn.GetAnswer(), "12 euros") {
				t.Errorf("the answer is %s", turn.GetAnswer())
			}
			k.until("the log says "+tc.says, func() bool { return strings.Contains(v.Log(), tc.says) })
			if tc.says == "" && strings.Contains(v.Log(), `"level":"error"`) {
				t.Error("the log has errors")
			}
			if t.Failed() {
				t.Logf("it wrote:\n%s", v.Log())
			}
			v.Kill()
		})
	}
}

// What a person deletes at the edge is gone from eval's store too.
func TestDeletedSessionLeavesNoTrace(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	s := e2e.StartAllInOne(t)
	c, err := client.New(client.Options{Server: s.Server})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	turn := ask(t, s, "What does a replacement card cost?")
	trace := func() error {
		_, err := c.Eval.GetTrace(t.Context(), &evalv1.GetTraceRequest{TurnId: turn.GetTurnId()})
		return err
	}
	if err := trace(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Dialog.DeleteSession(t.Context(), &dialogv1.DeleteSessionRequest{SessionId: turn.GetSessionId()}); err != nil {
		t.Fatal(err)
	}
	(&check{t: t, client: c}).until("eval has forgotten the turn", func() bool { return fault.ReasonOf(trace()) == fault.TurnNotFound })
}
