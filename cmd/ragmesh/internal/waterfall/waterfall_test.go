package waterfall_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/waterfall"
)

var update = flag.Bool("update", false, "write the golden files anew")

const ms = time.Millisecond

func turn() []waterfall.Step {
	return []waterfall.Step{
		{Name: "rewrite", Service: "dialog", Duration: 300 * time.Microsecond, Status: "ok"},
		{Name: "plan", Service: "dialog", Offset: ms, Duration: 2 * ms, Status: "ok"},
		{Name: "retrieve", Service: "retriever", Offset: 3 * ms, Duration: 180 * ms, Status: "ok"},
		{Name: "tool 计算器", Service: "tools", Offset: 3 * ms, Duration: 90 * ms, Status: "failed", Note: "the tool did not answer in time"},
		{Name: "generate", Service: "llm-gateway", Offset: 190 * ms, Duration: 1200 * ms, Status: "degraded", Note: "fallback"},
		{Name: "verify", Service: "dialog", Offset: 1390 * ms, Duration: 10 * ms, Status: "ok"},
		{Name: "rerank", Service: "llm-gateway", Offset: 180 * ms, Status: "skipped"},
		{Name: "save", Service: "dialog", Offset: 1400 * ms, Duration: 4 * ms, Status: "ok"},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s; run with -update if that is meant (-want +got):\n%s", path, diff)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		steps []waterfall.Step
		total time.Duration
		o     waterfall.Options
	}{
		"turn":    {turn(), 1404 * ms, waterfall.Options{Width: 100}},
		"narrow":  {turn(), 1404 * ms, waterfall.Options{Width: 40}},
		"painted": {turn()[:2], 10 * ms, waterfall.Options{Width: 100, Paint: func(status, text string) string { return "<" + status + ":" + text + ">" }}},
		"clocks differ": {
			[]waterfall.Step{{Name: "early", Offset: -50 * ms, Duration: 20 * ms}, {Name: "late", Offset: 150 * ms, Duration: 100 * ms}}, 100 * ms,
			waterfall.Options{Width: 80},
		},
		"no time at all": {[]waterfall.Step{{Name: "plan", Status: "ok"}}, 0, waterfall.Options{Width: 80}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := waterfall.Write(&out, tt.steps, tt.total, tt.o); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.ReplaceAll(name, " ", "-"), out.String())
		})
	}
}

func TestBarsStandInOneColumn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := waterfall.Write(&out, turn(), 1404*ms, waterfall.Options{Width: 100}); err != nil {
		t.Fatal(err)
	}
	ends := map[int]bool{}
	for line := range strings.Lines(out.String()) {
		if before, _, ok := strings.Cut(line, " ms"); ok {
			ends[runewidth.StringWidth(before)] = true
		}
	}
	if len(ends) != 1 {
		t.Errorf("durations end in columns %v; want one:\n%s", ends, out.String())
	}
}

func TestTreeNestsAndSurvivesWhatIsMissing(t *testing.T) {
	t.Parallel()
	node := func(id, parent string, offset time.Duration) waterfall.Node {
		return waterfall.Node{ID: id, Parent: parent, Step: waterfall.Step{Name: id, Offset: offset}}
	}
	steps := waterfall.Tree([]waterfall.Node{
		node("late", "root", 5), node("root", "", 0), node("early", "root", 1), node("leaf", "late", 6), node("orphan", "lost", 2),
		node("self", "self", 7), node("a", "b", 1), node("b", "a", 1),
	})
	var got []string
	for _, s := range steps {
		got = append(got, strings.Repeat(".", s.Depth)+s.Name)
	}
	want := []string{"root", ".early", ".late", "..leaf", "orphan", "self"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0.00 ms", 1500 * time.Microsecond: "1.50 ms", 12345 * time.Microsecond: "12.3 ms", 345 * ms: "345 ms", 12345 * ms: "12.35 s",
		-2 * ms: "-2.00 ms", 3 * time.Minute: "3m0s",
	} {
		if got := waterfall.Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}

var errClosed = errors.New("closed")

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errClosed }

func TestWriteSaysWhenNobodyReads(t *testing.T) {
	t.Parallel()
	if err := waterfall.Write(closedPipe{}, turn(), time.Second, waterfall.Options{Width: 80}); !errors.Is(err, errClosed) {
		t.Errorf("Write = %v", err)
	}
}
