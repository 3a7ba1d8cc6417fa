package process

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCodeIsWhatIsMappedFromFilesAndNotWritten(t *testing.T) {
	got := codeRanges(`00400000-02542000 r-xp 00000000 fe:00 7881 /usr/bin/ragmesh
02542000-04bfe000 r--p 02142000 fe:00 7881 /usr/bin/ragmesh (deleted)
04bfe000-05239000 rw-p 047fe000 fe:00 7881 /usr/bin/ragmesh
05239000-0527b000 rw-p 00000000 00:00 0
244fd400000-244fd800000 rw-p 00000000 00:00 0 [anon: Go: heap]
7f8fc5bd5000-7f8fc5d64000 r--s 00000000 fe:00 9911 /data/index/default/store/2a.zap
7ffd1a000000-7ffd1a002000 r-xp 00000000 00:00 0 [vdso]
7f8fc5d65000-7f8fc5d66000 r--p 00000000 fe:00 9912 /data/constants
zzz-7ffd1a002000 r-xp 00000000 fe:00 7881 /usr/bin/ragmesh
7ffd1a002000 r-xp 00000000 fe:00 7881 /usr/bin/ragmesh
7ffd1a002000-7ffd1a002000 r-xp 00000000 fe:00 7881 /usr/bin/ragmesh
`)
	want := []addresses{{0x400000, 0x2542000}, {0x2542000, 0x4bfe000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(addresses{})); diff != "" {
		t.Errorf("codeRanges (-want +got):\n%s", diff)
	}
}

// A loader has written to pages of a program with libraries that can't be written any more.
func TestProgramsWithLibrariesAreLeftAlone(t *testing.T) {
	got := codeRanges(`00400000-02542000 r-xp 00000000 fe:00 7881 /usr/bin/ragmesh
02542000-04bfe000 r--p 02142000 fe:00 7881 /usr/bin/ragmesh
7f8fc5bd5000-7f8fc5d64000 r-xp 00000000 fe:00 9911 /usr/lib/x86_64-linux-gnu/libc.so.6
7f8fc5d64000-7f8fc5d66000 r--p 00190000 fe:00 9911 /usr/lib/x86_64-linux-gnu/libc.so.6
`)
	if len(got) > 0 {
		t.Errorf("codeRanges = %v", got)
	}
}

// What is mapped says the same afterwards, and the program goes on.
func TestCodeIsStillThereWhenLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mapped")
	if err := os.WriteFile(file, []byte("constants"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := syscall.Mmap(int(f.Fd()), 0, len("constants"), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	before := string(mapped)
	if err := leaveCode(); err != nil {
		t.Fatal(err)
	}
	if after := string(mapped); before != "constants" || after != before {
		t.Errorf("the file said %q, and says %q now", before, after)
	}
	if err := syscall.Munmap(mapped); err != nil {
		t.Error(err)
	}
}
