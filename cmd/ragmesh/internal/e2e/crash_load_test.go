package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

const (
	uploaders = 2
	askers    = 2
	slots     = 12 // documents of one uploader; each is replaced again and again
	keyEvery  = 5  // keys made in one life of the server
)

// load works on one life of a server until that is killed.
type load struct {
	t       *testing.T
	client  *client.Client
	journal *journal
	ledger  *ledger // as it was when this life began
	life    int
	dying   atomic.Bool // what fails from now on fails because of us
	workers sync.WaitGroup
	cancel  context.CancelFunc
}

// startLoad starts to use a server that is ready.
func startLoad(t *testing.T, v *e2e.Victim, j *journal, l *ledger, seed uint64, life int) *load {
	t.Helper()
	c, err := client.New(client.Options{Server: v.Server})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &load{t: t, client: c, journal: j, ledger: l, life: life, cancel: cancel}
	run := func(id int, work func(context.Context, *rand.Rand, int) error) {
		w.workers.Go(func() {
			if err := work(ctx, rand.New(rand.NewPCG(seed, uint64(life*100+id))), id); err != nil && !w.dying.Load() {
				t.Errorf("life %d: %v", life, err)
			}
		})
	}
	for i := range uploaders {
		run(i, w.upload)
	}
	for i := range askers {
		run(uploaders+i, w.ask)
	}
	run(uploaders+askers, w.keys)
	return w
}

// die says that the server is about to be killed.
func (w *load) die() { w.dying.Store(true) }

// stop ends the load after that.
func (w *load) stop() {
	w.cancel()
	w.workers.Wait()
	w.client.Close()
}

// word makes a word of letters that no other part of the run uses.
func word(parts ...int) string {
	out := "zq"
	for _, p := range parts {
		digits := ""
		for ; p > 0 || digits == ""; p /= 20 {
			digits += string(rune('a' + p%20))
		}
		out += digits + "x"
	}
	return out
}

// content makes a document of sections that become a chunk each, the first of which hold the token.
func content(token string, sections int) (text string, marked int) {
	var b strings.Builder
	for i := range sections {
		fmt.Fprintf(&b, "## Section %d\n\n", i+1)
		if i < 40 {
			fmt.Fprintf(&b, "This part is about %s. ", token)
			marked++
		}
		for s := range 14 {
			fmt.Fprintf(&b, "Sentence %d of part %d says that the fee is %d euros. ", s+1, i+1, s*7+i)
		}
		b.WriteString("\n\n")
	}
	return b.String(), marked
}

// upload replaces, and at times deletes, the documents of one uploader.
func (w *load) upload(ctx context.Context, r *rand.Rand, id int) error {
	for n := 0; ; n++ {
		slot := r.IntN(slots)
		source := fmt.Sprintf("docs/%d-%d.md", id, slot)
		if r.IntN(12) == 0 {
			if err := w.remove(ctx, source); err != nil {
				return err
			}
			continue
		}
		sections := 1 + r.IntN(8)
		if r.IntN(10) == 0 {
			sections = 400 + r.IntN(1600) // up to two parts of an upload, and stages that show
		}
		token := word(w.life, id, n)
		text, marked := content(token, sections)
		sum := sha256.Sum256([]byte(text))
		v := value{Hash: hex.EncodeToString(sum[:]), Token: token, Marked: marked}
		if err := w.journal.try(aDocument, source, v); err != nil {
			return err
		}
		if err := w.send(ctx, source, text, v.Hash); err != nil {
			return fmt.Errorf("upload %s: %w", source, err)
		}
		if err := w.journal.ack(aDocument, source, v); err != nil {
			return err
		}
	}
}

func (w *load) send(ctx context.Context, source, text, hash string) error {
	created, err := w.client.Retriever.CreateUpload(ctx, &retrieverv1.CreateUploadRequest{SourceUri: source, SizeBytes: uint64(len(text)), Sha256: hash})
	if err != nil {
		return err
	}
	size := int(created.GetPartSizeBytes())
	for part := range int(created.GetPartCount()) {
		_, err := w.client.Retriever.PutPart(ctx, &retrieverv1.PutPartRequest{
			UploadId: created.GetUploadId(), PartNumber: uint32(part + 1), Data: []byte(text[part*size : min((part+1)*size, len(text))]),
		})
		if err != nil {
			return err
		}
	}
	for { // a document whose deletion an earlier life began is refused until that has ended
		_, err = w.client.Retriever.CommitUpload(ctx, &retrieverv1.CommitUploadRequest{UploadId: created.GetUploadId()})
		if fault.KindOf(err) != fault.Conflict {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *load) remove(ctx context.Context, source string) error {
	found, err := w.client.Retriever.ListDocuments(ctx, &retrieverv1.ListDocumentsRequest{SourcePrefix: source, PageSize: 100})
	if err != nil {
		return fmt.Errorf("list %s: %w", source, err)
	}
	for _, d := range found.GetDocuments() {
		if d.GetSourceUri() != source {
			continue
		}
		if err := w.journal.try(aDocument, source, value{}); err != nil {
			return err
		}
		if _, err := w.client.Retriever.DeleteDocument(ctx, &retrieverv1.DeleteDocumentRequest{DocumentId: d.GetDocumentId()}); err != nil {
			return fmt.Errorf("delete %s: %w", source, err)
		}
		return w.journal.ack(aDocument, source, value{})
	}
	return nil
}

// ask asks questions in short sessions, repeats the requests that an earlier life left without an answer, judges turns and
// renames sessions.
func (w *load) ask(ctx context.Context, r *rand.Rand, id int) error {
	for request, f := range w.ledger.fates[aTurn] {
		if f.settled == nil && len(f.open) == 1 && strings.HasPrefix(request, fmt.Sprintf("a%d-", id)) {
			if _, err := w.chat(ctx, request, f.open[0]); err != nil {
				return fmt.Errorf("repeat %s: %w", request, err)
			}
		}
	}
	session := ""
	for n := 0; ; n++ {
		if n%4 == 0 {
			session = ""
		}
		request := fmt.Sprintf("a%d-%d-%d", id, w.life, n)
		v := value{Text: fmt.Sprintf("What is the fee in part %d? %s", r.IntN(9), request), Session: session}
		if err := w.journal.try(aTurn, request, v); err != nil {
			return err
		}
		turn, err := w.chat(ctx, request, v)
		if err != nil {
			return fmt.Errorf("ask %s: %w", request, err)
		}
		session = turn.GetSessionId()
		if r.IntN(3) == 0 {
			if err := w.judge(ctx, turn, request); err != nil {
				return err
			}
		}
		if r.IntN(4) == 0 {
			title := value{Text: "About " + request}
			if err := w.journal.try(aTitle, session, title); err != nil {
				return err
			}
			if _, err := w.client.Dialog.RenameSession(ctx, &dialogv1.RenameSessionRequest{SessionId: session, Title: title.Text}); err != nil {
				return fmt.Errorf("rename %s: %w", session, err)
			}
			if err := w.journal.ack(aTitle, session, title); err != nil {
				return err
			}
		}
	}
}

func (w *load) judge(ctx context.Context, turn *dialogv1.Turn, comment string) error {
	v := value{Turn: turn.GetTurnId()}
	if err := w.journal.try(aFeedback, comment, v); err != nil {
		return err
	}
	_, err := w.client.Dialog.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{TurnId: turn.GetTurnId(), Verdict: dialogv1.Verdict_VERDICT_UP, Comment: comment})
	if err != nil {
		return fmt.Errorf("judge %s: %w", comment, err)
	}
	return w.journal.ack(aFeedback, comment, v)
}

// chat asks one question and notes the turn once it is said to be stored.
func (w *load) chat(ctx context.Context, request string, v value) (*dialogv1.Turn, error) {
	stream, err := w.client.Dialog.Chat(ctx, &dialogv1.ChatRequest{Question: v.Text, SessionId: v.Session, RequestId: request})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		switch event := stream.Msg().GetEvent().(type) {
		case *dialogv1.ChatResponse_Failed:
			return nil, fmt.Errorf("the turn failed: %s", event.Failed.GetMessage())
		case *dialogv1.ChatResponse_Completed:
			turn := event.Completed.GetTurn()
			if event.Completed.GetStored() == dialogv1.Stored_STORED_UNSPECIFIED {
				return nil, fmt.Errorf("turn %s was not stored: %v", turn.GetTurnId(), turn.GetDegradations())
			}
			return turn, w.journal.ack(aTurn, request, value{Text: v.Text, Turn: turn.GetTurnId(), Session: turn.GetSessionId()})
		}
	}
	if stream.Err() == nil {
		return nil, errors.New("the stream ended without an end of the turn")
	}
	return nil, stream.Err()
}

// keys makes a few API keys and revokes every other one.
func (w *load) keys(ctx context.Context, r *rand.Rand, _ int) error {
	for n := range keyEvery {
		name := fmt.Sprintf("key-%d-%d", w.life, n)
		if err := w.journal.try(aKey, name, value{}); err != nil {
			return err
		}
		created, err := w.client.Keys.CreateKey(ctx, &dialogv1.CreateKeyRequest{Name: name, Role: dialogv1.AccessRole_ACCESS_ROLE_VIEWER})
		if err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
		v := value{Key: created.GetKey().GetKeyId()}
		if err := w.journal.ack(aKey, name, v); err != nil {
			return err
		}
		if r.IntN(2) == 0 {
			continue
		}
		v.Revoked = true
		if err := w.journal.try(aKey, name, v); err != nil {
			return err
		}
		if _, err := w.client.Keys.RevokeKey(ctx, &dialogv1.RevokeKeyRequest{KeyId: v.Key}); err != nil {
			return fmt.Errorf("revoke %s: %w", name, err)
		}
		if err := w.journal.ack(aKey, name, v); err != nil {
			return err
		}
	}
	return nil
}
