package e2e_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// TestBenchTurn runs the smallest measurement, in both shapes: that it ends, says what it measured and leaves nothing behind.
func TestBenchTurn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	for shape, flags := range map[string][]string{"all-in-one": nil, "mesh": {"--mesh"}} {
		t.Run(shape, func(t *testing.T) {
			tmp := t.TempDir()
			args := append([]string{
				"bench", "turn", "--json", "--model", "mock-len20,mock-len20-fail1", "--concurrency", "2", "--turns", "6", "--rounds", "2",
				"--duration", "10m", "--warmup", "2", "--corpus", "5",
			}, flags...)
			cmd := exec.CommandContext(t.Context(), filepath.Join(e2e.Binaries(t), "ragmesh"), args...)
			cmd.Env = append(cmd.Environ(), "TMPDIR="+tmp)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("ragmesh %v: %v\n%s", args, err, stderr.String())
			}
			var got struct {
				Shape string
				Pairs []struct {
					Turns, Direct, Sequence struct{ Count, Errors int }
					Degradations            []struct{ Name string }
					CPU                     float64 `json:"cpu_ms_per_turn"`
				}
			}
			if err := json.Unmarshal(out, &got); err != nil || len(got.Pairs) != 2 || got.Shape != shape {
				t.Fatalf("output %s: %v", out, err)
			}
			if p := got.Pairs[0]; p.Turns.Count != 6 || p.Turns.Errors != 0 || p.Direct.Count != 6 || p.Sequence.Count != 6 || p.CPU <= 0 {
				t.Errorf("the model that works: %+v", p)
			}
			if p := got.Pairs[1]; p.Turns.Count != 6 || p.Direct.Errors != 6 || len(p.Degradations) == 0 {
				t.Errorf("the model that fails: %+v, want turns that are answered, degraded", p)
			}
			if left, err := filepath.Glob(filepath.Join(tmp, "ragmesh-bench-*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}
