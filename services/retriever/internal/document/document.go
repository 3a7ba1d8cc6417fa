// Package document says what the retriever knows about a document: its identity, where it is in its life and which
// version search serves. It is plain data; everything else in the service is written in these terms.
package document

import (
	"time"

	"github.com/google/uuid"
)

// namespace roots every id the retriever derives.
//
//nolint:gochecknoglobals // a constant; uuid has no constant form
var namespace = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("retriever.ragmesh"))

// ID names the document that a source URI stands for in a workspace. The same source always gives the same id.
func ID(workspace, sourceURI string) string {
	return uuid.NewSHA1(namespace, []byte(workspace+"\x00"+sourceURI)).String()
}

// State is a document's place in its life.
type State string

// The states of a document.
const (
	Queued     State = "queued"     // stored, a worker will come
	Processing State = "processing" // a worker is at it
	Ready      State = "ready"      // searchable
	Failed     State = "failed"     // given up; an earlier version may still be searchable
)

// Stage is a step of ingestion.
type Stage string

// The stages of ingestion, in order.
const (
	Stored Stage = "stored" // original bytes are durable
	Parse  Stage = "parse"  // bytes to canonical text and structure
	Chunk  Stage = "chunk"  // canonical text to chunks
	Embed  Stage = "embed"  // chunks to vectors
	Index  Stage = "index"  // chunks into the index, and the manifest switched
)

// Failure says why a version could not be taken in.
type Failure struct {
	Stage   Stage  `json:"stage"`
	Reason  string `json:"reason"`  // in the words of ragmesh.event.v1.Reason, without its prefix
	Message string `json:"message"` // one sentence for the document's owner, at most 500 bytes
	// At is when it failed. Permanent says that trying again can't help, since the document itself is why.
	At        time.Time `json:"at,omitzero"`
	Permanent bool      `json:"permanent,omitempty"`
}

// Version is what an upload brought. Its hash names it; the sequence orders it among the workspace's uploads, and an
// older sequence never replaces a newer one.
type Version struct {
	Hash        string `json:"hash"`     // SHA-256 of the original bytes, lower-case hex
	Sequence    uint64 `json:"sequence"` // from the order of commits in the workspace
	Title       string `json:"title,omitempty"`
	ContentType string `json:"content_type"`
	Size        int64  `json:"size"`  // bytes
	Parts       int    `json:"parts"` // of the stored original
}

// Page says where on a page of a paginated document a passage stands.
type Page struct {
	Number int   `json:"n"` // from 1
	Boxes  []Box `json:"b,omitempty"`
}

// Box is a rectangle on a page: left, bottom, right, top, in points (1/72 inch) from the page's lower left corner.
type Box [4]float32

// Original names the stored bytes of a version.
type Original struct {
	Hash  string `json:"hash"`
	Parts int    `json:"parts"`
}

// Original names the version's bytes.
func (v Version) Original() Original { return Original{v.Hash, v.Parts} }

// Original names the live version's bytes.
func (l Live) Original() Original { return Original{l.Hash, l.Parts} }

// Live describes the version that search serves.
type Live struct {
	Hash      string `json:"hash"`
	Sequence  uint64 `json:"sequence"`
	Parts     int    `json:"parts"`
	Title     string `json:"title"`
	Chunks    int    `json:"chunks"`
	TextBytes int    `json:"text_bytes"`
	Language  string `json:"language,omitempty"`

	ContentType string `json:"content_type,omitempty"`
	// Embedding is the model its vectors are of; empty while it has none.
	Embedding string `json:"embedding,omitempty"`
}

// Document is one document of a workspace. The record of all documents is the manifest: search serves a chunk only while
// its version is the document's live one.
type Document struct {
	ID        string `json:"id"`
	Workspace string `json:"workspace"`
	SourceURI string `json:"source_uri"`
	// Access says who may read the document; nil means everybody in the workspace. What it points to does not change.
	Access   *Access  `json:"access,omitempty"`
	Newest   Version  `json:"newest"`
	Live     Live     `json:"live"` // Hash is empty while there is none
	State    State    `json:"state"`
	Stage    Stage    `json:"stage"`
	Failure  *Failure `json:"failure,omitempty"`
	Attempts int      `json:"attempts"` // made at the newest version
	// LastError is what the last attempt failed of while there is to be another, at RetryAt. Errors counts such attempts: those
	// of a job that have ended neither so nor well are ones that the worker died in.
	LastError *Failure  `json:"last_error,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"`
	Errors    int       `json:"errors,omitempty"`
	// Replaced are versions whose originals may still be stored. When a newer version goes live they are Removing: a worker
	// removes their bytes, and nobody may bring the same content back until it has.
	Replaced []Original `json:"replaced,omitempty"`
	Removing []Original `json:"removing,omitempty"`
	// Deleting marks a document that is gone for everyone; the record stays until its bytes are gone too.
	Deleting bool `json:"deleting,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Title is the live version's title, else the one given with the newest upload, else the source URI.
func (d Document) Title() string {
	switch {
	case d.Live.Title != "":
		return d.Live.Title
	case d.Newest.Title != "":
		return d.Newest.Title
	}
	return d.SourceURI
}
