package document

import "slices"

// Access is who may read a document beside the administrators of its workspace. It does not change; a document gets another
// one.
type Access struct {
	// Readers are names such as "user:alice", "group:finance", "service:crawler" and "key:abc", in order, each once.
	Readers []string `json:"readers"`
}

// NewAccess returns the access of readers named in any order.
func NewAccess(readers []string) *Access {
	sorted := slices.Sorted(slices.Values(readers))
	return &Access{Readers: slices.Compact(sorted)}
}

// Equal says whether the same people are meant. Of two nils they are.
func (a *Access) Equal(b *Access) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Readers, b.Readers)
}

// Reader is who wants to read. identity.Principal is one.
type Reader interface {
	// Reads says whether one of these names is the reader's; of somebody who reads everything it says so for no name too.
	Reads(readers []string) bool
}

// ReadableBy says whether a document exists for a reader.
func (d Document) ReadableBy(r Reader) bool { return d.Access == nil || r.Reads(d.Access.Readers) }
