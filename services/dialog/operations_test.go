package dialog_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
)

func (m *mesh) operations() dialogv1connect.OperationsServiceClient {
	return dialogv1connect.NewOperationsServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
}

// Whoever has the bootstrap key gets an archive of what was acknowledged, which leaves a trace; nobody else does.
func TestBackup(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	m.as(t, bootstrap)
	h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	key, err := m.keys.CreateKey(t.Context(), &dialogv1.CreateKeyRequest{Name: "an administrator's", Role: dialogv1.AccessRole_ACCESS_ROLE_ADMIN})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := m.operations().Backup(t.Context(), &dialogv1.BackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var archive bytes.Buffer
	var done *dialogv1.BackupCompleted
	told := map[string]uint64{}
	for stream.Receive() {
		switch e := stream.Msg().GetEvent().(type) {
		case *dialogv1.BackupResponse_Data:
			archive.Write(e.Data)
		case *dialogv1.BackupResponse_Part:
			told[e.Part.GetStream()] = e.Part.GetMessages()
		case *dialogv1.BackupResponse_Completed:
			done = e.Completed
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(archive.Bytes())
	if done.GetSha256() != hex.EncodeToString(sum[:]) || int(done.GetSizeBytes()) != archive.Len() || len(done.GetParts()) != len(backup.Streams()) {
		t.Errorf("it says %v of %d bytes", done, archive.Len())
	}
	turns, audited := 0, 0
	if _, _, err := backup.Read(bytes.NewReader(archive.Bytes()), func(stream string, msg bus.Archived) error {
		switch {
		case stream == bus.Turns && bytes.Contains(msg.Data, []byte(h.turn.GetTurnId())):
			turns++
		case stream == bus.Events && bytes.Contains(msg.Data, []byte("backup")):
			audited++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if turns != 1 || audited != 1 || told[bus.Turns] != 1 {
		t.Errorf("the archive has the turn %d times and the audit event %d times; told was %v", turns, audited, told)
	}

	m.as(t, key.GetSecret())
	refused, err := m.operations().Backup(t.Context(), &dialogv1.BackupRequest{})
	if err == nil {
		defer refused.Close()
		if refused.Receive() {
			t.Error("an ordinary key gets a backup")
		}
		err = refused.Err()
	}
	if fault.KindOf(err) != fault.Denied || fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("an ordinary key: %v", err)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for i := range 120 { // more than what is buffered on the way
		noise := make([]byte, 200_000)
		_, _ = rand.Read(noise)
		if err := m.bus.Publish(t.Context(), bus.EventSubject("feedback", "w"), fmt.Sprint(i), noise); err != nil {
			t.Fatal(err)
		}
	}
	first, err := m.operations().Backup(t.Context(), &dialogv1.BackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !first.Receive() {
		t.Fatal(first.Err())
	}
	second, err := m.operations().Backup(t.Context(), &dialogv1.BackupRequest{})
	if err == nil {
		defer second.Close()
		if second.Receive() {
			t.Error("two backups run")
		}
		err = second.Err()
	}
	if fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a second one: %v", err)
	}
	size := 0
	for ok := true; ok; ok = first.Receive() {
		size += len(first.Msg().GetData())
	}
	if err := first.Err(); err != nil || size < 24_000_000 {
		t.Errorf("the first has %d bytes, %v", size, err)
	}
	_ = first.Close()
}
