package parse

import (
	"bytes"
	"mime"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/saintfish/chardet"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// decode returns a text as UTF-8. The encoding is what a byte order mark says, else UTF-8 where it is valid, else what was
// declared where that is plausible, else what the bytes look like. A guess that is not sure is refused: wrong characters would
// be indexed, never found, and noticed by nobody.
func decode(s Source) ([]byte, error) {
	data := s.Data
	if rest, found := bytes.CutPrefix(data, []byte("\ufeff")); found {
		data = rest
	} else if order, ok := utf16Kind(data); ok {
		return fromUTF16(data, order)
	}
	if utf8.Valid(data) {
		if bytes.IndexByte(data, 0) >= 0 {
			return nil, unsupported("this is a binary file; %s can be read", readableFormats)
		}
		return data, nil
	}
	if name := declaredCharset(s, data); name != "" {
		if e, err := htmlindex.Get(name); err == nil {
			if out, ok := attempt(e, data); ok && plausible(out, true) {
				return out, nil
			}
		}
	}
	if out, ok := mostlyUTF8(data); ok {
		return out, nil
	}
	if out, ok := guess(data); ok {
		return out, nil
	}
	return nil, fault.New(fault.Invalid, fault.UnknownEncoding,
		"the text is not UTF-8 (byte %d), and which other encoding it is in can't be told for sure; save it as UTF-8 and send it again", invalidUTF8(data))
}

// declaredCharset is what the media type given at upload or the page itself says.
func declaredCharset(s Source, data []byte) string {
	if _, params, err := mime.ParseMediaType(s.ContentType); err == nil && params["charset"] != "" {
		return params["charset"]
	}
	if m := metaCharset.FindSubmatch(data[:min(len(data), 2048)]); m != nil {
		return string(m[1])
	}
	return ""
}

// metaCharset matches how a page or a piece of XML says what encoding it is in.
var metaCharset = regexp.MustCompile(`(?i)<(?:meta\s[^>]*charset|\?xml\s[^>]*encoding)\s*=\s*["']?\s*([\w:-]+)`)

// attempt decodes data, which succeeds only when every byte of it means something.
func attempt(e encoding.Encoding, data []byte) ([]byte, bool) {
	out, err := e.NewDecoder().Bytes(data)
	if err != nil || bytes.ContainsRune(out, utf8.RuneError) {
		return nil, false
	}
	return out, true
}

// plausible reports whether decoded text holds nothing that text does not hold: control characters, unassigned and private
// ones. C1 controls are what a wrong encoding gives most often.
func plausible(s []byte, strict bool) bool {
	total, odd := 0, 0
	for _, r := range string(s) {
		total++
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\f':
		case unicode.IsControl(r), unicode.Is(unicode.Co, r), !unicode.IsGraphic(r) && !unicode.Is(unicode.Cf, r):
			odd++
		}
	}
	if strict {
		return odd == 0
	}
	return odd*1000 <= total
}

// mostlyUTF8 takes UTF-8 with a few damaged bytes, as a cut file has at its end: what is damaged is left out.
func mostlyUTF8(data []byte) ([]byte, bool) {
	bad, wide := 0, 0
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			bad++
		} else if size > 1 {
			wide++
		}
		at += size
	}
	if wide < 20 || bad*50 > wide {
		return nil, false
	}
	return bytes.ToValidUTF8(data, nil), true
}

// utf16Kind tells UTF-16 by its byte order mark, or by what its text must look like.
func utf16Kind(data []byte) (bigEndian, ok bool) {
	switch {
	case len(data) < 2 || len(data) >= 4 && data[0] == 0xff && data[1] == 0xfe && data[2] == 0 && data[3] == 0: // UTF-32
		return false, false
	case data[0] == 0xff && data[1] == 0xfe:
		return false, true
	case data[0] == 0xfe && data[1] == 0xff:
		return true, true
	case len(data)%2 != 0 || len(data) < 8:
		return false, false
	}
	head := data[:min(len(data), headSize)&^1]
	if utf8.Valid(head) && bytes.IndexByte(head, 0) < 0 {
		return false, false
	}
	little, big := ordinary(head, false), ordinary(head, true)
	switch {
	case little >= 0.95 && little > big:
		return false, true
	case big >= 0.95 && big > little:
		return true, true
	}
	return false, false
}

// ordinary is the share of characters that are common in some language, were data UTF-16. Without ASCII spaces, line ends or
// full stops it is none: any bytes make Chinese characters.
func ordinary(data []byte, bigEndian bool) float64 {
	good, marks := 0, 0
	for i := 0; i+1 < len(data); i += 2 {
		r := unit16(data[i:], bigEndian)
		switch {
		case r == ' ' || r == '\n' || r == '，' || r == '。':
			marks++
			good++
		case r == '\r' || r == '\t' || r > ' ' && r < 0x7f || r >= 0xa0 && r < 0x250 || r >= 0x370 && r < 0x600,
			r >= 0x2010 && r < 0x2070, r >= 0x3001 && r < 0x3100, r >= 0x4e00 && r < 0xa000, r >= 0xac00 && r < 0xd7a4, r > 0xff00 && r < 0xff66:
			good++
		}
	}
	total := len(data) / 2
	if marks*200 < total {
		return 0
	}
	return float64(good) / float64(total)
}

func unit16(b []byte, bigEndian bool) rune {
	if bigEndian {
		return rune(b[0])<<8 | rune(b[1])
	}
	return rune(b[1])<<8 | rune(b[0])
}

func fromUTF16(data []byte, bigEndian bool) ([]byte, error) {
	if r := unit16(append([]byte(nil), data[:2]...), bigEndian); r == '\ufeff' {
		data = data[2:]
	}
	if len(data)%2 != 0 {
		data = data[:len(data)-1] // cut within its last character
	}
	out := make([]byte, 0, len(data))
	for i := 0; i+1 < len(data); i += 2 {
		r := unit16(data[i:], bigEndian)
		if utf16.IsSurrogate(r) {
			if i+3 < len(data) {
				if joined := utf16.DecodeRune(r, unit16(data[i+2:], bigEndian)); joined != unicode.ReplacementChar {
					out = utf8.AppendRune(out, joined)
					i += 2
					continue
				}
			}
			return nil, malformed("the text is UTF-16 and not valid at byte %d; save it as UTF-8 and send it again", i)
		}
		out = utf8.AppendRune(out, r)
	}
	if !plausible(out, false) {
		return nil, unsupported("this is a binary file; %s can be read", readableFormats)
	}
	return out, nil
}

// script is a legacy encoding with what text in it must look like.
type script struct {
	charset string
	// common are characters that make up a good part of any text in the language; wide those that its encoding has two bytes for.
	common string
	share  float64 // of the wide characters that are common, at least
}

// scripts are the multi-byte encodings that are told apart by the most common characters of their languages: under a wrong
// encoding these come up no more often than any other of thousands.
func scripts() []script {
	const simplified = "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已老从动两长知样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周保达办运武半候七必城父强步完革深区即求品士转量空甚众技轻程告江语英基派满式李息写呢识极令黄德收脸钱党倒未持取设始版双历越史商千片容研像找友孩站广改议形委早房音火际则首单据导影失拿网香似斯专石若兵弟谁校读志飞观争究包组造落视济喜离虽坏证项目服务器数据文件"
	const traditional = "的一是不了在人有我他這中大來上個國到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可裡後小麼心多天而能好都然沒日於起還發成事只作當想看文無開手用主行方又如前所本見經頭面公同三已老從動兩長知樣現分將外但身些與高意進把法此實回二理美點月明其種聲全工己話兒者向情部正名定女問力機給等幾很業最間新什打便位因重被走電四第門相次東政海口使教西再平真聽世氣信北少關並內加化由卻代軍產入先山五太水萬市眼體別處總才場師書比住員資料檔案請服務"
	const japanese = "のにはをたがでてとしれさいるなもかられこすりくあきよそってんだけまンスルトイリアラクーシドレジタプッコロフニテマグバデサカメオムチキパウ、。・日年月人本大一国中会"
	const korean = "이다는의가에을고하지은를기도로한사리어자서나시라인으그대아일해수전정과있들제부보주동장상게것했니안스성면생조원여구"
	return []script{
		{"gb18030", simplified, 0.35}, {"big5", traditional, 0.28},
		{"shift_jis", japanese, 0.35}, {"euc-jp", japanese, 0.35}, {"euc-kr", korean, 0.3},
	}
}

// fewest is how many wide characters it takes to tell an encoding by.
const fewest = 12

// guess finds the legacy encoding of data, if there is one that it is in without doubt.
func guess(data []byte) ([]byte, bool) {
	head := data[:min(len(data), 1<<20)]
	best, second, chosen := 0.0, 0.0, ""
	for _, s := range scripts() {
		e, err := htmlindex.Get(s.charset)
		if err != nil {
			continue
		}
		share := s.resembles(e, head)
		switch {
		case share > best:
			best, second, chosen = share, best, s.charset
		case share > second:
			second = share
		}
	}
	if chosen != "" && best > second*1.3 {
		e, _ := htmlindex.Get(chosen)
		out, ok := attempt(e, data)
		if !ok && len(data) > 200 { // cut within its last character
			out, ok = attempt(e, data[:len(data)-1])
		}
		return out, ok
	}
	return guessAlphabet(data)
}

// resembles is the share of data's wide characters that are common ones of the language, 0 when it can't be in the encoding.
func (s script) resembles(e encoding.Encoding, data []byte) float64 {
	out, err := e.NewDecoder().Bytes(data)
	if err != nil {
		return 0
	}
	wide, common, broken := 0, 0, 0
	for _, r := range string(out) {
		switch {
		case r == utf8.RuneError || unicode.Is(unicode.Co, r) || unicode.IsControl(r) && r >= 0x80:
			broken++
		case r >= 0x3000 && r <= 0x303f, r >= 0xff00 && r <= 0xff60: // punctuation is much the same in all of them
		case r >= 0x80:
			wide++
			if strings.ContainsRune(s.common, r) {
				common++
			}
		}
	}
	if wide < fewest || broken > 1 || float64(common) < s.share*float64(wide) {
		return 0
	}
	return float64(common) / float64(wide)
}

// alphabets are the single-byte encodings that a guess may end in. What differs between them are a few signs at most.
func alphabets() map[string]string {
	return map[string]string{
		"ISO-8859-1": "windows-1252", "windows-1252": "windows-1252", "ISO-8859-9": "windows-1252", "ISO-8859-2": "iso-8859-2", "windows-1250": "windows-1250",
		"windows-1251": "windows-1251", "KOI8-R": "koi8-r", "ISO-8859-5": "iso-8859-5",
		"ISO-8859-7": "iso-8859-7", "windows-1253": "windows-1253",
	}
}

// guessAlphabet finds the encoding of text in an alphabet. Single-byte encodings accept nearly any bytes, so the statistics have to be
// sure, and words have to look like words.
func guessAlphabet(data []byte) ([]byte, bool) {
	if controls(data) {
		return nil, false
	}
	head := data[:min(len(data), headSize)]
	found, err := chardet.NewTextDetector().DetectAll(head)
	if err != nil {
		return nil, false
	}
	for _, f := range found {
		name := alphabets()[f.Charset]
		if name == "" || f.Confidence < 30 {
			continue
		}
		e, err := htmlindex.Get(name)
		if err != nil {
			continue
		}
		if out, ok := attempt(e, data); ok && plausible(out, true) && wordy(out) {
			return out, true
		}
	}
	// Too short for statistics: Western signs between Latin letters are what they look like.
	if e, err := htmlindex.Get("windows-1252"); err == nil {
		if out, ok := attempt(e, data); ok && plausible(out, true) && western(out) {
			return out, true
		}
	}
	return nil, false
}

// signs are the characters beyond ASCII that text of Western encodings has beside letters.
const signs = "“”‘’–—…«»„€£§°·•©®™№ ¡¿"

// wordy reports whether the characters beyond ASCII are letters within words of one case, or signs where signs stand.
func wordy(s []byte) bool {
	letters, odd := 0, 0
	last := ' '
	for _, r := range string(s) {
		if r >= 0x80 {
			switch {
			case unicode.IsUpper(r) && unicode.IsLower(last): // "aÐ" is no word
				odd++
			case (r == 'ª' || r == 'º') && !unicode.IsDigit(last):
				odd += 20
			case unicode.IsLetter(r):
				letters++
			case !signAfter(last, r):
				odd += 20
			}
		}
		last = r
	}
	return letters > 0 && odd*20 <= letters
}

// western reports whether every character beyond ASCII is a letter of Western Europe next to a Latin one, or a sign.
func western(s []byte) bool {
	runes := []rune(string(s))
	last := ' '
	for i, r := range runes {
		beside := i > 0 && latin(last) || i+1 < len(runes) && latin(runes[i+1])
		letter := beside && strings.ContainsRune("àâäáãåæçéèêëíìîïñóòôöõøœúùûüýÿßÀÂÄÁÃÅÆÇÉÈÊËÍÎÏÑÓÔÖÕØŒÚÙÛÜ", r)
		if r >= 0x80 && !letter && !signAfter(last, r) {
			return false
		}
		last = r
	}
	return true
}

// signAfter reports whether r is a sign that may stand after last. In encodings with two bytes a character, a dash or an
// accented letter among English words looks like a sign in an odd place: "15¡V1", "¡ª".
func signAfter(last, r rune) bool {
	switch {
	case !strings.ContainsRune(signs, r):
		return false
	case r == '¡' || r == '¿':
		return last < 0x80 && !unicode.IsLetter(last) && !unicode.IsDigit(last) && last != 0
	}
	return last < 0x80 || unicode.IsLetter(last) || strings.ContainsRune("“”‘’…«»„°", last)
}

func latin(r rune) bool { return r < 0x80 && unicode.IsLetter(r) }

// invalidUTF8 returns the offset of the first byte that is not valid UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}
