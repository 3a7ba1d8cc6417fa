// Package backup takes everything an installation keeps in NATS into one archive while it runs, and fills an empty NATS from
// one. What is derived (the index, eval's store) is not in it: the services make it again. Neither are secrets: API keys are
// there as hashes, the services' own keys and the bootstrap key are not.
//
// The archive is a tar file compressed with Zstandard: header.json, which says what it is; the streams in segments of about a
// megabyte of length-delimited ragmesh.event.v1.ArchivedMessage; manifest.json, which counts them and has the checksum of all
// before it. Messages, not JetStream's snapshots of files: they can be restored into another version of NATS, another number of
// replicas and another version's streams, and they are whole for keys that are written while they are read (see [bus.Bus.Dump]).
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
)

// Format is the version of the archive's layout. One with a higher number is refused.
const Format = 1

// Header says what an archive is; it comes first.
type Header struct {
	Format int `json:"format"`
	// Version is that of the ragmesh that wrote it.
	Version string `json:"ragmesh"`
	// BeganAt is when the backup began: what was acknowledged before is in it.
	BeganAt time.Time `json:"began_at"`
	// Replicas is how many copies the streams had.
	Replicas int `json:"replicas"`
	// Streams are those that are in it.
	Streams []string `json:"streams"`
}

// Manifest closes an archive.
type Manifest struct {
	EndedAt time.Time `json:"ended_at"`
	// Streams says how much there is of each.
	Streams []Part `json:"streams"`
	// SHA256 is over everything before it, in hex.
	SHA256 string `json:"sha256"`
}

// Part is how much of a stream there is.
type Part struct {
	Stream   string `json:"stream"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"` // of payloads
}

// Source is what is backed up; *[bus.Bus] is one.
type Source interface {
	Dump(ctx context.Context, stream string, after uint64, fn func(bus.Archived) error) (last uint64, err error)
	Hold(ctx context.Context) (release func(), err error)
	Replicas(ctx context.Context, stream string) (int, error)
}

var _ Source = (*bus.Bus)(nil)

// originals is the stream of the documents' bytes.
func originals() string { return bus.ObjectStream(bus.Originals) }

// before returns the streams that are read first, after those that are read once the originals are in the archive. Nothing in an
// archive refers to what is not in it: sessions and request ids, which speak of turns, come before the turns, the documents' records
// between two readings of the originals, and the workspaces first and last, see Take.
func before() []string {
	return []string{bus.KeyValueStream(bus.Workspaces), bus.KeyValueStream(bus.Members), bus.KeyValueStream(bus.Keys)}
}

func after() []string {
	return []string{
		bus.KeyValueStream(bus.Uploads), bus.Jobs, bus.KeyValueStream(bus.Requests), bus.KeyValueStream(bus.Sessions), bus.Turns, bus.Events, bus.SpanStream,
		bus.Usage,
	}
}

// Streams returns the streams an archive holds, in the order in which they begin in it.
func Streams() []string {
	return slices.Concat(before(), []string{originals(), bus.KeyValueStream(bus.Documents)}, after())
}

// Options say how a backup is taken.
type Options struct {
	// Version of ragmesh, for the header.
	Version string
	// Progress is told how much of a stream has been written, about once per megabyte and at its end; nil for nobody.
	Progress func(Part)
	Clock    func() time.Time
}

// Take writes an archive of everything. What was acknowledged before it began is in it, unless it was deleted since; of what
// comes while it runs, some is. It comes to an end however much comes meanwhile, and is in no one's way: writers go on, and only the
// removal of replaced originals waits for a moment. An archive without its manifest is none, so that whatever ends Take early leaves nothing that could be taken for one.
func Take(ctx context.Context, from Source, to io.Writer, o Options) (Header, Manifest, error) {
	header := Header{Format: Format, Version: o.Version, BeganAt: o.Clock().UTC(), Streams: Streams()}
	var err error
	if header.Replicas, err = from.Replicas(ctx, bus.Turns); err != nil {
		return Header{}, Manifest{}, fmt.Errorf("look at what there is: %w", err)
	}
	t := &taking{ctx: ctx, from: from, to: newWriter(to, header.BeganAt), told: o.Progress, last: map[string]uint64{}}
	if err := t.to.entry(headerName, header); err != nil {
		return Header{}, Manifest{}, err
	}
	if err := errors.Join(t.all(), t.to.flush()); err != nil {
		return Header{}, Manifest{}, err
	}
	manifest, err := t.to.close(o.Clock().UTC())
	return header, manifest, err
}

type taking struct {
	ctx  context.Context //nolint:containedctx // of the one call of Take
	from Source
	to   *writer
	told func(Part)
	last map[string]uint64 // sequences read, by stream
}

func (t *taking) all() error {
	for _, stream := range before() {
		if err := t.stream(stream); err != nil {
			return err
		}
	}
	// The originals may be many gigabytes, and documents come, change and go while they are read. So their records are read
	// afterwards, and then the originals that came meanwhile. Removing waits between these two: every original that a record
	// names was there while its place in the stream was passed.
	if err := t.stream(originals()); err != nil {
		return err
	}
	if err := t.documents(); err != nil {
		return err
	}
	for _, stream := range after() {
		if err := t.stream(stream); err != nil {
			return err
		}
	}
	// Whatever was read may be of a workspace that was made meanwhile. One that was removed meanwhile stays in the archive, as some of
	// what was in it has: restored without its workspace, that would be found by whoever makes another one of its name.
	return t.some(bus.KeyValueStream(bus.Workspaces), func(m bus.Archived) bool { return !m.Removal() })
}

func (t *taking) documents() error {
	release, err := t.from.Hold(t.ctx)
	if err != nil {
		return fmt.Errorf("hold the originals: %w", err)
	}
	defer release()
	if err := t.stream(bus.KeyValueStream(bus.Documents)); err != nil {
		return err
	}
	return t.stream(originals())
}

// stream writes what a stream holds beyond what was written before.
func (t *taking) stream(name string) error {
	return t.some(name, func(bus.Archived) bool { return true })
}

// some is stream for the messages that are wanted.
func (t *taking) some(name string, wanted func(bus.Archived) bool) error {
	t.to.begin(name)
	last, err := t.from.Dump(t.ctx, name, t.last[name], func(m bus.Archived) error {
		if !wanted(m) {
			return nil
		}
		flushed, err := t.to.message(m)
		if flushed && t.told != nil {
			t.told(t.to.part(name))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("back up %s: %w", name, err)
	}
	t.last[name] = last
	if t.told != nil {
		t.told(t.to.part(name))
	}
	return nil
}
