//go:build !linux

package isolate

import (
	"errors"
	"os"
	"os/exec"
)

// apart does nothing: there are no process groups that all systems have.
func apart(*exec.Cmd) {}

// kill ends a child.
func kill(p *os.Process) { _ = p.Kill() }

// resident is not known here; the child's own limits hold.
func resident(int) (int64, error) { return 0, errors.ErrUnsupported }

func lastToLive() {}

func confine(int64) {}

// self is this program.
func self() (string, error) { return os.Executable() }
