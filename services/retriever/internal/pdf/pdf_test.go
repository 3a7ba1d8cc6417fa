package pdf_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/pdf"
	"github.com/ragmesh/ragmesh/services/retriever/internal/pdf/pdftest"
)

// PDFium takes long to start, so the tests share one.
var shared struct {
	sync.Mutex
	reader *pdf.Reader
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.reader != nil {
		_ = shared.reader.Close()
	}
	os.Exit(code)
}

// library is PDFium, compiled once for all tests.
func library(tb testing.TB) *pdf.Reader {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.reader == nil {
		r, err := pdf.Open(context.Background(), pdf.Config{Limits: parse.DefaultLimits(), Memory: 256 << 20})
		if err != nil {
			tb.Fatal(err)
		}
		shared.reader = r
	}
	return shared.reader
}

func read(tb testing.TB, data []byte) (parse.Document, error) {
	tb.Helper()
	r := library(tb)
	shared.Lock()
	defer shared.Unlock()
	return parse.New(parse.Config{Limits: parse.DefaultLimits(), PDF: r.Parse}).Parse(tb.Context(), parse.Source{URI: "file.bin", Data: data})
}

// shown writes a document with # before headings.
func shown(doc parse.Document) string {
	var parts []string
	for _, b := range doc.Blocks {
		prefix := ""
		if b.Kind == parse.Heading {
			prefix = strings.Repeat("#", b.Level) + " "
		}
		parts = append(parts, prefix+doc.Text[b.Start:b.End])
	}
	return strings.Join(parts, "\n\n")
}

func TestParse(t *testing.T) {
	t.Parallel()
	line := pdftest.Lines
	tests := map[string]struct {
		file        pdftest.File
		title, want string
	}{
		"paragraphs, headings and lists": {
			pdftest.File{Title: "Handbook of cards", Pages: [][]pdftest.Text{slices.Concat(
				line(50, 780, 20, "Fees"),
				line(50, 740, 10, "A transfer within the country costs nothing at all, while one that goes abroad is infor-", "mation that only the desk at the entrance of the main building can give to those who", "ask for it."),
				line(50, 690, 14, "Cards"),
				line(50, 660, 10, "- Gold costs five euros", "- Silver costs three euros"),
				line(50, 620, 10, "The last paragraph stands alone, and it ends with a full stop as paragraphs use to."),
			)}},
			"Handbook of cards",
			"# Fees\n\nA transfer within the country costs nothing at all, while one that goes abroad is information that only the desk at the entrance of the main building can give to those who ask for it.\n\n" +
				"## Cards\n\n- Gold costs five euros\n- Silver costs three euros\n\nThe last paragraph stands alone, and it ends with a full stop as paragraphs use to.",
		},
		"two columns": {
			pdftest.File{Pages: [][]pdftest.Text{slices.Concat(
				line(50, 790, 18, "A title that goes across both of the columns"),
				line(50, 740, 10, "The left column begins here and goes on for", "several lines of text, each about as long as", "the others are, so that it is plain to see that", "this is running text and no table with cells,", "and it goes on to the right column where its", "sentence has an"),
				line(310, 740, 10, "end. The right column has as many lines as", "the left one has, and they stand at the very", "same heights, which makes reading straight", "across the page the natural mistake to make", "for anybody who looks at heights only, but", "not here."),
			)}},
			"A title that goes across both of the columns",
			"# A title that goes across both of the columns\n\nThe left column begins here and goes on for several lines of text, each about as long as the others are, so that it is plain to see that this is running text and no table with cells, and it goes on to the right column where its sentence has an end. " +
				"The right column has as many lines as the left one has, and they stand at the very same heights, which makes reading straight across the page the natural mistake to make for anybody who looks at heights only, but not here.",
		},
		"tables": {
			pdftest.File{Pages: [][]pdftest.Text{slices.Concat(
				line(50, 700, 10, "Card", "Gold", "Silver", "Bronze"), line(200, 700, 10, "Fee", "5", "3", "1"), line(350, 700, 10, "Due", "January", "", "March"),
				line(50, 600, 10, "After the table there is a paragraph of text."),
			)}},
			"file", "| Card: Gold | Fee: 5 | Due: January |\n| Card: Silver | Fee: 3 |\n| Card: Bronze | Fee: 1 | Due: March |\n\nAfter the table there is a paragraph of text.",
		},
		"Chinese": {
			pdftest.File{Pages: [][]pdftest.Text{line(50, 700, 12, "节点可以是虚拟机，取决于所在的集群配置，每个节点都包含运行所需要的服务，", "这些节点由控制面负责管理。运行在节点上。")}},
			"file", "节点可以是虚拟机，取决于所在的集群配置，每个节点都包含运行所需要的服务，这些节点由控制面负责管理。运行在节点上。",
		},
		"outline": {
			pdftest.File{Outline: []pdftest.Entry{{Title: "Fees"}}, Pages: [][]pdftest.Text{slices.Concat(
				[]pdftest.Text{{X: 50, Y: 700, Size: 10, S: "1. Fees", Bold: true}}, line(50, 670, 10, "A transfer costs nothing."))}},
			"1. Fees", "# 1. Fees\n\nA transfer costs nothing.",
		},
		"a page that is turned": {
			pdftest.File{Rotate: 90, Pages: [][]pdftest.Text{{{X: 100, Y: 50, Size: 10, Angle: 90, S: "This line is upright."}, {X: 115, Y: 50, Size: 10, Angle: 90, S: "So is this second one."}}}},
			"file", "This line is upright. So is this second one.",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := read(t, pdftest.Write(tc.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tc.title, tc.want}, []string{doc.Title, shown(doc)}); diff != "" {
				t.Errorf("title and text (-want +got):\n%s", diff)
			}
			if err := doc.Check(parse.DefaultLimits()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Headers, footers, page numbers and watermarks go; what is under them stays, with its page.
func TestRepeated(t *testing.T) {
	t.Parallel()
	var f pdftest.File
	for i := range 8 {
		f.Pages = append(f.Pages, slices.Concat(
			pdftest.Lines(50, 815, 9, "Example Bank - Confidential"),
			pdftest.Lines(50, 760, 11, fmt.Sprintf("Paragraph %c begins on this page and is about subject %c alone,", 'A'+i, 'A'+i), fmt.Sprintf("as every one is, be it %c or another.", 'Z'-i)),
			pdftest.Lines(280, 25, 9, fmt.Sprintf("Page %d of 8", i+1)),
			[]pdftest.Text{{X: 150, Y: 300, Size: 60, S: "DRAFT", Angle: 45}},
		))
	}
	doc, err := read(t, pdftest.Write(f))
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"Confidential", "Page ", "DRAFT"} {
		if strings.Contains(doc.Text, gone) {
			t.Errorf("%q is still there:\n%s", gone, doc.Text)
		}
	}
	if len(doc.Blocks) != 8 {
		t.Fatalf("%d paragraphs:\n%s", len(doc.Blocks), doc.Text)
	}
	for i, b := range doc.Blocks {
		for _, p := range doc.Places {
			if p.Start >= b.Start && p.Start < b.End && p.Page != i+1 {
				t.Errorf("%q is on page %d", doc.Text[p.Start:p.End], p.Page)
			}
		}
	}
	box := doc.Places[0].Box
	if box.Left < 45 || box.Left > 55 || box.Bottom < 750 || box.Top > 780 || box.Right < 300 {
		t.Errorf("the first line is at %+v", box)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	whole := pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{pdftest.Lines(50, 700, 12, "Some text to read.")}})
	odd := make([]string, 20)
	for i := range odd {
		odd[i] = "\u0123\u0144\u0165\u0186\u01a7\u01c8\u01e9"
	}
	var unmapped []pdftest.Text
	for _, l := range pdftest.Lines(50, 700, 12, odd...) {
		l.Unmapped = true
		unmapped = append(unmapped, l)
	}
	for name, tc := range map[string]struct {
		data   []byte
		reason fault.Reason
	}{
		"password":             {pdftest.Write(pdftest.File{Password: "secret", Pages: [][]pdftest.Text{pdftest.Lines(50, 700, 12, "Hidden.")}}), fault.EncryptedDocument},
		"pictures only":        {pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{nil, nil}}), fault.OCRRequired},
		"fonts without a map":  {pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{unmapped}}), fault.OCRRequired},
		"cyclic page tree":     {pdftest.Write(pdftest.File{Cycle: true, Pages: [][]pdftest.Text{pdftest.Lines(50, 700, 12, "Some text to read.")}}), fault.Unspecified},
		"header only":          {[]byte("%PDF-1.7\n"), fault.MalformedDocument},
		"cut in the middle":    {whole[:len(whole)/3], fault.MalformedDocument},
		"cut before its table": {whole[:len(whole)-200], fault.MalformedDocument},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := read(t, tc.data)
			if got := fault.ReasonOf(err); got != tc.reason || err != nil && fault.KindOf(err) != fault.Invalid {
				t.Errorf("reason = %v (%v), want %v; text %q", got, err, tc.reason, doc.Text)
			}
		})
	}
}

func FuzzPDF(f *testing.F) {
	f.Add(pdftest.Write(pdftest.File{Title: "t", Outline: []pdftest.Entry{{Title: "a"}}, Pages: [][]pdftest.Text{pdftest.Lines(50, 700, 12, "a b", "1 2")}}))
	f.Add(pdftest.Write(pdftest.File{Cycle: true, Rotate: 90, Pages: [][]pdftest.Text{pdftest.Lines(50, 700, 12, "节点")}}))
	f.Add([]byte("%PDF-1.7\ntrailer<</Root 1 0 R>>"))
	library(f) // the fuzzer takes an input that needs so long for one that hangs
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := read(t, data)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("error is not about the document: %v", err)
			}
			return
		}
		if err := doc.Check(parse.DefaultLimits()); err != nil {
			t.Fatal(err)
		}
	})
}
