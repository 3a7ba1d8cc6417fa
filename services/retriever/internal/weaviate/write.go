package weaviate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	pb "github.com/weaviate/weaviate/grpc/generated/protocol/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

const (
	// maxBatch and maxBatchBytes bound what is sent in one request, unless a single object is larger.
	maxBatch      = 256
	maxBatchBytes = 4 << 20
	// maxInline is the longest text that lies in a version's record; a longer one lies in parts of this size beside it.
	maxInline = 256 << 10
)

// versionKey names a version; a document's id has no slash.
func versionKey(documentID, hash string) string { return documentID + "/" + hash }

// objectID names what is kept of a version beside its chunks, which have their own ids.
func objectID(documentID, hash, what string) string {
	space, err := uuid.Parse(documentID)
	if err != nil {
		space = uuid.NewSHA1(uuid.Nil, []byte(documentID))
	}
	return uuid.NewSHA1(space, []byte(hash+"/"+what)).String()
}

// Put stores a version: its chunks and the parts of its text first, the record that says they are there last. Then goes what an
// earlier put of the version has left.
func (s *Store) Put(ctx context.Context, workspace string, v store.Version) error {
	chunks, made, err := s.chunks(workspace, v)
	if err != nil {
		return fmt.Errorf("put version: %w", err)
	}
	parts, record := s.record(workspace, v, made)
	defer s.counts.note(workspace, len(chunks)+1)
	if err := s.write(ctx, s.config.Collection, workspace, append(chunks, parts...), []*pb.BatchObject{record}); err != nil {
		return fmt.Errorf("put version: %w", err)
	}
	key := versionKey(v.DocumentID, v.Hash)
	if err := s.removeEverywhere(ctx, workspace, allOf(equal(propVersion, key), noneOf(propMade, made))); err != nil {
		return fmt.Errorf("put version: remove what it replaces: %w", err)
	}
	return nil
}

// chunks makes the objects of a version's chunks, and the mark of this set of them.
func (s *Store) chunks(workspace string, v store.Version) (objects []*pb.BatchObject, made string, err error) {
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%s/%s/%d", layout, v.Revision, len(v.Text))
	for i, c := range v.Chunks {
		if c.Ordinal != i || c.Start < 0 || c.End > len(v.Text) || c.Start >= c.End {
			return nil, "", fmt.Errorf("chunk %d of %s is out of order or bounds", i, v.DocumentID)
		}
		_, _ = fmt.Fprintf(sum, "/%s %d %d", c.ID, c.Start, c.End)
	}
	made = hex.EncodeToString(sum.Sum(nil)[:12])
	for _, c := range v.Chunks {
		fields, err := chunkFields(v, c)
		if err != nil {
			return nil, "", err
		}
		fields[propMade] = structpb.NewStringValue(made)
		object := s.object(workspace, c.ID, kindChunk, v, fields)
		if len(c.HeadingPath) > 0 {
			object.Properties.TextArrayProperties = []*pb.TextArrayProperties{{PropName: propPath, Values: c.HeadingPath}}
		}
		objects = append(objects, object)
	}
	return objects, made, nil
}

func chunkFields(v store.Version, c store.Chunk) (map[string]*structpb.Value, error) {
	body := v.Text[c.Start:c.End]
	for _, s := range append([]string{body, v.Title, v.SourceURI}, c.HeadingPath...) {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("chunk %d of %s is not UTF-8", c.Ordinal, v.DocumentID)
		}
	}
	passage := rank.Read(store.Head(v.Title, c.HeadingPath), body)
	terms, singles := tokens(passage)
	pages := ""
	if len(c.Pages) > 0 {
		encoded, err := json.Marshal(c.Pages)
		if err != nil {
			return nil, fmt.Errorf("chunk %d of %s: %w", c.Ordinal, v.DocumentID, err)
		}
		pages = string(encoded)
	}
	return map[string]*structpb.Value{
		propPages:    structpb.NewStringValue(pages),
		propSource:   structpb.NewStringValue(v.SourceURI),
		propLanguage: structpb.NewStringValue(c.Language),
		propTitle:    structpb.NewStringValue(v.Title),
		propText:     structpb.NewStringValue(body),
		propTerms:    structpb.NewStringValue(terms),
		propSingles:  structpb.NewStringValue(singles),
		propRead:     structpb.NewStringValue(base64.StdEncoding.EncodeToString(passage.Encode())),
		propLength:   structpb.NewNumberValue(passage.Length()),
		propOrdinal:  structpb.NewNumberValue(float64(c.Ordinal)),
		propStart:    structpb.NewNumberValue(float64(c.Start)),
		propEnd:      structpb.NewNumberValue(float64(c.End)),
	}, nil
}

// tokens are a chunk's terms, one after the other. Single CJK characters are kept apart, as in the embedded index: as query terms
// they would match everything, but their statistics are needed. No term holds white space.
func tokens(p rank.Passage) (terms, singles string) {
	var words, han strings.Builder
	add := func(list []text.Token, times int) {
		for _, t := range list {
			to := &words
			if t.Kind == text.Han {
				to, times = &han, 1
			}
			for range times {
				to.WriteString(t.Term)
				to.WriteByte(' ')
			}
		}
	}
	add(p.Head, 2)
	add(p.Body, 1)
	return words.String(), han.String()
}

// record makes a version's record and the parts of its text that don't fit into it.
func (s *Store) record(workspace string, v store.Version, made string) (parts []*pb.BatchObject, record *pb.BatchObject) {
	fields := map[string]*structpb.Value{
		propMade: structpb.NewStringValue(made), propRevision: structpb.NewStringValue(layout + "/" + v.Revision),
	}
	inline := v.Text
	if len(inline) > maxInline {
		inline = ""
		for rest := v.Text; rest != ""; {
			cut := min(maxInline, len(rest))
			for cut < len(rest) && !utf8.RuneStart(rest[cut]) {
				cut--
			}
			parts = append(parts, s.object(workspace, partID(v.DocumentID, v.Hash, len(parts)), kindText, v, map[string]*structpb.Value{
				propMade: structpb.NewStringValue(made), propText: structpb.NewStringValue(rest[:cut]),
			}))
			rest = rest[cut:]
		}
	}
	fields[propText] = structpb.NewStringValue(inline)
	fields[propParts] = structpb.NewNumberValue(float64(len(parts)))
	fields[propChunks] = structpb.NewNumberValue(float64(len(v.Chunks)))
	return parts, s.object(workspace, objectID(v.DocumentID, v.Hash, "version"), kindVersion, v, fields)
}

func partID(documentID, hash string, n int) string {
	return objectID(documentID, hash, "text/"+strconv.Itoa(n))
}

func (s *Store) object(workspace, id, kind string, v store.Version, fields map[string]*structpb.Value) *pb.BatchObject {
	fields[propKind] = structpb.NewStringValue(kind)
	fields[propDocument] = structpb.NewStringValue(v.DocumentID)
	fields[propVersion] = structpb.NewStringValue(versionKey(v.DocumentID, v.Hash))
	return &pb.BatchObject{
		Uuid: id, Collection: s.config.Collection, Tenant: workspace,
		Properties: &pb.BatchObject_Properties{NonRefProperties: &structpb.Struct{Fields: fields}},
	}
}

// write sends groups of objects, one group after the other is stored. A tenant that somebody has removed is made again.
func (s *Store) write(ctx context.Context, collection, workspace string, groups ...[]*pb.BatchObject) error {
	for again := false; ; again = true {
		if err := s.tenant(ctx, collection, workspace); err != nil {
			return err
		}
		err := s.writeOnce(ctx, groups)
		if !errors.Is(err, errNoTenant) || again {
			return err
		}
		s.forget(collection, workspace)
	}
}

func (s *Store) writeOnce(ctx context.Context, groups [][]*pb.BatchObject) error {
	for _, objects := range groups {
		for len(objects) > 0 {
			n, size := 1, proto.Size(objects[0])
			for n < len(objects) && n < maxBatch && size < maxBatchBytes {
				size += proto.Size(objects[n])
				n++
			}
			if err := s.batch(ctx, objects[:n]); err != nil {
				return err
			}
			objects = objects[n:]
		}
	}
	return nil
}

// batch sends objects in one request. Each may have failed by itself.
func (s *Store) batch(ctx context.Context, objects []*pb.BatchObject) error {
	return s.call(ctx, "batch", func(ctx context.Context) error {
		reply, err := s.grpc.BatchObjects(ctx, &pb.BatchObjectsRequest{Objects: objects, ConsistencyLevel: s.consistency()})
		if err != nil {
			return err
		}
		for _, e := range reply.GetErrors() {
			return fmt.Errorf("%d of %d objects failed, the first, number %d: %s", len(reply.GetErrors()), len(objects), e.GetIndex(), e.GetError())
		}
		return nil
	})
}

// consistency is how many copies must have a write, or agree on an object that is read, before it counts.
func (s *Store) consistency() *pb.ConsistencyLevel {
	if s.config.Replicas == 1 {
		return nil
	}
	return pb.ConsistencyLevel_CONSISTENCY_LEVEL_QUORUM.Enum()
}

// Prune removes the versions of a document but one: their records first, since what has no record counts as not there.
func (s *Store) Prune(ctx context.Context, workspace, documentID, keep string) (int, error) {
	which := equal(propDocument, documentID)
	if keep != "" {
		which = allOf(which, noneOf(propVersion, versionKey(documentID, keep)))
	}
	chunks := 0
	defer func() { s.counts.note(workspace, chunks) }()
	for _, kind := range []string{kindVersion, kindChunk} {
		n, err := s.remove(ctx, s.config.Collection, workspace, allOf(which, equal(propKind, kind)))
		if kind == kindChunk {
			chunks = n
		}
		if err != nil {
			return chunks, fmt.Errorf("prune document: %w", err)
		}
	}
	if err := s.removeEverywhere(ctx, workspace, which); err != nil {
		return chunks, fmt.Errorf("prune document: %w", err)
	}
	return chunks, nil
}

// removeEverywhere deletes what a condition is true of, vectors included.
func (s *Store) removeEverywhere(ctx context.Context, workspace string, which *pb.Filters) error {
	collections, err := s.vectorCollections(ctx)
	if err != nil {
		return err
	}
	for _, c := range append(collections, s.config.Collection) {
		if _, err := s.remove(ctx, c, workspace, which); err != nil {
			return err
		}
	}
	return nil
}

// Drop removes a workspace's tenants with their files.
func (s *Store) Drop(ctx context.Context, workspace string) error {
	collections, err := s.vectorCollections(ctx)
	if err != nil {
		return fmt.Errorf("drop workspace: %w", err)
	}
	for _, c := range append(collections, s.config.Collection) {
		if err := s.dropTenant(ctx, c, workspace); err != nil {
			return fmt.Errorf("drop workspace: %w", err)
		}
	}
	s.counts.forget(workspace)
	return nil
}

// remove deletes what a condition is true of and returns how much that was. The server deletes 10,000 objects a request.
func (s *Store) remove(ctx context.Context, collection, workspace string, which *pb.Filters) (removed int, err error) {
	for {
		var reply *pb.BatchDeleteReply
		err := s.call(ctx, "delete", func(ctx context.Context) (err error) {
			reply, err = s.grpc.BatchDelete(ctx, &pb.BatchDeleteRequest{
				Collection: collection, Tenant: &workspace, Filters: which, ConsistencyLevel: s.consistency(),
			})
			if err == nil && reply.GetFailed() > 0 {
				err = fmt.Errorf("%d of %d objects were not deleted", reply.GetFailed(), reply.GetMatches())
			}
			return err
		})
		if errors.Is(err, errNoTenant) {
			return removed, nil
		}
		if err != nil {
			return removed, err
		}
		removed += int(reply.GetSuccessful())
		if reply.GetMatches() <= reply.GetSuccessful() || reply.GetSuccessful() == 0 {
			return removed, nil
		}
	}
}
