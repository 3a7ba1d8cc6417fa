package retriever_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever"
	"github.com/ragmesh/ragmesh/services/retriever/internal/pdf/pdftest"
)

// The test binary is also the process that reads documents.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == retriever.ParserArgument {
		os.Exit(retriever.Parser(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// Files of every kind go through the whole service: those that can be read are found, with their pages, and those that can't
// end failed with what is wrong.
func TestFormats(t *testing.T) {
	t.Parallel()
	f := start(t)
	d := f.ingest("paper.bin", string(pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{
		pdftest.Lines(50, 700, 12, "The first page is about walruses."), pdftest.Lines(50, 700, 12, "The second page is about the aardvark."),
	}})))
	if d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetContentType() != "application/pdf" {
		t.Fatalf("document = %v", d)
	}
	found, err := f.client.Search(f.ctx(), &retrieverv1.SearchRequest{Workspace: workspace, Query: "aardvark"})
	if err != nil || len(found.GetPassages()) == 0 {
		t.Fatalf("search = %v, %v", found, err)
	}
	pages := found.GetPassages()[0].GetPages()
	if len(pages) != 2 || pages[1].GetPage() != 2 || len(pages[1].GetBoxes()) != 1 || pages[1].GetBoxes()[0].GetLeft() < 45 {
		t.Errorf("pages = %v", pages)
	}
	for name, want := range map[string]struct{ content, reason string }{
		"secret.pdf": {string(pdftest.Write(pdftest.File{Password: "x", Pages: [][]pdftest.Text{nil}})), "ENCRYPTED_DOCUMENT"},
		"scan.pdf":   {string(pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{nil}})), "OCR_REQUIRED"},
		"bomb.zip":   {bomb(t), "DOCUMENT_TOO_LARGE"},
		"cut.zip":    {"PK\x03\x04 and nothing more", "MALFORMED_DOCUMENT"},
		"table.csv":  {"card,fee\ngold,5\n", ""},
		"wrong.pdf":  {"# This is Markdown", ""},
		"page.txt":   {"<!doctype html><main><p>A page.</p></main>", ""},
	} {
		d := f.ingest(name, want.content)
		if got := d.GetFailure().GetReason(); got != want.reason {
			t.Errorf("%s: %v", name, d)
		}
	}
	f.expect("aardvark", "The first page is about walruses.\n\nThe second page is about the aardvark.")
}

// bomb is an archive that expands to more than is allowed: 600 files of a megabyte, in some 600 KiB.
func bomb(tb testing.TB) string {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	body := strings.Repeat("0123456 ", 1<<17)
	for i := range 600 {
		f, err := w.Create(fmt.Sprintf("%03d.txt", i))
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := f.Write([]byte(body)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}
