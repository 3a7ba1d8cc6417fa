package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what came of a step.
type result struct {
	Step  string  `json:"step"`
	What  string  `json:"what"`
	Took  float64 `json:"took_s"`
	Error string  `json:"error,omitempty"`
	// Notes are figures that are not of a load.
	Notes []string `json:"notes,omitempty"`
	Loads []*load  `json:"loads,omitempty"`
}

func (r *run) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.say("%s", text)
	r.now.Notes = append(r.now.Notes, text)
}

// load is what a load's questions became while something was done to the pods.
type load struct {
	Name string  `json:"name"`
	Rate float64 `json:"rate"`
	Done int     `json:"done"` // how often something was done
	// Busy is the load average of this machine at the end, when the cluster runs on it: figures of a busy machine are worse.
	Busy   string `json:"load_average,omitempty"`
	Report report `json:"report"` // of `ragmesh bench load`
}

// report is the part of the report of `ragmesh bench load` that counts here.
type report struct {
	Duration     float64  `json:"duration_s"`
	Planned      int      `json:"planned"`
	Answered     int      `json:"answered"`
	Abstained    int      `json:"abstained"`
	Failed       int      `json:"failed"`
	Degraded     int      `json:"degraded"`
	Retried      int      `json:"retried"`
	Restarted    int      `json:"restarted"`
	Duplicates   int      `json:"duplicates"`
	Share        float64  `json:"share"`
	Failures     []count  `json:"failures"`
	Degradations []count  `json:"degradations"`
	Repeats      []count  `json:"repeats"`
	Latency      latency  `json:"latency"`
	LongestGap   float64  `json:"longest_gap_ms"`
	DegradedFor  int      `json:"degraded_seconds"`
	FailedFor    int      `json:"failed_seconds"`
	Seconds      []second `json:"seconds"`
}

// degradedBetween counts turns that ended degraded in a part of the load.
func (r report) degradedBetween(from, to time.Duration) (n int) {
	for _, s := range r.Seconds {
		if at := time.Duration(s.At) * time.Second; at >= from && at < to {
			n += s.Degraded
		}
	}
	return n
}

type latency struct {
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

type count struct {
	Name  string `json:"name"`
	Times int    `json:"times"`
}

type second struct {
	At       int `json:"at_s"`
	Degraded int `json:"degraded"`
	Failed   int `json:"failed"`
}

// busy returns the load average of the last minute.
func (r *run) busy() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil || r.scripts == "none" {
		return ""
	}
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

func counts(all []count) string {
	parts := make([]string, len(all))
	for i, c := range all {
		parts[i] = fmt.Sprintf("%d %s", c.Times, c.Name)
	}
	return strings.Join(parts, ", ")
}

// write writes the figures as JSON.
func (r *run) write(file string) error {
	data, err := json.MarshalIndent(struct {
		Date  time.Time `json:"date"`
		Seed  uint64    `json:"seed"`
		Took  float64   `json:"took_s"`
		Steps []*result `json:"steps"`
	}{r.began.UTC(), r.seed, time.Since(r.began).Seconds(), r.results}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// print shows the tables and returns how many steps failed.
func (r *run) print() (failed int) {
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nstep\ttook\tresult\n")
	for _, s := range r.results {
		outcome := "ok"
		if s.Error != "" {
			outcome = "FAILED: " + strings.SplitN(s.Error, "\n", 2)[0]
			failed++
		}
		fmt.Fprintf(w, "%s\t%.0f s\t%s\n", s.Step, s.Took, outcome)
		for _, n := range s.Notes {
			fmt.Fprintf(w, "\t\t%s\n", n)
		}
	}
	fmt.Fprintf(w, "\nload\ta second\tasked\tanswered\tfailed\tdegraded\tasked again\tdone\tmean ms\tp99 ms\tlongest gap ms\tdegraded s\tload average\n")
	for _, s := range r.results {
		for _, l := range s.Loads {
			p := l.Report
			fmt.Fprintf(w, "%s\t%.0f\t%d\t%.3f %%\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t%.0f\t%d\t%s\n", l.Name, l.Rate, p.Planned, 100*p.Share, p.Failed, p.Degraded,
				p.Retried, l.Done, p.Latency.Mean, p.Latency.P99, p.LongestGap, p.DegradedFor, l.Busy)
		}
	}
	_ = w.Flush() // to the terminal
	return failed
}
