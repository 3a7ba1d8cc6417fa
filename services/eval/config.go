package eval

import (
	"errors"
	"io"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

// Port is where eval serves calls when it is a process on a laptop.
const Port = 8084

// Config is eval's configuration.
type Config struct {
	process.Config `yaml:",inline" doc:"-"`
	Trace          Trace     `yaml:"trace"`
	Retention      Retention `yaml:"retention"`
}

// Trace configures reading traces.
type Trace struct {
	Wait time.Duration `yaml:"wait" doc:"How long a trace that is still on its way is waited for. Duration, 0s to 10s."`
}

// Retention bounds what is kept. The oldest goes first.
type Retention struct {
	TurnAge time.Duration `yaml:"turn_age" doc:"How long turns are kept. Duration, at least 1h; 0 for no bound."`
	SpanAge time.Duration `yaml:"span_age" doc:"How long spans are kept. Duration, at least 1h; 0 for no bound."`
	Turns   int           `yaml:"turns" doc:"How many turns are kept. Count; 0 for no bound."`
	Spans   int           `yaml:"spans" doc:"How many spans are kept. Count; 0 for no bound."`
	Bytes   config.Bytes  `yaml:"bytes" doc:"How large the store may be. Size, at least 16MiB; spans go before turns."`
	Every   time.Duration `yaml:"every" doc:"How often the bounds are enforced. Duration, 1s to 24h."`
}

// The least and most that make sense.
const (
	minAge   = time.Hour
	minBytes = 16 << 20
	maxWait  = 10 * time.Second
)

// Defaults returns the configuration without any file.
func Defaults() Config {
	return Config{
		Config: process.Defaults(Port),
		Trace:  Trace{Wait: 2 * time.Second},
		Retention: Retention{
			TurnAge: 90 * 24 * time.Hour, SpanAge: 14 * 24 * time.Hour, Turns: 500_000, Spans: 2_000_000, Bytes: 2 << 30, Every: 10 * time.Minute,
		},
	}
}

// Reference writes the page of eval.yaml.
func Reference(w io.Writer) error { return config.Reference(w, "eval", Defaults()) }

// Validate checks the values against their bounds.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, key, format string, a ...any) {
		if !ok {
			errs = append(errs, config.Invalid(key, format, a...))
		}
	}
	r := c.Retention
	check(c.Trace.Wait >= 0 && c.Trace.Wait <= maxWait, "trace.wait", "must be 0s to %v, not %v", maxWait, c.Trace.Wait)
	check(r.TurnAge == 0 || r.TurnAge >= minAge, "retention.turn_age", "must be at least %v, or 0 for no bound, not %v", minAge, r.TurnAge)
	check(r.SpanAge == 0 || r.SpanAge >= minAge, "retention.span_age", "must be at least %v, or 0 for no bound, not %v", minAge, r.SpanAge)
	check(r.Turns >= 0, "retention.turns", "must not be negative")
	check(r.Spans >= 0, "retention.spans", "must not be negative")
	check(r.Bytes >= minBytes, "retention.bytes", "must be at least 16MiB")
	check(r.Every >= time.Second && r.Every <= 24*time.Hour, "retention.every", "must be 1s to 24h, not %v", r.Every)
	return errors.Join(errs...)
}

func (r Retention) limits() store.Limits {
	return store.Limits{TurnAge: r.TurnAge, SpanAge: r.SpanAge, Turns: r.Turns, Spans: r.Spans, Bytes: int64(r.Bytes)}
}
