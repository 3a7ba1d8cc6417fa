package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// leaveCode takes the pages of the program itself (code, constants, tables) out of this process's memory. Whatever runs next
// finds them in the system's page cache, for a few microseconds each; what only the start needed stays out. Without it nearly
// all of the program is resident for ever: systems map the pages around one that is touched, newer ones up to 2 MiB.
func leaveCode() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read what is mapped: %w", err)
	}
	for _, r := range codeRanges(string(maps)) {
		// These pages are private and can't be written, so they are the file's: nothing is lost.
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, r.begin, r.end-r.begin, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("leave pages of the program: %w", errno)
		}
	}
	return nil
}

// addresses is a range of them.
type addresses struct{ begin, end uintptr }

// codeRanges returns where a static program's own file is mapped that it does not write to, from what /proc/self/maps says:
// begin-end permissions offset device inode path. Of a program with libraries it returns nothing: a loader has written to pages
// that look like that now, and what it wrote would be gone.
func codeRanges(maps string) []addresses {
	var out []addresses
	program := ""
	for line := range strings.Lines(maps) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasPrefix(fields[5], "/") {
			continue
		}
		if strings.Contains(fields[1], "x") && program != fields[5] {
			if program != "" {
				return nil
			}
			program = fields[5]
		}
		if fields[1] != "r-xp" && fields[1] != "r--p" {
			continue
		}
		first, last, _ := strings.Cut(fields[0], "-")
		begin, err := strconv.ParseUint(first, 16, strconv.IntSize)
		if err != nil {
			continue
		}
		end, err := strconv.ParseUint(last, 16, strconv.IntSize)
		if err != nil || end <= begin || program != fields[5] {
			continue
		}
		out = append(out, addresses{uintptr(begin), uintptr(end)})
	}
	return out
}
