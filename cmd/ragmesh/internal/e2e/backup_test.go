package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// readAsOf reads the journal as a backup has to know it that begins now, when it has this many notes: what was acknowledged by
// then is settled; what was asked before without an answer, and all that was asked later, may be in the backup or not.
func (j *journal) readAsOf(t *testing.T, notes int) *ledger {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	content, err := os.ReadFile(j.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{fates: map[string]map[string]*fate{aDocument: {}, aTurn: {}, aFeedback: {}, aTitle: {}, aKey: {}}}
	for i, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		var n note
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatal(err)
		}
		if i >= notes && n.Acked {
			continue
		}
		l.take(n)
	}
	return l
}

// rehearse takes a backup of a system that is being used, has it restored, and wants everything that was acknowledged before
// the backup began, as it was then or later, and everything else whole.
func rehearse(t *testing.T, from *e2e.System, args []string, restore func(t *testing.T, file string) (_ *e2e.System, stop func())) {
	t.Helper()
	dir := t.TempDir()
	j, seed := openJournal(t, filepath.Join(dir, "journal")), number(t, "RAGMESH_SEED", 1)
	w := startLoad(t, &e2e.Victim{System: *from}, j, j.read(t), seed, 1)
	for deadline := time.Now().Add(settleTime); j.read(t).acked < 60; {
		if time.Now().After(deadline) {
			t.Fatal("the load does not get going")
		}
		<-time.After(100 * time.Millisecond)
	}
	file := filepath.Join(dir, "backup.tar.zst")
	notes, begin := j.read(t).notes, time.Now()
	out := must(t, from, append([]string{"backup", file}, args...)...)
	took := time.Since(begin)
	if !strings.Contains(out, "read back and good") {
		t.Errorf("backup says %q", out)
	}
	during := j.read(t).notes - notes
	for deadline := time.Now().Add(settleTime); j.read(t).notes < notes+during+10; { // more that is not in it
		if time.Now().After(deadline) {
			t.Fatal("the load does not go on")
		}
		<-time.After(10 * time.Millisecond)
	}
	w.die()
	w.stop()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	l := j.readAsOf(t, notes)
	if during == 0 {
		t.Error("nothing happened while the backup was taken")
	}

	begin = time.Now()
	to, stop := restore(t, file)
	serving := time.Since(begin)
	awaitIndex(t, to)
	indexed := time.Since(begin)
	v := &e2e.Victim{System: *to}
	c := newCheck(t, v, l, 0)
	c.run(true)
	counts := map[string]int{}
	for kind, fates := range l.fates {
		for _, f := range fates {
			if f.settled != nil {
				counts[kind]++
			}
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("backup under load %s, %d bytes; restored and serving after %s, indexed after %s: %v",
		took.Round(time.Millisecond), info.Size(), serving.Round(time.Millisecond), indexed.Round(time.Millisecond), counts)
	stop() // its streams are read from the files
	checkFeedback(t, filepath.Join(to.Data, "nats"), l)
}

// awaitIndex waits until the retriever's readiness says that nothing is missing from its index.
func awaitIndex(t *testing.T, s *e2e.System) {
	t.Helper()
	admin := s.RetrieverAdmin()
	client := &http.Client{Timeout: time.Second}
	for deadline := time.Now().Add(settleTime); ; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the index is not restored")
		}
		resp, err := client.Get(admin + "/health/ready")
		if err != nil {
			continue
		}
		var state struct {
			Components []struct {
				Name  string
				Ready bool
			}
		}
		err = json.NewDecoder(resp.Body).Decode(&state)
		_ = resp.Body.Close()
		for _, c := range state.Components {
			if err == nil && strings.HasSuffix(c.Name, "index") && c.Ready {
				return
			}
		}
	}
}

// What was acknowledged before a backup began is there after it was restored: documents and what they are found by, turns,
// sessions and their titles, keys, feedback, and the traces that eval makes again of the turns.
func TestBackupIsRestored(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	t.Run("all in one", func(t *testing.T) {
		from := e2e.StartVictim(t, filepath.Join(t.TempDir(), "data"))
		from.Await()
		rehearse(t, &from.System, nil, func(t *testing.T, file string) (*e2e.System, func()) {
			t.Helper()
			data := filepath.Join(t.TempDir(), "restored")
			if out := must(t, &from.System, "restore", file, "--data", data); !strings.Contains(out, "Restored as of") {
				t.Errorf("restore says %q", out)
			}
			if code, _, stderr := from.Run(t, "", "restore", file, "--data", data); code != 1 || !strings.Contains(stderr, "holds data already") {
				t.Errorf("a second restore into it: exit code %d, %s", code, stderr)
			}
			to := e2e.StartVictim(t, data)
			to.Await()
			return &to.System, func() {
				checkLog(t, to)
				to.Stop()
			}
		})
	})
	t.Run("five processes", func(t *testing.T) {
		from := e2e.StartMesh(t)
		nats := "nats://" + from.Part(t, e2e.NATS).Addr()
		rehearse(t, from, []string{"--nats", nats}, func(t *testing.T, file string) (*e2e.System, func()) {
			t.Helper()
			if code, _, stderr := from.Run(t, "", "restore", file, "--nats", nats); code != 1 || !strings.Contains(stderr, "is not empty") {
				t.Errorf("a restore into the running system: exit code %d, %s", code, stderr)
			}
			data := filepath.Join(t.TempDir(), "restored")
			empty := e2e.StartNATS(t, data)
			must(t, from, "restore", file, "--nats", "nats://"+empty.Addr())
			empty.Terminate(t)
			if err := empty.Wait(); err != nil {
				t.Errorf("NATS ended with %v", err)
			}
			to := e2e.StartMesh(t, e2e.WithData(data))
			return to, func() {
				to.Part(t, e2e.NATS).Terminate(t)
				_ = to.Part(t, e2e.NATS).Wait()
			}
		})
	})
}

// running is a command in the background.
type running struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

func begin(t *testing.T, s *e2e.System, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), s.Binary, args...), ended: make(chan struct{})}
	r.cmd.Env = append(os.Environ(), "RAGMESH_SERVER="+s.Server)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		r.err = r.cmd.Wait()
	}()
	t.Cleanup(r.kill)
	return r
}

// kill ends the command, unless it has ended by itself.
func (r *running) kill() {
	_ = r.cmd.Process.Kill()
	<-r.ended
}

// until waits until a file is there, or the command has ended.
func (r *running) until(path string) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !there(path) {
		select {
		case <-tick.C:
		case <-r.ended:
			return
		}
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// A backup that ends early, because it is killed or the server is, leaves nothing under its name, and what it leaves is refused.
// A restore that is killed leaves a folder on which nothing starts until it was restored once more.
func TestBackupAndRestoreAreWholeOrNotThere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	v := e2e.StartVictim(t, filepath.Join(t.TempDir(), "data"))
	v.Await()
	dir, documents := t.TempDir(), t.TempDir()
	r := rand.New(rand.NewPCG(number(t, "RAGMESH_SEED", 1), 2))
	for i := range 12 { // what does not compress takes its time
		noise := make([]byte, 40<<10)
		for k := range noise {
			noise[k] = byte('a' + r.IntN(26))
			if k%9 == 8 {
				noise[k] = ' '
			}
		}
		if err := os.WriteFile(filepath.Join(documents, "doc"+string(rune('a'+i))+".md"), noise, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must(t, &v.System, "ingest", "--base", documents, documents)
	turn := ask(t, &v.System, "What is known?").GetTurnId()

	file := filepath.Join(dir, "backup")
	for range 4 {
		cmd := begin(t, &v.System, "backup", file)
		cmd.until(file + ".partial")
		<-time.After(time.Duration(r.IntN(120)) * time.Millisecond)
		cmd.kill()
		if there(file) {
			if code, _, stderr := v.Run(t, "", "restore", file, "--data", filepath.Join(t.TempDir(), "x")); code != 0 {
				t.Errorf("a backup has its name and is not whole: %s", stderr)
			}
			_ = os.Remove(file)
			continue
		}
		if !there(file + ".partial") {
			continue // the server was not done with the one before
		}
		code, _, stderr := v.Run(t, "", "restore", file+".partial", "--data", filepath.Join(dir, "never"))
		if code == 0 { // all of it was written, and it was being read back
			_ = os.RemoveAll(filepath.Join(dir, "never"))
			continue
		}
		if code != 1 || !strings.Contains(stderr, "nothing was changed") || there(filepath.Join(dir, "never")) {
			t.Errorf("half of a backup: exit code %d, %s", code, stderr)
		}
	}
	for deadline := time.Now().Add(settleTime); !there(file); { // the server may have to notice first that the last one is dead
		if code, _, stderr := v.Run(t, "", "backup", file); code != 0 && time.Now().After(deadline) {
			t.Fatalf("backup: exit code %d, %s", code, stderr)
		}
	}
	if there(file + ".partial") {
		t.Error("the last backup has left its partial file")
	}
	if code, _, stderr := v.Run(t, "", "backup", file); code != 1 || !strings.Contains(stderr, "is there already") {
		t.Errorf("over another backup: exit code %d, %s", code, stderr)
	}

	cmd := begin(t, &v.System, "backup", file+"2")
	cmd.until(file + "2.partial")
	v.Kill()
	<-cmd.ended
	if cmd.err == nil && !there(file+"2") || cmd.err != nil && (there(file+"2") || there(file+"2.partial")) {
		t.Errorf("the server was killed: the command ends with %v, and its files are there: %v, %v", cmd.err, there(file+"2"), there(file+"2.partial"))
	}

	data := filepath.Join(dir, "restored")
	halves := 0
	for i := range 8 {
		cmd := begin(t, &v.System, "restore", file, "--data", data)
		cmd.until(filepath.Join(data, "nats.restoring"))
		<-time.After(time.Duration(r.IntN(50*(i+1))) * time.Millisecond)
		cmd.kill()
		if there(filepath.Join(data, "nats", "jetstream")) { // it was done
			break
		}
		if !there(filepath.Join(data, "nats.restoring")) {
			continue
		}
		halves++
		for _, args := range [][]string{{"up", "--data", data, "--addr", "127.0.0.1:0"}, {"nats", "--data", data, "--addr", "127.0.0.1:0"}} {
			if code, _, stderr := v.Run(t, "", args...); code != 1 || !strings.Contains(stderr, "run `ragmesh restore` again") {
				t.Errorf("ragmesh %s on half of a restore: exit code %d, %s", args[0], code, stderr)
			}
		}
	}
	if !there(filepath.Join(data, "nats", "jetstream")) {
		must(t, &v.System, "restore", file, "--data", data)
	}
	t.Logf("%d restores were cut off", halves)
	to := e2e.StartVictim(t, data)
	to.Await()
	must(t, &to.System, "trace", turn)
	if out := must(t, &to.System, "docs", "list"); !strings.Contains(out, "docl.md") {
		t.Errorf("documents after it:\n%s", out)
	}
	to.Stop()
}

// A NATS elsewhere that was filled half is told from one that is whole: services wait, and say for what.
func TestServicesWaitForAWholeRestore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	v := e2e.StartVictim(t, filepath.Join(t.TempDir(), "data"))
	v.Await()
	documents := documents(t)
	must(t, &v.System, "ingest", "--base", documents, documents)
	turn := ask(t, &v.System, "What does a replacement card cost?").GetTurnId()
	file := filepath.Join(t.TempDir(), "backup")
	must(t, &v.System, "backup", file)
	v.Stop()

	data := filepath.Join(t.TempDir(), "mesh")
	nats := e2e.StartNATS(t, data)
	address := "nats://" + nats.Addr()
	cmd := begin(t, &v.System, "restore", file, "--nats", address)
	cmd.until(filepath.Join(data, "nats/jetstream/$G/streams/RAGMESH_RESTORE")) // it has begun, and is far from its end
	cmd.kill()
	alone := e2e.StartAlone(t, "retriever", data, address)
	if state := alone.State(t); !strings.Contains(state, "ragmesh restore") {
		t.Errorf("a service on half of a restore says %s", state)
	}
	alone.Kill(t)
	must(t, &v.System, "restore", file, "--nats", address)
	nats.Terminate(t)
	_ = nats.Wait()
	s := e2e.StartMesh(t, e2e.WithData(data))
	must(t, s, "trace", turn)
	if out := must(t, s, "ask", "What does a replacement card cost?"); !strings.Contains(out, "12 euros") {
		t.Errorf("the answer is\n%s", out)
	}
}
