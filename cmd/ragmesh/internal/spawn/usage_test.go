package spawn

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	line := "42 (a ) b) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 7 8 20 0 9 0 100 200000 300 18446744073709551615 1 1"
	cpu, rss, err := parseStat([]byte(line))
	if err != nil || cpu != 2*time.Second || rss != 300*int64(os.Getpagesize()) {
		t.Errorf("parseStat = %s, %d, %v; want 2s, 300 pages", cpu, rss, err)
	}
	for _, bad := range []string{"", "42 (a) S 1", "42 (a) S 1 42 42 0 -1 4194304 1 2 3 4 x 50 7 8 20 0 9 0 100 200000 300"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) gave no error", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 7 8 20 0 9 0 100 200000 300"))
	f.Fuzz(func(_ *testing.T, stat []byte) { _, _, _ = parseStat(stat) })
}

func TestSystemsAreConfiguredByOptionsOnly(t *testing.T) {
	t.Parallel()
	got := environ([]string{"HOME=/h", "RAGMESH_DIALOG__RPC__ADDR=:1", "PATH=/p"})
	if len(got) != 2 || got[0] != "HOME=/h" || got[1] != "PATH=/p" {
		t.Errorf("environ = %v", got)
	}
}

func TestAProgramThatDoesNotStartIsExplained(t *testing.T) {
	t.Parallel()
	_, err := AllInOne(t.Context(), Options{Binary: "/bin/false", Data: t.TempDir()})
	if err == nil {
		t.Fatal("AllInOne succeeded with a program that ends at once")
	}
}
