package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

func take(t *testing.T, from *bus.Bus) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, _, err := backup.Take(t.Context(), from, &out, backup.Options{Version: "test", Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// passive is a bus to an empty NATS.
func passive(t testing.TB) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{Name: "restore", InProcess: bustest.NewServer(t, ""), Passive: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func restore(t *testing.T, archive []byte) *bus.Bus {
	t.Helper()
	checked, err := backup.Check(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	to := passive(t)
	if err := checked.Into(t.Context(), to, nil); err != nil {
		t.Fatal(err)
	}
	return to
}

func table(t *testing.T, b *bus.Bus, name string) *bus.KV {
	t.Helper()
	kv, err := b.KV(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func objects(t *testing.T, b *bus.Bus) *bus.Objects {
	t.Helper()
	o, err := b.Objects(t.Context(), bus.Originals)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Everything that was there is there again, and a restored installation can be backed up and restored itself.
func TestTakeAndRestore(t *testing.T) {
	t.Parallel()
	from := bustest.New(t)
	if _, err := table(t, from, bus.Keys).Put(t.Context(), "k", []byte("hash")); err != nil {
		t.Fatal(err)
	}
	if err := objects(t, from).Put(t.Context(), "w/d/h/1", strings.NewReader(strings.Repeat("original ", 40_000))); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := from.Publish(t.Context(), bus.TurnSubject("w", "s", fmt.Sprint(i)), fmt.Sprint(i), bytes.Repeat([]byte("x"), 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.Publish(t.Context(), bus.EventSubject("feedback", "w"), "f", []byte("up")); err != nil {
		t.Fatal(err)
	}
	once := restore(t, take(t, from))
	for name, b := range map[string]*bus.Bus{"restored": once, "restored twice": restore(t, take(t, once))} {
		if e, err := table(t, b, bus.Keys).Get(t.Context(), "k"); err != nil || string(e.Value) != "hash" {
			t.Errorf("%s: the key is %q, %v", name, e.Value, err)
		}
		if there, err := objects(t, b).Exists(t.Context(), "w/d/h/1"); !there || err != nil {
			t.Errorf("%s: the original: %v, %v", name, there, err)
		}
		for subject, want := range map[string]uint64{bus.TurnSubject("w", "s", "*"): 50, bus.EventSubject("feedback", "w"): 1} {
			stream := bus.Turns
			if want == 1 {
				stream = bus.Events
			}
			if n, err := b.Count(t.Context(), stream, subject); n != want || err != nil {
				t.Errorf("%s: %d messages on %s, %v", name, n, subject, err)
			}
		}
	}
}

// Documents are replaced and removed while backups are taken, as the retriever does it. In each archive every record has its
// original, no document that was there before is missing, and no original that nobody names is left.
func TestRecordsHaveTheirOriginals(t *testing.T) {
	t.Parallel()
	const documents = 12
	b := bustest.New(t)
	records, originals := table(t, b, bus.Documents), objects(t, b)
	name := func(d, v int) string { return fmt.Sprintf("w/d%d/v%d/1", d, v) }
	content := func(v int) *strings.Reader {
		return strings.NewReader(strings.Repeat(fmt.Sprintf("version %d ", v), 30_000))
	}
	write := func(ctx context.Context, d, v int) error {
		if err := originals.Put(ctx, name(d, v), content(v)); err != nil {
			return err
		}
		if _, err := records.Put(ctx, fmt.Sprintf("w.d%d", d), []byte(name(d, v))); err != nil {
			return err
		}
		for v > 0 {
			held, err := b.Held(ctx)
			if err != nil {
				return err
			}
			if !held {
				return originals.Delete(ctx, name(d, v-1))
			}
		}
		return nil
	}
	for d := range documents {
		if err := write(t.Context(), d, 0); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for v := 1; ctx.Err() == nil; v++ {
				for d := w; d < documents; d += 3 {
					began := time.Now()
					if err := write(ctx, d, v); err != nil && ctx.Err() == nil {
						t.Errorf("write: %v", err)
					}
					time.Sleep(2 * time.Since(began)) // or a busy machine does nothing else, and answers too late
				}
			}
		})
	}
	var archives [][]byte
	for range 4 {
		archives = append(archives, take(t, b))
	}
	cancel()
	writers.Wait()
	for i, archive := range archives {
		restored := restore(t, archive)
		entries, err := table(t, restored, bus.Documents).List(t.Context(), "")
		if err != nil || len(entries) != documents {
			t.Errorf("archive %d has %d of %d documents, %v", i, len(entries), documents, err)
		}
		for _, e := range entries {
			r, err := objects(t, restored).Get(t.Context(), string(e.Value))
			if err != nil {
				t.Errorf("archive %d: %s names %s: %v", i, e.Key, e.Value, err)
				continue
			}
			var got bytes.Buffer
			if _, err := got.ReadFrom(r); err != nil || got.Len() < 100_000 {
				t.Errorf("archive %d: %s has %d bytes, %v", i, e.Value, got.Len(), err)
			}
		}
	}
}

// interrupted has something happen before streams of a backup are read.
type interrupted struct {
	*bus.Bus
	before map[string]func()
}

func (i interrupted) Dump(ctx context.Context, stream string, after uint64, fn func(bus.Archived) error) (uint64, error) {
	if happen := i.before[stream]; happen != nil {
		happen()
	}
	return i.Bus.Dump(ctx, stream, after, fn)
}

// Workspaces come and go while a backup is taken: what is restored is in a workspace, so that nobody finds it in another one of its name.
func TestRecordsHaveTheirWorkspaces(t *testing.T) {
	t.Parallel()
	from := bustest.New(t)
	workspaces, sessions := table(t, from, bus.Workspaces), table(t, from, bus.Sessions)
	put := func(to *bus.KV, key string) {
		t.Helper()
		if _, err := to.Put(t.Context(), key, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	put(workspaces, "old")
	put(sessions, "old.s")
	var out bytes.Buffer
	source := interrupted{from, map[string]func(){
		bus.KeyValueStream(bus.Sessions): func() {
			put(workspaces, "new")
			put(sessions, "new.s")
		},
		bus.Turns: func() {
			if err := workspaces.Delete(t.Context(), "old"); err != nil {
				t.Fatal(err)
			}
		},
	}}
	if _, _, err := backup.Take(t.Context(), source, &out, backup.Options{Version: "test", Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	restored := restore(t, out.Bytes())
	want := []string{"new.s", "old.s"}
	if got, err := table(t, restored, bus.Sessions).Keys(t.Context(), ""); err != nil || !cmp.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("sessions are %v, %v, want %v", got, err, want)
	}
	want = []string{"new", "old"}
	if got, err := table(t, restored, bus.Workspaces).Keys(t.Context(), ""); err != nil || !cmp.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("workspaces are %v, %v, want %v", got, err, want)
	}
}

// resealed makes an archive anew after a change of its content, checksums of the compressor included.
func resealed(t *testing.T, archive []byte, change func([]byte) []byte) []byte {
	t.Helper()
	in, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	plain, err := in.DecodeAll(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out.EncodeAll(change(plain), nil)
}

// A bad archive is refused with its reason, and nothing was changed.
func TestBadArchives(t *testing.T) {
	t.Parallel()
	from := bustest.New(t)
	for i := range 30 {
		if err := from.Publish(t.Context(), bus.TurnSubject("w", "s", fmt.Sprint(i)), fmt.Sprint(i), bytes.Repeat([]byte("question "), 9000)); err != nil {
			t.Fatal(err)
		}
	}
	good := take(t, from)
	replace := func(old, with string) func([]byte) []byte {
		return func(plain []byte) []byte {
			if !bytes.Contains(plain, []byte(old)) {
				t.Fatalf("the archive has no %q", old)
			}
			return bytes.Replace(plain, []byte(old), []byte(with), 1)
		}
	}
	tests := map[string]struct {
		archive []byte
		want    error
	}{
		"nothing":                 {nil, backup.ErrTruncated},
		"something else":          {[]byte("PK\x03\x04 something else"), backup.ErrNotAnArchive},
		"half":                    {good[:len(good)/2], backup.ErrTruncated},
		"without its last bytes":  {good[:len(good)-9], backup.ErrTruncated},
		"a word":                  {resealed(t, good, replace("question question", "question quextion")), backup.ErrAltered},
		"a subject":               {resealed(t, good, replace("ragmesh.turn.v1.w.s", "ragmesh.turn.v1.w.x")), backup.ErrAltered},
		"something after its end": {append(bytes.Clone(good), good...), backup.ErrAltered},
		"a newer format":          {resealed(t, good, replace(`"format": 1,`, `"format": 2,`)), backup.ErrNewer},
		"an unknown stream":       {resealed(t, good, replace(`"KV_RAGMESH_KEYS"`, `"KV_RAGMESH_MAPS"`)), backup.ErrNewer},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := backup.Check(bytes.NewReader(tc.archive)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	whole, err := backup.Check(bytes.NewReader(good))
	if err != nil {
		t.Fatalf("the archive itself: %v", err)
	}
	t.Run("a bit", func(t *testing.T) {
		t.Parallel()
		for at := 0; at < len(good); at += 1 + len(good)/100 {
			flipped := bytes.Clone(good)
			flipped[at] ^= 4
			got, err := backup.Check(bytes.NewReader(flipped))
			if err == nil { // other bits may mean the same content
				if diff := cmp.Diff(whole.Manifest, got.Manifest); diff != "" {
					t.Errorf("bit of byte %d of %d (-want +got):\n%s", at, len(good), diff)
				}
				continue
			}
			// A bit of a length, a name or the beginning is taken for what it looks like.
			if !slices.ContainsFunc([]error{backup.ErrAltered, backup.ErrTruncated, backup.ErrNotAnArchive, backup.ErrNewer}, func(known error) bool { return errors.Is(err, known) }) {
				t.Errorf("bit of byte %d of %d: got %v, want it called damaged", at, len(good), err)
			}
		}
	})
}

// An archive is never held in memory, and what ends a backup early leaves no archive.
func TestTakeEndsWithItsReader(t *testing.T) {
	t.Parallel()
	from := bustest.New(t)
	for i := range 40 {
		if err := from.Publish(t.Context(), bus.TurnSubject("w", "s", fmt.Sprint(i)), fmt.Sprint(i), bytes.Repeat([]byte{byte(i), 3, 7}, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	full := errors.New("no space left")
	var out bytes.Buffer
	_, _, err := backup.Take(t.Context(), from, limited{&out, 2 << 10, full}, backup.Options{Version: "test", Clock: time.Now})
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if _, err := backup.Check(bytes.NewReader(out.Bytes())); err == nil {
		t.Error("half of an archive is taken for one")
	}
	if held, err := from.Held(t.Context()); held || err != nil {
		t.Errorf("originals are held after it: %v, %v", held, err)
	}
}

type limited struct {
	to   *bytes.Buffer
	left int
	err  error
}

func (l limited) Write(p []byte) (int, error) {
	if l.to.Len()+len(p) > l.left {
		return 0, l.err
	}
	return l.to.Write(p)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PK"))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x00, 0x01, 0x00, 0x00, 0x99, 0xe9, 0xd8, 0x51})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, err := backup.Read(bytes.NewReader(data), nil); err == nil {
			t.Error("noise is an archive")
		}
	})
}

// BenchmarkTake and BenchmarkRestore say how fast originals are written and restored, of text that compresses to about a
// third.
func BenchmarkTake(b *testing.B) {
	from := filled(b)
	for b.Loop() {
		if _, _, err := backup.Take(b.Context(), from, io.Discard, backup.Options{Version: "test", Clock: time.Now}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	from := filled(b)
	var archive bytes.Buffer
	if _, _, err := backup.Take(b.Context(), from, &archive, backup.Options{Version: "test", Clock: time.Now}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		checked, err := backup.Check(bytes.NewReader(archive.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		if err := checked.Into(b.Context(), passive(b), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func filled(b *testing.B) *bus.Bus {
	b.Helper()
	const parts, size = 128, 1 << 20
	from := bustest.New(b)
	o, err := from.Objects(b.Context(), bus.Originals)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range parts {
		text := make([]byte, size)
		for k := range text {
			text[k] = "etaoin shrdlu etaoin "[r.IntN(21)]
		}
		if err := o.Put(b.Context(), fmt.Sprintf("w/d/h/%d", i), bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(parts * size)
	return from
}
