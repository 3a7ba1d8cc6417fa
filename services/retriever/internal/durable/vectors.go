package durable

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/google/uuid"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/services/retriever/internal/embed"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

const (
	// vectorPart is the size in bytes of the messages that a document's vectors come in, about.
	vectorPart = 512 << 10
	// maxVectorParts bounds the messages of one document; vectors beyond are not kept.
	maxVectorParts = 64
)

// Vectors keep the vectors of documents in RAGMESH_VECTORS, a few messages for each, so that nobody pays twice for them. Losing
// them costs their making only.
type Vectors struct{ bus *bus.Bus }

var _ embed.Cache = Vectors{}

// NewVectors returns the vectors on a bus.
func NewVectors(b *bus.Bus) Vectors { return Vectors{b} }

// name names a space in a subject.
func name(s store.Space) string {
	text, _ := json.Marshal(s)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Get returns what is kept of a document.
func (v Vectors) Get(ctx context.Context, workspace, documentID string, s store.Space) map[embed.Sum][]float32 {
	out := map[embed.Sum][]float32{}
	messages, err := v.bus.LastN(ctx, bus.Vectors, bus.VectorSubject(workspace, documentID, name(s), "*"), maxVectorParts, 0)
	if err != nil {
		return out
	}
	for _, m := range messages {
		decodeVectors(m.Data, s.Dimension, out)
	}
	return out
}

// Put keeps a document's vectors.
func (v Vectors) Put(ctx context.Context, workspace, documentID string, s store.Space, vectors map[embed.Sum][]float32) error {
	if _, err := v.bus.Purge(ctx, bus.Vectors, bus.VectorSubject(workspace, documentID, "*", "*")); err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	parts := encodeVectors(s.Dimension, vectors)
	for i, part := range parts[:min(len(parts), maxVectorParts)] {
		// Always another id: the same vectors may be put again soon after they were dropped.
		if err := v.bus.Publish(ctx, bus.VectorSubject(workspace, documentID, name(s), fmt.Sprintf("%02d", i)), uuid.NewString(), part); err != nil {
			return err
		}
	}
	return nil
}

// Drop forgets a document's vectors, with an empty id a workspace's.
func (v Vectors) Drop(ctx context.Context, workspace, documentID string) error {
	_, err := v.bus.Erase(ctx, bus.Vectors, bus.VectorSubject(workspace, cmp.Or(documentID, "*"), "*", "*"))
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	return err
}

// encodeVectors puts vectors into parts: the sum of a text, and its vector as little endian float32.
func encodeVectors(dimension int, vectors map[embed.Sum][]float32) [][]byte {
	var parts [][]byte
	var part []byte
	sums := slices.SortedFunc(maps.Keys(vectors), func(a, b embed.Sum) int { return bytes.Compare(a[:], b[:]) })
	for _, sum := range sums {
		if len(vectors[sum]) != dimension {
			continue
		}
		part = append(part, sum[:]...)
		for _, f := range vectors[sum] {
			part = binary.LittleEndian.AppendUint32(part, math.Float32bits(f))
		}
		if len(part) >= vectorPart {
			parts, part = append(parts, part), nil
		}
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts
}

// decodeVectors reads a part. What is no whole entry, or no vector of length 1, is left out.
func decodeVectors(part []byte, dimension int, into map[embed.Sum][]float32) {
	size := sha256.Size + 4*dimension
	for dimension > 0 && len(part) >= size {
		row, length := make([]float32, dimension), 0.0
		for i := range row {
			row[i] = math.Float32frombits(binary.LittleEndian.Uint32(part[sha256.Size+4*i:]))
			length += float64(row[i]) * float64(row[i])
		}
		if math.Abs(length-1) < 1e-3 {
			into[embed.Sum(part[:sha256.Size])] = row
		}
		part = part[size:]
	}
}
