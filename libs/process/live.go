package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// Reloader is a service whose configuration can change while it runs. C is the configuration's type.
type Reloader[C any] interface {
	Service
	// Reload makes cfg, and the files beside it as they are now, what calls that come from now on work with; calls under way
	// end with what they began with. Keys that need a restart are in cfg as they were at the start. An error leaves everything
	// as it is.
	Reload(ctx context.Context, cfg config.Loaded[C]) error
	// Revision returns what answers carry: the revision of the configuration and the files beside it.
	Revision() string
}

// RevisionOf returns the revision that a service's answers carry; for one that has no files beside its configuration, and
// does not say, that is the configuration's.
func RevisionOf(s Service, configuration string) string {
	if r, ok := s.(interface{ Revision() string }); ok {
		return r.Revision()
	}
	return configuration
}

// folders are those of a configuration folder in which each file holds one thing.
func folders() []string { return []string{"prompts", "retrieval", "tools"} }

// Fingerprint returns a hash over everything in a configuration folder that services read; empty for no folder.
func Fingerprint(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	return config.Fingerprint(dir, folders()...)
}

// LiveOptions says what a [Live] follows.
type LiveOptions[C any] struct {
	// Dir is the configuration folder.
	Dir string
	// Fingerprint is the folder's from before Running was loaded.
	Fingerprint string
	// Running is what the service was made with, and Revision what its answers carry.
	Running  config.Loaded[C]
	Revision string
	// Load reads the configuration as it is now.
	Load func() (config.Loaded[C], error)
	// Apply makes the live part of a changed configuration that of the service, or leaves everything as it is.
	Apply func(context.Context, config.Loaded[C]) (revision string, err error)
	// Every is how often the folder is looked at; 1 s when zero. A change is applied once it has been there for one round.
	Every     time.Duration
	Telemetry *telemetry.Telemetry
}

// Live follows a configuration folder while a service runs. Live keys take effect; what needs a restart is reported; a
// configuration that is not good changes nothing, and is tried again until it is.
//
// The folder is read at intervals rather than watched: mounted ConfigMaps change by exchanging a link, and network and
// overlay file systems do not always tell.
type Live[C any] struct {
	o        LiveOptions[C]
	log      zerolog.Logger
	reloads  prometheus.Counter
	failures prometheus.Counter

	// Of the one goroutine that checks.
	seen    string // fingerprint of the last round
	applied string // and of what is in use
	running config.Loaded[C]
	// revision is what answers carry.
	revision string

	mu      sync.Mutex
	problem string   // why the last change was not taken; empty when it was
	pending []string // keys that wait for a restart
}

// NewLive returns a Live and registers its metrics.
func NewLive[C any](o LiveOptions[C]) (*Live[C], error) {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	l := &Live[C]{
		o: o, log: o.Telemetry.Log, running: o.Running, revision: o.Revision, seen: o.Fingerprint, applied: o.Fingerprint,
		reloads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: o.Telemetry.Metric("config_reloads_total"), Help: "Changes of the configuration that were taken without a restart.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: o.Telemetry.Metric("config_reload_failures_total"),
			Help: "Changes of the configuration that were not good; the last good one stayed in use.",
		}),
	}
	if err := errors.Join(o.Telemetry.Registry.Register(l.reloads), o.Telemetry.Registry.Register(l.failures)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return l, nil
}

// Run looks at the folder until ctx ends.
func (l *Live[C]) Run(ctx context.Context) error {
	ticker := time.NewTicker(l.o.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.Check(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// Check is one round. It is not for concurrent use, and called by Run.
func (l *Live[C]) Check(ctx context.Context) {
	now, err := Fingerprint(l.o.Dir)
	switch {
	case err != nil:
		l.fail(err)
		return
	case now != l.seen:
		l.seen = now // somebody may be in the middle of writing
		return
	case now == l.applied:
		l.mu.Lock()
		l.problem = "" // a bad change was taken back
		l.mu.Unlock()
		return
	}
	next, err := l.o.Load()
	if again, printErr := Fingerprint(l.o.Dir); printErr == nil && again != now {
		return // what was read may be half of one and half of another
	}
	if err == nil {
		err = l.apply(ctx, next)
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.applied = now
}

// apply takes the live part of a configuration and reports the rest.
func (l *Live[C]) apply(ctx context.Context, next config.Loaded[C]) error {
	merged, waiting, err := config.Overlay(l.running, next)
	if err != nil {
		return err
	}
	revision, err := l.o.Apply(ctx, merged)
	if err != nil {
		return err
	}
	var live, pending []string
	for _, c := range config.Diff(l.running.Value, merged.Value) {
		live = append(live, c.Key)
	}
	for _, c := range waiting {
		pending = append(pending, c.Key)
	}
	l.mu.Lock()
	more := !slices.Equal(pending, l.pending)
	l.problem, l.pending = "", pending
	l.mu.Unlock()
	if len(live) > 0 || revision != l.revision { // else it was a comment, or another service's
		l.reloads.Inc()
		l.log.Info().Str("revision", revision).Strs("keys", live).Msg("configuration changed")
	}
	l.running, l.revision = merged, revision
	if len(pending) > 0 && more {
		l.log.Warn().Strs("keys", pending).Msg("changed keys need a restart to take effect")
	}
	return nil
}

// fail reports a change that was not taken, once.
func (l *Live[C]) fail(err error) {
	l.mu.Lock()
	again := l.problem == err.Error()
	if !again {
		l.failures.Inc() // before anybody sees the row
	}
	l.problem = err.Error()
	l.mu.Unlock()
	if again {
		return
	}
	l.log.Error().Err(err).Msg("the changed configuration is not good; the last good one stays in use")
}

// maxDetail bounds what a readiness row says of a problem.
const maxDetail = 500

// Ready returns the row of the readiness report. A bad change does not make the process unready: it works as before.
func (l *Live[C]) Ready(context.Context) []health.Component {
	l.mu.Lock()
	defer l.mu.Unlock()
	row := health.Component{Name: "config", Ready: l.problem == ""}
	switch {
	case l.problem != "":
		row.Detail = "the last good configuration stays in use: " + strings.ReplaceAll(l.problem, "\n", "; ")
		if len(row.Detail) > maxDetail {
			row.Detail = strings.ToValidUTF8(row.Detail[:maxDetail], "") + "..."
		}
	case len(l.pending) > 0:
		row.Detail = "needs a restart: " + strings.Join(l.pending, ", ")
	}
	return []health.Component{row}
}
