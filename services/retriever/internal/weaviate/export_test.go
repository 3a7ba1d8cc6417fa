package weaviate

import (
	"context"
	"strings"

	pb "github.com/weaviate/weaviate/grpc/generated/protocol/v1"
)

// Dump returns everything a workspace has, by id: what the server holds of it and not what a search would find.
func (s *Store) Dump(ctx context.Context, workspace string) (map[string]string, error) {
	out := map[string]string{}
	s.mu.Lock()
	s.vectors = listed{}
	s.mu.Unlock()
	collections, err := s.vectorCollections(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range append(collections, s.config.Collection) {
		fields := []string{propKind, propVersion, propMade, propSource, propLanguage}
		if c == s.config.Collection {
			fields = append(fields, propText, propTerms, propSingles, propRevision)
		}
		found, err := s.search(ctx, "dump", workspace, &pb.SearchRequest{Collection: c, Limit: 10_000}, fields...)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			var values []string
			for _, f := range fields {
				values = append(values, o.text(f))
			}
			out[strings.TrimPrefix(c, s.config.Collection)+"/"+o.id] = strings.Join(values, "|")
		}
	}
	return out, nil
}
