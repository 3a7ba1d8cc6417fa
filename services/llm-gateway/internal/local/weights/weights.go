// Package weights reads a model's tensors from a safetensors file: data without code. The file is not trusted. Its header's
// size, every type, shape and offset are checked before anything is read by them, and an error says what is wrong.
package weights

import (
	"fmt"
	"io"
	"os"
	"slices"
)

// File is an open safetensors file. Safe for concurrent use until it is closed.
type File struct {
	data    io.ReaderAt
	close   func() error
	tensors map[string]tensor
}

// tensor is one that has been found to lie within its file.
type tensor struct {
	dtype  dtype
	shape  []int
	offset int64
	size   int64
}

// Open opens a file and reads its header. The caller closes it.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open weights: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open weights: %w", err)
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("open weights: %s is not a file", path)
	}
	parsed, err := Parse(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read weights %s: %w", path, err)
	}
	parsed.close = f.Close
	return parsed, nil
}

// Parse reads the header of size bytes of safetensors.
func Parse(data io.ReaderAt, size int64) (*File, error) {
	tensors, err := header(data, size)
	if err != nil {
		return nil, err
	}
	return &File{data: data, close: func() error { return nil }, tensors: tensors}, nil
}

// Close closes the file. Tensors and tables that were read stay good.
func (f *File) Close() error { return f.close() }

// Shape returns a tensor's shape, and whether the file has it.
func (f *File) Shape(name string) ([]int, bool) {
	t, ok := f.tensors[name]
	return slices.Clone(t.shape), ok
}

// Names returns the tensors' names in order.
func (f *File) Names() []string {
	names := make([]string, 0, len(f.tensors))
	for name := range f.tensors {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Floats reads a tensor of that shape.
func (f *File) Floats(name string, shape ...int) ([]float32, error) {
	raw, t, err := f.read(name, shape)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(raw)/t.dtype.size())
	t.dtype.floats(out, raw)
	return out, nil
}

// Table is a matrix that stays in memory as the file has it, F16 in two bytes, and gives out single rows.
type Table struct {
	dtype   dtype
	raw     []byte
	columns int
}

// Table reads a matrix of that many rows and columns.
func (f *File) Table(name string, rows, columns int) (*Table, error) {
	raw, t, err := f.read(name, []int{rows, columns})
	if err != nil {
		return nil, err
	}
	return &Table{dtype: t.dtype, raw: raw, columns: columns}, nil
}

// Rows returns how many rows there are.
func (t *Table) Rows() int { return len(t.raw) / t.columns / t.dtype.size() }

// Row writes row i into dst.
func (t *Table) Row(dst []float32, i int) {
	size := t.columns * t.dtype.size()
	t.dtype.floats(dst[:t.columns], t.raw[i*size:][:size])
}

// Size returns how many bytes the table takes.
func (t *Table) Size() int { return len(t.raw) }

func (f *File) read(name string, shape []int) ([]byte, tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return nil, tensor{}, fmt.Errorf("read tensor %q: the file has none of that name", name)
	}
	if !slices.Equal(t.shape, shape) {
		return nil, tensor{}, fmt.Errorf("read tensor %q: its shape is %v, the configuration asks for %v", name, t.shape, shape)
	}
	if !t.dtype.float() {
		return nil, tensor{}, fmt.Errorf("read tensor %q: its type is %s; F32, F16 and BF16 can be read", name, t.dtype)
	}
	raw := make([]byte, t.size)
	if _, err := io.ReadFull(io.NewSectionReader(f.data, t.offset, t.size), raw); err != nil {
		return nil, tensor{}, fmt.Errorf("read tensor %q: %w", name, err)
	}
	return raw, t, nil
}
