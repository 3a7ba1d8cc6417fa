package weights

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Bounds of a header. Real ones have some hundred tensors in some ten thousand bytes.
const (
	maxHeader  = 16 << 20
	maxTensors = 1 << 16
	maxDims    = 8
)

// header reads and checks what stands before the tensors: eight bytes with its length, then JSON.
func header(data io.ReaderAt, size int64) (map[string]tensor, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, fmt.Errorf("%d bytes are too few for a safetensors file", size)
	}
	if _, err := data.ReadAt(prefix[:], 0); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > uint64(size)-8 || length > maxHeader {
		return nil, fmt.Errorf("the header claims %d bytes of a file of %d (at most %d may be); is it a safetensors file?", length, size, maxHeader)
	}
	text := make([]byte, length)
	if _, err := data.ReadAt(text, 8); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	tensors, err := entries(text, size-8-int64(length))
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	for name, t := range tensors {
		t.offset += 8 + int64(length)
		tensors[name] = t
	}
	return tensors, nil
}

// entries decodes the JSON object; offsets count from the data's beginning, of which there are size bytes.
func entries(text []byte, size int64) (map[string]tensor, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), err)
	}
	tensors := map[string]tensor{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if name == "__metadata__" {
			var ignored json.RawMessage
			if err := dec.Decode(&ignored); err != nil {
				return nil, err
			}
			continue
		}
		if _, twice := tensors[name]; twice {
			return nil, fmt.Errorf("tensor %q is there twice", name)
		}
		if len(tensors) == maxTensors {
			return nil, fmt.Errorf("more than %d tensors", maxTensors)
		}
		t, err := entry(dec, size)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		tensors[name] = t
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	return tensors, disjoint(tensors, size)
}

func entry(dec *json.Decoder, size int64) (tensor, error) {
	var e struct {
		Type    string  `json:"dtype"`
		Shape   []int64 `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	if err := dec.Decode(&e); err != nil {
		return tensor{}, err
	}
	t := tensor{dtype: dtype(e.Type), shape: []int{}}
	if t.dtype.size() == 0 {
		return tensor{}, fmt.Errorf("unknown type %q", e.Type)
	}
	if len(e.Offsets) != 2 {
		return tensor{}, fmt.Errorf("data_offsets has %d numbers, not 2", len(e.Offsets))
	}
	from, to := e.Offsets[0], e.Offsets[1]
	if from < 0 || to < from || to > size {
		return tensor{}, fmt.Errorf("its data lies at %d to %d, the file's ends at %d", from, to, size)
	}
	if len(e.Shape) > maxDims {
		return tensor{}, fmt.Errorf("%d dimensions, at most %d may be", len(e.Shape), maxDims)
	}
	want := int64(t.dtype.size())
	for _, n := range e.Shape {
		if n < 0 || n > math.MaxInt32 || (n > 0 && want > math.MaxInt64/n) {
			return tensor{}, fmt.Errorf("shape %v is out of range", e.Shape)
		}
		want *= n
		t.shape = append(t.shape, int(n))
	}
	if want != to-from {
		return tensor{}, fmt.Errorf("shape %v of %s takes %d bytes, but its data has %d", e.Shape, e.Type, want, to-from)
	}
	if want > math.MaxInt {
		return tensor{}, fmt.Errorf("%d bytes are more than this platform can address", want)
	}
	t.offset, t.size = from, want
	return t, nil
}

// disjoint checks that the tensors cover the data once, as the format asks for: what overlaps or is left over was not
// written by any honest program.
func disjoint(tensors map[string]tensor, size int64) error {
	type span struct {
		name     string
		from, to int64
	}
	spans := make([]span, 0, len(tensors))
	for name, t := range tensors {
		spans = append(spans, span{name, t.offset, t.offset + t.size})
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.name, b.name))
	})
	end := int64(0)
	for _, s := range spans {
		if s.from < end {
			return fmt.Errorf("tensor %q overlaps another: it begins at %d, before %d", s.name, s.from, end)
		}
		if s.from > end {
			return fmt.Errorf("%d bytes before tensor %q belong to none", s.from-end, s.name)
		}
		end = s.to
	}
	if end != size {
		return fmt.Errorf("the tensors end at %d, the file's data at %d", end, size)
	}
	return nil
}
