package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/blevesearch/bleve/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/ragmesh/ragmesh/libs/disk"
)

// closedMark is a file in an index that was closed as it should be. Without it the process died, perhaps the machine, and
// what was written last is checked before it is trusted.
const closedMark = "closed"

// errDamaged marks an index whose files are not what was written.
var errDamaged = errors.New("the index is damaged")

// load opens a shard's index, which is there, after checking it where that is called for.
func load(sh *shard) (err error) {
	mark := filepath.Join(sh.dir, closedMark)
	if exists(mark) {
		if err := errors.Join(os.Remove(mark), disk.Sync(sh.dir)); err != nil {
			return err
		}
	} else {
		sh.crashed = true
		if err := verify(filepath.Join(sh.dir, "store")); err != nil {
			return err
		}
	}
	defer func() { // bleve trusts its files
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: opening it panicked: %v", errDamaged, p)
		}
	}()
	index, err := bleve.OpenUsing(sh.dir, options())
	if err != nil {
		if !passing(err) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return err
	}
	sh.index = index
	return nil
}

// shut closes a shard's index and leaves the mark.
func shut(sh *shard) error {
	if err := errors.Join(sh.vectors.Close(), sh.index.Close()); err != nil {
		return err
	}
	mark, err := os.OpenFile(filepath.Join(sh.dir, closedMark), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return mark.Close()
}

// passing reports whether an error is the machine's and not the files': it goes away, or a person makes it.
func passing(err error) bool {
	if errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, fs.ErrPermission) {
		return true
	}
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EROFS, syscall.EIO, syscall.EAGAIN} {
		if errors.Is(err, e) || bytes.Contains([]byte(err.Error()), []byte(e.Error())) { // bleve does not always wrap
			return true
		}
	}
	return false
}

// verify reads every segment that the index counts on and compares its checksum. Segments it does not count on are what a
// crash has cut off; bleve removes them.
func verify(dir string) (err error) {
	defer func() {
		if p := recover(); p != nil { // bolt trusts its file
			err = fmt.Errorf("%w: reading it panicked: %v", errDamaged, p)
		}
	}()
	root := filepath.Join(dir, "root.bolt")
	if !exists(root) {
		return fmt.Errorf("%w: %s is missing", errDamaged, root)
	}
	db, err := bbolt.Open(root, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		if passing(err) {
			return err
		}
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	segments := map[string]bool{}
	if err := db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return collect(b, segments) })
	}); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	for name := range segments {
		if err := checksum(filepath.Join(dir, filepath.Base(name))); err != nil {
			return err
		}
	}
	return nil
}

// collect finds the files that a bucket's records name.
func collect(b *bbolt.Bucket, into map[string]bool) error {
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return collect(b.Bucket(k), into)
		}
		if filepath.Ext(string(v)) == ".zap" {
			into[string(v)] = true
		}
		return nil
	})
}

// checksum compares a segment with the CRC-32 at its end.
func checksum(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing", errDamaged, path)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	body := info.Size() - crc32.Size
	if body < 0 {
		return fmt.Errorf("%w: %s is cut off", errDamaged, path)
	}
	sum := crc32.NewIEEE()
	if _, err := io.CopyN(sum, f, body); err != nil {
		return err
	}
	var want [crc32.Size]byte
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return err
	}
	if sum.Sum32() != binary.BigEndian.Uint32(want[:]) {
		return fmt.Errorf("%w: %s does not have its checksum", errDamaged, path)
	}
	return nil
}
