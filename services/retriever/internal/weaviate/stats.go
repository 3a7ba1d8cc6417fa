package weaviate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weaviate/weaviate/entities/models"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
)

// stats returns how many chunks a workspace has and in how many of them each of a query's terms is.
func (s *Store) stats(ctx context.Context, workspace string, terms []rank.Term) (rank.Stats, error) {
	known, missing, mark := s.counts.recall(workspace, terms)
	if len(missing) == 0 {
		return known, nil
	}
	counted, err := s.count(ctx, workspace, missing)
	if err != nil {
		return known, err
	}
	if len(missing) == len(terms) {
		known = counted
	} else {
		maps.Copy(known.Frequency, counted.Frequency)
	}
	s.counts.keep(workspace, mark, known)
	return known, nil
}

// count counts a workspace's chunks and in how many of them each term is, in one request.
func (s *Store) count(ctx context.Context, workspace string, terms []rank.Term) (rank.Stats, error) {
	out := rank.Stats{Frequency: make(map[string]int, len(terms))}
	var reply *models.GraphQLResponse
	query := s.counting(workspace, terms)
	err := s.call(ctx, "count", func(ctx context.Context) (err error) {
		reply, err = s.rest.GraphQL().Raw().WithQuery(query).Do(ctx)
		if err == nil {
			err = failed(reply)
		}
		return err
	})
	if errors.Is(err, errNoTenant) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	var counts map[string][]struct {
		Meta   struct{ Count int }
		Length struct {
			Count int
			Sum   float64
		}
	}
	if err := decode(reply, &counts); err != nil {
		return out, err
	}
	if all := counts["all"]; len(all) == 1 {
		out.Chunks, out.AverageLength = all[0].Length.Count, all[0].Length.Sum/float64(max(all[0].Length.Count, 1))
	}
	for i, t := range terms {
		if found := counts["t"+strconv.Itoa(i)]; len(found) == 1 {
			out.Frequency[t.Text] = found[0].Meta.Count
		}
	}
	return out, nil
}

// decode reads counts.
func decode(reply *models.GraphQLResponse, into any) error {
	raw, err := json.Marshal(reply.Data["Aggregate"])
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	return nil
}

// failed returns what went wrong with a GraphQL query, which the client takes for an answer.
func failed(reply *models.GraphQLResponse) error {
	var errs []error
	for _, e := range reply.Errors {
		if e != nil {
			errs = append(errs, errors.New(e.Message))
		}
	}
	return errors.Join(errs...)
}

// counting is the request in GraphQL: the same count several times over, each under a name of its own.
func (s *Store) counting(workspace string, terms []rank.Term) string {
	var b strings.Builder
	tenant := "tenant:" + quote(workspace)
	fmt.Fprintf(&b, "{Aggregate{all:%s(%s){length{count sum}}", s.config.Collection, tenant)
	for i, t := range terms {
		property := propTerms
		if t.Kind == text.Han {
			property = propSingles
		}
		fmt.Fprintf(&b, " t%d:%s(%s,where:{path:[%q],operator:Equal,valueText:%s}){meta{count}}", i, s.config.Collection, tenant, property, quote(t.Text))
	}
	b.WriteString("}}")
	return b.String()
}

// quote makes a string of GraphQL. Go's %q, which the client uses, has escapes that GraphQL has not.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f || r == utf8.RuneError || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
