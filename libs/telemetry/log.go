package telemetry

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/identity"
)

// Logger returns a process's logger: JSON lines, or for people at a terminal when console is true. A level that does not
// exist counts as info. Writes must be safe for concurrent use, as os.Stderr's are.
func Logger(w io.Writer, level string, console bool) zerolog.Logger {
	return Threshold(Unleveled(w, console), NewLevel(level))
}

// Unleveled returns a process's logger without a level, for services in one process that have one each; see [Threshold].
func Unleveled(w io.Writer, console bool) zerolog.Logger {
	if console {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !Terminal(w)}
	}
	return zerolog.New(w).Level(zerolog.TraceLevel).Hook(zerolog.HookFunc(stamp))
}

// Level is the least level that is logged. It can be changed while loggers use it.
type Level struct{ least atomic.Int32 }

// NewLevel returns a level by name; one that does not exist counts as info.
func NewLevel(name string) *Level {
	l := &Level{}
	l.Set(name)
	return l
}

// Set changes the level, also of loggers that were made of this one's logger before.
func (l *Level) Set(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil || name == "" {
		level = zerolog.InfoLevel
	}
	l.least.Store(int32(level))
}

// Sample implements [zerolog.Sampler]: an event below the level is never begun.
func (l *Level) Sample(level zerolog.Level) bool { return int32(level) >= l.least.Load() }

// Threshold returns log with a level that can change.
func Threshold(log zerolog.Logger, level *Level) zerolog.Logger { return log.Sample(level) }

// Terminal says whether a person reads what is written to w.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// stamp adds the time in UTC with milliseconds; zerolog's own way is a global setting.
func stamp(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
}

// Logger returns the service's logger for one request: with trace_id, workspace and user where ctx has them.
func (t *Telemetry) Logger(ctx context.Context) zerolog.Logger {
	with := t.Log.With()
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		with = with.Stringer("trace_id", span.TraceID())
	}
	if p, ok := identity.FromContext(ctx); ok {
		if p.Workspace != "" {
			with = with.Str("workspace", p.Workspace)
		}
		if p.Subject != "" {
			with = with.Str("user", p.Subject)
		}
	}
	return with.Logger()
}

// TraceID returns the trace id of ctx as hexadecimal, empty when there is none.
func TraceID(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return span.TraceID().String()
	}
	return ""
}
