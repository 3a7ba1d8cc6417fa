// Package store is the contract between the retriever and where its chunks are kept. A store keeps versions of documents,
// all that was derived from them, and gives candidates for a query; which version of a document counts is not its business
// but the manifest's, so that replacing a document is atomic and deleting it immediate on every store alike.
//
// Every implementation passes package storetest.
package store

import (
	"context"
	"errors"
	"strings"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
)

// ErrNotFound is what Text gives for a version that is not there.
var ErrNotFound = errors.New("no such version in the index")

// Chunk is a passage of a version.
type Chunk struct {
	ID          string // by chunk.ID
	Ordinal     int    // from 0, without gaps
	Start, End  int    // half-open range of UTF-8 bytes in the canonical text
	HeadingPath []string
	Language    string
	Pages       []document.Page // of paginated documents
}

// Version is what was derived from one version of a document.
type Version struct {
	DocumentID string
	Hash       string // of the original bytes
	SourceURI  string
	Title      string
	Text       string // canonical
	Chunks     []Chunk
	// Revision names the code that derived it; see Store.Lacks.
	Revision string
}

// Key names a version.
type Key struct{ DocumentID, Hash string }

// Space is what vectors are of: a model in one revision. Vectors of different spaces are never compared.
type Space struct {
	Model     string `json:"model"`
	Revision  string `json:"revision"`
	Dimension int    `json:"dimension"`
}

// Vectors are the embeddings of a version's chunks.
type Vectors struct {
	Key
	Chunks []Candidate // by ordinal, as Chunks gave them
	Rows   [][]float32 // one for each, of length 1
}

// Filter narrows a search: AND between its fields, OR within one. Empty fields don't narrow.
type Filter struct {
	DocumentIDs    []string
	SourcePrefixes []string
	Languages      []string
}

// Manifest tells which version of a document is live; "" means none is.
type Manifest func(documentID string) (hash string)

// Query asks for candidates.
type Query struct {
	Rank   rank.Query
	Filter Filter
	Live   Manifest // called by one goroutine at a time
	// Hidden tells of documents that do not exist for who asks: their chunks take no part in the query and no place among its
	// Limit. nil means that there are none. It is called by one goroutine at a time.
	Hidden func(documentID string) bool
	Limit  int // most candidates wanted that hold the query's terms; 0 for none

	// Vector, of length 1, also finds the chunks nearest to it: at most Nearest of those that have vectors in its Space.
	Vector  []float32
	Space   Space
	Nearest int
}

// Candidate is a chunk that may answer a query, with all that scoring and showing it takes.
type Candidate struct {
	Chunk
	DocumentID string
	Hash       string
	SourceURI  string
	Title      string
	Text       string
	Terms      []byte // rank.Read(Head(Title, HeadingPath), Text).Encode()
	// Cosine is the exact similarity to the query's vector, -1 to 1. Embedded says that the chunk has a vector to compare.
	Cosine   float64
	Embedded bool
}

// Candidates are a query's best chunks by the store's own rough order, and the statistics to score them exactly.
type Candidates struct {
	Found []Candidate // each chunk once, whether terms or the vector found it
	Stats rank.Stats
	// Vectors is how many chunks of the workspace have vectors in the query's space.
	Vectors int
	// Passed is set when chunks were passed over because they were not live, or gone by the time they were read.
	Passed bool
}

// Store keeps versions and finds chunks. It is safe for concurrent use; workspaces don't see each other.
type Store interface {
	// Put stores a version and returns when it is durable. Putting it again replaces it.
	Put(ctx context.Context, workspace string, v Version) error
	// Prune removes all versions of a document but one and returns how many chunks that were; an empty keep removes all.
	Prune(ctx context.Context, workspace, documentID, keep string) (chunks int, err error)
	// Drop removes everything of a workspace with its bytes. One that is not there is no error.
	Drop(ctx context.Context, workspace string) error
	// Lacks returns those of the versions that are not there as they were put with a revision, in the store's present form.
	Lacks(ctx context.Context, workspace, revision string, versions []Key) ([]Key, error)
	// Text returns a version's canonical text, or ErrNotFound.
	Text(ctx context.Context, workspace, documentID, hash string) (string, error)
	// Candidates returns live chunks that hold at least one of the query's terms, or are among the nearest to its vector.
	Candidates(ctx context.Context, workspace string, q Query) (Candidates, error)

	// Chunks returns a version's chunks by ordinal, or ErrNotFound.
	Chunks(ctx context.Context, workspace string, k Key) ([]Candidate, error)
	// PutVectors adds vectors to versions that are there, and returns when they are durable. They replace those the versions
	// had; where the workspace has vectors of another space, all of those go. Pruning a version takes its vectors along.
	PutVectors(ctx context.Context, workspace string, s Space, v []Vectors) error
	// LacksVectors returns those of the versions that have chunks without vectors in a space.
	LacksVectors(ctx context.Context, workspace string, s Space, versions []Key) ([]Key, error)
}

// Head is what counts as a chunk's head when it is scored: the title and the headings above it.
func Head(title string, headingPath []string) string {
	if len(headingPath) == 0 {
		return title
	}
	return title + "\n" + strings.Join(headingPath, "\n")
}
