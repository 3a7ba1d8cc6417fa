package weights_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/weights"
)

// file is a safetensors file of a header and so many bytes of data.
func file(header string, data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

func parse(b []byte) (*weights.File, error) { return weights.Parse(bytes.NewReader(b), int64(len(b))) }

func TestTensorsOfEveryFloatType(t *testing.T) {
	t.Parallel()
	data := []byte{
		0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, // F32 1, -2
		0, 0x3c, 0, 0xc0, 0xff, 0x7b, 1, 0, 0, 0x80, 0, 0x7c, // F16 1, -2, 65504, 2^-24, -0, +Inf
		0x80, 0x3f, 0, 0xc0, // BF16 1, -2
		7, 0, 0, 0, 0, 0, 0, 0,
	}
	f, err := parse(file(`{"__metadata__":{"format":"pt"},
		"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
		"b":{"dtype":"F16","shape":[3,2],"data_offsets":[8,20]},
		"c":{"dtype":"BF16","shape":[2],"data_offsets":[20,24]},
		"position_ids":{"dtype":"I64","shape":[],"data_offsets":[24,32]},
		"none":{"dtype":"F32","shape":[0,5],"data_offsets":[32,32]}}`, data))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "none", "position_ids"}, f.Names()); diff != "" {
		t.Error(diff)
	}
	negative := float32(math.Copysign(0, -1))
	for name, want := range map[string][]float32{
		"a": {1, -2}, "b": {1, -2, 65504, 1. / (1 << 24), negative, float32(math.Inf(1))}, "c": {1, -2}, "none": {},
	} {
		shape, _ := f.Shape(name)
		got, err := f.Floats(name, shape...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	table, err := f.Table("b", 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, 2)
	if table.Row(row, 1); row[0] != 65504 || table.Rows() != 3 || table.Size() != 12 {
		t.Errorf("row 1 is %v of %d in %d bytes", row, table.Rows(), table.Size())
	}
	for reason, read := range map[string]func() error{
		"none of that name": func() error { _, err := f.Floats("d", 2); return err },
		"its shape is [2]":  func() error { _, err := f.Floats("c", 3); return err },
		"its type is I64":   func() error { _, err := f.Floats("position_ids"); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("got %v, want an error with %q", err, reason)
		}
	}
}

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	t.Parallel()
	for reason, b := range map[string][]byte{
		"are too few":            {1, 2, 3},
		"the header claims":      append(binary.LittleEndian.AppendUint64(nil, 1<<62), 1, 2, 3),
		"claims 100 bytes":       append(binary.LittleEndian.AppendUint64(nil, 100), "{}"...),
		"not a JSON object":      file(`[]`, nil),
		"EOF":                    file(`{"a":`, nil),
		"unknown type":           file(`{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)),
		"has 1 numbers":          file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, make([]byte, 4)),
		"the file's ends at 4":   file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 4)),
		"lies at 4 to 0":         file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, make([]byte, 4)),
		"takes 8 bytes":          file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, make([]byte, 4)),
		"out of range":           file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, make([]byte, 4)),
		"is out of range":        file(`{"a":{"dtype":"F32","shape":[2147483647,2147483647,2147483647],"data_offsets":[0,4]}}`, make([]byte, 4)),
		"9 dimensions":           file(`{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, make([]byte, 4)),
		"is there twice":         file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)),
		"overlaps another":       file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, make([]byte, 4)),
		"belong to none":         file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, make([]byte, 4)),
		"the file's data at 4":   file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, make([]byte, 4)),
		"cannot unmarshal":       file(`{"a":{"dtype":1}}`, nil),
		"cannot unmarshal array": file(`{"a":[]}`, nil),
	} {
		if _, err := parse(b); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("got %v, want an error with %q", err, reason)
		}
	}
}

func TestOnlyFilesAreOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "model.safetensors")
	if err := os.WriteFile(path, file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Floats("a", 1); err != nil || got[0] != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := weights.Open(bad); err == nil {
			t.Errorf("%s was opened", bad)
		}
	}
}

// FuzzParse reads whatever the header lets through.
func FuzzParse(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}}`, make([]byte, 12)))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}   `, make([]byte, 2)))
	f.Add(file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, nil))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse(b)
		if err != nil {
			return
		}
		for _, name := range file.Names() {
			shape, ok := file.Shape(name)
			if !ok {
				t.Fatalf("%q is listed and not there", name)
			}
			floats, err := file.Floats(name, shape...)
			if err != nil {
				continue
			}
			n := 1
			for _, d := range shape {
				n *= d
			}
			if len(floats) != n {
				t.Fatalf("%q of shape %v has %d values", name, shape, len(floats))
			}
		}
	})
}
