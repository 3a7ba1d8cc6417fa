package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/bus"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
)

const (
	headerName   = "header.json"
	manifestName = "manifest.json"
	// segmentBytes is how large a segment becomes before it is written; a message more fits always.
	segmentBytes = 1 << 20
	// window bounds what the compressor holds in memory.
	window = 1 << 20
)

// writer writes an archive. Its memory is a segment and the compressor's window.
type writer struct {
	zip *zstd.Encoder
	tar *tar.Writer
	at  time.Time
	sum hash.Hash

	stream   string
	segment  bytes.Buffer
	segments int
	parts    []Part
	broken   error // what a constructor can't return
}

func newWriter(to io.Writer, at time.Time) *writer {
	zip, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	return &writer{zip: zip, tar: tar.NewWriter(zip), at: at, sum: sha256.New(), broken: err}
}

// entry writes a value as JSON.
func (w *writer) entry(name string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return w.file(name, append(content, '\n'))
}

// file writes an entry of the tar file, which the checksum covers.
func (w *writer) file(name string, content []byte) error {
	if w.broken != nil {
		return fmt.Errorf("write archive: %w", w.broken)
	}
	note(w.sum, name, content)
	err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: w.at, Format: tar.FormatPAX})
	if err == nil {
		_, err = w.tar.Write(content)
	}
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// note adds an entry to the checksum: its name and length keep it apart from the next.
func note(sum hash.Hash, name string, content []byte) {
	fmt.Fprintf(sum, "%s %d\n", name, len(content))
	sum.Write(content)
}

// begin says which stream the next messages are of.
func (w *writer) begin(stream string) {
	if stream != w.stream {
		w.broken = errorOf(w.broken, w.flush())
		w.stream = stream
	}
	if !slices.ContainsFunc(w.parts, func(p Part) bool { return p.Stream == stream }) {
		w.parts = append(w.parts, Part{Stream: stream})
	}
}

func errorOf(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// message adds a message, and says whether a segment was written with it.
func (w *writer) message(m bus.Archived) (flushed bool, err error) {
	out := &eventv1.ArchivedMessage{Subject: m.Subject, Data: m.Data, Sequence: m.Sequence, StoredAt: timestamppb.New(m.Time)}
	for name, values := range m.Header {
		out.Headers = append(out.Headers, &eventv1.ArchivedHeader{Name: name, Values: values})
	}
	if _, err := protodelim.MarshalTo(&w.segment, out); err != nil {
		return false, fmt.Errorf("write message %d of %s: %w", m.Sequence, w.stream, err)
	}
	p := w.current()
	p.Messages++
	p.Bytes += uint64(len(m.Data))
	if w.segment.Len() < segmentBytes {
		return false, nil
	}
	return true, w.flush()
}

func (w *writer) current() *Part {
	return &w.parts[slices.IndexFunc(w.parts, func(p Part) bool { return p.Stream == w.stream })]
}

func (w *writer) part(stream string) Part {
	return w.parts[slices.IndexFunc(w.parts, func(p Part) bool { return p.Stream == stream })]
}

// flush writes the segment there is.
func (w *writer) flush() error {
	if w.segment.Len() == 0 {
		return w.broken
	}
	w.segments++
	err := w.file(fmt.Sprintf("%s/%08d", w.stream, w.segments), w.segment.Bytes())
	w.segment.Reset()
	return err
}

// close writes the manifest and ends the archive.
func (w *writer) close(at time.Time) (Manifest, error) {
	m := Manifest{EndedAt: at, Streams: w.parts, SHA256: hex.EncodeToString(w.sum.Sum(nil))}
	if err := w.entry(manifestName, m); err != nil {
		return Manifest{}, err
	}
	if err := w.tar.Close(); err != nil {
		return Manifest{}, fmt.Errorf("end archive: %w", err)
	}
	if err := w.zip.Close(); err != nil {
		return Manifest{}, fmt.Errorf("end archive: %w", err)
	}
	return m, nil
}
