package mockllm

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// prefix begins every model name that this server knows.
const prefix = "mock"

// Bounds of what a name may ask for.
const (
	maxWait   = 10 * time.Minute
	maxLength = 100_000
)

// Behaviour is how a model answers.
type Behaviour struct {
	FirstToken time.Duration // from the request to the first token
	Interval   time.Duration // between two tokens
	Length     int           // tokens of an answer
	Failures   float64       // share of requests that are refused, 0 to 1
}

// Parse reads a model's name: mock, and in any order -ttft<ms> -itl<ms> -len<tokens> -fail<share>. What is left out is 0,
// and the length 64.
func Parse(model string) (Behaviour, error) {
	b := Behaviour{Length: 64}
	parts := strings.Split(model, "-")
	if parts[0] != prefix {
		return b, fmt.Errorf("model %q: names begin with %s, such as mock-ttft50-itl5-len64-fail0.01", model, prefix)
	}
	for _, part := range parts[1:] {
		digits := strings.IndexAny(part, "0123456789")
		if digits < 0 {
			return b, fmt.Errorf("model %q: %q has no number", model, part)
		}
		value, err := strconv.ParseFloat(part[digits:], 64)
		if err != nil {
			return b, fmt.Errorf("model %q: %q is no number", model, part[digits:])
		}
		if err := b.set(part[:digits], value); err != nil {
			return b, fmt.Errorf("model %q: %w", model, err)
		}
	}
	return b, nil
}

func (b *Behaviour) set(knob string, value float64) error {
	wait := time.Duration(value * float64(time.Millisecond))
	switch knob {
	case "ttft", "itl":
		if value > float64(maxWait/time.Millisecond) {
			return fmt.Errorf("%s is at most %d ms", knob, maxWait/time.Millisecond)
		}
		if knob == "ttft" {
			b.FirstToken = wait
		} else {
			b.Interval = wait
		}
	case "len":
		if value < 1 || value > maxLength {
			return fmt.Errorf("len is 1 to %d tokens", maxLength)
		}
		b.Length = int(value)
	case "fail":
		if value > 1 {
			return fmt.Errorf("fail is a share, 0 to 1")
		}
		b.Failures = value
	default:
		return fmt.Errorf("%q is none of ttft, itl, len and fail", knob)
	}
	return nil
}
