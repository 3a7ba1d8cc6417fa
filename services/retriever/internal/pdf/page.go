package pdf

import (
	"math"
	"strings"
	"unicode"

	"github.com/klippa-app/go-pdfium"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// file is an open document.
type file struct {
	pdfium   pdfium.Pdfium
	document references.FPDF_DOCUMENT
	limits   parse.Limits
}

// box is a rectangle on a page as it is shown, in points from its lower left corner.
type box struct{ left, bottom, right, top float64 }

func (b box) width() float64  { return b.right - b.left }
func (b box) height() float64 { return b.top - b.bottom }

func (b box) union(o box) box {
	return box{min(b.left, o.left), min(b.bottom, o.bottom), max(b.right, o.right), max(b.top, o.top)}
}

// word is a run of characters without space.
type word struct {
	text string
	box  box
	size float64 // of the font, points
	bold bool
	tilt bool // neither upright nor turned by quarters
	turn bool // turned by quarters: it runs up or down the page, or stands on its head
	join bool // no space between it and the word before
}

// page is what is written on a page.
type page struct {
	width, height float64
	words         []word
	letters       int // characters that say something
	unmapped      int // characters whose font doesn't say what they are
}

// maxChars bounds the characters of one page.
const maxChars = 400_000

// page reads the characters of a page, from 0.
func (f *file) page(index int) (page, error) {
	loaded, err := f.pdfium.FPDF_LoadPage(&requests.FPDF_LoadPage{Document: f.document, Index: index})
	if err != nil {
		return page{}, err
	}
	ref := loaded.Page
	defer func() { _, _ = f.pdfium.FPDF_ClosePage(&requests.FPDF_ClosePage{Page: ref}) }()
	by := requests.Page{ByReference: &ref}
	var p page
	frame := f.frame(by)
	p.width, p.height = frame.size()
	text, err := f.pdfium.FPDFText_LoadPage(&requests.FPDFText_LoadPage{Page: by})
	if err != nil {
		return p, err
	}
	defer func() {
		_, _ = f.pdfium.FPDFText_ClosePage(&requests.FPDFText_ClosePage{TextPage: text.TextPage})
	}()
	count, err := f.pdfium.FPDFText_CountChars(&requests.FPDFText_CountChars{TextPage: text.TextPage})
	if err != nil {
		return p, err
	}
	if count.Count > maxChars {
		return p, fault.New(fault.Invalid, fault.DocumentTooLarge, "page %d of the PDF has more than %d characters", index+1, maxChars)
	}
	s := scanner{file: f, text: text.TextPage, frame: frame, page: &p}
	for i := range count.Count {
		if err := s.char(i); err != nil {
			return p, err
		}
	}
	s.end(false)
	return p, nil
}

// frame is how a page is shown: which part of it, turned by how many quarters.
type frame struct {
	visible  box
	quarters int
}

func (f *file) frame(by requests.Page) frame {
	out := frame{visible: box{0, 0, 612, 792}}
	if got, err := f.pdfium.FPDF_GetPageBoundingBox(&requests.FPDF_GetPageBoundingBox{Page: by}); err == nil {
		b := box{float64(got.Rect.Left), float64(got.Rect.Bottom), float64(got.Rect.Right), float64(got.Rect.Top)}
		if b.width() > 1 && b.height() > 1 {
			out.visible = b
		}
	}
	if got, err := f.pdfium.FPDFPage_GetRotation(&requests.FPDFPage_GetRotation{Page: by}); err == nil {
		out.quarters = int(got.PageRotation) % 4
	}
	return out
}

func (f frame) size() (width, height float64) {
	if f.quarters%2 == 1 {
		return f.visible.height(), f.visible.width()
	}
	return f.visible.width(), f.visible.height()
}

// shown turns a box on the page as it is written into one on the page as it is shown.
func (f frame) shown(b box) box {
	b = box{b.left - f.visible.left, b.bottom - f.visible.bottom, b.right - f.visible.left, b.top - f.visible.bottom}
	w, h := f.visible.width(), f.visible.height()
	switch f.quarters {
	case 1:
		return box{b.bottom, w - b.right, b.top, w - b.left}
	case 2:
		return box{w - b.right, h - b.top, w - b.left, h - b.bottom}
	case 3:
		return box{h - b.top, b.left, h - b.bottom, b.right}
	}
	return b
}

// scanner makes words of characters.
type scanner struct {
	file  *file
	text  references.FPDF_TEXTPAGE
	frame frame
	page  *page

	open  bool
	word  word
	b     strings.Builder
	angle float64
	font  fontAt
	asked int
	odd   bool // the font of the word doesn't say what its characters are
}

// fontAt is what was found out about the characters at hand; asking for every one takes most of the time.
type fontAt struct {
	size float64
	bold bool
}

// hyphens are what PDFium gives for a hyphen at which a word was broken.
const (
	hyphenControl = 0x02
	hyphenOther   = 0xfffe
	hyphenSoft    = 0xad
)

func (s *scanner) char(i int) error {
	got, err := s.file.pdfium.FPDFText_GetUnicode(&requests.FPDFText_GetUnicode{TextPage: s.text, Index: i})
	if err != nil {
		return err
	}
	r := rune(uint32(got.Unicode))
	switch {
	case r == '\n' || r == '\r' || unicode.IsSpace(r):
		s.end(false)
		return nil
	case r == hyphenControl || r == hyphenOther || r == hyphenSoft:
		r = hyphenSoft
	case r == 0 || r == unicode.ReplacementChar || unicode.Is(unicode.Co, r) || unicode.IsControl(r):
		s.page.unmapped++
		s.end(true)
		return nil
	case r == '\ufeff' || r == '\u200b' || r == '\u2060':
		return nil
	}
	at, err := s.file.pdfium.FPDFText_GetCharBox(&requests.FPDFText_GetCharBox{TextPage: s.text, Index: i})
	if err != nil {
		return nil //nolint:nilerr // a character without a place is none that people see
	}
	b := s.frame.shown(box{at.Left, at.Bottom, at.Right, at.Top})
	if !finite(b) {
		return nil
	}
	if s.open && s.apart(b) {
		s.end(wideRune(r) || s.close(b))
	}
	if !s.open {
		s.begin(i, b)
		s.open = true
		s.odd = s.suspicious(i)
	}
	if s.word.tilt || s.word.turn {
		s.word.box = s.word.box.union(b)
	} else {
		s.word.box.left, s.word.box.right = min(s.word.box.left, b.left), max(s.word.box.right, b.right)
	}
	s.b.WriteRune(r)
	switch {
	case s.odd:
		s.page.unmapped++
	case r != hyphenSoft:
		s.page.letters++
	}
	if wideRune(r) && s.b.Len() >= 120 { // Chinese has no spaces; pieces keep boxes close to the text
		s.end(true)
	}
	return nil
}

func finite(b box) bool {
	for _, v := range [...]float64{b.left, b.bottom, b.right, b.top} {
		if math.IsNaN(v) || math.Abs(v) > 1e5 {
			return false
		}
	}
	return b.right >= b.left && b.top >= b.bottom
}

func wideRune(r rune) bool {
	return r >= 0x2e80 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= 0x3000 && r <= 0x303f || r >= 0xff00 && r <= 0xffef)
}

// apart reports whether a character does not continue the word.
func (s *scanner) apart(b box) bool {
	size := max(s.word.size, 1)
	if s.word.tilt || s.word.turn {
		return false
	}
	return b.left-s.word.box.right > 0.3*size || b.right < s.word.box.left-size || b.bottom > s.word.box.top || b.top < s.word.box.bottom
}

// close reports whether a character stands right behind the word, if in another line or size.
func (s *scanner) close(b box) bool {
	return b.left-s.word.box.right < 0.1*s.word.size && b.left >= s.word.box.right-0.5*s.word.size
}

// begin finds out about the font of the character at which a word begins.
func (s *scanner) begin(i int, b box) {
	s.word = word{join: s.word.join}
	font := s.font
	if got, err := s.file.pdfium.FPDFText_GetLooseCharBox(&requests.FPDFText_GetLooseCharBox{TextPage: s.text, Index: i}); err == nil {
		loose := s.frame.shown(box{float64(got.Rect.Left), float64(got.Rect.Bottom), float64(got.Rect.Right), float64(got.Rect.Top)})
		if finite(loose) && loose.height() > 0 {
			b.bottom, b.top = min(b.bottom, loose.bottom), max(b.top, loose.top)
		}
		font.size = min(max(loose.height(), 0), 400)
	}
	if font.size < 0.5 {
		font.size = max(b.height(), 1)
	}
	if len(s.page.words) == 0 || math.Abs(font.size-s.font.size) > 0.05 || newLine(s.page.words[len(s.page.words)-1].box, b) {
		font.bold = s.bold(i)
		if got, err := s.file.pdfium.FPDFText_GetCharAngle(&requests.FPDFText_GetCharAngle{TextPage: s.text, Index: i}); err == nil {
			s.angle = float64(got.CharAngle)
		}
	}
	s.font = font
	s.word.size, s.word.bold, s.word.box = font.size, font.bold, b
	quarters := math.Round(s.angle / (math.Pi / 2))
	s.word.tilt = math.Abs(s.angle-quarters*math.Pi/2) > 0.1
	s.word.turn = !s.word.tilt && (int(quarters)-s.frame.quarters)%4 != 0
}

func newLine(before, b box) bool { return b.bottom > before.top || b.top < before.bottom }

func (s *scanner) bold(i int) bool {
	got, err := s.file.pdfium.FPDFText_GetFontInfo(&requests.FPDFText_GetFontInfo{TextPage: s.text, Index: i})
	if err != nil {
		return false
	}
	name := strings.ToLower(got.FontName)
	return strings.Contains(name, "bold") || strings.Contains(name, "black") || strings.Contains(name, "heavy") || strings.HasSuffix(name, "-bd") || strings.Contains(name, "cmbx")
}

// suspicious asks PDFium whether the font says what the character is.
func (s *scanner) suspicious(i int) bool {
	if s.asked++; s.asked > 100 && i%8 != 0 { // a sample will do
		return false
	}
	got, err := s.file.pdfium.FPDFText_HasUnicodeMapError(&requests.FPDFText_HasUnicodeMapError{TextPage: s.text, Index: i})
	return err == nil && got.HasUnicodeMapError
}

// end ends the word. Joined says that the next one follows without space.
func (s *scanner) end(joined bool) {
	if s.open && s.b.Len() > 0 {
		s.word.text = s.b.String()
		s.page.words = append(s.page.words, s.word)
	}
	s.b.Reset()
	s.open = false
	s.word = word{join: joined}
}
