package isolate_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/isolate"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/pdf/pdftest"
)

// The test binary is its own child, one that can also misbehave.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case isolate.Argument:
			if err := isolate.Serve(os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "misbehave":
			misbehave(os.Args[2])
			os.Exit(1)
		}
	}
	dir, err := os.MkdirTemp("", "pdfium")
	if err != nil {
		panic(err)
	}
	cache = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var cache string

// misbehave is a child that says it is ready and then does something else than reading.
func misbehave(how string) {
	_, _ = os.Stdout.Write([]byte("R\x00\x00\x00\x012"))
	for range 2 { // the settings, the order
		var head [5]byte
		_, _ = io.ReadFull(os.Stdin, head[:])
		_, _ = io.CopyN(io.Discard, os.Stdin, int64(binary.BigEndian.Uint32(head[1:])))
	}
	switch how {
	case "hang":
		time.Sleep(time.Minute)
	case "eat":
		var all [][]byte
		for len(all) < 50 { // no more than the test can bear to lose
			all = append(all, bytes.Repeat([]byte{1}, 8<<20))
		}
		time.Sleep(time.Minute)
		_ = all
	case "babble":
		_, _ = os.Stdout.Write(bytes.Repeat([]byte{0xff}, 100))
		time.Sleep(time.Minute)
	case "lie":
		payload := `[[1,9,0,100]]`
		_, _ = fmt.Fprintf(os.Stdout, "B\x00\x00\x00%c%s", len(payload), payload)
		payload = `{}`
		_, _ = fmt.Fprintf(os.Stdout, "E\x00\x00\x00%c%s", len(payload), payload)
		time.Sleep(time.Minute)
	case "die":
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
	}
}

func settings() isolate.Settings {
	return isolate.Settings{Limits: parse.DefaultLimits(), Memory: 1 << 30, Cache: cache}
}

func pool(t *testing.T, change func(*isolate.Config)) *isolate.Pool {
	t.Helper()
	c := isolate.Config{
		Settings: settings(), Command: []string{os.Args[0], isolate.Argument}, Processes: 2, Timeout: 5 * time.Minute, Idle: time.Minute, Documents: 100,
		Warn: func(_ context.Context, what string, err error) { t.Log(what, err) },
	}
	if change != nil {
		change(&c)
	}
	p := isolate.New(c)
	t.Cleanup(p.Close)
	return p
}

func TestPoolReads(t *testing.T) {
	t.Parallel()
	p := pool(t, func(c *isolate.Config) { c.Documents = 3 }) // children are replaced on the way
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			want := fmt.Sprintf("This is document %d.", i)
			doc, err := p.Parse(t.Context(), parse.Source{URI: "a.pdf", Data: pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{pdftest.Lines(50, 700, 12, want)}})})
			if err != nil || doc.Text != want || doc.ContentType != "application/pdf" || len(doc.Places) != 1 || doc.Language != "en" {
				t.Errorf("%+v, %v", doc, err)
			}
			_, err = p.Parse(t.Context(), parse.Source{URI: "a.pdf", Data: []byte("%PDF-1.7 and nothing")})
			if fault.ReasonOf(err) != fault.MalformedDocument {
				t.Errorf("a damaged one gives %v", err)
			}
		})
	}
	group.Wait()
}

// A text longer than a frame arrives as it was.
func TestLongText(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&b, "第 %d 段 is a paragraph of some length.\n\n", i)
	}
	source := parse.Source{URI: "a.txt", Data: []byte(b.String())}
	want, err := parse.NewRegistry().Parse(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse.New(parse.Config{Limits: parse.DefaultLimits(), Isolated: pool(t, nil).Parse}).Parse(t.Context(), source)
	if err != nil || got.Text != want.Text || len(got.Blocks) != len(want.Blocks) || got.Title != want.Title {
		t.Errorf("%d bytes in %d blocks, %v; want %d in %d", len(got.Text), len(got.Blocks), err, len(want.Text), len(want.Blocks))
	}
}

// Whatever a child does, the document fails with a reason, and the pool goes on.
func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]struct {
		reason fault.Reason
		says   string
	}{
		"hang":   {fault.DocumentTooLarge, "longer than"},
		"eat":    {fault.DocumentTooLarge, "memory"},
		"babble": {fault.ParserFailed, "fail"},
		"lie":    {fault.ParserFailed, "fail"},
		"die":    {fault.ParserFailed, "fail"},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := pool(t, func(c *isolate.Config) {
				c.Command = []string{os.Args[0], "misbehave", how}
				c.Processes = 1
				switch how {
				case "hang":
					c.Timeout = 300 * time.Millisecond
				case "eat":
					c.Memory = 200 << 20
				}
			})
			for range 2 {
				_, err := p.Parse(t.Context(), parse.Source{URI: "a.pdf", Data: []byte("%PDF-1.7")})
				if fault.ReasonOf(err) != want.reason || fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.As(err).Message, want.says) {
					t.Errorf("error = %v", err)
				}
			}
		})
	}
}

// Who stops waiting gets its own reason back, and the child is gone.
func TestCanceled(t *testing.T) {
	t.Parallel()
	p := pool(t, func(c *isolate.Config) { c.Command = []string{os.Args[0], "misbehave", "hang"} })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Parse(ctx, parse.Source{URI: "a.pdf", Data: []byte("%PDF-1.7")}); !strings.Contains(fmt.Sprint(err), "deadline") {
		t.Errorf("error = %v", err)
	}
}

// A program that can't be started is not the document's fault: its job comes again.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	p := pool(t, func(c *isolate.Config) { c.Command = []string{filepath.Join(t.TempDir(), "none")} })
	if _, err := p.Parse(t.Context(), parse.Source{URI: "a.pdf", Data: []byte("%PDF-1.7")}); err == nil || fault.KindOf(err) == fault.Invalid {
		t.Errorf("error = %v", err)
	}
}

func TestOCR(t *testing.T) {
	t.Parallel()
	scan := pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{nil}})
	withText := filepath.Join(t.TempDir(), "text.pdf")
	if err := os.WriteFile(withText, pdftest.Write(pdftest.File{Pages: [][]pdftest.Text{pdftest.Lines(50, 700, 12, "Found by OCR.")}}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		command []string
		want    string
		says    string
	}{
		"PDF with a text layer": {[]string{"cat", withText}, "Found by OCR.", ""},
		"plain text":            {[]string{"printf", `Page one.\f\n\nPage two.\n`}, "Page one.\n\nPage two.", ""},
		"nothing found":         {[]string{"true"}, "", "found none"},
		"failed":                {[]string{"false"}, "", "OCR failed"},
		"no such program":       {[]string{"no-such-program-here"}, "", "can't be started"},
		"too slow":              {[]string{"sleep", "60"}, "", "longer than"},
		"none":                  {nil, "", "pictures"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pool(t, func(c *isolate.Config) {
				c.OCR, c.OCRTimeout, c.Processes = tc.command, time.Minute, 1
				if name == "too slow" {
					c.OCRTimeout = 100 * time.Millisecond
				}
			})
			doc, err := p.Parse(t.Context(), parse.Source{URI: "a.pdf", Data: scan})
			if tc.says != "" {
				if fault.ReasonOf(err) != fault.OCRRequired || !strings.Contains(fault.As(err).Message, tc.says) {
					t.Errorf("error = %v", err)
				}
				return
			}
			if err != nil || doc.Text != tc.want {
				t.Errorf("%q, %v", doc.Text, err)
			}
		})
	}
}
