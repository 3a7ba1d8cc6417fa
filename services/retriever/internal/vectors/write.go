package vectors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ragmesh/ragmesh/libs/disk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Put adds versions' vectors and returns when they are durable. Vectors of another space go.
func (s *Set) Put(space store.Space, all []store.Vectors) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.enter(space); err != nil {
		return fmt.Errorf("put vectors: %w", err)
	}
	var out []byte
	var added, replaced []*version
	for _, v := range all {
		revision := ""
		if len(v.Chunks) > 0 {
			revision = v.Chunks[0].ID
		}
		bytes, d, err := encodeVersion(v, revision, space.Dimension)
		if err != nil {
			return fmt.Errorf("put vectors: document %s: %w", v.DocumentID, err)
		}
		r, err := decodeRecord(bytes)
		if err != nil {
			return err
		}
		added = append(added, &version{description: d, record: r, at: s.size + int64(len(out))})
		if before := s.find(v.Key); before != nil {
			replaced = append(replaced, before)
		}
		out = append(out, bytes...)
	}
	if _, err := s.file.WriteAt(out, s.size); err != nil {
		return fmt.Errorf("put vectors: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("put vectors: %w", err)
	}
	s.mu.Lock()
	start := s.size
	for _, v := range added {
		s.add(v, out[v.rowsAt()-start:][:v.record.rows*space.Dimension*4])
	}
	s.size += int64(len(out))
	s.signs.settle(s)
	s.mu.Unlock()
	return s.erase(replaced)
}

// enter sees to it that there is a file of a space. The caller holds writing.
func (s *Set) enter(space store.Space) error {
	if s.file != nil && s.space == space {
		return nil
	}
	head, err := encodeHead(space)
	if err != nil {
		return err
	}
	f, err := s.replace(func(f *os.File) error {
		_, err := f.Write(head)
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.file
	s.reset(f, space, int64(len(head)))
	if old != nil {
		return old.Close()
	}
	return nil
}

// replace writes a file aside, syncs it and moves it into place.
func (s *Set) replace(write func(*os.File) error) (f *os.File, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, fileName)
	f, err = os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = errors.Join(os.Rename(path+".new", path), disk.Sync(s.dir))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Drop removes the vectors of all versions of a document but one; an empty keep removes all. When it returns their bytes are
// overwritten.
func (s *Set) Drop(documentID, keep string) error {
	return s.drop(documentID, func(v *version) bool { return keep == "" || v.Hash != keep })
}

// DropVersion removes one version's vectors.
func (s *Set) DropVersion(k store.Key) error {
	return s.drop(k.DocumentID, func(v *version) bool { return v.Hash == k.Hash })
}

func (s *Set) drop(documentID string, which func(*version) bool) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	var dropped []*version
	for _, v := range s.versions[documentID] {
		if which(v) {
			dropped = append(dropped, v)
		}
	}
	for _, v := range dropped {
		s.forget(v)
	}
	s.mu.Unlock()
	if len(dropped) == 0 {
		return nil
	}
	return s.erase(dropped)
}

// erase overwrites the records of versions that are out of memory already. A crash on the way leaves records that say they
// are being erased, or whole ones: those of a version that the index has dropped find nothing in it, and go with the next
// look at what is live. The caller holds writing.
func (s *Set) erase(records []*version) error {
	if len(records) == 0 {
		return s.compact()
	}
	mark := func(v *version, kind byte) error {
		_, err := s.file.WriteAt([]byte{kind, 0, 0, 0}, v.at+4)
		return err
	}
	for _, v := range records {
		if err := mark(v, kindErasing); err != nil {
			return fmt.Errorf("erase vectors: %w", err)
		}
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("erase vectors: %w", err)
	}
	for _, v := range records {
		zeros := make([]byte, min(v.size(s.space.Dimension)-recordHead, 1<<20))
		for at, end := v.at+recordHead, v.at+v.size(s.space.Dimension); at < end; at += int64(len(zeros)) {
			if _, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at); err != nil {
				return fmt.Errorf("erase vectors: %w", err)
			}
		}
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("erase vectors: %w", err)
	}
	for _, v := range records { // not synced: at worst they are overwritten again
		if err := mark(v, kindErased); err != nil {
			return fmt.Errorf("erase vectors: %w", err)
		}
	}
	return s.compact()
}

// compact writes the file anew once most of it is holes. The caller holds writing.
func (s *Set) compact() error {
	if s.file == nil || s.holes < minHole || s.holes < s.size/2 {
		return nil
	}
	head, err := encodeHead(s.space)
	if err != nil {
		return err
	}
	at := int64(len(head))
	order := slices.DeleteFunc(slices.Clone(s.order), func(v *version) bool { return v.gone })
	moved := make([]int64, len(order))
	f, err := s.replace(func(f *os.File) error {
		if _, err := f.Write(head); err != nil {
			return err
		}
		for i, v := range order {
			moved[i] = at
			body := make([]byte, v.size(s.space.Dimension))
			if _, err := s.file.ReadAt(body, v.at); err != nil {
				return err
			}
			if _, err := f.Write(body); err != nil {
				return err
			}
			at += int64(len(body))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compact vectors: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.file
	fresh := signs{mean: s.signs.mean, meanOf: s.signs.meanOf}
	for i, v := range order {
		v.at, v.first = moved[i], fresh.copy(&s.signs, s.space.Dimension, v.first, v.record.rows)
	}
	s.file, s.size, s.holes, s.signs, s.order, s.gone = f, at, 0, fresh, order, 0
	return old.Close()
}
