package keys_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/keys"
)

const (
	alice = "alice-0123456789abcdef"
	bob   = "bob-0123456789abcdef"
)

func file(t *testing.T, text string) config.Secret {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Secret{File: path}
}

func TestFind(t *testing.T) {
	t.Parallel()
	r, err := keys.New([]keys.Key{
		{Name: "alice", Secret: file(t, alice), Workspace: "a", Models: []string{"small"}},
		{Name: "bob", Secret: file(t, bob), Workspace: "b"},
	}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Find(alice)
	if err != nil || a.Name != "alice" || a.Workspace != "a" || !a.May("small") || a.May("large") {
		t.Errorf("alice's key is %+v, %v", a, err)
	}
	b, err := r.Find(bob)
	if err != nil || b.Name != "bob" || !b.May("large") {
		t.Errorf("bob's key is %+v, %v", b, err)
	}
	for _, wrong := range []string{"", "x", alice[:len(alice)-1], alice + "x", alice + bob, strings.Repeat("x", 10_000)} {
		k, err := r.Find(wrong)
		if k != nil || fault.KindOf(err) != fault.Unauthenticated || wrong != "" && strings.Contains(err.Error(), alice) {
			t.Errorf("%.30q: %+v, %v", wrong, k, err)
		}
	}
}

func TestWithoutKeysNobodyIsLetIn(t *testing.T) {
	t.Parallel()
	r, err := keys.New(nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Find(alice); fault.KindOf(err) != fault.Unauthenticated || !strings.Contains(err.Error(), "llm-gateway.yaml") {
		t.Errorf("got %v, want what to do", err)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	for name, all := range map[string][]keys.Key{
		"too short": {{Name: "alice", Secret: file(t, "short")}},
		"not there": {{Name: "alice", Secret: config.Secret{Env: "RAGMESH_NO_SUCH_KEY"}}},
		"the same":  {{Name: "alice", Secret: file(t, alice)}, {Name: "bob", Secret: file(t, alice)}},
	} {
		if _, err := keys.New(all, time.Now); err == nil || !strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), alice) {
			t.Errorf("%s: %v, want an error that names the key and does not say it", name, err)
		}
	}
}

// A mounted secret changes without the configuration's doing so; one that is gone is revoked.
func TestKeysInFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, b := file(t, alice), file(t, bob)
	r, err := keys.New([]keys.Key{{Name: "alice", Secret: a}, {Name: "bob", Secret: b}}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.File, []byte("alice-another-one-now"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.File); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Find(alice); err != nil {
		t.Errorf("before it is read again: %v", err)
	}
	now = now.Add(time.Minute)
	if _, err := r.Find(alice); err == nil {
		t.Error("the old key is still taken")
	}
	if _, err := r.Find("alice-another-one-now"); err != nil {
		t.Errorf("the new key is not: %v", err)
	}
	if _, err := r.Find(bob); err == nil {
		t.Error("a key whose file is gone is still taken")
	}
}
