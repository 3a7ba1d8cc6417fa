package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size, written as "512", "64KiB", "100MiB" or "10MB".
type Bytes int64

// The sizes that files name.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

var byteUnits = []struct {
	name string
	size Bytes
}{
	{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

var errBytes = errors.New(`must be a size such as "64KiB", "100MiB" or "512B"`)

// ParseBytes reads a size: a whole number, or one with a fraction, and a unit. Without a unit it is bytes.
func ParseBytes(s string) (Bytes, error) {
	number, unit := strings.TrimSpace(s), Bytes(1)
	for _, u := range byteUnits {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(n), u.size
			break
		}
	}
	if n, err := strconv.ParseUint(number, 10, 63); err == nil {
		if n > uint64(math.MaxInt64/unit) {
			return 0, fmt.Errorf("%w; %q is too large", errBytes, clip(s))
		}
		return Bytes(n) * unit, nil
	}
	if strings.Trim(number, "0123456789.") != "" {
		return 0, errBytes
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || unit == 1 {
		return 0, errBytes
	}
	if f *= float64(unit); f >= math.MaxInt64 {
		return 0, fmt.Errorf("%w; %q is too large", errBytes, clip(s))
	}
	return Bytes(math.Round(f)), nil
}

// String returns the size in the largest binary unit that divides it.
func (b Bytes) String() string {
	for _, u := range byteUnits[:4] {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText writes the size as files have it.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads the size as files have it.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err == nil {
		*b = v
	}
	return err
}

var errDuration = errors.New(`must be a duration with its unit, such as "500ms", "2s", "1h30m" or "7d"`)

// ParseDuration reads a duration that is not negative, in Go's notation and with days: "500ms", "1h30m", "7d", "1d12h". A
// bare 0 needs no unit.
func ParseDuration(s string) (time.Duration, error) {
	rest, sum := strings.TrimSpace(s), time.Duration(0)
	if days, after, ok := strings.Cut(rest, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 63)
		if err != nil || n > uint64(math.MaxInt64/(24*time.Hour)) {
			return 0, errDuration
		}
		sum, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			return sum, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, errDuration
	}
	if sum += d; sum < 0 {
		return 0, errDuration
	}
	return sum, nil
}

// FormatDuration is the inverse of ParseDuration, without Go's trailing zero units: "2m", not "2m0s".
func FormatDuration(d time.Duration) string {
	if d != 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
