package parse_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// Archives and Office files that are made to do harm end with a true reason, having expanded no more than is allowed.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	limits := parse.DefaultLimits()
	limits.Expanded, limits.Text, limits.Files = 8<<20, 4<<20, 50
	registry := parse.New(parse.Config{Limits: limits})
	zeros := strings.Repeat("0 ", 8<<20)
	nested := zipped(t, "a.txt", "text")
	for range 5 {
		nested = zipped(t, "inner.zip", string(nested))
	}
	many := make([]string, 0, 120)
	for i := range 60 {
		many = append(many, strings.Repeat("x", i+1)+".txt", "text")
	}
	deep := strings.Repeat("<w:tbl>", 5_000)
	entities := `<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><w:document xmlns:w="w"><w:body><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:body></w:document>`
	for name, tc := range map[string]struct {
		data   []byte
		reason fault.Reason
	}{
		"expands to a lot":          {zipped(t, "a.txt", zeros), fault.DocumentTooLarge},
		"in many files":             {zipped(t, "a.bin", zeros[:7<<20], "b.bin", zeros[:7<<20]), fault.DocumentTooLarge},
		"within archives":           {zipped(t, "a.zip", string(zipped(t, "b.zip", string(zipped(t, "c.txt", zeros))))), fault.DocumentTooLarge},
		"archives without end":      {nested, fault.MalformedDocument},
		"many files":                {zipped(t, many...), fault.DocumentTooLarge},
		"files that overlap":        {overlapping(t), fault.MalformedDocument},
		"cut off":                   {zipped(t, "a.txt", "text")[:60], fault.MalformedDocument},
		"nothing in it":             {zipped(t), fault.EmptyDocument},
		"a workbook of zeros":       {zipped(t, "[Content_Types].xml", contentTypes("/xl/workbook.xml", "spreadsheetml.sheet.main+xml"), "xl/workbook.xml", zeros), fault.DocumentTooLarge},
		"a document of zeros":       {docx(t, zeros), fault.DocumentTooLarge},
		"tables in tables":          {docx(t, deep), fault.MalformedDocument},
		"entities":                  {zipped(t, "[Content_Types].xml", contentTypes("/word/document.xml", "wordprocessingml.document.main+xml"), "word/document.xml", entities), fault.MalformedDocument},
		"an Office file of nothing": {zipped(t, "[Content_Types].xml", contentTypes("/word/document.xml", "wordprocessingml.document.main+xml")), fault.MalformedDocument},
		"OpenDocument":              {zipped(t, "mimetype", "application/vnd.oasis.opendocument.text"), fault.UnsupportedFormat},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := registry.Parse(t.Context(), parse.Source{URI: "a.zip", Data: tc.data})
			if got := fault.ReasonOf(err); got != tc.reason || fault.KindOf(err) != fault.Invalid {
				t.Errorf("reason = %v (%v), want %v; %d bytes of text", got, err, tc.reason, len(doc.Text))
			}
		})
	}
}

// overlapping is an archive in which a second name leads to the first one's bytes.
func overlapping(tb testing.TB) []byte {
	tb.Helper()
	data := zipped(tb, "a.txt", "some text", "b.txt", "some text")
	central := bytes.LastIndex(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[central+42:], 0) // where its header is
	return data
}

// Links and odd names in archives lead nowhere: nothing is ever written.
func TestArchiveLinks(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	link := &zip.FileHeader{Name: "link.txt"}
	link.SetMode(0o777 | 1<<27) // a symbolic link
	for header, body := range map[*zip.FileHeader]string{link: "/etc/passwd", {Name: `..\..\windows\a.txt`}: "Fine."} {
		f, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, parse.Source{URI: "a.zip", Data: b.Bytes()}, "windows/a.txt\n\nFine.")
}

func FuzzArchive(f *testing.F) {
	f.Add(docx(f, para("H1", "Title")+`<w:tbl><w:tr><w:tc>`+para("", "a")+`</w:tc></w:tr></w:tbl>`))
	f.Add(zipped(f, "a.md", "# x", "b.csv", "a,b\n1,2\n", "c.zip", string(zipped(f, "d.html", "<p>x"))))
	f.Add(zipped(f, "[Content_Types].xml", contentTypes("/xl/workbook.xml", "spreadsheetml.sheet.main+xml"), "xl/workbook.xml", "<workbook/>"))
	f.Add(zipped(f, "[Content_Types].xml", contentTypes("/ppt/presentation.xml", "presentationml.presentation.main+xml"), "ppt/presentation.xml", `<p><sldIdLst><sldId r:id="a"/></sldIdLst></p>`))
	limits := parse.Limits{Text: 1 << 20, Expanded: 4 << 20, Pages: 100, Rows: 10_000, Files: 100}
	registry := parse.New(parse.Config{Limits: limits})
	f.Fuzz(func(t *testing.T, data []byte) { checked(t, registry, limits, parse.Source{URI: "a.zip", Data: data}) })
}

func FuzzText(f *testing.F) {
	f.Add("a.csv", []byte("a;b\n\"1\n\";2\r"))
	f.Add("a.jsonl", []byte(`{"text":"a","b":[{"c":1}]}`+"\n[1"))
	f.Add("a.html", []byte("<table><tr><th rowspan=9 colspan=3>a<td>b</table><ul><li>x<ol><li>y<pre>z</ul><main><h1>t"))
	f.Add("a.txt", []byte("\xff\xfea\x00b\x00"))
	f.Add("b.txt", []byte("\xbd\xda\xb5\xe3\xbf\xc9\xd2\xd4\xca\xc7\xd0\xe9\xc4\xe2\xbb\xfa"))
	limits := parse.Limits{Text: 1 << 20, Expanded: 4 << 20, Pages: 100, Rows: 10_000, Files: 100}
	registry := parse.New(parse.Config{Limits: limits})
	f.Fuzz(func(t *testing.T, uri string, data []byte) {
		checked(t, registry, limits, parse.Source{URI: uri, Data: data})
	})
}

func checked(t *testing.T, registry *parse.Registry, limits parse.Limits, s parse.Source) {
	t.Helper()
	doc, err := registry.Parse(t.Context(), s)
	if err != nil {
		if fault.KindOf(err) != fault.Invalid || !utf8.ValidString(fault.As(err).Message) {
			t.Fatalf("error is not about the document: %v", err)
		}
		return
	}
	if err := doc.Check(limits); err != nil {
		t.Fatal(err)
	}
}
