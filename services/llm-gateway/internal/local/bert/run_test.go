package bert_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/sample"
)

// pair is a crew of two that take every other part.
type pair struct{}

func (pair) Threads() int { return 2 }

func (pair) Split(parts int, part func(part, thread int)) {
	var both sync.WaitGroup
	for thread := range 2 {
		both.Go(func() {
			for i := thread; i < parts; i += 2 {
				part(i, thread)
			}
		})
	}
	both.Wait()
}

func TestTokensThatCannotBeRunFailAlone(t *testing.T) {
	t.Parallel()
	m := open(t, generate(t, sample.Tiny()), kernel.Best())
	good := tokens{IDs: []int32{5, 6, 7}}
	want := run(t, m, bert.Alone{}, []tokens{good})[0]
	for reason, bad := range map[string]*bert.Sequence{
		"there are none":     {},
		"more than":          {IDs: make([]int32, 65)},
		"id 120 is outside":  {IDs: []int32{5, 120}},
		"id -1 is outside":   {IDs: []int32{-1}},
		"type 2 is outside":  {IDs: []int32{1, 2}, Types: []int32{0, 2}},
		"type -1 is outside": {IDs: []int32{1, 2}, Types: []int32{0, -1}},
		"1 types for 2":      {IDs: []int32{1, 2}, Types: []int32{0}},
	} {
		bad.Out = make([]float32, m.Width())
		ok := &bert.Sequence{IDs: good.IDs, Out: make([]float32, m.Width())}
		m.Run(bert.Alone{}, make([]bert.Space, 1), &bert.Scratch{}, []*bert.Sequence{bad, ok})
		if bad.Err == nil || !strings.Contains(bad.Err.Error(), reason) {
			t.Errorf("got %v, want an error with %q", bad.Err, reason)
		}
		if diff := cmp.Diff(want, ok.Out, cmpopts.EquateApprox(0, 1e-6)); diff != "" || ok.Err != nil {
			t.Errorf("%s: the other text: %v %s", reason, ok.Err, diff)
		}
	}
}

// TestTextsThatNobodyWaitsForAreDropped lets texts go at every layer, and compares those that stay with what they are alone.
func TestTextsThatNobodyWaitsForAreDropped(t *testing.T) {
	t.Parallel()
	shape := sample.Tiny()
	shape.Layers = 4
	m := open(t, generate(t, shape), kernel.Best())
	all := texts(shape)
	for _, crew := range []bert.Crew{bert.Alone{}, pair{}} {
		for _, few := range []bool{false, true} { // divided by rows, and by columns
			some := all
			if few {
				some = all[:4]
			}
			want := run(t, m, crew, some)
			sequences := make([]*bert.Sequence, len(some))
			for i, text := range some {
				asked := 0
				sequences[i] = &bert.Sequence{IDs: text.IDs, Types: text.Types, Out: make([]float32, m.Width()), Gone: func() bool {
					asked++
					return i%2 == 0 && asked > i/2+1
				}}
			}
			m.Run(crew, make([]bert.Space, crew.Threads()), &bert.Scratch{}, sequences)
			for i, s := range sequences {
				if gone := i%2 == 0; errors.Is(s.Err, bert.ErrGone) != gone {
					t.Errorf("text %d: got %v, gone is %t", i, s.Err, gone)
				} else if diff := cmp.Diff(want[i], s.Out, cmpopts.EquateApprox(0, 1e-6)); !gone && diff != "" {
					t.Errorf("text %d: %s", i, diff)
				}
			}
		}
	}
}

func TestScratchIsUsedAgain(t *testing.T) { // not in parallel: allocations are counted
	m := open(t, generate(t, sample.Tiny()), kernel.Best())
	spaces, scratch := make([]bert.Space, 1), &bert.Scratch{}
	s := &bert.Sequence{IDs: make([]int32, 64), Out: make([]float32, m.Width())}
	once := func() { m.Run(bert.Alone{}, spaces, scratch, []*bert.Sequence{s}) }
	once()
	var before, after runtime.MemStats
	const times = 50
	runtime.ReadMemStats(&before)
	for range times {
		once()
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / times; n > 16<<10 { // one row of everything is more
		t.Errorf("%d bytes each time", n)
	}
}

// TestWeightsThatAreNoGood puts one value everywhere.
func TestWeightsThatAreNoGood(t *testing.T) {
	t.Parallel()
	for reason, value := range map[string]float32{"not a number": float32(math.NaN()), "zero": 0, "is not a number": float32(math.Inf(1))} {
		for _, set := range kernel.Sets() {
			dir := generate(t, sample.Tiny())
			path := filepath.Join(dir, "model.safetensors")
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for at := 8 + int(binary.LittleEndian.Uint64(file)); at < len(file); at += 4 {
				binary.LittleEndian.PutUint32(file[at:], math.Float32bits(value))
			}
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			m := open(t, dir, set)
			s := &bert.Sequence{IDs: []int32{1, 2, 3}, Out: make([]float32, m.Width())}
			m.Run(bert.Alone{}, make([]bert.Space, 1), &bert.Scratch{}, []*bert.Sequence{s})
			if s.Err == nil || !strings.Contains(s.Err.Error(), reason) {
				t.Errorf("%s: got %v, want an error with %q", set.Name(), s.Err, reason)
			}
		}
	}
}
