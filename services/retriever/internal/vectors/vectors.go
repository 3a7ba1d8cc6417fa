// Package vectors keeps the embeddings of one workspace's chunks in a file and finds those nearest to a vector.
//
// In memory is one bit for each dimension: on which side of the mean a vector lies. They choose a few hundred rows, which are
// then read from the file and compared exactly. What was put is synced; a crash leaves whole records only. A version that is
// dropped is overwritten with zeros, and the file is written anew without such holes once they are most of it. Everything
// here is derived: what is damaged counts as not being there.
package vectors

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ragmesh/ragmesh/libs/disk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

const (
	// fileName is the file's, in the workspace's folder.
	fileName = "vectors"
	// minHole is the least space, in bytes, that is worth writing the file anew for.
	minHole = 1 << 20
)

// Set is a workspace's vectors, all of one space. It is safe for concurrent use.
type Set struct {
	dir string

	writing sync.Mutex // one writer at a time; readers go on meanwhile

	mu       sync.RWMutex
	file     *os.File // nil while there are no vectors
	space    store.Space
	size     int64                 // of the file
	holes    int64                 // bytes of erased records
	versions map[string][]*version // by document
	order    []*version            // as in the file, gone ones among them
	gone     int                   // of order
	rows     int                   // of those that are not gone
	signs    signs
}

// version is where a version's rows are.
type version struct {
	description
	record
	at    int64 // of the record in the file
	first int   // number of its first row among the signs
	gone  bool
}

// rowsAt is where the first row stands in the file.
func (v *version) rowsAt() int64 { return v.at + recordHead + int64(v.record.description) }

func (v *version) key() store.Key { return store.Key{DocumentID: v.DocumentID, Hash: v.Hash} }

// Open opens the vectors in a workspace's folder, which need not be there. Nothing is made before something is put.
func Open(dir string) (*Set, error) {
	s := &Set{dir: dir, versions: map[string][]*version{}}
	if err := os.Remove(filepath.Join(dir, fileName+".new")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open vectors: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open vectors: %w", err)
	}
	s.file = f
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open vectors: %w", err), f.Close())
	}
	return s, nil
}

// Close closes the file.
func (s *Set) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.reset(nil, store.Space{}, 0)
	return err
}

// reset makes the set one over an empty file.
func (s *Set) reset(f *os.File, space store.Space, size int64) {
	s.file, s.space, s.size, s.holes = f, space, size, 0
	s.versions, s.order, s.gone, s.rows, s.signs = map[string][]*version{}, nil, 0, 0, signs{}
}

// find returns a version, or nil. The caller holds mu or writing.
func (s *Set) find(k store.Key) *version {
	for _, v := range s.versions[k.DocumentID] {
		if v.Hash == k.Hash {
			return v
		}
	}
	return nil
}

// Space is what the vectors are of; zero while there are none.
func (s *Set) Space() store.Space {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.space
}

// Has says whether a version has its vectors in a space.
func (s *Set) Has(space store.Space, k store.Key) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.space == space && s.find(k) != nil
}

// Derived returns the id of the first chunk that a version's vectors are of, and whether there are any.
func (s *Set) Derived(k store.Key) (first string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.find(k)
	if v == nil {
		return "", false
	}
	return v.Revision, true
}

// Keys returns the versions that have vectors.
func (s *Set) Keys() []store.Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []store.Key
	for _, v := range s.order {
		if !v.gone {
			out = append(out, v.key())
		}
	}
	return out
}

// load reads the whole file. It is cut off where the last whole record ends; a file that is none is emptied.
func (s *Set) load() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, min(info.Size(), int64(len(headMagic)+8+maxSpace)))
	if _, err := s.file.ReadAt(head, 0); err != nil {
		return err
	}
	space, n, err := decodeHead(head)
	if err != nil {
		return s.discard()
	}
	s.reset(s.file, space, int64(n))
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, s.size, info.Size()-s.size), 1<<20)
	var unfinished []*version
	for {
		v, body, err := s.next(r, info.Size())
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errBroken) {
			if err := errors.Join(s.file.Truncate(s.size), s.file.Sync()); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return err
		}
		s.size += v.size(space.Dimension)
		if v.kind == kindPut && crc32.ChecksumIEEE(body) == v.sum {
			if v.description, err = decodeDescription(body[:v.record.description], v.record.rows); err == nil {
				if before := s.find(v.key()); before != nil {
					unfinished = append(unfinished, before)
				}
				s.add(v, body[v.record.description:])
				continue
			}
		}
		s.holes += v.size(space.Dimension)
		if v.kind != kindErased {
			unfinished = append(unfinished, v)
		}
	}
	s.signs.settle(s)
	return s.erase(unfinished)
}

// next reads a record and its body.
func (s *Set) next(r *bufio.Reader, end int64) (*version, []byte, error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errBroken
		}
		return nil, nil, err
	}
	rec, err := decodeRecord(head[:])
	if err != nil {
		return nil, nil, err
	}
	v := &version{record: rec, at: s.size}
	if s.size+v.size(s.space.Dimension) > end {
		return nil, nil, errBroken
	}
	body := make([]byte, v.size(s.space.Dimension)-recordHead)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, nil, err
	}
	return v, body, nil
}

// discard removes a file that can't be read.
func (s *Set) discard() error {
	err := errors.Join(s.file.Close(), os.Remove(filepath.Join(s.dir, fileName)), disk.Sync(s.dir))
	s.reset(nil, store.Space{}, 0)
	return err
}

// add takes in a record that is in the file. The caller holds mu, or is alone.
func (s *Set) add(v *version, rows []byte) {
	if before := s.find(v.key()); before != nil {
		s.forget(before)
	}
	v.first = s.signs.add(s.space.Dimension, rows)
	s.versions[v.DocumentID] = append(s.versions[v.DocumentID], v)
	s.order = append(s.order, v)
	s.rows += v.record.rows
}

// forget takes a version out of memory; its record is a hole from now on. Its signs stay until the file is written anew.
func (s *Set) forget(v *version) {
	rest := slices.DeleteFunc(s.versions[v.DocumentID], func(o *version) bool { return o == v })
	if s.versions[v.DocumentID] = rest; len(rest) == 0 {
		delete(s.versions, v.DocumentID)
	}
	s.rows -= v.record.rows
	s.holes += v.size(s.space.Dimension)
	v.gone = true
	if s.gone++; s.gone > 64 && s.gone > len(s.order)/2 {
		s.order = slices.DeleteFunc(slices.Clone(s.order), func(o *version) bool { return o.gone })
		s.gone = 0
	}
}
