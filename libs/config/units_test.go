package config_test

import (
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
)

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Bytes{
		"0": 0, "512": 512, "512B": 512, "64KiB": 64 << 10, "64 KiB": 64 << 10, " 1MiB ": 1 << 20, "1.5GiB": 3 << 29, "2TiB": 2 << 40,
		"10MB": 10_000_000, "1kB": 1000, "1KB": 1000, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := config.ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "B", "KiB", "-1", "-1KiB", "+1", "1.5", "1.5B", "1e3", "0x10", "NaN", "Inf", "1 2", "1KiBs", "MiB1", "10m", "1.2.3MiB",
		"9223372036854775808", "8388608TiB", "8388608.5TiB", "99999999999999999999TiB", "١KiB",
	} {
		if got, err := config.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %v, want an error", text, got)
		}
	}
}

func TestBytesString(t *testing.T) {
	t.Parallel()
	for b, want := range map[config.Bytes]string{0: "0B", 1: "1B", 1000: "1000B", 1024: "1KiB", 1536: "1536B", 100 << 20: "100MiB", 1 << 40: "1TiB"} {
		if got := b.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(b), got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "500ms": 500 * time.Millisecond, "2s": 2 * time.Second, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond,
		"7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "0d": 0,
	} {
		if got, err := config.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-5s", "+5s", "1d-2h", "d", "1.5d", "-1d", "1d2d", "5 s", "1w", "200000000d", "106751d23h59m", "1y"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", time.Hour: "1h", 48 * time.Hour: "2d", 90 * time.Second: "1m30s", 10 * time.Second: "10s",
		time.Hour + time.Minute: "1h1m", time.Hour + time.Second: "1h0m1s", 500 * time.Millisecond: "500ms",
	} {
		if got := config.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, seed := range []string{"100MiB", "1.5GiB", "512", "", "9223372036854775807", "-1KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := config.ParseBytes(s)
		if err != nil {
			return
		}
		if b < 0 {
			t.Fatalf("%q is %d", s, int64(b))
		}
		if again, err := config.ParseBytes(b.String()); err != nil || again != b {
			t.Fatalf("%q is %v, which is %v, %v", s, b, again, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"2s", "1h30m", "7d", "1d12h", "0", "-1s", "106751d", "1h0m0s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := config.ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q is %v", s, d)
		}
		if again, err := config.ParseDuration(config.FormatDuration(d)); err != nil || again != d {
			t.Fatalf("%q is %v, which is %v, %v", s, d, again, err)
		}
	})
}
