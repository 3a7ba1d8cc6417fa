package parse

import (
	"errors"
	"io"
)

// budget is what is left of the limits while a document is read, everything inside of it included.
type budget struct {
	limits   Limits
	expanded int64
	rows     int
	files    int
	depth    int // of archives in archives
}

func newBudget(l Limits) *budget {
	return &budget{limits: l, expanded: l.Expanded, rows: l.Rows, files: l.Files}
}

// row takes one row.
func (b *budget) row() error {
	if b.rows--; b.rows < 0 {
		return tooLarge("the document has more than %d rows; split it", b.limits.Rows)
	}
	return nil
}

// file takes one file of an archive.
func (b *budget) file() error {
	if b.files--; b.files < 0 {
		return tooLarge("the archive holds more than %d files; split it", b.limits.Files)
	}
	return nil
}

// gone reports whether a limit has been reached, which no other part of the document changes.
func (b *budget) gone() bool { return b.rows < 0 || b.files < 0 || b.expanded <= 0 }

// reader takes what is read off the bytes that may be expanded.
func (b *budget) reader(r io.Reader) io.Reader { return &metered{r, b} }

type metered struct {
	r io.Reader
	b *budget
}

func (m *metered) Read(p []byte) (int, error) {
	if m.b.expanded <= 0 {
		if n, err := m.r.Read(p[:min(1, len(p))]); n == 0 && errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		return 0, tooLarge("the document expands to more than %d MiB; split it", m.b.limits.Expanded>>20)
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.b.expanded)])
	m.b.expanded -= int64(n)
	return n, err
}
