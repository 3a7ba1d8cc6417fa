package spawn

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a system's processes use, added up.
type Usage struct {
	// CPU is the time spent so far, user and system. Linux counts it in steps of 10 ms.
	CPU time.Duration
	// RSS is the memory that is resident now, in bytes.
	RSS int64
	// Goroutines is how many there are in the processes that say so.
	Goroutines int
}

// Usage reads what the processes use. It needs Linux's /proc.
func (s *System) Usage(ctx context.Context) (Usage, error) {
	var sum Usage
	for _, c := range s.children {
		cpu, rss, err := meter(c.cmd.Process.Pid)
		if err != nil {
			return sum, fmt.Errorf("meter %s: %w", c.name, err)
		}
		sum.CPU += cpu
		sum.RSS += rss
		if c.admin == "" {
			continue
		}
		n, err := goroutines(ctx, s.client, c.admin)
		if err != nil {
			return sum, fmt.Errorf("meter %s: %w", c.name, err)
		}
		sum.Goroutines += n
	}
	return sum, nil
}

// CPU returns what this process itself has spent so far.
func CPU() (time.Duration, error) {
	cpu, _, err := meter(os.Getpid())
	return cpu, err
}

func meter(pid int) (cpu time.Duration, rss int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(stat)
}

// tick is the unit of /proc's times: USER_HZ is 100 on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// parseStat reads utime, stime and rss from /proc/<pid>/stat. The command's name, in parentheses, may hold anything; the
// fields after it are counted from 3 in proc(5).
func parseStat(stat []byte) (cpu time.Duration, rss int64, err error) {
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	const first, utime, stime, pages = 3, 14, 15, 24
	if end < 0 || len(fields) <= pages-first {
		return 0, 0, fmt.Errorf("/proc/<pid>/stat has %d fields", len(fields))
	}
	var numbers [3]int64
	for i, field := range [...]int{utime, stime, pages} {
		if numbers[i], err = strconv.ParseInt(fields[field-first], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/<pid>/stat: %w", err)
		}
	}
	return time.Duration(numbers[0]+numbers[1]) * tick, numbers[2] * int64(os.Getpagesize()), nil
}

// maxMetrics bounds what is read of a process's metrics.
const maxMetrics = 8 << 20

func goroutines(ctx context.Context, client *http.Client, admin string) (int, error) {
	body, err := get(ctx, client, admin+"/metrics")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	found := 0
	lines := bufio.NewScanner(io.LimitReader(body, maxMetrics))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, fmt.Errorf("read metrics: %w", err)
			}
			found = int(f)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	return found, nil
}
