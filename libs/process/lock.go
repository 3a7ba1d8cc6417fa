package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Lock is a process's claim on a folder. The operating system drops it when the process ends in any way.
type Lock struct{ file *flock.Flock }

// lockName is the file inside a locked folder. It holds the process id of its owner, for people.
const lockName = "lock"

// errInUse is why a folder could not be claimed by us: another has it.
var errInUse = errors.New("in use")

// lockPoll is how often a folder that is in use is tried again.
const lockPoll = 100 * time.Millisecond

// AwaitDir is [LockDir] with patience: a process that takes another's place may start before that one's end. waiting, if not nil, is
// told once, with the error that LockDir would have returned.
func AwaitDir(ctx context.Context, dir string, patience time.Duration, waiting func(error)) (*Lock, error) {
	end := time.Now().Add(patience)
	for {
		lock, err := LockDir(dir)
		if !errors.Is(err, errInUse) || !time.Now().Before(end) {
			return lock, err
		}
		if waiting != nil {
			waiting(err)
			waiting = nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// LockDir makes a folder, which only its owner may read, and claims it. The error of a folder that is in use names the
// process and the file.
func LockDir(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	path := filepath.Join(dir, lockName)
	file := flock.New(path, flock.SetPermissions(0o600))
	ok, err := file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		return nil, fmt.Errorf("data folder %s is %w by %s (lock file %s); stop it or choose another folder with --data", dir, errInUse, owner(path), path)
	}
	// Only for the message above: a lock without a process id is a lock all the same.
	_ = os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	return &Lock{file: file}, nil
}

func owner(path string) string {
	data, err := os.ReadFile(path)
	pid := strings.TrimSpace(string(data))
	if _, bad := strconv.ParseUint(pid, 10, 32); err != nil || bad != nil {
		return "another process"
	}
	return "process " + pid
}

// Unlock gives the folder up. The file stays: taking it away would let two processes each lock a file of that name.
func (l *Lock) Unlock() error { return l.file.Unlock() }
