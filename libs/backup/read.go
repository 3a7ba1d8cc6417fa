package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/ragmesh/ragmesh/libs/bus"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
)

// Why a file is not restored.
var (
	// ErrNotAnArchive: it is something else.
	ErrNotAnArchive = errors.New("this is not an archive of `ragmesh backup`")
	// ErrTruncated: its end is missing.
	ErrTruncated = errors.New("the archive is not complete: its end is missing")
	// ErrAltered: it is not what was written.
	ErrAltered = errors.New("the archive was altered: its content does not have its checksum")
	// ErrNewer: a later ragmesh wrote it.
	ErrNewer = errors.New("the archive was written by a newer ragmesh")
)

const (
	maxJSON    = 1 << 20
	maxSegment = 16 << 20
	maxMessage = 8 << 20
	// maxMemory bounds what the archive can make the decompressor hold.
	maxMemory = 64 << 20
)

// Read reads an archive from its beginning to its end and checks all of it. It calls visit, which may be nil, for every
// message, before the whole is known to be good: whoever changes something for what it is told reads twice.
func Read(from io.Reader, visit func(stream string, m bus.Archived) error) (Header, Manifest, error) {
	zip, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxMemory), zstd.WithDecoderLowmem(true))
	if err != nil {
		return Header{}, Manifest{}, ErrNotAnArchive
	}
	defer zip.Close()
	r := &reader{tar: tar.NewReader(zip), sum: sha256.New(), visit: visit, parts: map[string]Part{}}
	if err := r.readHeader(); err != nil {
		return Header{}, Manifest{}, err
	}
	for {
		done, err := r.next()
		if err != nil {
			return r.header, Manifest{}, err
		}
		if done {
			break
		}
	}
	// Nothing follows, and the decompressor's own checksum is right.
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return r.header, Manifest{}, torn(err)
	}
	if n, err := io.Copy(io.Discard, zip); err != nil || n > 0 {
		return r.header, Manifest{}, torn(err)
	}
	return r.header, r.manifest, nil
}

// torn says what an error in the middle means.
func torn(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return ErrAltered
}

type reader struct {
	tar      *tar.Reader
	sum      hash.Hash
	visit    func(string, bus.Archived) error
	header   Header
	manifest Manifest
	parts    map[string]Part
	segments int
}

// file reads an entry.
func (r *reader) file(limit int64) (name string, content []byte, err error) {
	h, err := r.tar.Next()
	if err != nil {
		return "", nil, torn(err)
	}
	if h.Size > limit || h.Typeflag != tar.TypeReg {
		return "", nil, ErrAltered
	}
	if content, err = io.ReadAll(r.tar); err != nil {
		return "", nil, torn(err)
	}
	return h.Name, content, nil
}

func (r *reader) readHeader() error {
	name, content, err := r.file(maxSegment)
	if errors.Is(err, ErrTruncated) {
		return err
	}
	if err != nil || name != headerName || json.Unmarshal(content, &r.header) != nil || r.header.Format < 1 {
		return ErrNotAnArchive
	}
	if r.header.Format > Format {
		return fmt.Errorf("%w (%s, format %d; this one reads formats up to %d): restore it with that version", ErrNewer, r.header.Version, r.header.Format, Format)
	}
	for _, stream := range r.header.Streams {
		if !slices.Contains(Streams(), stream) {
			return fmt.Errorf("%w (%s), and holds %s, which this one does not know: restore it with that version", ErrNewer, r.header.Version, stream)
		}
	}
	note(r.sum, name, content)
	return nil
}

// next reads a segment, or the manifest, after which nothing comes.
func (r *reader) next() (done bool, err error) {
	name, content, err := r.file(maxSegment)
	if err != nil {
		return false, err
	}
	if name == manifestName {
		return true, r.readManifest(content)
	}
	r.segments++
	stream, _, _ := strings.Cut(name, "/")
	if !slices.Contains(r.header.Streams, stream) || name != fmt.Sprintf("%s/%08d", stream, r.segments) {
		return false, ErrAltered
	}
	note(r.sum, name, content)
	return false, r.segment(stream, content)
}

func (r *reader) segment(stream string, content []byte) error {
	from := bytes.NewReader(content)
	p := r.parts[stream]
	for from.Len() > 0 {
		var m eventv1.ArchivedMessage
		if err := (protodelim.UnmarshalOptions{MaxSize: maxMessage}).UnmarshalFrom(from, &m); err != nil || m.GetSubject() == "" {
			return ErrAltered
		}
		p.Messages++
		p.Bytes += uint64(len(m.GetData()))
		if r.visit == nil {
			continue
		}
		out := bus.Archived{Subject: m.GetSubject(), Data: m.GetData(), Sequence: m.GetSequence(), Time: m.GetStoredAt().AsTime()}
		for _, h := range m.GetHeaders() {
			if out.Header == nil {
				out.Header = map[string][]string{}
			}
			out.Header[h.GetName()] = h.GetValues()
		}
		if err := r.visit(stream, out); err != nil {
			return err
		}
	}
	r.parts[stream] = p
	return nil
}

func (r *reader) readManifest(content []byte) error {
	if len(content) > maxJSON || json.Unmarshal(content, &r.manifest) != nil || r.manifest.SHA256 != hex.EncodeToString(r.sum.Sum(nil)) {
		return ErrAltered
	}
	for _, want := range r.manifest.Streams {
		got := r.parts[want.Stream]
		if got.Messages != want.Messages || got.Bytes != want.Bytes {
			return ErrAltered
		}
	}
	return nil
}
