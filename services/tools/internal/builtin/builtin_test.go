package builtin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
)

func TestCalculator(t *testing.T) {
	t.Parallel()
	got, err := Calculator().Runner.Run(t.Context(), map[string]any{"expression": "0.1加0.2"})
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	want := map[string]any{"expression": "0.1 + 0.2", "value": "0.3", "exact": true}
	if diff := cmp.Diff(want, got.Data); diff != "" || got.Text != "0.1 + 0.2 = 0.3" {
		t.Errorf("text %q, data (-want +got):\n%s", got.Text, diff)
	}
	_, err = Calculator().Runner.Run(t.Context(), map[string]any{"expression": "1/0"})
	if f := fault.As(err); f == nil || f.Kind != fault.Invalid || f.Message != "division by zero" {
		t.Errorf("1/0: %v, want an error that may be shown", err)
	}
}

func TestCurrentTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 28, 20, 30, 0, 0, time.UTC)
	tool := CurrentTime(func() time.Time { return now })
	tests := []struct{ zone, want string }{
		{"UTC", "2026-02-28 20:30:00 UTC (Saturday, 星期六), UTC+00:00"},
		{"Asia/Shanghai", "2026-03-01 04:30:00 Asia/Shanghai (Sunday, 星期日), UTC+08:00"},
		{"America/St_Johns", "2026-02-28 17:00:00 America/St_Johns (Saturday, 星期六), UTC-03:30"},
	}
	for _, tt := range tests {
		got, err := tool.Runner.Run(t.Context(), map[string]any{"timezone": tt.zone})
		if err != nil || got.Text != tt.want {
			t.Errorf("in %s: %q, %v, want %q", tt.zone, got.Text, err, tt.want)
		}
	}
	for _, zone := range []string{"Mars/Olympus", "Local", "../../etc/passwd"} {
		_, err := tool.Runner.Run(t.Context(), map[string]any{"timezone": zone})
		if f := fault.As(err); f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Message, "IANA") {
			t.Errorf("in %s: %v, want an error that names what is allowed", zone, err)
		}
	}
}
