package weaviate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "github.com/weaviate/weaviate/grpc/generated/protocol/v1"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// maxIDs bounds what is asked for by id in one request.
const maxIDs = 1000

// object is what the server gave of an object.
type object struct {
	id       string
	fields   map[string]*pb.Value
	distance float64 // to the vector that was asked for
}

func (o object) text(name string) string { return o.fields[name].GetTextValue() }
func (o object) int(name string) int     { return int(o.fields[name].GetIntValue()) }

// search asks for objects. A workspace without tenant has none.
func (s *Store) search(ctx context.Context, operation, workspace string, r *pb.SearchRequest, fields ...string) ([]object, error) {
	r.Tenant, r.Uses_127Api, r.ConsistencyLevel = workspace, true, s.consistency()
	r.Metadata = &pb.MetadataRequest{Uuid: true, Distance: r.NearVector != nil}
	r.Properties = &pb.PropertiesRequest{NonRefProperties: fields}
	var reply *pb.SearchReply
	err := s.call(ctx, operation, func(ctx context.Context) (err error) {
		reply, err = s.grpc.Search(ctx, r)
		return err
	})
	if errors.Is(err, errNoTenant) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]object, 0, len(reply.GetResults()))
	for _, o := range reply.GetResults() {
		out = append(out, object{o.GetMetadata().GetId(), o.GetProperties().GetNonRefProps().GetFields(), float64(o.GetMetadata().GetDistance())})
	}
	return out, nil
}

// byID returns those of the objects that are there, in any order.
func (s *Store) byID(ctx context.Context, workspace string, ids []string, fields ...string) (map[string]object, error) {
	return s.byIDIn(ctx, s.config.Collection, workspace, ids, fields...)
}

func (s *Store) byIDIn(ctx context.Context, collection, workspace string, ids []string, fields ...string) (map[string]object, error) {
	out := make(map[string]object, len(ids))
	for some := range slices.Chunk(ids, maxIDs) {
		found, err := s.search(ctx, "get", workspace, &pb.SearchRequest{
			Collection: collection, Filters: oneOf("_id", some...), Limit: uint32(len(some)),
		}, fields...)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			out[o.id] = o
		}
	}
	return out, nil
}

// Text returns a version's canonical text.
func (s *Store) Text(ctx context.Context, workspace, documentID, hash string) (string, error) {
	id := objectID(documentID, hash, "version")
	found, err := s.byID(ctx, workspace, []string{id}, propText, propParts)
	if err != nil {
		return "", fmt.Errorf("read version: %w", err)
	}
	record, ok := found[id]
	if !ok {
		return "", store.ErrNotFound
	}
	var b strings.Builder
	b.WriteString(record.text(propText))
	for n := range record.int(propParts) { // one at a time: together they may be more than an answer holds
		id := partID(documentID, hash, n)
		part, err := s.byID(ctx, workspace, []string{id}, propText)
		if err != nil {
			return "", fmt.Errorf("read version: %w", err)
		}
		if _, ok := part[id]; !ok { // it is being removed
			return "", store.ErrNotFound
		}
		b.WriteString(part[id].text(propText))
	}
	return b.String(), nil
}

// Lacks returns those of the versions that are not there as they were put with a revision.
func (s *Store) Lacks(ctx context.Context, workspace, revision string, versions []store.Key) ([]store.Key, error) {
	ids := make([]string, 0, len(versions))
	for _, v := range versions {
		ids = append(ids, objectID(v.DocumentID, v.Hash, "version"))
	}
	found, err := s.byID(ctx, workspace, ids, propRevision)
	if err != nil {
		return nil, fmt.Errorf("look for versions: %w", err)
	}
	var lacking []store.Key
	for i, v := range versions {
		if o, ok := found[ids[i]]; !ok || o.text(propRevision) != layout+"/"+revision {
			lacking = append(lacking, v)
		}
	}
	return lacking, nil
}

// Chunks returns a version's chunks by ordinal.
func (s *Store) Chunks(ctx context.Context, workspace string, k store.Key) ([]store.Candidate, error) {
	id := objectID(k.DocumentID, k.Hash, "version")
	found, err := s.byID(ctx, workspace, []string{id}, propChunks, propMade)
	if err != nil {
		return nil, fmt.Errorf("read version: %w", err)
	}
	record, ok := found[id]
	if !ok {
		return nil, store.ErrNotFound
	}
	out := make([]store.Candidate, 0, record.int(propChunks))
	which := allOf(equal(propVersion, versionKey(k.DocumentID, k.Hash)), equal(propKind, kindChunk), equal(propMade, record.text(propMade)))
	for { // a document may have more than an answer holds
		page, err := s.search(ctx, "get", workspace, &pb.SearchRequest{
			Collection: s.config.Collection, Filters: which, Limit: maxIDs, Offset: uint32(len(out)),
		}, chunkProperties()...)
		if err != nil {
			return nil, fmt.Errorf("read chunks: %w", err)
		}
		for _, o := range page {
			c, err := o.candidate()
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		if len(page) < maxIDs {
			break
		}
	}
	slices.SortFunc(out, func(a, b store.Candidate) int { return a.Ordinal - b.Ordinal })
	if len(out) != record.int(propChunks) { // it is being replaced or removed
		return nil, store.ErrNotFound
	}
	return out, nil
}

// chunkProperties are what a candidate is made of.
func chunkProperties() []string {
	return []string{propVersion, propSource, propLanguage, propTitle, propText, propRead, propOrdinal, propStart, propEnd, propPath, propPages}
}

func (o object) candidate() (store.Candidate, error) {
	terms, err := base64.StdEncoding.DecodeString(o.fields[propRead].GetBlobValue())
	if err != nil {
		return store.Candidate{}, fmt.Errorf("read chunk %s: %w", o.id, err)
	}
	var pages []document.Page
	if encoded := o.text(propPages); encoded != "" {
		if err := json.Unmarshal([]byte(encoded), &pages); err != nil {
			return store.Candidate{}, fmt.Errorf("read chunk %s: %w", o.id, err)
		}
	}
	documentID, hash, _ := strings.Cut(o.text(propVersion), "/")
	return store.Candidate{
		Chunk: store.Chunk{
			ID: o.id, Ordinal: o.int(propOrdinal), Start: o.int(propStart), End: o.int(propEnd),
			HeadingPath: o.fields[propPath].GetListValue().GetTextValues().GetValues(), Pages: pages, Language: o.text(propLanguage),
		},
		DocumentID: documentID, Hash: hash, SourceURI: o.text(propSource), Title: o.text(propTitle), Text: o.text(propText), Terms: terms,
	}, nil
}
