package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams, buckets and stores. Nothing else in ragmesh makes any.
const (
	// Turns holds every turn, written once, on ragmesh.turn.v1.<workspace>.<session>.<turn>.
	Turns = "RAGMESH_TURNS"
	// Events holds feedback, changes of documents and the audit trail, on ragmesh.event.v1.<what>.<workspace>; feedback says
	// there of what and by whom: <session>.<turn>.<user>, and a change of which document.
	Events = "RAGMESH_EVENTS"
	// Spans holds batches of OTLP spans, on ragmesh.span.v1.<service>.
	SpanStream = "RAGMESH_SPANS"
	// Jobs is the work queue of ingestion, on ragmesh.job.v1.<what>.<workspace>.
	Jobs = "RAGMESH_JOBS"
	// Vectors keeps what embedding models made of documents, on ragmesh.vector.v1.<workspace>.<document>.<space>.<part>.
	Vectors = "RAGMESH_VECTORS"
	// Usage says what models were used for, in numbers, on ragmesh.usage.v1.<workspace>.<node>.<day>.<life>: each message replaces
	// the one before it.
	Usage = "RAGMESH_USAGE"
	// Answers keeps answers of models for whoever asks the same again, on ragmesh.answer.v1.<workspace>.<hash of what was asked>.
	Answers = "RAGMESH_ANSWERS"

	// Workspaces maps a workspace to its description.
	Workspaces = "RAGMESH_WORKSPACES"
	// Members maps <workspace>.<hash of a name> to the role that a person, a group or a service account has there.
	Members = "RAGMESH_MEMBERS"
	// Keys maps the hash of an API key to what it allows.
	Keys = "RAGMESH_KEYS"
	// Logins maps the hash of what a browser's cookie holds to who logged in with it.
	Logins = "RAGMESH_LOGINS"
	// Sessions maps <workspace>.<session> to its title.
	Sessions = "RAGMESH_SESSIONS"
	// Requests maps <workspace>.<request id> to the turn it started.
	Requests = "RAGMESH_REQUESTS"
	// Documents maps <workspace>.<document> to its manifest: stages, live version, failure.
	Documents = "RAGMESH_DOCUMENTS"
	// Uploads maps <workspace>.<upload> to an upload that is under way.
	Uploads = "RAGMESH_UPLOADS"
	// Holds says that a backup reads what must not go away meanwhile; see [Bus.Hold].
	Holds = "RAGMESH_HOLDS"
	// Leases says which of several processes does what only one may do at a time; see [Bus.Lease].
	Leases = "RAGMESH_LEASES"

	// Originals holds the documents' bytes as they were uploaded.
	Originals = "RAGMESH_ORIGINALS"
)

// TurnSubject is where a turn is published. With "*" as the turn it matches a session's turns, with "*" as session too a
// workspace's.
func TurnSubject(workspace, session, turn string) string {
	return subject("ragmesh.turn.v1", workspace, session, turn)
}

// EventSubject is where an event about a workspace is published; what is feedback, document or audit.
func EventSubject(what, workspace string) string { return subject("ragmesh.event.v1", what, workspace) }

// DocumentSubject is where changes of a document are published. With "*" for it, it matches those of a workspace's.
func DocumentSubject(workspace, document string) string {
	return subject("ragmesh.event.v1", "document", workspace, document)
}

// FeedbackSubject is where what somebody thinks of a turn is published. With "*" for what is not given, from the right, it matches
// what was said of a turn, a session or a workspace.
func FeedbackSubject(workspace, session, turn, user string) string {
	return subject("ragmesh.event.v1", "feedback", workspace, session, turn, user)
}

// SpanSubject is where a service's spans are published.
func SpanSubject(service string) string { return subject("ragmesh.span.v1", service) }

// VectorSubject is where a part of a document's vectors is published. Each of the last three may be "*".
func VectorSubject(workspace, document, space, part string) string {
	return subject("ragmesh.vector.v1", workspace, document, space, part)
}

// UsageSubject is where a process says what it used models for in a workspace on a day; life tells apart workspaces that had one
// name one after the other. Each may be "*".
func UsageSubject(workspace, node, day, life string) string {
	return subject("ragmesh.usage.v1", workspace, node, day, life)
}

// LimitSubject is where a process says what it has taken of limits a minute. With "*" for it, it matches everybody's. No stream
// keeps that.
func LimitSubject(node string) string { return subject("ragmesh.limit.v1", node) }

// AnswerSubject is where an answer is kept for whoever asks the same in the same workspace. With "*" for what was asked it matches
// all of a workspace's.
func AnswerSubject(workspace, asked string) string {
	return subject("ragmesh.answer.v1", workspace, asked)
}

// JobSubject is where a job for a workspace is published; what is ingest.
func JobSubject(what, workspace string) string { return subject("ragmesh.job.v1", what, workspace) }

// subject joins tokens. Ids are slugs and ULIDs by the contract; should one come that isn't, its separators and wildcards
// become "_", so that it can't reach a subject it is not meant for. A token that is a wildcard as a whole is a filter's.
func subject(tokens ...string) string {
	out := make([]string, len(tokens))
	for i, token := range tokens {
		switch {
		case i == 0, token == "*":
			out[i] = token
		case token == "":
			out[i] = "_"
		default:
			out[i] = strings.Map(func(r rune) rune {
				if r == '.' || r == '*' || r == '>' || r <= ' ' || r == 0x7f {
					return '_'
				}
				return r
			}, token)
		}
	}
	return strings.Join(out, ".")
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	day = 24 * time.Hour
)

// streamConfigs says what each stream is. MaxBytes is reserved on the server when the stream is made, so the sums stay well
// below a small volume. Direct reads (AllowDirect) are on everywhere: [Bus.Last] and [Bus.LastN] need them.
func streamConfigs(replicas int) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			// The only record of what was asked and answered: kept until it is deleted, and never dropped for space (a full
			// store refuses the new turn, which dialog then spools). One message per subject makes "written once" the
			// server's rule and a spool that is drained twice harmless.
			Name: Turns, Subjects: []string{"ragmesh.turn.v1.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgSize: 576 * kib,
			Duplicates: 10 * time.Minute, Compression: jetstream.S2Compression, AllowDirect: true, Replicas: replicas,
		},
		{
			// Feedback, document changes and audit: kept for a year and a bit, the oldest dropped first at the size bound.
			Name: Events, Subjects: []string{"ragmesh.event.v1.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxAge: 400 * day, MaxBytes: 256 * mib, MaxMsgSize: 256 * kib, Discard: jetstream.DiscardOld,
			Duplicates: 10 * time.Minute, AllowDirect: true, Replicas: replicas,
		},
		{
			// Telemetry on its way to eval: a day or 96 MiB, whichever is less; the oldest go first. One copy is enough for what
			// may be lost anyway.
			Name: SpanStream, Subjects: []string{"ragmesh.span.v1.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxAge: day, MaxBytes: 96 * mib, MaxMsgSize: mib, Discard: jetstream.DiscardOld, AllowDirect: true, Replicas: 1,
		},
		{
			// A job lives until a worker acknowledges it, so no age limit. Jobs are ids, not documents: a bound on their number
			// that refuses new ones makes the uploader wait instead of losing work.
			Name: Jobs, Subjects: []string{"ragmesh.job.v1.>"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
			MaxMsgs: 200_000, MaxBytes: 64 * mib, MaxMsgSize: 16 * kib, Discard: jetstream.DiscardNew,
			Duplicates: 2 * time.Minute, AllowDirect: true, Replicas: replicas,
		},
		{
			// A cache: what is in it was paid for, and can be made again. The newest only, a month or 256 MiB, the oldest go first.
			Name: Vectors, Subjects: []string{"ragmesh.vector.v1.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, MaxAge: 30 * day, MaxBytes: 256 * mib, MaxMsgSize: mib, Discard: jetstream.DiscardOld,
			AllowDirect: true, Replicas: 1,
		},
		{
			// What was spent. One message per workspace, process and day, whose numbers only grow: repeating one is harmless. Kept
			// for a year and a bit, and never dropped for space: it is small.
			Name: Usage, Subjects: []string{"ragmesh.usage.v1.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, MaxAge: 400 * day, MaxMsgSize: mib, Discard: jetstream.DiscardOld,
			Duplicates: 2 * time.Minute, AllowDirect: true, Replicas: replicas,
		},
		{
			// A cache: a day or 32 MiB, the oldest go first.
			Name: Answers, Subjects: []string{"ragmesh.answer.v1.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, MaxAge: day, MaxBytes: 32 * mib, MaxMsgSize: mib, Discard: jetstream.DiscardOld,
			AllowDirect: true, Replicas: 1,
		},
	}
}

// bucketConfigs says what each key-value bucket is: the last value of each key only.
func bucketConfigs(replicas int) []jetstream.KeyValueConfig {
	bucket := func(name string, maxValue int32, ttl time.Duration) jetstream.KeyValueConfig {
		return jetstream.KeyValueConfig{Bucket: name, History: 1, MaxValueSize: maxValue, TTL: ttl, Storage: jetstream.FileStorage, Replicas: replicas}
	}
	return []jetstream.KeyValueConfig{
		bucket(Workspaces, 64*kib, 0),
		bucket(Members, 4*kib, 0),
		bucket(Keys, 16*kib, 0),
		// A browser is logged in for a week at most.
		bucket(Logins, 16*kib, 7*day),
		bucket(Sessions, 16*kib, 0),
		// A request id is remembered for a day, so that a client's repeat finds its turn.
		bucket(Requests, 16*kib, day),
		// A manifest lists a document's coverage and warnings, which are bounded by the retriever.
		bucket(Documents, 256*kib, 0),
		// Uploads nobody commits vanish after a day.
		bucket(Uploads, 256*kib, day),
		// A hold whose backup has died ends by itself.
		bucket(Holds, kib, holdFor),
		// So does a lease whose process has.
		bucket(Leases, kib, leaseFor),
	}
}

// archiveConfigs says what each object store is.
func archiveConfigs(replicas int) []jetstream.ObjectStoreConfig {
	return []jetstream.ObjectStoreConfig{
		// Kept until the document is deleted.
		{Bucket: Originals, Storage: jetstream.FileStorage, Replicas: replicas},
	}
}

// EnsureTopology makes streams, buckets and object stores what this file says, changing those that differ. It may run in
// several processes at once and any number of times. The Bus does it by itself when it connects; call it to wait for it.
func (b *Bus) EnsureTopology(ctx context.Context) error {
	err := b.ensureTopology(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ensured = err == nil
	if err != nil {
		b.problem = err.Error()
		return err
	}
	b.problem = ""
	return nil
}

func (b *Bus) ensureTopology(ctx context.Context) error {
	if err := b.notRestoring(ctx); err != nil {
		return err
	}
	// While several make the same stream, the server counts its share of the disk for each of them: who is refused looks again.
	together := failsafe.With(retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool {
			api, ok := errors.AsType[*jetstream.APIError](err)
			return ok && api.ErrorCode == noStorage
		}).
		WithMaxRetries(5).WithDelay(200 * time.Millisecond).ReturnLastFailure().Build()).WithContext(ctx)
	for _, cfg := range streamConfigs(b.replicas) {
		if err := together.Run(func() error { return b.ensureStream(ctx, cfg) }); err != nil {
			return wrap(ctx, err, "ensure stream "+cfg.Name)
		}
	}
	for _, cfg := range bucketConfigs(b.replicas) {
		if err := b.ensureBucket(ctx, cfg); err != nil {
			return wrap(ctx, err, "ensure bucket "+cfg.Bucket)
		}
	}
	for _, cfg := range archiveConfigs(b.replicas) {
		if err := b.ensureArchive(ctx, cfg); err != nil {
			return wrap(ctx, err, "ensure object store "+cfg.Bucket)
		}
	}
	return nil
}

// ensureStream leaves a stream alone that is as it should be: in a cluster a change is a vote, and every replica of every
// service comes past here at its start.
func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	s, err := b.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = b.js.CreateOrUpdateStream(ctx, want)
	case err == nil && !sameStream(s.CachedInfo().Config, want):
		_, err = b.js.UpdateStream(ctx, want)
	}
	return err
}

func sameStream(have, want jetstream.StreamConfig) bool {
	unbounded := func(n int64) int64 {
		if n == 0 {
			return -1
		}
		return n
	}
	return len(have.Subjects) == len(want.Subjects) && have.Subjects[0] == want.Subjects[0] &&
		have.Retention == want.Retention && have.Discard == want.Discard && have.DiscardNewPerSubject == want.DiscardNewPerSubject &&
		unbounded(have.MaxMsgs) == unbounded(want.MaxMsgs) && unbounded(have.MaxMsgsPerSubject) == unbounded(want.MaxMsgsPerSubject) &&
		unbounded(have.MaxBytes) == unbounded(want.MaxBytes) && unbounded(int64(have.MaxMsgSize)) == unbounded(int64(want.MaxMsgSize)) &&
		have.MaxAge == want.MaxAge && (want.Duplicates == 0 || have.Duplicates == want.Duplicates) &&
		have.Compression == want.Compression && have.AllowDirect == want.AllowDirect && have.Replicas == want.Replicas
}

func (b *Bus) ensureBucket(ctx context.Context, want jetstream.KeyValueConfig) error {
	s, err := b.js.Stream(ctx, "KV_"+want.Bucket)
	if err == nil {
		have := s.CachedInfo().Config
		if have.MaxAge == want.TTL && have.MaxMsgSize == want.MaxValueSize && have.Replicas == want.Replicas && have.AllowDirect {
			return nil
		}
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	_, err = b.js.CreateOrUpdateKeyValue(ctx, want)
	return err
}

func (b *Bus) ensureArchive(ctx context.Context, want jetstream.ObjectStoreConfig) error {
	s, err := b.js.Stream(ctx, "OBJ_"+want.Bucket)
	if err == nil {
		if s.CachedInfo().Config.Replicas == want.Replicas {
			return nil
		}
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	_, err = b.js.CreateOrUpdateObjectStore(ctx, want)
	return err
}

// keepTopology ensures the topology each time the connection comes up: the NATS that answers after an outage may be a new
// one. It ends with ctx, and owns b.done.
func (b *Bus) keepTopology(ctx context.Context) {
	defer close(b.done)
	if b.connected() {
		b.signal()
	}
	for failures := 0; ; {
		var again <-chan time.Time
		if failures > 0 {
			again = time.After(backoff(failures))
		}
		select {
		case <-ctx.Done():
			return
		case <-b.changed:
		case <-again:
		}
		if !b.connected() {
			failures = 0
			continue
		}
		attempt, cancel := context.WithTimeout(ctx, 4*requestTimeout)
		err := b.EnsureTopology(attempt)
		cancel()
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() == nil && b.connected():
			failures++
			b.log.Warn().Err(err).Int("attempt", failures).Msg("streams and buckets are not ready")
		}
	}
}

// backoff grows from 200 ms to 10 s and differs a little from process to process.
func backoff(failures int) time.Duration {
	d := min(200*time.Millisecond<<min(failures-1, 6), 10*time.Second)
	return d/2 + rand.N(d/2+1) //nolint:gosec // spreading load, not a secret
}

// pause waits after a failure: until the connection comes up if it is down, otherwise for the backoff.
func (b *Bus) pause(ctx context.Context, failures int) {
	up := b.comesUp()
	select {
	case <-ctx.Done():
	case <-up:
	case <-time.After(backoff(failures)):
	}
}

// untilUp returns a context that also ends when the connection comes up anew: what was asked over the old one is not
// answered any more, and waiting for it would cost a request's whole time limit.
func (b *Bus) untilUp(ctx context.Context) (context.Context, context.CancelFunc) {
	up := b.comesUp()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-up:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// stream returns the handle of a stream of the topology.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	return cached(b, b.streams, name, func() (jetstream.Stream, error) { return b.js.Stream(ctx, name) })
}

// cached looks a handle up once. A handle is only a name with a connection: it stays good when the stream is made anew.
func cached[H any](b *Bus, handles map[string]H, name string, open func() (H, error)) (H, error) {
	b.mu.Lock()
	h, ok := handles[name]
	b.mu.Unlock()
	if ok {
		return h, nil
	}
	h, err := open()
	if err != nil {
		return h, fmt.Errorf("open %s: %w", name, err)
	}
	b.mu.Lock()
	handles[name] = h
	b.mu.Unlock()
	return h, nil
}
