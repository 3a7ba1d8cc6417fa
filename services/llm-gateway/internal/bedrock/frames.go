package bedrock

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// maxFrame is the largest message of a stream that is taken.
const maxFrame = 1 << 20

// frames checks the messages of a binary stream before Amazon's library reads them, which panics in a goroutine of its own over
// a header of a type that it does not know, and so would take the whole process with it.
//
// A message is: its length, its headers' length, the checksum of those two; headers; payload; the checksum of everything.
type frames struct {
	src   *bufio.Reader
	body  io.Closer
	whole []byte // a message
	ready []byte // what is left of it
	err   error
}

const (
	preludeBytes  = 12
	checksumBytes = 4
)

var (
	errFrame    = errors.New("a message of the stream is not sound")
	errTooLarge = errors.New("a message of the stream is too large")
	errTorn     = errors.New("the stream broke off")
)

func newFrames(body io.ReadCloser) *frames {
	return &frames{src: bufio.NewReaderSize(body, 16<<10), body: body}
}

// Close closes the body.
func (f *frames) Close() error { return f.body.Close() }

// Read hands on checked messages.
func (f *frames) Read(p []byte) (int, error) {
	if len(f.ready) == 0 && f.err == nil {
		f.err = f.next()
	}
	if len(f.ready) == 0 {
		return 0, f.err
	}
	n := copy(p, f.ready)
	f.ready = f.ready[n:]
	return n, nil
}

// next reads a message.
func (f *frames) next() error {
	f.whole = append(f.whole[:0], make([]byte, preludeBytes)...)
	if _, err := io.ReadFull(f.src, f.whole); errors.Is(err, io.EOF) {
		return io.EOF // between messages
	} else if err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	length, headers := binary.BigEndian.Uint32(f.whole), binary.BigEndian.Uint32(f.whole[4:])
	switch {
	case binary.BigEndian.Uint32(f.whole[8:]) != crc32.ChecksumIEEE(f.whole[:8]):
		return errFrame
	case length > maxFrame:
		return errTooLarge
	case length < preludeBytes+checksumBytes || headers > length-preludeBytes-checksumBytes:
		return errFrame
	}
	f.whole = append(f.whole, make([]byte, length-preludeBytes)...)
	if _, err := io.ReadFull(f.src, f.whole[preludeBytes:]); err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	end := len(f.whole) - checksumBytes
	if binary.BigEndian.Uint32(f.whole[end:]) != crc32.ChecksumIEEE(f.whole[:end]) || !sound(f.whole[preludeBytes:preludeBytes+headers]) {
		return errFrame
	}
	f.ready = f.whole
	return nil
}

// sound walks over headers: each a name behind its length, a type, and a value whose size the type says.
func sound(h []byte) bool {
	sizes := [...]int{0, 0, 1, 2, 4, 8, -1, -1, 8, 16} // -1: behind its length
	for len(h) > 0 {
		name := int(h[0])
		if len(h) < name+2 || int(h[name+1]) >= len(sizes) {
			return false
		}
		size := sizes[h[name+1]]
		if h = h[name+2:]; size < 0 {
			if len(h) < 2 {
				return false
			}
			size = 2 + int(binary.BigEndian.Uint16(h))
		}
		if len(h) < size {
			return false
		}
		h = h[size:]
	}
	return true
}
