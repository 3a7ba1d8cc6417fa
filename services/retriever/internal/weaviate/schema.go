package weaviate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	clientfault "github.com/weaviate/weaviate-go-client/v4/weaviate/fault"
	"github.com/weaviate/weaviate/entities/models"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// The properties of an object. What is no chunk has no terms, so that no search finds it.
const (
	propKind     = "kind"     // chunk, version or text
	propDocument = "document" // the document's id
	propVersion  = "version"  // the document's id and the version's hash
	propMade     = "made"     // what the version's chunks were when they were put: tells them from those of an earlier put
	propSource   = "source"
	propLanguage = "language"
	propTerms    = "terms" // words, numbers and CJK pairs; those of the head twice
	propSingles  = "singles"
	propLength   = "length" // how long the chunk counts as in scoring
	propTitle    = "title"
	propText     = "text"
	propRead     = "read" // the chunk read for scoring
	propOrdinal  = "ordinal"
	propStart    = "start"
	propEnd      = "end"
	propPath     = "path"
	propPages    = "pages"    // as JSON
	propRevision = "revision" // of a version's record: layout and the code that derived it
	propParts    = "parts"    // of a version's record: how many objects its text is in beside it
	propChunks   = "chunks"   // of a version's record: how many there are

	kindChunk   = "chunk"
	kindVersion = "version"
	kindText    = "text"
)

// layout changes whenever the properties or the tokens in them do: what was put with another one counts as not being there.
const layout = "1"

// The constants of Weaviate's BM25, which are the rescorer's: the closer its order, the fewer candidates are needed.
const (
	bm25K1 = 1.2
	bm25B  = 0.75
)

// properties of the collection. Tokens are split at white space alone; what else is searched or filtered by is one token.
func properties() []*models.Property {
	yes, no := true, false
	one := func(name, kind, tokens string, filter, search *bool) *models.Property {
		return &models.Property{Name: name, DataType: []string{kind}, Tokenization: tokens, IndexFilterable: filter, IndexSearchable: search}
	}
	var out []*models.Property
	for _, name := range []string{propKind, propDocument, propVersion, propMade, propSource, propLanguage, propRevision} {
		out = append(out, one(name, "text", models.PropertyTokenizationField, &yes, &no))
	}
	for _, name := range []string{propTerms, propSingles} {
		out = append(out, one(name, "text", models.PropertyTokenizationWhitespace, &yes, &yes))
	}
	for _, name := range []string{propTitle, propText, propPages} {
		out = append(out, one(name, "text", models.PropertyTokenizationField, &no, &no))
	}
	for _, name := range []string{propOrdinal, propStart, propEnd, propParts, propChunks} {
		out = append(out, one(name, "int", "", &no, nil))
	}
	return append(out, one(propLength, "int", "", &yes, nil), one(propPath, "text[]", models.PropertyTokenizationField, &no, &no),
		one(propRead, "blob", "", &no, nil))
}

// class is a collection of ours. Tenants are made by us alone: what the server makes by itself for a write that comes late
// would be a deleted workspace again.
func (s *Store) class(name string, properties []*models.Property, vectors map[string]models.VectorConfig) *models.Class {
	return &models.Class{
		Class: name, Description: "ragmesh: made and used by its retriever", Properties: properties, VectorConfig: vectors,
		MultiTenancyConfig: &models.MultiTenancyConfig{Enabled: true, AutoTenantActivation: true},
		ReplicationConfig:  &models.ReplicationConfig{Factor: int64(s.config.Replicas), DeletionStrategy: models.ReplicationConfigDeletionStrategyDeleteOnConflict},
		InvertedIndexConfig: &models.InvertedIndexConfig{
			Bm25:      &models.BM25Config{K1: bm25K1, B: bm25B},
			Stopwords: &models.StopwordConfig{Preset: "none"}, // ours are left out already
		},
	}
}

// prepare makes the collection, or checks that the one that is there can be used.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.ensure(ctx, s.class(s.config.Collection, properties(), noVectors())); err != nil {
		return err
	}
	s.mu.Lock()
	version := s.state.version
	s.mu.Unlock()
	if since(version, blocksRepaired) {
		return nil
	}
	blocks, err := s.searchesBlocks(ctx)
	if err == nil && blocks {
		err = &unusableError{fault.New(fault.Precondition, fault.StoreUnavailable,
			"Weaviate %s leaves out hits of keyword searches in the collection %s as it was made (weaviate/weaviate#11780, before %s): set USE_INVERTED_SEARCHABLE=false in its environment, remove the collection, and start again",
			version, s.config.Collection, blocksRepaired)}
	}
	return err
}

// blocksRepaired is the first version whose searches by blocks of postings find what is not on disk yet.
const blocksRepaired = "1.38"

// searchesBlocks reports whether the collection is searched by blocks of postings. The client does not know that setting.
func (s *Store) searchesBlocks(ctx context.Context) (blocks bool, err error) {
	return blocks, s.call(ctx, "schema_get", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.config.URL, "/")+"/v1/schema/"+s.config.Collection, nil)
		if err != nil {
			return err
		}
		if s.config.APIKey != "" {
			request.Header.Set("Authorization", "Bearer "+s.config.APIKey)
		}
		reply, err := s.http.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = reply.Body.Close() }()
		if reply.StatusCode != http.StatusOK {
			return fmt.Errorf("read the collection's settings: %s", reply.Status)
		}
		var class struct {
			Inverted struct {
				Blocks bool `json:"usingBlockMaxWAND"`
			} `json:"invertedIndexConfig"`
		}
		err = json.NewDecoder(io.LimitReader(reply.Body, 1<<20)).Decode(&class)
		blocks = class.Inverted.Blocks
		return err
	})
}

// noVectors is the configuration of a collection whose objects have none: a vector that nothing is put into.
func noVectors() map[string]models.VectorConfig {
	return map[string]models.VectorConfig{"none": {
		Vectorizer: map[string]any{"none": map[string]any{}}, VectorIndexType: "flat", VectorIndexConfig: map[string]any{},
	}}
}

// ensure makes a collection or compares the one that is there with what it should be.
func (s *Store) ensure(ctx context.Context, want *models.Class) error {
	for range 2 { // another replica may make it at the same moment
		var is *models.Class
		err := s.call(ctx, "schema_get", func(ctx context.Context) (err error) {
			is, err = s.rest.Schema().ClassGetter().WithClassName(want.Class).Do(ctx)
			if e, ok := errors.AsType[*clientfault.WeaviateClientError](err); ok && e.StatusCode == http.StatusNotFound {
				is, err = nil, nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if is != nil {
			return s.compare(ctx, is, want)
		}
		if err = s.call(ctx, "schema_create", func(ctx context.Context) error {
			return s.rest.Schema().ClassCreator().WithClass(want).Do(ctx)
		}); err == nil {
			return nil
		}
		s.config.Observer.Warn(ctx, "make collection "+want.Class, err)
	}
	return fault.New(fault.Unavailable, fault.StoreUnavailable, "Weaviate does not make the collection %s", want.Class)
}

// compare refuses a collection that is not ours, or was made by another version and can't be used by this one.
func (s *Store) compare(ctx context.Context, is, want *models.Class) error {
	refuse := func(format string, a ...any) error {
		return &unusableError{fault.New(fault.Precondition, fault.StoreUnavailable, "the collection %s in Weaviate can't be used: %s. Remove it, or name another one in weaviate.collection",
			want.Class, fmt.Sprintf(format, a...))}
	}
	if is.MultiTenancyConfig == nil || !is.MultiTenancyConfig.Enabled {
		return refuse("it has no tenants")
	}
	for _, p := range want.Properties {
		at := slices.IndexFunc(is.Properties, func(q *models.Property) bool { return q.Name == p.Name })
		if at < 0 {
			return refuse("it has no property %s", p.Name)
		}
		have := is.Properties[at]
		if !slices.Equal(have.DataType, p.DataType) || p.Tokenization != "" && have.Tokenization != p.Tokenization {
			return refuse("its property %s is %v, tokenized by %q, and must be %v by %q", p.Name, have.DataType, have.Tokenization, p.DataType, p.Tokenization)
		}
	}
	if is.ReplicationConfig != nil && is.ReplicationConfig.Factor != int64(s.config.Replicas) {
		s.config.Observer.Warn(ctx, "compare collection "+want.Class,
			fmt.Errorf("it has %d copies and weaviate.replicas is %d, which counts when a collection is made", is.ReplicationConfig.Factor, s.config.Replicas))
	}
	return nil
}

// tenant makes a workspace's tenant in a collection unless it is known to be there.
func (s *Store) tenant(ctx context.Context, collection, workspace string) error {
	key := collection + "/" + workspace
	s.mu.Lock()
	known := s.tenants[key]
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := s.call(ctx, "tenant_create", func(ctx context.Context) error {
		return s.rest.Schema().TenantsCreator().WithClassName(collection).WithTenants(models.Tenant{Name: workspace}).Do(ctx)
	}); err != nil {
		return err
	}
	s.mu.Lock()
	s.tenants[key] = true
	s.mu.Unlock()
	return nil
}

// forget has a workspace's tenant made again by the next write: somebody has removed it.
func (s *Store) forget(collection, workspace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tenants, collection+"/"+workspace)
}

// dropTenant removes a workspace's tenant from a collection. One that is not there is no error.
func (s *Store) dropTenant(ctx context.Context, collection, workspace string) error {
	s.forget(collection, workspace)
	err := s.call(ctx, "tenant_delete", func(ctx context.Context) error {
		return s.rest.Schema().TenantsDeleter().WithClassName(collection).WithTenants(workspace).Do(ctx)
	})
	if errors.Is(err, errNoTenant) {
		return nil
	}
	return err
}
