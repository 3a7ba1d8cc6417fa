package isolate

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// apart puts a child into a process group of its own, which is ended as a whole and hears no Ctrl-C.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends a child and everything it has started.
func kill(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}

// resident is how much memory a process has, bytes.
func resident(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		return 0, err
	}
	return pages * int64(os.Getpagesize()), nil
}

// lastToLive makes the kernel end this process before any other when memory runs out.
func lastToLive() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) }

// confine bounds what this process may take beside what it has: where nobody watches it any more, the kernel refuses it the rest.
func confine(memory int64) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	var has int64
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmData:"); ok {
			if _, err := fmt.Sscan(rest, &has); err != nil {
				return
			}
		}
	}
	const resource = 2 // RLIMIT_DATA
	limit := uint64(has<<10 + 2*memory)
	_ = syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit})
}

// self is this program, even if the file it was started from has been replaced since.
func self() (string, error) { return "/proc/self/exe", nil }
