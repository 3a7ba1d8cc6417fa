package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
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
func rehearse(t *testing.T, from *e2e.System, args []string, restore func(t *testing.T, file string) *e2e.System) {
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
	<-time.After(300 * time.Millisecond) // more that is not in it
	w.die()
	w.stop()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	l := j.readAsOf(t, notes)
	if during := j.read(t).notes - notes; during == 0 {
		t.Error("nothing happened while the backup was taken")
	}

	begin = time.Now()
	to := restore(t, file)
	serving := time.Since(begin)
	v := &e2e.Victim{System: *to}
	c := newCheck(t, v, l, 0)
	c.run(true)
	whole := time.Since(begin)
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
	t.Logf("backup under load %s, %d bytes; restored and serving after %s, everything found after %s: %v", took.Round(time.Millisecond), info.Size(), serving.Round(time.Millisecond), whole.Round(time.Millisecond), counts)
	t.Cleanup(func() {
		if !t.Failed() {
			checkFeedback(t, filepath.Join(to.Data, "nats"), l)
		}
	})
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
		rehearse(t, &from.System, nil, func(t *testing.T, file string) *e2e.System {
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
			t.Cleanup(func() { checkLog(t, to) })
			t.Cleanup(to.Stop) // before its streams are read
			return &to.System
		})
	})
	t.Run("five processes", func(t *testing.T) {
		from := e2e.StartMesh(t)
		nats := "nats://" + from.Part(t, e2e.NATS).Addr()
		rehearse(t, from, []string{"--nats", nats}, func(t *testing.T, file string) *e2e.System {
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
			return e2e.StartMesh(t, e2e.WithData(data))
		})
	})
}

// begin runs a command in the background.
func begin(t *testing.T, s *e2e.System, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), s.Binary, args...) //nolint:gosec // our own binary
	cmd.Env = append(os.Environ(), "RAGMESH_SERVER="+s.Server)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
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
	for i := range 24 { // what does not compress takes its time
		noise := make([]byte, 600<<10)
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
	must(t, &v.System, "ingest", "--no-wait", documents)
	turn := ask(t, &v.System, "What is known?").GetTurnId()

	file := filepath.Join(dir, "backup")
	for range 4 {
		cmd := begin(t, &v.System, "backup", file)
		for !there(file + ".partial") {
			<-time.After(time.Millisecond)
		}
		<-time.After(time.Duration(r.IntN(120)) * time.Millisecond)
		_ = cmd.Process.Kill() // it may be done
		_ = cmd.Wait()
		if there(file) {
			if code, _, stderr := v.Run(t, "", "restore", file, "--data", filepath.Join(t.TempDir(), "x")); code != 0 {
				t.Errorf("a backup has its name and is not whole: %s", stderr)
			}
			_ = os.Remove(file)
			continue
		}
		code, _, stderr := v.Run(t, "", "restore", file+".partial", "--data", filepath.Join(dir, "never"))
		if code != 1 || !strings.Contains(stderr, "nothing was changed") || there(filepath.Join(dir, "never")) {
			t.Errorf("half of a backup: exit code %d, %s", code, stderr)
		}
	}
	must(t, &v.System, "backup", file)
	if there(file + ".partial") {
		t.Error("the last backup has left its partial file")
	}
	if code, _, stderr := v.Run(t, "", "backup", file); code != 1 || !strings.Contains(stderr, "is there already") {
		t.Errorf("over another backup: exit code %d, %s", code, stderr)
	}

	cmd := begin(t, &v.System, "backup", file+"2")
	for !there(file + "2.partial") {
		<-time.After(time.Millisecond)
	}
	v.Kill()
	if err := cmd.Wait(); err == nil && !there(file+"2") || err != nil && (there(file+"2") || there(file+"2.partial")) {
		t.Errorf("the server was killed: the command ends with %v, and its files are there: %v, %v", err, there(file+"2"), there(file+"2.partial"))
	}

	data := filepath.Join(dir, "restored")
	halves := 0
	for i := range 8 {
		cmd := begin(t, &v.System, "restore", file, "--data", data)
		<-time.After(time.Duration(50+r.IntN(150*(i+1))) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if there(filepath.Join(data, "nats")) { // it was done
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
	if !there(filepath.Join(data, "nats")) {
		must(t, &v.System, "restore", file, "--data", data)
	}
	t.Logf("%d restores were cut off", halves)
	to := e2e.StartVictim(t, data)
	to.Await()
	must(t, &to.System, "trace", turn)
	if out := must(t, &to.System, "docs", "list"); !strings.Contains(out, "docx.md") {
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
	cut := false
	for wait := 20 * time.Millisecond; !cut && wait < 2*time.Second; wait += 15 * time.Millisecond {
		cmd := begin(t, &v.System, "restore", file, "--nats", address)
		<-time.After(wait)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		cut = there(filepath.Join(data, "nats/jetstream/$G/streams/RAGMESH_RESTORE"))
	}
	if !cut {
		t.Skip("no restore could be cut off in its middle")
	}
	dialog := e2e.StartAlone(t, "retriever", data, address)
	if state := dialog.State(t); !strings.Contains(state, "ragmesh restore") {
		t.Errorf("a service on half of a restore says %s", state)
	}
	dialog.Kill(t)
	must(t, &v.System, "restore", file, "--nats", address)
	nats.Terminate(t)
	_ = nats.Wait()
	s := e2e.StartMesh(t, e2e.WithData(data))
	must(t, s, "trace", turn)
	if out := must(t, s, "ask", "What does a replacement card cost?"); !strings.Contains(out, "12 euros") {
		t.Errorf("the answer is\n%s", out)
	}
}
