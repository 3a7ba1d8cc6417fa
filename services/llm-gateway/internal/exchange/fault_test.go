package exchange

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name, header, value string
		want                time.Duration
	}{
		{"seconds", "Retry-After", "7", 7 * time.Second},
		{"a fraction", "Retry-After", "0.5", 500 * time.Millisecond},
		{"milliseconds", "Retry-After-Ms", "250", 250 * time.Millisecond},
		{"a date", "Retry-After", "Fri, 02 Jan 2026 03:04:35 GMT", 30 * time.Second},
		{"a date gone by", "Retry-After", "Fri, 02 Jan 2026 03:00:00 GMT", 0},
		{"a year", "Retry-After", "31536000", time.Hour},
		{"a negative number", "Retry-After", "-5", 0},
		{"nothing", "X", "7", 0},
	} {
		h := http.Header{}
		h.Set(tt.header, tt.value)
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
