package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// Lock is a process's claim on a folder. The operating system drops it when the process ends in any way.
type Lock struct{ file *flock.Flock }

// lockName is the file inside a locked folder. It holds the process id of its owner, for people.
const lockName = "lock"

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
		return nil, fmt.Errorf("data folder %s is in use by %s (lock file %s); stop it or choose another folder with --data", dir, owner(path), path)
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
