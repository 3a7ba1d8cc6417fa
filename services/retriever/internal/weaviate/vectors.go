package weaviate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/weaviate/weaviate/entities/models"
	pb "github.com/weaviate/weaviate/grpc/generated/protocol/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Vectors lie in collections of their own, one for each space, under their chunks' ids: what a chunk says is written once, and
// a model can be changed workspace by workspace whatever its dimension. Beside them lies a record for each version, written
// last, that says that it has them all.

const (
	vectorName  = "passage"
	kindVectors = "vectors" // the record
)

// listed are the collections of vectors, as they were listed last.
type listed struct {
	at    time.Time
	names []string
}

// maxListAge is how long a list of collections is good for: another replica may have made one.
const maxListAge = 10 * time.Second

func (s *Store) vectorPrefix() string { return s.config.Collection + "Vectors_" }

// spaceCollection is where the vectors of a space are.
func (s *Store) spaceCollection(space store.Space) (string, error) {
	name, err := json.Marshal(space)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(name)
	return s.vectorPrefix() + hex.EncodeToString(sum[:8]), nil
}

// vectorCollections lists those that are there.
func (s *Store) vectorCollections(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	known := s.vectors
	s.mu.Unlock()
	if time.Since(known.at) < maxListAge {
		return append([]string(nil), known.names...), nil
	}
	var names []string
	err := s.call(ctx, "schema_list", func(ctx context.Context) error {
		dump, err := s.rest.Schema().Getter().Do(ctx)
		if err != nil {
			return err
		}
		names = nil
		for _, c := range dump.Classes {
			if strings.HasPrefix(c.Class, s.vectorPrefix()) {
				names = append(names, c.Class)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.vectors = listed{at: time.Now(), names: names}
	s.mu.Unlock()
	return append([]string(nil), names...), nil
}

// vectorsOf returns the collection of a space, or "" where there is none yet.
func (s *Store) vectorsOf(ctx context.Context, space store.Space) (string, error) {
	name, err := s.spaceCollection(space)
	if err != nil {
		return "", err
	}
	names, err := s.vectorCollections(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if n == name {
			return name, nil
		}
	}
	return "", nil
}

// makeVectors makes the collection of a space unless it is there.
func (s *Store) makeVectors(ctx context.Context, space store.Space) (string, error) {
	name, err := s.vectorsOf(ctx, space)
	if err != nil || name != "" {
		return name, err
	}
	if name, err = s.spaceCollection(space); err != nil {
		return "", err
	}
	yes, no := true, false
	var wanted []*models.Property
	for _, p := range []string{propKind, propDocument, propVersion, propMade, propSource, propLanguage} {
		wanted = append(wanted, &models.Property{
			Name: p, DataType: []string{"text"}, Tokenization: models.PropertyTokenizationField, IndexFilterable: &yes, IndexSearchable: &no,
		})
	}
	wanted = append(wanted, &models.Property{Name: propOrdinal, DataType: []string{"int"}, IndexFilterable: &yes})
	class := s.class(name, wanted, map[string]models.VectorConfig{vectorName: {
		Vectorizer: map[string]any{"none": map[string]any{}}, VectorIndexType: "hnsw",
		// Without quantization: similarities are told exactly.
		VectorIndexConfig: map[string]any{"distance": "cosine", "skipDefaultQuantization": true},
	}})
	class.Description = fmt.Sprintf("ragmesh: vectors of %s, revision %q, %d dimensions", space.Model, space.Revision, space.Dimension)
	if err := s.ensure(ctx, class); err != nil {
		return "", err
	}
	s.mu.Lock()
	s.vectors.at = time.Time{}
	s.mu.Unlock()
	return name, nil
}

// PutVectors stores the vectors of versions that are there; the workspace's vectors of other spaces go.
func (s *Store) PutVectors(ctx context.Context, workspace string, space store.Space, versions []store.Vectors) error {
	name, err := s.makeVectors(ctx, space)
	if err != nil {
		return fmt.Errorf("put vectors: %w", err)
	}
	collections, err := s.vectorCollections(ctx)
	if err != nil {
		return fmt.Errorf("put vectors: %w", err)
	}
	for _, c := range collections {
		if c != name {
			if err := s.dropTenant(ctx, c, workspace); err != nil {
				return fmt.Errorf("put vectors: remove those of another model: %w", err)
			}
		}
	}
	for _, v := range versions {
		defer s.counts.note(workspace, len(v.Rows)+1)
		if err := s.putVectors(ctx, name, workspace, space, v); err != nil {
			return fmt.Errorf("put vectors: %w", err)
		}
	}
	return nil
}

func (s *Store) putVectors(ctx context.Context, collection, workspace string, space store.Space, v store.Vectors) error {
	if len(v.Rows) != len(v.Chunks) {
		return fmt.Errorf("%d vectors for %d chunks", len(v.Rows), len(v.Chunks))
	}
	id := objectID(v.DocumentID, v.Hash, "version")
	records, err := s.byID(ctx, workspace, []string{id}, propMade)
	if err != nil {
		return err
	}
	record, ok := records[id]
	if !ok { // removed meanwhile
		return nil
	}
	made := structpb.NewStringValue(record.text(propMade))
	version := store.Version{DocumentID: v.DocumentID, Hash: v.Hash}
	put := func(id, kind string, fields map[string]*structpb.Value) *pb.BatchObject {
		fields[propMade] = made
		o := s.object(workspace, id, kind, version, fields)
		o.Collection = collection
		return o
	}
	var objects []*pb.BatchObject
	for i, c := range v.Chunks {
		if len(v.Rows[i]) != space.Dimension {
			return fmt.Errorf("a vector of %d dimensions where there should be %d", len(v.Rows[i]), space.Dimension)
		}
		o := put(c.ID, kindChunk, map[string]*structpb.Value{
			propSource: structpb.NewStringValue(c.SourceURI), propLanguage: structpb.NewStringValue(c.Language), propOrdinal: structpb.NewNumberValue(float64(c.Ordinal)),
		})
		o.Vectors = []*pb.Vectors{{Name: vectorName, VectorBytes: floats(v.Rows[i])}}
		objects = append(objects, o)
	}
	return s.write(ctx, collection, workspace, objects, []*pb.BatchObject{put(objectID(v.DocumentID, v.Hash, "vectors"), kindVectors, map[string]*structpb.Value{})})
}

// LacksVectors returns those of the versions that have chunks without vectors.
func (s *Store) LacksVectors(ctx context.Context, workspace string, space store.Space, versions []store.Key) ([]store.Key, error) {
	name, err := s.vectorsOf(ctx, space)
	if err != nil {
		return nil, fmt.Errorf("look for vectors: %w", err)
	}
	var records, vectors []string
	for _, v := range versions {
		records = append(records, objectID(v.DocumentID, v.Hash, "version"))
		vectors = append(vectors, objectID(v.DocumentID, v.Hash, "vectors"))
	}
	there, err := s.byID(ctx, workspace, records, propMade, propChunks)
	if err != nil {
		return nil, fmt.Errorf("look for vectors: %w", err)
	}
	embedded := map[string]object{}
	if name != "" {
		if embedded, err = s.byIDIn(ctx, name, workspace, vectors, propMade); err != nil {
			return nil, fmt.Errorf("look for vectors: %w", err)
		}
	}
	var lacking []store.Key
	for i, v := range versions {
		record, ok := there[records[i]]
		if ok && record.int(propChunks) == 0 {
			continue
		}
		if mark, has := embedded[vectors[i]]; !ok || !has || mark.text(propMade) != record.text(propMade) {
			lacking = append(lacking, v)
		}
	}
	return lacking, nil
}

// countVectors returns how many chunks of a workspace have vectors.
func (s *Store) countVectors(ctx context.Context, collection, workspace string) (int, error) {
	n, ok, mark := s.counts.recallVectors(collection, workspace)
	if ok {
		return n, nil
	}
	var reply *models.GraphQLResponse
	query := fmt.Sprintf("{Aggregate{all:%s(tenant:%s){%s{count}}}}", collection, quote(workspace), propOrdinal)
	err := s.call(ctx, "count", func(ctx context.Context) (err error) {
		reply, err = s.rest.GraphQL().Raw().WithQuery(query).Do(ctx)
		if err == nil {
			err = failed(reply)
		}
		return err
	})
	if errors.Is(err, errNoTenant) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count vectors: %w", err)
	}
	var counts struct {
		All []map[string]struct{ Count int }
	}
	if err := decode(reply, &counts); err != nil {
		return 0, err
	}
	if len(counts.All) == 1 {
		n = counts.All[0][propOrdinal].Count
	}
	s.counts.keepVectors(collection, workspace, mark, n)
	return n, nil
}

func nearTo(vector []float32) *pb.NearVector {
	return &pb.NearVector{
		VectorForTargets: []*pb.VectorForTarget{{Name: vectorName, VectorBytes: floats(vector)}},
		Targets:          &pb.Targets{TargetVectors: []string{vectorName}, Combination: pb.CombinationMethod_COMBINATION_METHOD_TYPE_MIN},
	}
}

// floats writes a vector as the protocol has it.
func floats(v []float32) []byte {
	out := make([]byte, 0, 4*len(v))
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}
