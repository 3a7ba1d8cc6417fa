package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// smallDisk mounts a disk of a few megabytes, until the test ends.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	if os.Getuid() != 0 {
		t.Skip("only root mounts disks")
	}
	dir := t.TempDir()
	if err := syscall.Mount("ragmesh-test", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill takes all the space of a disk, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, step := range []int64{64 << 20, 1 << 20, 4 << 10} {
		for err = nil; err == nil; size += step {
			err = syscall.Fallocate(int(f.Fd()), 0, size, step)
		}
		size -= step
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// A full disk costs what would have to be written, says so, and nothing that was acknowledged. With space again everything
// goes on, without a restart.
func TestFullDisk(t *testing.T) {
	dir, docs := smallDisk(t, "size=1200m"), documents(t)
	s := e2e.StartAllInOne(t, e2e.WithData(filepath.Join(dir, "data")))
	must(t, s, "ingest", "--base", docs, docs)
	before := put(t, s, "", wantsBoth)
	free := fill(t, dir)

	for range 3 { // the disk's last blocks may still take one
		a := put(t, s, before.turn.GetSessionId(), wantsBoth)
		t.Logf("full: %s in %s, stored %s, degraded %v", a.outcome(), a.took, a.stored, a.degraded())
		if !strings.Contains(a.turn.GetAnswer(), "12 euros") || !a.names("save") || a.stored != dialogv1.Stored_STORED_UNSPECIFIED {
			t.Errorf("on a full disk: %s, stored %s, degraded %v, %q", a.outcome(), a.stored, a.degraded(), a.turn.GetAnswer())
		}
	}
	// Upload after upload, until one is refused. Those that were acknowledged before must not be lost.
	var acknowledged []string
	for n := 0; ; n++ {
		content := strings.Repeat(fmt.Sprintf("A loan of kind %d has an interest of 3 percent.\n\n", n), 10_000)
		id, told := upload(t, s, fmt.Sprintf("loan-%d.md", n), content)
		if told.Code != "" {
			if told.Code != "unavailable" || told.Reason != "STORE_UNAVAILABLE" || !strings.Contains(told.Message, "try again") {
				t.Errorf("on a full disk an upload is told %+v", told)
			}
			break
		}
		acknowledged = append(acknowledged, id)
		if n == 20 {
			t.Fatal("20 documents were taken in on a full disk")
		}
	}
	t.Logf("full: %d uploads acknowledged, then refused", len(acknowledged))
	free()
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		id, told := upload(t, s, "after.md", "# Loans\n\nA student loan has an interest of 3 percent.\n")
		if told.Code == "" {
			t.Logf("taken in again after %s", time.Since(began))
			acknowledged = append(acknowledged, id)
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("a minute after there was space again: %+v", told)
		}
	}
	if d := ended(t, s, acknowledged[len(acknowledged)-1]); d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		t.Errorf("the new document is %v", d)
	}
	for _, id := range acknowledged { // their jobs may wait for their next try, but they are there
		if told := send(t, s, "/ragmesh.retriever.v1.RetrieverService/GetDocument", `{"document_id": "`+id+`"}`); told.Code != "" {
			t.Errorf("an acknowledged document is gone: %+v", told)
		}
	}
	healthy(t, s)
	// NATS was started again for it: services that have not reconnected yet say so for a moment.
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		a := put(t, s, before.turn.GetSessionId(), wantsBoth)
		if len(a.degraded()) == 0 {
			t.Logf("whole again after %s", time.Since(began))
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("a minute after documents were taken in again the turn is degraded: %v", a.degraded())
		}
	}
	if told := send(t, s, getTurn, `{"turn_id": "`+before.turn.GetTurnId()+`"}`); told.Code != "" {
		t.Errorf("the turn from before is gone: %+v", told)
	}
}

// A disk that is too small from the beginning: nothing starts, and what would do is said.
func TestSmallDisk(t *testing.T) {
	dir := smallDisk(t, "size=16m")
	s := &e2e.System{Binary: filepath.Join(e2e.Binaries(t), "ragmesh")}
	code, stdout, stderr := s.Run(t, "", "up", "--data", filepath.Join(dir, "data"), "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "about 1 GB must be free") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// A data folder that can't be written: nothing starts, and the reason is said.
func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, "size=1m,ro")
	s := &e2e.System{Binary: filepath.Join(e2e.Binaries(t), "ragmesh")}
	code, stdout, stderr := s.Run(t, "", "up", "--data", filepath.Join(dir, "data"), "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "read-only") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// upload takes a small document in and returns its id, or what was told instead.
func upload(t *testing.T, s *e2e.System, name, content string) (string, refusal) {
	t.Helper()
	sum := sha256.Sum256([]byte(content))
	client := retrieverv1connect.NewRetrieverServiceClient(http.DefaultClient, s.Server)
	ctx, cancel := context.WithTimeout(t.Context(), 4*soonEnough)
	defer cancel()
	up, err := client.CreateUpload(ctx, &retrieverv1.CreateUploadRequest{Workspace: "default", SourceUri: name, SizeBytes: uint64(len(content)), Sha256: hex.EncodeToString(sum[:])})
	if err == nil && up.GetPartCount() > 0 {
		_, err = client.PutPart(ctx, &retrieverv1.PutPartRequest{Workspace: "default", UploadId: up.GetUploadId(), PartNumber: 1, Data: []byte(content)})
	}
	if err == nil {
		_, err = client.CommitUpload(ctx, &retrieverv1.CommitUploadRequest{Workspace: "default", UploadId: up.GetUploadId()})
	}
	if err != nil {
		f := fault.As(rpc.FromConnect(err))
		return "", refusal{connect.CodeOf(err).String(), fault.ReasonName(f.Reason), f.Message}
	}
	return up.GetDocumentId(), refusal{}
}
