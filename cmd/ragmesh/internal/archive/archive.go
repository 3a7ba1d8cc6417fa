// Package archive keeps a backup's file: it is written under another name until it is complete and checked, and restored into a
// data folder of `ragmesh up` or into a NATS elsewhere. What goes wrong half-way leaves no file, no folder and no NATS that
// could be taken for a whole one.
package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/disk"
	"github.com/ragmesh/ragmesh/libs/process"
)

// Partial is what an archive's name ends with until it is complete.
const Partial = ".partial"

// Written is an archive on disk.
type Written struct {
	Path     string
	Size     int64
	SHA256   string
	Header   backup.Header
	Manifest backup.Manifest
}

// Write has fill write an archive to path, reads it through, and gives it its name only then. A file that is there stays as
// it is.
func Write(path string, fill func(io.Writer) error) (w Written, err error) {
	if _, err := os.Lstat(path); err == nil {
		return Written{}, fmt.Errorf("%s is there already; choose another name", path)
	}
	partial := path + Partial
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return Written{}, fmt.Errorf("write archive: %w", err)
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			_ = os.Remove(partial) // it says itself what it is
		}
	}()
	if err := errors.Join(fill(file)); err != nil {
		return Written{}, err
	}
	if err := file.Sync(); err != nil {
		return Written{}, fmt.Errorf("write archive: %w", err)
	}
	// What is on the disk decides, not what was sent.
	checked, err := backup.Check(file)
	if err != nil {
		return Written{}, fmt.Errorf("read the archive back: %w", err)
	}
	w = Written{Path: path, Header: checked.Header, Manifest: checked.Manifest}
	if w.SHA256, w.Size, err = hashOf(file); err != nil {
		return Written{}, err
	}
	// Link, unlike rename, does not replace what somebody else has written meanwhile.
	if err := os.Link(partial, path); err != nil {
		if err := os.Rename(partial, path); err != nil { // a file system without links
			return Written{}, fmt.Errorf("name archive: %w", err)
		}
	} else if err := os.Remove(partial); err != nil {
		return Written{}, fmt.Errorf("name archive: %w", err)
	}
	return w, disk.Sync(filepath.Dir(path))
}

func hashOf(file io.ReadSeeker) (sum string, size int64, err error) {
	if _, err = file.Seek(0, io.SeekStart); err == nil {
		h := sha256.New()
		size, err = io.Copy(h, file)
		sum = hex.EncodeToString(h.Sum(nil))
	}
	if err != nil {
		return "", 0, fmt.Errorf("read the archive back: %w", err)
	}
	return sum, size, nil
}

// connectFor bounds how long a NATS elsewhere is waited for.
const connectFor = 10 * time.Second

// Connect returns a bus that leaves the streams of a NATS as they are.
func Connect(ctx context.Context, o bus.Options) (*bus.Bus, error) {
	o.Passive = true
	b, err := bus.Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	bound, cancel := context.WithTimeout(ctx, connectFor)
	defer cancel()
	if err := b.Up(bound); err != nil {
		b.Close()
		return nil, fmt.Errorf("no NATS answers at %s: %w", o.URL, errors.Unwrap(err))
	}
	return b, nil
}

// IntoNATS fills a NATS elsewhere with a checked archive. Replicas 0 means as many as the archive's streams had.
func IntoNATS(ctx context.Context, checked *backup.Checked, o bus.Options, progress func(backup.Part)) error {
	if o.Replicas == 0 {
		o.Replicas = checked.Header.Replicas
	}
	b, err := Connect(ctx, o)
	if err != nil {
		return err
	}
	defer b.Close()
	err = checked.Into(ctx, b, progress)
	switch {
	case errors.Is(err, bus.ErrNotEmpty):
		return fmt.Errorf("the NATS at %s is not empty (%w): a restore goes into an empty one only. Give it an empty volume, or delete its streams when nobody needs them any more", o.URL, err)
	case errors.Is(err, bus.ErrInUse):
		return fmt.Errorf("services work with the NATS at %s (%w): stop them first, and start them when it is restored", o.URL, err)
	}
	return err
}

// IntoFolder makes a data folder for `ragmesh up` from a checked archive. The folder must hold nothing but, perhaps, keys. It
// appears there at once and whole: until then nothing starts on it.
func IntoFolder(ctx context.Context, checked *backup.Checked, data string, log zerolog.Logger, progress func(backup.Part)) (err error) {
	lock, err := process.LockDir(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	dir := filepath.Join(data, "nats")
	staging := dir + natsserver.Restoring
	if err := checkEmpty(data, dir, staging); err != nil {
		return err
	}
	if err := os.RemoveAll(staging); err != nil { // of an attempt that was cut off
		return fmt.Errorf("remove what an earlier restore has left: %w", err)
	}
	if err := fill(ctx, checked, staging, log, progress); err != nil {
		return errors.Join(err, os.RemoveAll(staging))
	}
	if err := syncTree(staging); err != nil {
		return errors.Join(fmt.Errorf("write to disk: %w", err), os.RemoveAll(staging))
	}
	if err := os.Rename(staging, dir); err != nil {
		return fmt.Errorf("put the restored data in its place: %w", err)
	}
	return disk.Sync(data)
}

// checkEmpty refuses a folder that holds data. What a start that was refused has left is none.
func checkEmpty(data, dir, staging string) error {
	left, err := os.ReadDir(dir)
	if err == nil && !slices.ContainsFunc(left, func(e fs.DirEntry) bool { return e.Name() != "lock" }) {
		err = os.RemoveAll(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into data folder: %w", err)
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return fmt.Errorf("look into data folder: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"keys", "lock", filepath.Base(staging)}, e.Name()) {
			return fmt.Errorf("%s holds data already (%s): a restore goes into an empty folder only. Name another one with --data, or move this one away", data, e.Name())
		}
	}
	return nil
}

// fill runs a server of our own on the folder. It syncs nothing on its way: all of it is synced before it counts.
func fill(ctx context.Context, checked *backup.Checked, dir string, log zerolog.Logger, progress func(backup.Part)) error {
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: dir, NoSync: true, Log: log})
	if err != nil {
		return err
	}
	defer server.Shutdown()
	b, err := bus.Connect(ctx, bus.Options{Name: "restore", InProcess: server, Passive: true, Log: log})
	if err != nil {
		return err
	}
	defer b.Close()
	return checked.Into(ctx, b, progress)
}

// syncTree syncs everything in a folder, and the folder. NATS is still removing what it has deleted, under names that begin
// with a dot; when it starts it goes on with that.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() && strings.HasPrefix(e.Name(), ".") {
			return fs.SkipDir
		}
		if err != nil {
			return err
		}
		if !e.IsDir() && !e.Type().IsRegular() {
			return nil
		}
		return disk.Sync(path)
	})
}
