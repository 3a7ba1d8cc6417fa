package isolate

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

func TestDocumentRoundTrip(t *testing.T) {
	t.Parallel()
	want := parse.Document{
		Title: "标题", Text: "one\n\ntwo", Language: "en", ContentType: "application/pdf",
		Blocks: []parse.Block{{Kind: parse.Heading, Level: 2, Start: 0, End: 3}, {Start: 5, End: 8}},
		Places: []parse.Place{{Start: 5, End: 8, Page: 7, Box: parse.Box{Left: 1.5, Bottom: 2, Right: 3, Top: 4}}},
	}
	var b bytes.Buffer
	if err := writeDocument(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := readDocument(&b, parse.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

// What a child sends is not believed: it is a document that is as it must be, a failure of the document, or the child's end.
func FuzzAnswer(f *testing.F) {
	var b bytes.Buffer
	if err := writeDocument(&b, parse.Document{Text: "a\n\nb", Blocks: []parse.Block{{End: 1}, {Start: 3, End: 4}}, Places: []parse.Place{{End: 1, Page: 1}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("F\x00\x00\x00\x02{}"))
	f.Add([]byte("B\x00\x00\x00\x0d[[1,9,0,100]]E\x00\x00\x00\x02{}"))
	f.Add([]byte("T\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := parse.Limits{Text: 1 << 10}
		doc, err := readDocument(bytes.NewReader(data), limits)
		switch {
		case err == nil:
			if err := doc.Check(limits); err != nil {
				t.Fatal(err)
			}
		case fault.KindOf(err) == fault.Invalid, errors.Is(err, errProtocol), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		default:
			t.Fatalf("an error of another kind: %v", err)
		}
	})
}
