package parse_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/text/encoding/htmlindex"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

const (
	simplified  = "节点可以是虚拟机或物理机，取决于所在的集群配置。每个节点都包含运行所需要的服务。\n\n如果你要申请退款，请在三十天之内提交申请，我们会在五个工作日内处理。"
	traditional = "節點可以是虛擬機或實體機，取決於所在的叢集設定。每個節點都包含執行所需要的服務。\n\n如果你要申請退款，請在三十天之內提交申請，我們會在五個工作日內處理。"
	japanese    = "ノードは仮想マシンでも物理マシンでもかまいません。返金を申請する場合は、三十日以内に申請してください。"
	korean      = "노드는 가상 머신일 수도 있고 물리 머신일 수도 있습니다. 환불을 신청하려면 삼십일 이내에 신청서를 제출하십시오."
	german      = "Die Gebühr beträgt zwölf Euro für jede Überweisung. Größere Beträge müssen vorher angekündigt werden; natürlich gelten dafür günstigere Sätze."
	french      = "Les frais s’élèvent à douze euros. L’élève a déjà reçu la clé du château, où il était né; ça n’a pas été réglé."
	russian     = "Комиссия составляет двенадцать евро за каждый перевод. О больших суммах необходимо сообщать заранее, для них действуют другие условия."
)

func TestEncodings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ charset, want string }{
		"GBK": {"gbk", simplified}, "GB18030": {"gb18030", simplified}, "Big5": {"big5", traditional},
		"Shift_JIS": {"shift_jis", japanese}, "EUC-JP": {"euc-jp", japanese}, "EUC-KR": {"euc-kr", korean},
		"German": {"windows-1252", german}, "French": {"windows-1252", french}, "Russian": {"windows-1251", russian}, "KOI8-R": {"koi8-r", russian},
		"GBK among English":   {"gbk", strings.Repeat("The node runs pods. ", 30) + simplified},
		"a few Western signs": {"windows-1252", "A café in Zürich costs £3 – “cheap”."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := htmlindex.Get(tc.charset)
			if err != nil {
				t.Fatal(err)
			}
			data, err := e.NewEncoder().Bytes([]byte(tc.want))
			if err != nil {
				t.Fatal(err)
			}
			same(t, parse.Source{URI: "a.txt", Data: data}, tc.want)
		})
	}
}

func TestUTF16(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"Chinese": simplified, "English": "The fee is 12 euros.\n\nIt is due.", "beyond the first plane": simplified + "😀 𠮷。"} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			for _, mark := range []bool{true, false} {
				units := utf16.Encode([]rune(want))
				if mark {
					units = slices.Insert(units, 0, 0xfeff)
				}
				data := make([]byte, 2*len(units))
				for i, u := range units {
					order.PutUint16(data[2*i:], u)
				}
				t.Run(name+order.String(), func(t *testing.T) {
					t.Parallel()
					same(t, parse.Source{URI: "a.txt", Data: data}, want)
				})
			}
		}
	}
}

func same(t *testing.T, s parse.Source, want string) {
	t.Helper()
	doc, err := parse.NewRegistry().Parse(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if doc.Text != want {
		t.Errorf("text is\n%s\nwant\n%s", doc.Text, want)
	}
}

// What can't be told is refused, and what is declared is believed.
func TestEncodingUnsure(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"two Chinese characters":      "\xbd\xda\xb5\xe3",
		"Chinese and a broken byte":   "\xbd\xda\xb5\xe3 \xff\xff\xff",
		"the same letters repeated":   strings.Repeat("\xe4", 100),
		"every byte there is":         "\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\xa0\xb0\xc0\xd0\xe0\xf0\xff",
		"an English dash in GBK":      "It fell \xa1\xaa again.",
		"an English dash in Big5":     "It was 24\xa1V10 then.",
		"UTF-8 with many broken ones": strings.Repeat("节\xff", 50),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "a.txt", Data: []byte(data)})
			if got := fault.ReasonOf(err); got != fault.UnknownEncoding {
				t.Errorf("reason = %v, text %q", got, doc.Text)
			}
		})
	}
	same(t, parse.Source{URI: "a.txt", ContentType: "text/plain; charset=gbk", Data: []byte("\xbd\xda\xb5\xe3")}, "节点")
	same(t, parse.Source{URI: "a.txt", Data: []byte(strings.Repeat("节点", 50) + "\xe8\x8a")}, strings.Repeat("节点", 50))
}
