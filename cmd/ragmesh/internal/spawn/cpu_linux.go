package spawn

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

// mask is a set of up to 1024 processors.
type mask [16]uint64

func (m *mask) set(cpu int) { m[cpu/64] |= 1 << (cpu % 64) }

func affinity(call uintptr, thread int, m *mask) error {
	//nolint:gosec // the kernel reads or writes the mask, and is done with it when the call returns
	if _, _, errno := syscall.RawSyscall(call, uintptr(thread), unsafe.Sizeof(*m), uintptr(unsafe.Pointer(m))); errno != 0 {
		return errno
	}
	return nil
}

// On does work in a thread that runs on one processor, which is what the work starts inherits; below 0, on any.
func On(cpu int, work func() error) (err error) {
	if cpu < 0 {
		return work()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one mask
	one.set(cpu)
	if err := affinity(syscall.SYS_SCHED_GETAFFINITY, 0, &before); err != nil {
		return fmt.Errorf("read the thread's processors: %w", err)
	}
	if err := affinity(syscall.SYS_SCHED_SETAFFINITY, 0, &one); err != nil {
		return fmt.Errorf("keep the thread on processor %d: %w", cpu, err)
	}
	defer func() {
		if back := affinity(syscall.SYS_SCHED_SETAFFINITY, 0, &before); err == nil {
			err = back
		}
	}()
	return work()
}

// Stay keeps all of this process on one processor.
func Stay(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var one mask
	one.set(cpu)
	for range 2 { // a thread that was made meanwhile by one that had not been moved yet
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			if err := affinity(syscall.SYS_SCHED_SETAFFINITY, id, &one); err != nil && err != syscall.ESRCH { //nolint:errorlint // an errno
				return fmt.Errorf("keep this process on processor %d: %w", cpu, err)
			}
		}
	}
	runtime.GOMAXPROCS(1)
	return nil
}
