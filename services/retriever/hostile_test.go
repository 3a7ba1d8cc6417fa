package retriever_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever/internal/pdf/pdftest"
)

// quine is an archive that holds itself, by Russ Cox (https://research.swtch.com/zip).
const quine = "504b03041400000008000803643cf9f4896448010000b801000007000000722f722e7a6970002500daff504b03041400000008000803643cf9f48964" +
	"48010000b801000007000000722f722e7a6970002f00d0ff002500daff504b03041400000008000803643cf9f4896448010000b80100000700000072" +
	"2f722e7a6970002f00d0ffc2548e5739000500faffc2548e5739000500faff000500faff001400ebffc2548e5739000500faff000500faff001400eb" +
	"ff428821c400001400ebff428821c400001400ebff428821c400001400ebff428821c400001400ebff428821c400000000ffff000000ffff003400cb" +
	"ff428821c400000000ffff000000ffff003400cbff42e8215e0f000000ffff0af066641261c015dce8a048bf48af2ab320c09b950dc4670442530606" +
	"0640000600f9ff6d010000000042e8215e0f000000ffff0af066641261c015dce8a048bf48af2ab320c09b950dc46704425306060640000600f9ff6d" +
	"0100000000504b010214001400000008000803643cf9f4896448010000b8010000070000000000000000000000000000000000722f722e7a6970504b" +
	"05060000000001000100350000006d0100000000"

// hostile are files that are made to do harm, or just happen to: what each ends as, ready when the reason is empty.
func hostile(tb testing.TB) map[string]struct{ content, reason string } {
	tb.Helper()
	self, err := hex.DecodeString(quine)
	if err != nil {
		tb.Fatal(err)
	}
	walrus := pdftest.Lines(50, 700, 12, "A page about the walrus.")
	var unmapped []pdftest.Text
	for i := range 20 {
		unmapped = append(unmapped, pdftest.Text{X: 50, Y: 700 - 20*float64(i), Size: 12, S: "\u0123\u0144\u0165\u0186\u01a7\u01c8\u01e9", Unmapped: true})
	}
	return map[string]struct{ content, reason string }{
		"quine.zip":      {string(self), "MALFORMED_DOCUMENT"},
		"bomb.zip":       {bomb(tb), "DOCUMENT_TOO_LARGE"},
		"cycle.pdf":      {string(pdftest.Write(pdftest.File{Cycle: true, Pages: [][]pdftest.Text{walrus}})), ""},
		"unmapped.pdf":   {string(pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{unmapped}})), "OCR_REQUIRED"},
		"cut.pdf":        {string(pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{walrus}})[:200]), "MALFORMED_DOCUMENT"},
		"mixed.md":       {"# Walrus 海象\n\nThe walrus lives in the Arctic. 海象生活在北极。\n", ""},
		"gbk.txt":        {strings.Repeat("\xba\xa3\xcf\xf3\xc9\xfa\xbb\xee\xd4\xda\xb1\xb1\xbc\xab\xb5\xc4\xc7\xb3\xba\xa3\xc0\xef\xa3\xac\xd6\xf7\xd2\xaa\xb3\xd4\xb1\xb4\xc0\xe0\xba\xcd\xc6\xe4\xcb\xfb\xce\xde\xbc\xb9\xd7\xb5\xb6\xaf\xce\xef\xa1\xa3\xcb\xfc\xc3\xc7\xb5\xc4\xb3\xa4\xd1\xc0\xbf\xc9\xd2\xd4\xd3\xc3\xc0\xb4\xc5\xc0\xc9\xcf\xb1\xf9\xc3\xe6\xa3\xac\xd2\xb2\xbf\xc9\xd2\xd4\xd3\xc3\xc0\xb4\xb1\xa3\xbb\xa4\xd7\xd4\xbc\xba\xa1\xa3\xb3\xc9\xc4\xea\xb5\xc4\xd0\xdb\xd0\xd4\xba\xa3\xcf\xf3\xbf\xc9\xd2\xd4\xd3\xd0\xd2\xbb\xc7\xa7\xb6\xe0\xb9\xab\xbd\xef\xd6\xd8\xa1\xa3\n", 3), ""},
		"empty.md":       {"", "EMPTY_DOCUMENT"},
		"spaces.txt":     {" \n\t\n ", "EMPTY_DOCUMENT"},
		"really.pdf":     {"# Not a PDF\n\nbut Markdown.", ""},
		"picture.md":     {"\x89PNG\r\n\x1a\n" + strings.Repeat("\x00\x01", 500), "UNSUPPORTED_FORMAT"},
		"program.txt":    {"\x7fELF" + strings.Repeat("\x00\x02", 500), "UNSUPPORTED_FORMAT"},
		"one-line.csv":   {strings.Repeat("a,", 100_000), "DOCUMENT_TOO_LARGE"},
		"brackets.jsonl": {strings.Repeat("[", 200_000), "MALFORMED_DOCUMENT"},
	}
}

// Whatever comes, among many small ones: each ends ready or failed with what is wrong, and what is beside it is taken in.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	f := start(t)
	ids := map[string]string{}
	put := func(name, content string) {
		t.Helper()
		resp, err := f.client.PutDocument(f.ctx(), &retrieverv1.PutDocumentRequest{Workspace: workspace, SourceUri: name, Data: []byte(content)})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ids[name] = resp.GetDocument().GetDocumentId()
	}
	files := hostile(t)
	n := 0
	for name, file := range files {
		put(name, file.content)
		for range 10 {
			n++
			put(fmt.Sprintf("notes/%03d.md", n), fmt.Sprintf("Note %d on the walrus.", n))
		}
	}
	for name, id := range ids {
		d := f.settled(id)
		if got := d.GetFailure().GetReason(); got != files[name].reason {
			t.Errorf("%s: %q, want %q: %v", name, got, files[name].reason, d.GetFailure())
		}
		if d.GetFailure() != nil && (!d.GetFailure().GetPermanent() || d.GetFailure().GetFailedAt() == nil || d.GetFailure().GetMessage() == "") {
			t.Errorf("%s: %v", name, d.GetFailure())
		}
	}
	queue, err := f.client.GetQueue(f.ctx(), &retrieverv1.GetQueueRequest{Workspace: workspace})
	if err != nil || queue.GetQueue().GetDocuments() != 0 || queue.GetQueue().GetFailed() == 0 {
		t.Errorf("queue %v, %v", queue, err)
	}
}

// The large ones take half a minute: .ci/run sets RAGMESH_HEAVY.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	if os.Getenv("RAGMESH_HEAVY") == "" {
		t.Skip("RAGMESH_HEAVY is not set")
	}
	f := start(t)
	pages := make([][]pdftest.Text, 500)
	for i := range pages {
		for line := range 30 {
			pages[i] = append(pages[i], pdftest.Lines(50, 750-float64(line)*20, 11, fmt.Sprintf("Page %d, line %d, tells of walrus number %d and its ways.", i+1, line, i*30+line))...)
		}
	}
	var rows strings.Builder
	rows.WriteString("id,animal,ocean,weight\n")
	for i := range 1_000_000 {
		_, _ = fmt.Fprintf(&rows, "%d,walrus,arctic,%d\n", i, 500+i%1500)
	}
	pdf := f.upload("book.pdf", "", string(pdftest.Write(pdftest.File{Pages: pages}))).GetDocument().GetDocumentId()
	csv := f.upload("rows.csv", "", rows.String()).GetDocument().GetDocumentId()
	note := f.settledWithin(f.upload("note.md", "", "A note on the aardvark.").GetDocument().GetDocumentId(), heavyWait)
	if note.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		t.Errorf("beside them: %v", note)
	}
	for name, id := range map[string]string{"500 pages": pdf, "a million rows": csv} {
		d := f.settledWithin(id, heavyWait)
		t.Logf("%s: %s, %d chunks, %v", name, d.GetState(), d.GetChunkCount(), d.GetFailure())
		if d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetChunkCount() < 100 {
			t.Errorf("%s: %v", name, d)
		}
	}
}
