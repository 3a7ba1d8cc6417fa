package parse_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// zipped makes an archive of names and contents in turn.
func zipped(tb testing.TB, members ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.Create(members[i])
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := f.Write([]byte(members[i+1])); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func contentTypes(overrides ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">`)
	for i := 0; i < len(overrides); i += 2 {
		b.WriteString(`<Override PartName="` + overrides[i] + `" ContentType="application/vnd.openxmlformats-officedocument.` + overrides[i+1] + `"/>`)
	}
	return b.String() + "</Types>"
}

// docx makes a Word file of what stands in its body.
func docx(tb testing.TB, body string, more ...string) []byte {
	tb.Helper()
	return zipped(tb, append([]string{
		"[Content_Types].xml", contentTypes("/word/document.xml", "wordprocessingml.document.main+xml"),
		"word/styles.xml", `<w:styles xmlns:w="w"><w:style w:styleId="Title"><w:name w:val="Title"/></w:style>` +
			`<w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style><w:style w:styleId="Mine"><w:name w:val="My heading"/><w:basedOn w:val="H2"/></w:style>` +
			`<w:style w:styleId="H2"><w:name w:val="heading 2"/></w:style><w:style w:styleId="TOC1"><w:name w:val="toc 1"/></w:style></w:styles>`,
		"word/numbering.xml", `<w:numbering xmlns:w="w"><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>` +
			`<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl></w:abstractNum>` +
			`<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num></w:numbering>`,
		"word/document.xml", `<?xml version="1.0"?><w:document xmlns:w="w" xmlns:mc="mc"><w:body>` + body + `</w:body></w:document>`,
	}, more...)...)
}

func para(style, text string) string {
	return `<w:p><w:pPr><w:pStyle w:val="` + style + `"/></w:pPr><w:r><w:t>` + text + `</w:t></w:r></w:p>`
}

func item(number, level, text string) string {
	return `<w:p><w:pPr><w:numPr><w:ilvl w:val="` + level + `"/><w:numId w:val="` + number + `"/></w:numPr></w:pPr><w:r><w:t>` + text + `</w:t></w:r></w:p>`
}

func TestWord(t *testing.T) {
	t.Parallel()
	cell := func(text string) string { return `<w:tc>` + para("", text) + `</w:tc>` }
	data := docx(t, para("Title", "Card handbook")+para("TOC1", "Fees 3")+para("H1", "Fees")+
		`<w:p><w:r><w:t xml:space="preserve">A transfer </w:t></w:r><w:r><w:t>costs</w:t></w:r><w:r><w:tab/><w:t>12 €</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:t>, today.</w:t></w:r>`+
		`<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r></w:p>`+
		item("1", "0", "one")+item("1", "1", "inner")+item("2", "0", "first")+item("2", "0", "second")+
		para("Mine", "Table")+
		`<w:tbl><w:tr><w:trPr><w:tblHeader/></w:trPr>`+cell("Card")+cell("Fee")+`</w:tr><w:tr><w:tc><w:tcPr><w:vMerge w:val="restart"/></w:tcPr>`+para("", "Gold")+`</w:tc>`+cell("5 €")+`</w:tr>`+
		`<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc>`+cell("6 €")+`</w:tr></w:tbl>`+
		`<w:p><w:r><mc:AlternateContent><mc:Choice><w:txbxContent>`+para("", "In a box.")+`</w:txbxContent></mc:Choice><mc:Fallback><w:txbxContent>`+para("", "In a box.")+`</w:txbxContent></mc:Fallback></mc:AlternateContent></w:r></w:p>`,
		"word/footnotes.xml", `<w:footnotes xmlns:w="w"><w:footnote w:type="separator" w:id="0">`+para("", "---")+`</w:footnote><w:footnote w:id="2">`+para("", "VAT included")+`</w:footnote></w:footnotes>`,
		"word/header1.xml", `<w:hdr xmlns:w="w">`+para("", "Confidential")+`</w:hdr>`)
	want := `Card handbook

Fees

A transfer costs 12 € (VAT included), today.

- one
  - inner
1. first
2. second

Table

| Card: Gold | Fee: 5 € |
| Card: Gold | Fee: 6 € |

In a box.`
	doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "handbook.txt", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Card handbook", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", want}, []string{doc.Title, doc.ContentType, doc.Text}); diff != "" {
		t.Errorf("title, type and text (-want +got):\n%s", diff)
	}
}

func TestSlides(t *testing.T) {
	t.Parallel()
	shape := func(kind string, paragraphs ...string) string {
		out := `<p:sp><p:nvSpPr><p:nvPr><p:ph type="` + kind + `"/></p:nvPr></p:nvSpPr><p:txBody>`
		for _, s := range paragraphs {
			out += `<a:p><a:pPr lvl="` + s[:1] + `"/><a:r><a:t>` + s[1:] + `</a:t></a:r></a:p>`
		}
		return out + `</p:txBody></p:sp>`
	}
	slide := func(body string) string {
		return `<p:sld xmlns:p="p" xmlns:a="a"><p:cSld><p:spTree>` + body + `</p:spTree></p:cSld></p:sld>`
	}
	cell := func(s string) string {
		return `<a:tc><a:txBody><a:p><a:r><a:t>` + s + `</a:t></a:r></a:p></a:txBody></a:tc>`
	}
	rels := func(pairs ...string) string {
		out := `<Relationships>`
		for i := 0; i < len(pairs); i += 3 {
			out += `<Relationship Id="` + pairs[i] + `" Type="http://x/` + pairs[i+1] + `" Target="` + pairs[i+2] + `"/>`
		}
		return out + `</Relationships>`
	}
	data := zipped(t,
		"[Content_Types].xml", contentTypes("/ppt/presentation.xml", "presentationml.presentation.main+xml"),
		"ppt/presentation.xml", `<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst><p:sldId id="256" r:id="rId2"/><p:sldId id="257" r:id="rId1"/><p:sldId id="258" r:id="rId3"/></p:sldIdLst></p:presentation>`,
		"ppt/_rels/presentation.xml.rels", rels("rId1", "slide", "slides/slide1.xml", "rId2", "slide", "slides/slide2.xml", "rId3", "slide", "slides/slide3.xml"),
		"ppt/slides/slide2.xml", slide(shape("ctrTitle", "0Our", "0cards")+shape("sldNum", "01")),
		"ppt/slides/slide1.xml", slide(shape("title", "0Fees")+shape("body", "0Gold", "1five euros", "0Silver")+`<p:graphicFrame><a:tbl><a:tr>`+cell("Card")+cell("Fee")+`</a:tr><a:tr>`+cell("Gold")+cell("5")+`</a:tr></a:tbl></p:graphicFrame>`),
		"ppt/slides/_rels/slide1.xml.rels", rels("rId1", "notesSlide", "../notesSlides/notesSlide1.xml"),
		"ppt/notesSlides/notesSlide1.xml", slide(shape("sldImg")+shape("body", "0Mention the discount.")),
		"ppt/slides/slide3.xml", `<p:sld xmlns:p="p" show="0"/>`,
	)
	doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "deck.pptx", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	want := "Our cards\n\nFees\n\n- Gold\n  - five euros\n- Silver\n\n| Card: Gold | Fee: 5 |\n\nMention the discount."
	if diff := cmp.Diff([]string{"Our cards", want}, []string{doc.Title, doc.Text}); diff != "" {
		t.Errorf("title and text (-want +got):\n%s", diff)
	}
	for _, p := range doc.Places {
		wantPage := 2
		if p.Start == 0 {
			wantPage = 1
		}
		if p.Page != wantPage {
			t.Errorf("%q is on page %d", doc.Text[p.Start:p.End], p.Page)
		}
	}
	if len(doc.Places) != len(doc.Blocks) {
		t.Errorf("%d blocks have %d places", len(doc.Blocks), len(doc.Places))
	}
}

func workbook(tb testing.TB, fill func(f *excelize.File)) []byte {
	tb.Helper()
	f := excelize.NewFile()
	fill(f)
	b, err := f.WriteToBuffer()
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestSheets(t *testing.T) {
	t.Parallel()
	data := workbook(t, func(f *excelize.File) {
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(f.SetSheetName("Sheet1", "费用 2025"))
		must(f.SetSheetRow("费用 2025", "A1", &[]any{"All fees in euros"}))
		must(f.SetSheetRow("费用 2025", "A3", &[]any{"Card", "Fee", "From", "Net"}))
		must(f.SetSheetRow("费用 2025", "A4", &[]any{"Gold", 5.5}))
		must(f.SetSheetRow("费用 2025", "A5", &[]any{nil, 1200, nil, 0.25}))
		must(f.MergeCell("费用 2025", "A4", "A5"))
		date, err := f.NewStyle(&excelize.Style{NumFmt: 14})
		must(err)
		percent, err := f.NewStyle(&excelize.Style{NumFmt: 9})
		must(err)
		must(f.SetCellValue("费用 2025", "C4", 45000))
		must(f.SetCellStyle("费用 2025", "C4", "C4", date))
		must(f.SetCellStyle("费用 2025", "D5", "D5", percent))
		_, err = f.NewSheet("Secret")
		must(err)
		must(f.SetSheetRow("Secret", "A1", &[]any{"x", "y"}))
		must(f.SetSheetVisible("Secret", false))
		_, err = f.NewSheet("Empty")
		must(err)
	})
	same(t, parse.Source{URI: "a.zip", Data: data}, "费用 2025\n\nAll fees in euros\n\n| Card: Gold | Fee: 5.5 | From: 2023-03-15 |\n| Card: Gold | Fee: 1200 | Net: 25% |")
}

func TestArchive(t *testing.T) {
	t.Parallel()
	inner := zipped(t, "deep.txt", "Deep text.")
	data := zipped(t,
		"docs/", "", "docs/fees.md", "# Fees\n\n## Cards\n\nGold costs 5 euros.", "a.csv", "name,fee\ngold,5\n", "../../etc/passwd.txt", "No secret.",
		"__MACOSX/docs/._fees.md", "x", ".DS_Store", "x", "empty.txt", " ", "pic.png", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "inner.zip", string(inner))
	same(t, parse.Source{URI: "all.zip", Data: data}, `etc/passwd.txt

No secret.

a.csv

| name: gold | fee: 5 |

docs/fees.md

Fees

Cards

Gold costs 5 euros.

inner.zip

deep.txt

Deep text.

pic.png

(not read: this is an image; PDF, DOCX, PPTX, XLSX, CSV, HTML, Markdown, JSON, text and ZIP archives of these can be read)`)
}
