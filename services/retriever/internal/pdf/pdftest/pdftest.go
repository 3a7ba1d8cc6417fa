// Package pdftest writes small PDF files for tests.
package pdftest

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what PDF asks for
	"crypto/rc4" //nolint:gosec // what PDF asks for
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Text is a line of text on a page. Text beyond ASCII is written in a font with a map to Unicode, unless it is Unmapped.
type Text struct {
	X, Y, Size float64
	S          string
	Bold       bool
	Unmapped   bool
	Angle      float64 // in degrees; only multiples of 45 are known
}

// File is a document.
type File struct {
	Pages    [][]Text
	Title    string
	Outline  []Entry
	Password string
	Rotate   int
	// Cycle makes the tree of pages lead back to its root.
	Cycle bool
}

// Entry is an entry of the outline.
type Entry struct {
	Title string
	Page  int // from 0
}

type writer struct {
	b       bytes.Buffer
	offsets []int
	key     []byte // to encrypt with, if there is one
}

// object writes an object under the next number. A stream is encrypted when the file is.
func (w *writer) object(n int, dict string, stream []byte) {
	for len(w.offsets) <= n {
		w.offsets = append(w.offsets, 0)
	}
	w.offsets[n] = w.b.Len()
	fmt.Fprintf(&w.b, "%d 0 obj\n", n)
	if stream == nil {
		fmt.Fprintf(&w.b, "%s\nendobj\n", dict)
		return
	}
	if w.key != nil {
		sum := md5.Sum(append(append([]byte(nil), w.key...), byte(n), byte(n>>8), byte(n>>16), 0, 0)) //nolint:gosec // what PDF asks for
		c, _ := rc4.NewCipher(sum[:min(len(w.key)+5, 16)])                                            //nolint:gosec // what PDF asks for
		out := make([]byte, len(stream))
		c.XORKeyStream(out, stream)
		stream = out
	}
	fmt.Fprintf(&w.b, "<< %s /Length %d >>\nstream\n", dict, len(stream))
	w.b.Write(stream)
	w.b.WriteString("\nendstream\nendobj\n")
}

const padding = "28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A"

// Write returns the file's bytes.
func Write(f File) []byte {
	w := &writer{}
	w.b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	encrypt := ""
	id := strings.Repeat("ab", 16)
	if f.Password != "" {
		pad, _ := hex.DecodeString(padding)
		user := append([]byte(f.Password), pad...)[:32]
		sum := md5.Sum(user)           //nolint:gosec // what PDF asks for
		c, _ := rc4.NewCipher(sum[:5]) //nolint:gosec // what PDF asks for
		owner := make([]byte, 32)
		c.XORKeyStream(owner, user)
		rawID, _ := hex.DecodeString(id)
		all := append(append(append([]byte(nil), user...), owner...), 0xfc, 0xff, 0xff, 0xff)
		sum = md5.Sum(append(all, rawID...)) //nolint:gosec // what PDF asks for
		w.key = sum[:5]
		c, _ = rc4.NewCipher(w.key) //nolint:gosec // what PDF asks for
		check := make([]byte, 32)
		c.XORKeyStream(check, pad)
		encrypt = fmt.Sprintf("/Encrypt << /Filter /Standard /V 1 /R 2 /O <%x> /U <%x> /P -4 >> /ID [<%s> <%s>]", owner, check, id, id)
	}
	const first = 20 // number of the first page
	kids := make([]string, 0, len(f.Pages)+1)
	for i, page := range f.Pages {
		n := first + 2*i
		kids = append(kids, fmt.Sprintf("%d 0 R", n))
		w.object(n, fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Rotate %d /Contents %d 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R /F3 5 0 R /F4 8 0 R >> >> >>", f.Rotate, n+1), nil)
		w.object(n+1, "", content(page))
	}
	if f.Cycle {
		kids = append([]string{"2 0 R"}, kids...)
	}
	outline := ""
	if len(f.Outline) > 0 {
		outline = "/Outlines 9 0 R"
		last := first + 2*len(f.Pages)
		w.object(9, fmt.Sprintf("<< /Type /Outlines /First %d 0 R /Last %d 0 R /Count %d >>", last, last+len(f.Outline)-1, len(f.Outline)), nil)
		for i, e := range f.Outline {
			next := ""
			if i+1 < len(f.Outline) {
				next = fmt.Sprintf("/Next %d 0 R", last+i+1)
			}
			w.object(last+i, fmt.Sprintf("<< /Title (%s) /Parent 9 0 R /Dest [%d 0 R /Fit] %s >>", e.Title, first+2*e.Page, next), nil)
		}
	}
	w.object(1, "<< /Type /Catalog /Pages 2 0 R "+outline+" >>", nil)
	w.object(2, fmt.Sprintf("<< /Type /Pages /Kids [%s] /Count %d >>", strings.Join(kids, " "), len(f.Pages)), nil)
	w.object(3, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>", nil)
	w.object(4, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>", nil)
	descendant := "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Song /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor 6 0 R /DW 1000 /W [0 127 600] >>"
	w.object(5, "<< /Type /Font /Subtype /Type0 /BaseFont /Song /Encoding /Identity-H /ToUnicode 7 0 R /DescendantFonts ["+descendant+"] >>", nil)
	w.object(6, "<< /Type /FontDescriptor /FontName /Song /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 880 /Descent -120 /CapHeight 700 /StemV 80 >>", nil)
	w.object(7, "", []byte("/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def 1 begincodespacerange <0000> <ffff> endcodespacerange "+
		unicodeMap(f)+"endcmap end end"))
	w.object(8, "<< /Type /Font /Subtype /Type0 /BaseFont /Odd /Encoding /Identity-H /DescendantFonts ["+descendant+"] >>", nil)
	w.object(10, fmt.Sprintf("<< /Title (%s) >>", f.Title), nil)
	start := w.b.Len()
	fmt.Fprintf(&w.b, "xref\n0 %d\n0000000000 65535 f \n", len(w.offsets))
	for _, at := range w.offsets[1:] {
		if at == 0 {
			w.b.WriteString("0000000000 65535 f \n")
			continue
		}
		fmt.Fprintf(&w.b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&w.b, "trailer << /Size %d /Root 1 0 R /Info 10 0 R %s >>\nstartxref\n%d\n%%%%EOF\n", len(w.offsets), encrypt, start)
	return w.b.Bytes()
}

// unicodeMap maps the characters of a file to themselves.
func unicodeMap(f File) string {
	seen := map[uint16]bool{}
	var b strings.Builder
	for _, page := range f.Pages {
		for _, t := range page {
			for _, u := range utf16.Encode([]rune(t.S)) {
				if !seen[u] {
					seen[u] = true
					fmt.Fprintf(&b, "1 beginbfchar <%04x> <%04x> endbfchar\n", u, u)
				}
			}
		}
	}
	return b.String()
}

func content(page []Text) []byte {
	var b bytes.Buffer
	for _, t := range page {
		matrix := "1 0 0 1"
		switch t.Angle {
		case 45:
			matrix = "0.7071 0.7071 -0.7071 0.7071"
		case 90:
			matrix = "0 1 -1 0"
		}
		font, s := "F1", "("+strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(t.S)+")"
		if t.Bold {
			font = "F2"
		}
		if strings.IndexFunc(t.S, func(r rune) bool { return r > 0x7f }) >= 0 || t.Unmapped {
			font = "F3"
			if t.Unmapped {
				font = "F4"
			}
			s = "<"
			for _, u := range utf16.Encode([]rune(t.S)) {
				s += fmt.Sprintf("%04x", u)
			}
			s += ">"
		}
		fmt.Fprintf(&b, "BT /%s %g Tf %s %g %g Tm %s Tj ET\n", font, t.Size, matrix, t.X, t.Y, s)
	}
	return b.Bytes()
}

// Lines sets lines below one another.
func Lines(x, y, size float64, lines ...string) []Text {
	out := make([]Text, len(lines))
	for i, s := range lines {
		out[i] = Text{X: x, Y: y - float64(i)*size*1.25, Size: size, S: s}
	}
	return out
}
