package e2e_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

const (
	crashes = 6
	// maxStart is how long a start after a crash may take: a second, and more on a busy machine.
	maxStart = 30 * time.Second
	// waitEvery is after how many kills all documents are waited for: a dead worker's jobs are free after their lease only.
	waitEvery = 10
)

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// What was acknowledged outlives `kill -9`: a process takes in documents, answers questions, takes feedback, renames sessions
// and makes keys, and is killed at seeded random moments, some of them amid its start. After each kill the next one must start
// cleanly on the same folder and hold everything that the journal of this test says was acknowledged, once.
//
// RAGMESH_CRASHES=200 is the long run, RAGMESH_SEED another one.
//
// It can fail: builds that acknowledge before they write were tried, by writing a tenth of a second later. With uploads
// (CommitUpload) it failed after the second kill, with feedback at the end of twelve kills, with turns in the first life, since
// the driver reads what it was told.
func TestNothingAcknowledgedIsLostWhenKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	kills, seed := int(number(t, "RAGMESH_CRASHES", crashes)), number(t, "RAGMESH_SEED", 1)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	data, j := filepath.Join(dir, "data"), openJournal(t, filepath.Join(dir, "journal"))
	checked, slowest := 0, time.Duration(0)
	var v *e2e.Victim
	defer func() {
		if t.Failed() {
			t.Logf("seed %d; the last process wrote:\n%s", seed, v.Log())
		}
	}()
	begin := func() (*e2e.Victim, *ledger) {
		v = e2e.StartVictim(t, data)
		slowest = max(slowest, v.Await())
		if v.Startup > maxStart {
			t.Errorf("ready after %s, want at most %s", v.Startup, maxStart)
		}
		return v, j.read(t)
	}
	for life := range kills {
		if r.IntN(6) == 0 { // amid the start
			v = e2e.StartVictim(t, data)
			<-time.After(time.Duration(r.IntN(600)) * time.Millisecond)
			v.Kill()
			checkLog(t, v)
			continue
		}
		v, l := begin()
		newCheck(t, v, l, checked).run(life%waitEvery == waitEvery-1)
		checked = l.notes
		w := startLoad(t, v, j, l, seed, life)
		<-time.After(time.Duration(20+r.IntN(1500)) * time.Millisecond)
		w.die()
		v.Kill()
		w.stop()
		checkLog(t, v)
		if t.Failed() {
			t.Fatalf("after %d kills", life+1)
		}
	}
	v, l := begin()
	newCheck(t, v, l, 0).run(true)
	checkLog(t, v)
	v.Stop()
	checkFeedback(t, filepath.Join(data, "nats"), l)
	counts := map[string]int{}
	for kind, fates := range l.fates {
		counts[kind] = len(fates)
	}
	t.Logf("%d kills, seed %d: %d acknowledgements about %v; slowest start %s", kills, seed, l.acked, counts, slowest.Round(time.Millisecond))
}
