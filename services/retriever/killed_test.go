package retriever_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	seeded "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever"
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate/weaviatetest"
)

// TestKilledAnywhere kills a retriever, with its NATS, by `kill -9` at seeded random moments, some amid its start, while documents are
// taken in, replaced and deleted. However often that happens, it ends with the documents, the ten best passages of every
// question and the scores that it has after one run that nobody disturbed.
//
// RAGMESH_KILLED_RUNS=100 is the long run, on both stores; RAGMESH_SEED is another one.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes, and waits for the leases of those that were killed")
	}
	runs, seed := 2, 1
	for name, value := range map[string]*int{"RAGMESH_KILLED_RUNS": &runs, "RAGMESH_SEED": &seed} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *value, err = strconv.Atoi(text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		killed(t, runs, seed, nil)
	})
	t.Run("weaviate", func(t *testing.T) {
		t.Parallel()
		if os.Getenv("REQUIRE_WEAVIATE") == "" && os.Getenv("RAGMESH_KILLED_RUNS") == "" {
			t.Skip("starts a Weaviate; set REQUIRE_WEAVIATE (`make test-weaviate` does) or RAGMESH_KILLED_RUNS")
		}
		at := weaviateServer(t)
		killed(t, runs, seed, func() []string {
			return []string{"VICTIM_WEAVIATE=" + at.URL, "VICTIM_WEAVIATE_GRPC=" + at.GRPCURL, "VICTIM_WEAVIATE_KEY=" + at.APIKey, "VICTIM_COLLECTION=Killed" + rand.Text()}
		})
	})
}

// weaviateServer is a Weaviate that ends with the test.
func weaviateServer(t *testing.T) *weaviatetest.Server {
	t.Helper()
	at, err := weaviatetest.Start(t.Context())
	if err != nil {
		weaviatetest.Missing(t, err)
	}
	t.Cleanup(at.Stop)
	return at
}

// killsAtOnce is how many runs there are at the same time: most of a run is waiting for leases.
const killsAtOnce = 6

// killed makes runs, and compares what is left with a run that nobody disturbed.
func killed(t *testing.T, runs, seed int, environment func() []string) {
	t.Helper()
	if environment == nil {
		environment = func() []string { return nil }
	}
	clean := &victim{dir: t.TempDir(), environment: environment()}
	clean.start(t)
	clean.wait(t)
	want := clean.left(t)
	if len(want.Documents) == 0 || len(want.Answers) == 0 {
		t.Fatal("the run that nobody disturbed has left nothing")
	}
	places := make(chan struct{}, killsAtOnce)
	for run := range runs {
		t.Run(fmt.Sprint(seed, "/", run), func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			r := seeded.New(seeded.NewPCG(uint64(seed), uint64(run)))
			v := &victim{dir: t.TempDir(), environment: append(environment(), "VICTIM_WANT="+filepath.Join(clean.dir, "left"))}
			for range 2 + r.IntN(3) { // after five attempts a job has failed, as it should
				v.start(t)
				if r.IntN(5) > 0 {
					v.working(t)
				}
				v.killAfter(t, time.Duration(r.IntN(2500))*time.Millisecond)
			}
			v.start(t)
			v.wait(t)
			if diff := cmp.Diff(want, v.left(t)); diff != "" {
				t.Errorf("other than after a run that nobody disturbed (-want +got):\n%s", diff)
			}
		})
	}
}

// victim is a process that is to be killed: [TestVictim] in this test's own program.
type victim struct {
	dir         string
	environment []string
	command     *exec.Cmd
	ended       chan struct{}
	said        bytes.Buffer
}

func (v *victim) start(t *testing.T) {
	t.Helper()
	_ = os.Remove(filepath.Join(v.dir, "working"))
	v.said.Reset()
	v.command = exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.timeout=15m")
	v.command.Env = append(append(os.Environ(), "VICTIM_DIR="+v.dir, "TMPDIR="+v.dir), v.environment...) // who is killed removes nothing
	v.command.Stdout, v.command.Stderr = &v.said, &v.said
	if err := v.command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	v.ended = ended
	go func() {
		_ = v.command.Wait()
		close(ended)
	}()
	t.Cleanup(func() { _ = v.command.Process.Kill(); <-ended })
}

// working waits until the process takes in documents.
func (v *victim) working(t *testing.T) {
	t.Helper()
	for {
		if _, err := os.Stat(filepath.Join(v.dir, "working")); err == nil {
			return
		}
		select {
		case <-v.ended:
			t.Fatalf("it ended by itself:\n%s", v.said.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (v *victim) killAfter(t *testing.T, pause time.Duration) {
	t.Helper()
	select {
	case <-v.ended: // it was through
	case <-time.After(pause):
		if err := v.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		<-v.ended
	}
}

func (v *victim) wait(t *testing.T) {
	t.Helper()
	<-v.ended
	if !v.command.ProcessState.Success() {
		t.Fatalf("it ended with %v:\n%s", v.command.ProcessState, v.said.String())
	}
}

// left reads what the process says is there at the end.
func (v *victim) left(t *testing.T) (l left) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(v.dir, "left"))
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// left is what there is to be found.
type left struct {
	Documents []string            // each with its state and live version
	Answers   map[string][]string // by question, each with its score
}

// TestVictim is the process that [TestKilledAnywhere] kills. It does what was not acknowledged yet, writes down what is there
// once that is what it should be, and ends.
func TestVictim(t *testing.T) {
	dir := os.Getenv("VICTIM_DIR")
	if dir == "" {
		t.Skip("is run by TestKilledAnywhere")
	}
	nats, err := natsserver.Start(t.Context(), natsserver.Options{Dir: filepath.Join(dir, "nats"), NoSync: true, Log: zerolog.Nop(), MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Shutdown()
	b, err := bus.Connect(t.Context(), bus.Options{InProcess: nats, Name: "victim", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureTopology(t.Context()); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "retriever")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	f := run(t, b, data, t.TempDir(), victimConfig(), rpc.Conn{})
	defer f.stop()
	journal, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = journal.Close() }()
	done, err := os.ReadFile(journal.Name())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "working"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n, step := range steps() {
		if n < len(done) {
			continue
		}
		if err := step(f); err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if _, err := journal.WriteString("."); err != nil {
			t.Fatal(err)
		}
	}
	is := f.settle(os.Getenv("VICTIM_WANT"))
	if err := os.WriteFile(filepath.Join(dir, "left"), is, 0o600); err != nil {
		t.Fatal(err)
	}
}

func victimConfig() retriever.Config {
	c := retriever.Defaults()
	if url := os.Getenv("VICTIM_WEAVIATE"); url != "" {
		c.Store = "weaviate"
		c.Weaviate.URL, c.Weaviate.GRPCURL, c.Weaviate.Collection = url, os.Getenv("VICTIM_WEAVIATE_GRPC"), os.Getenv("VICTIM_COLLECTION")
		c.Weaviate.Timeout = time.Minute
		if os.Getenv("VICTIM_WEAVIATE_KEY") != "" {
			c.Weaviate.APIKey = config.Secret{Env: "VICTIM_WEAVIATE_KEY"}
		}
	}
	return c
}

// steps is what becomes of the documents, each step acknowledged before the next: some are replaced, some twice, some deleted,
// one of those comes back; one is long enough to be indexed in parts.
func steps() (all []func(*fixture) error) {
	put := func(source string, edition, paragraphs int) {
		var b strings.Builder
		for n := range paragraphs {
			// The words that are asked for are in few passages, so that no place among the best is given by chance.
			fmt.Fprintf(&b, "## Part tag%d\n\nThe walrus of edition%dpart%d sleeps on an ice floe in %s. 海象%c%c在浮冰上睡觉。%s\n\n",
				n, edition, n, source, 0x4e00+n, 0x5e00+n, strings.Repeat(" It dreams of clams and herring.", n%13))
		}
		all = append(all, func(f *fixture) error {
			for {
				_, err := f.tryUpload(source, "", b.String())
				if fault.KindOf(err) != fault.Conflict { // what is being deleted is refused until it is gone
					return err
				}
				select {
				case <-f.Context().Done():
					return err
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	remove := func(source string) {
		all = append(all, func(f *fixture) error {
			listed, err := f.client.ListDocuments(f.ctx(), &retrieverv1.ListDocumentsRequest{Workspace: workspace, SourcePrefix: source})
			for _, d := range listed.GetDocuments() { // none when that was done, and not acknowledged
				_, err = f.client.DeleteDocument(f.ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: d.GetDocumentId()})
			}
			if fault.KindOf(err) == fault.NotFound {
				return nil
			}
			return err
		})
	}
	for _, source := range []string{"a.md", "b.md", "c.md", "d.md"} {
		put(source, 1, 8)
	}
	put("long.md", 1, 2600)
	for _, source := range []string{"a.md", "b.md", "e.md", "f.md"} {
		put(source, 2, 12)
	}
	remove("c.md")
	put("b.md", 3, 5)
	remove("e.md")
	put("long.md", 2, 2400)
	remove("f.md")
	put("c.md", 4, 9)
	put("g.md", 1, 3)
	return all
}

// settle waits until there is what is wanted, in whatever file, or without one until nothing changes any more, and returns what
// there is.
func (f *fixture) settle(want string) []byte {
	f.Helper()
	wanted, err := os.ReadFile(want)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Fatal(err)
	}
	var last []byte
	deadline := time.Now().Add(heavyWait)
	for time.Now().Before(deadline) {
		is, done := f.state()
		if done && (len(wanted) > 0 && bytes.Equal(is, wanted) || len(wanted) == 0 && bytes.Equal(is, last)) {
			return is
		}
		last = is
		select {
		case <-f.Context().Done():
			return last
		case <-time.After(500 * time.Millisecond):
		}
	}
	return last
}

// state is what there is to be found, and whether nothing is under way.
func (f *fixture) state() (encoded []byte, done bool) {
	f.Helper()
	done = true
	for _, row := range f.service.Ready(f.Context()) {
		done = done && row.Ready
	}
	is := left{Answers: map[string][]string{}}
	listed, err := f.client.ListDocuments(f.ctx(), &retrieverv1.ListDocumentsRequest{Workspace: workspace, PageSize: 100})
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range listed.GetDocuments() {
		done = done && d.GetState() == ready && d.GetVersion() == d.GetLiveVersion()
		is.Documents = append(is.Documents, fmt.Sprintln(d.GetSourceUri(), d.GetState(), d.GetLiveVersion(), d.GetChunkCount()))
	}
	for _, question := range []string{"tag3", "What is tag7?", "tag11 or tag0", "edition1part3", "edition2part2399 and edition1part2599", "edition4part8 and edition3part4", string([]rune{0x4e05, 0x5e05})} {
		ctx, cancel := context.WithTimeout(f.ctx(), time.Minute)
		got, err := f.client.Search(ctx, &retrieverv1.SearchRequest{Workspace: workspace, Query: question, TopK: 10})
		cancel()
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range got.GetPassages() {
			is.Answers[question] = append(is.Answers[question], fmt.Sprintf("%s %s %.9f %s", p.GetSourceUri(), p.GetVersion()[:8], p.GetScore(), p.GetText()))
		}
	}
	encoded, err = json.Marshal(is)
	if err != nil {
		f.Fatal(err)
	}
	return encoded, done
}
