// Package waterfall draws what took how long: one line per step, with a bar that stands where the step ran in time.
package waterfall

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// Step is one line.
type Step struct {
	// Name says what ran; Service, who did it.
	Name, Service string
	// Depth is how many steps it is nested in.
	Depth int
	// Offset is from the start of the whole; it may be negative when clocks differ.
	Offset, Duration time.Duration
	// Status is "ok", "degraded", "failed", "error", "skipped" or empty.
	Status string
	// Note stands behind the status, e.g. why it failed.
	Note string
}

// Options says how to draw.
type Options struct {
	// Width is how many columns there are.
	Width int
	// Paint colours a text by status; nil leaves it as it is.
	Paint func(status, text string) string
}

const (
	maxName    = 48
	maxService = 14
	minBar     = 10
	maxBar     = 60
	// numbers is the room of the duration column, e.g. "1234.5 ms".
	numbers = 10
	// notes is the room left for status and note.
	notes = 24
)

// Write draws steps over total, the time of the whole; it grows to hold the longest step.
func Write(w io.Writer, steps []Step, total time.Duration, o Options) error {
	if o.Paint == nil {
		o.Paint = func(_, text string) string { return text }
	}
	name, service := 0, 0
	for _, s := range steps {
		name = max(name, 2*s.Depth+columns().StringWidth(s.Name))
		service = max(service, columns().StringWidth(s.Service))
		total = max(total, s.Offset+s.Duration)
	}
	name, service = min(name, maxName), min(service, maxService)
	bar := min(max(o.Width-name-service-numbers-notes-6, minBar), maxBar)
	for _, s := range steps {
		status := s.Status
		if s.Note != "" {
			status += "  " + s.Note
		}
		line := fmt.Sprintf("%s  %s  %s  %*s", fit(strings.Repeat("  ", s.Depth)+s.Name, name), fit(s.Service, service),
			o.Paint(s.Status, draw(s, total, bar)), numbers, Duration(s.Duration))
		if status != "" {
			line += "  " + o.Paint(s.Status, status)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return fmt.Errorf("draw waterfall: %w", err)
		}
	}
	return nil
}

// draw returns the bar, width columns wide: at least one column long, so that short steps are seen, and never outside.
func draw(s Step, total time.Duration, width int) string {
	if s.Status == "skipped" || total <= 0 {
		return strings.Repeat(" ", width)
	}
	column := func(at time.Duration) int { return int(int64(width) * int64(at) / int64(total)) }
	start := min(max(column(s.Offset), 0), width-1)
	end := min(max(column(s.Offset+s.Duration), start+1), width)
	block := "█"
	if column(s.Offset+s.Duration)-column(s.Offset) == 0 {
		block = "▏"
	}
	return strings.Repeat(" ", start) + strings.Repeat(block, end-start) + strings.Repeat(" ", width-end)
}

// fit cuts or fills text to width columns.
func fit(text string, width int) string {
	return columns().FillRight(columns().Truncate(text, width, "…"), width)
}

// columns measures text in terminal columns: two for a Chinese character, whatever the locale says about box characters.
func columns() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// Duration returns d as people read it: three digits are enough.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}
