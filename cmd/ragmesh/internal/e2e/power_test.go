package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// diskSize is above what the streams reserve. The file is sparse.
const diskSize = 3 << 30

// disk is a file system in a file: what is in the file is what a disk would hold. What was written but not synced is in the
// kernel's memory only, since the file system is told to leave it there.
type disk struct{ image, mounted string }

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d := &disk{image: filepath.Join(dir, "0.img")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, diskSize); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.ext4", "-q", "-F", d.image)
	return d
}

// mount makes the disk's files available, after the file system has repaired itself as after a power cut.
func (d *disk) mount(t *testing.T) string {
	t.Helper()
	d.mounted = d.image + ".d"
	if err := os.MkdirAll(d.mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, "mount", "-o", "loop,commit=300", d.image, d.mounted)
	return filepath.Join(d.mounted, "data")
}

func (d *disk) unmount() {
	if d.mounted != "" {
		_ = exec.Command("umount", "-l", d.mounted).Run()
		d.mounted = ""
	}
	_ = os.Remove(d.image)
}

// cut copies the disk as it is while nothing runs.
func (d *disk) cut(t *testing.T, image string) *disk {
	t.Helper()
	command(t, "cp", "--sparse=always", d.image, image)
	return &disk{image: image}
}

// The same as [TestNothingAcknowledgedIsLostWhenKilled] for a machine that loses power: every write since the last sync is
// undone. It needs root, for mounts, and is run on request: RAGMESH_POWER_CUTS=20. With a NATS that does not sync (SyncAlways off)
// it failed at the first cut.
func TestNothingAcknowledgedIsLostInAPowerCut(t *testing.T) {
	cuts, seed := int(number(t, "RAGMESH_POWER_CUTS", 0)), number(t, "RAGMESH_SEED", 1)
	if cuts == 0 {
		t.Skip("RAGMESH_POWER_CUTS is not set")
	}
	if os.Getuid() != 0 {
		t.Skip("mounting disks needs root")
	}
	r := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	j, d, checked := openJournal(t, filepath.Join(dir, "journal")), newDisk(t, dir), 0
	t.Cleanup(func() { d.unmount() })
	var v *e2e.Victim
	defer func() {
		if t.Failed() {
			t.Logf("seed %d; the last process wrote:\n%s", seed, v.Log())
		}
	}()
	for life := range cuts {
		v = e2e.StartVictim(t, d.mount(t))
		v.Await()
		l := j.read(t)
		newCheck(t, v, l, checked).run(life%waitEvery == waitEvery-1)
		checked = l.notes
		w := startLoad(t, v, j, l, seed, life)
		<-time.After(time.Duration(20+r.IntN(1500)) * time.Millisecond)
		w.die()
		v.Pause()
		next := d.cut(t, filepath.Join(dir, fmt.Sprintf("%d.img", life+1)))
		v.Kill()
		w.stop()
		checkLog(t, v)
		d.unmount()
		d = next
		if t.Failed() {
			t.Fatalf("after %d power cuts", life+1)
		}
	}
	v = e2e.StartVictim(t, d.mount(t))
	v.Await()
	l := j.read(t)
	newCheck(t, v, l, 0).run(true)
	checkLog(t, v)
	v.Stop()
	checkFeedback(t, filepath.Join(d.mounted, "data", "nats"), l)
	t.Logf("%d power cuts, seed %d: %d acknowledgements", cuts, seed, l.acked)
}
