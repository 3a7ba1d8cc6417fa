package identity

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "keys")
	keys := newKeys(t)
	if err := WriteKeys(dir, keys); err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		modes[e.Name()] = info.Mode().Perm()
	}
	want := map[string]fs.FileMode{
		"jwks.json": 0o644, "bootstrap.key": 0o600,
		"dialog.pem": 0o600, "retriever.pem": 0o600, "tools.pem": 0o600, "llm-gateway.pem": 0o600, "eval.pem": 0o600,
	}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	loaded, err := LoadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys, loaded); diff != "" {
		t.Error("keys read are not those written")
	}
	if !strings.HasPrefix(loaded.Bootstrap, BootstrapPrefix) || len(loaded.Bootstrap) < 40 {
		t.Errorf("bootstrap key has %d characters", len(loaded.Bootstrap))
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %s", info.Mode().Perm())
	}
	set, err := OpenKeySet(filepath.Join(dir, JWKSFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := newSigner(t, keys, Eval, nil).Token(t.Context(), alice(), Dialog)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewVerifier(set, nil).Verify(token, Dialog); err != nil {
		t.Error(err)
	}
}

func TestWriteKeysNeverOverwrites(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bootstrap.key", "jwks.json", "tools.pem"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := WriteKeys(dir, newKeys(t)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("got %v", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 1 || string(data) != "mine" {
				t.Errorf("%d files, content %q", len(entries), data)
			}
		})
	}
}

func TestLoadKeys(t *testing.T) {
	t.Parallel()
	t.Run("a service's own machine", func(t *testing.T) {
		t.Parallel()
		from, dir := t.TempDir(), t.TempDir()
		if err := WriteKeys(from, newKeys(t)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(from, "eval.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "eval.pem"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := LoadKeys(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(keys.Private) != 1 || keys.Private[Eval] == nil || keys.Bootstrap != "" {
			t.Errorf("got %d keys", len(keys.Private))
		}
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if _, err := LoadKeys(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "eval.pem"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeys(dir); err == nil || !strings.Contains(err.Error(), "eval.pem") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFileSetFollowsTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), JWKSFile)
	now := epoch()
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	jwks := func(k *Keys) []byte {
		t.Helper()
		data, err := k.JWKS()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	knows := func(s *FileSet, k *Keys) bool {
		_, ok := s.Key(KeyID(Dialog, k.Private[Dialog].Public().(ed25519.PublicKey)))
		return ok
	}
	before, after := newKeys(t), newKeys(t)
	write(jwks(before))
	set, err := OpenKeySet(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if !knows(set, before) || knows(set, after) {
		t.Error("not the first version's keys")
	}
	write(jwks(after))
	if knows(set, before) || !knows(set, after) || set.Err() != nil {
		t.Error("not the second version's keys")
	}
	for name, bad := range map[string]string{"no JSON": "{", "no keys": "{}", "too large": strings.Repeat(" ", maxKeyFile+1)} {
		write([]byte(bad))
		if !knows(set, after) || set.Err() == nil {
			t.Errorf("%s: the last good version is gone, or the failure unsaid (%v)", name, set.Err())
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if !knows(set, after) || set.Err() == nil {
		t.Error("file gone: the last good version is gone too, or the failure unsaid")
	}
	write(jwks(before))
	if !knows(set, before) || set.Err() != nil {
		t.Error("not the newest version's keys")
	}
	// Between two looks nothing is read.
	stamp := now
	write(jwks(after))
	now = stamp.Add(pollEvery - time.Millisecond)
	if !knows(set, before) {
		t.Error("looked at the file again within the interval")
	}
}

func TestOpenKeySetRefuses(t *testing.T) {
	t.Parallel()
	if _, err := OpenKeySet(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestParseJWKSBindsIDsToKeys(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	data, err := keys.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	id := func(service string) string {
		return KeyID(service, keys.Private[service].Public().(ed25519.PublicKey))
	}
	for name, bad := range map[string]string{
		"another service's id": strings.ReplaceAll(string(data), id(Tools), id(Dialog)),
		"no such service":      strings.ReplaceAll(string(data), id(Tools), "stranger."+strings.TrimPrefix(id(Tools), "tools.")),
		"a secret":             `{"keys":[{"kty":"oct","kid":"dialog.00","k":"AAAA"}]}`,
		"a private key's kid":  `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"dialog","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
	} {
		if _, err := ParseJWKS([]byte(bad)); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func FuzzParseJWKS(f *testing.F) {
	data, err := newKeys(f).JWKS()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"dialog.00","k":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseJWKS(data)
		if (set == nil) == (err == nil) {
			t.Errorf("set %v, error %v", set, err)
		}
	})
}

func FuzzParsePrivateKey(f *testing.F) {
	data, err := EncodePrivateKey(newKeys(f).Private[Dialog])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := ParsePrivateKey(data); err == nil && len(key) != ed25519.PrivateKeySize {
			t.Errorf("key of %d bytes", len(key))
		}
	})
}
