// Package dialog is the service that people and programs talk to: the edge. It says who is calling and what they may do,
// keeps sessions, and answers questions: it makes a follow-up standalone, plans, asks the retriever and the tools at the
// same time under one deadline, has the llm-gateway put an answer together from what they found, streams it with verified
// citations, and writes the turn once. Whatever part fails, the turn goes on with the rest and says so. Other services'
// public procedures are passed through after authorisation, so that clients need one address.
package dialog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/identity"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/login"
	"github.com/ragmesh/ragmesh/services/dialog/internal/oidc"
	"github.com/ragmesh/ragmesh/services/dialog/internal/peer"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/removal"
	"github.com/ragmesh/ragmesh/services/dialog/internal/retain"
	"github.com/ragmesh/ragmesh/services/dialog/internal/rpc"
	"github.com/ragmesh/ragmesh/services/dialog/internal/store"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Deps is what dialog needs from the process around it.
type Deps struct {
	Telemetry *telemetry.Telemetry
	Bus       *bus.Bus
	Live      *health.Liveness
	// Verifier checks the tokens of services that call the edge in the background.
	Verifier *identity.Verifier
	// DataDir is dialog's own folder; it exists and is nobody else's. The spool is in it.
	DataDir string
	// Revision is the configuration's.
	Revision string
	Clock    func() time.Time
	// Alone says that no other process can be dialog beside this one, as where NATS lets nobody in from outside: turns need not be
	// found from elsewhere.
	Alone bool
	// Retriever, Tools, LLM and Eval are the services behind the edge.
	Retriever, Tools, LLM, Eval librpc.Conn
}

// Service is dialog. The process around it calls ConfigureMux and Register, then Run, and Reload when the configuration has
// changed.
type Service struct {
	load       health.Load
	answerer   *turn.Answerer
	store      *store.Store
	keys       *access.Keyring
	logins     *access.Logins
	providers  *oidc.Providers
	workspaces *access.Workspaces
	members    *access.Members
	remover    *removal.Remover
	guard      *access.Guard
	trail      *audit.Trail
	keeper     *retain.Keeper
	edge       *rpc.Edge
	handlers   rpc.Handlers
	live       *health.Liveness
	configured bool
}

// New makes the service. It calls nobody yet.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	t := deps.Telemetry
	s := &Service{live: deps.Live, configured: cfg.Auth.Configured()}
	var err error
	if s.store, err = store.Open(ctx, store.Deps{
		Bus: deps.Bus, Codec: record.Codec{}, Dir: filepath.Join(deps.DataDir, "spool"), Now: deps.Clock,
		SaveFor: cfg.Turn.Budget.Save, TurnFor: turnFor(cfg), Registry: t.Registry, Log: t.Log,
		Keeps: func(workspace string, began time.Time) bool { return s.workspaces.Keeps(workspace, began) },
	}); err != nil {
		return nil, err
	}
	if s.trail, err = audit.New(s.audit, newID, deps.Clock, t.Registry, t.Log); err != nil {
		return nil, err
	}
	if err := s.admission(ctx, cfg, deps); err != nil {
		return nil, err
	}
	planner, err := plan.New(cfg.Plan)
	if err != nil {
		return nil, fmt.Errorf("read intents: %w", err)
	}
	var others turn.Switchboard
	if !deps.Alone {
		others = store.NewSwitchboard(deps.Bus)
	}
	model := peer.NewModel(deps.LLM, deps.Clock)
	if s.answerer, err = turn.New(cfg.Turn, turn.Deps{
		Retriever: peer.NewRetriever(deps.Retriever), Tools: peer.NewTools(deps.Tools, deps.Clock), Model: model, Models: model,
		Store: s.store, Switchboard: others, Planner: planner, NewID: newID, Now: deps.Clock, Revision: deps.Revision, Limits: cfg.Limits,
		Tracer: t.Tracer.Tracer("github.com/ragmesh/ragmesh/services/dialog"), Registry: t.Registry, Log: t.Logger,
	}); err != nil {
		return nil, err
	}
	if s.keeper, err = retain.New(cfg.Sessions, retain.Deps{
		Store: s.store.Expiry(s.expired), Workspaces: s.workspaces.Retentions, Now: deps.Clock, Registry: t.Registry, Log: t.Log,
	}); err != nil {
		return nil, err
	}
	s.remover = removal.New(removal.Deps{
		Ledger: access.Ledger{Workspaces: s.workspaces}, Steps: s.removalOf(deps.Retriever, deps.LLM), Holder: newID(), Settle: settle, Now: deps.Clock, Log: t.Log,
	})
	s.handlers = rpc.Handlers{
		Dialog:     rpc.NewDialog(s.answerer, peer.NewRetriever(deps.Retriever), s.store, s.trail, deps.Clock),
		Workspaces: rpc.NewWorkspaces(s.guard, s.workspaces, s.members, s.keys, s.remover, s.trail),
		Keys:       rpc.NewKeys(s.guard, s.keys, s.workspaces, s.trail, deps.Clock),
		Operations: rpc.NewOperations(takeBackup(deps), s.store.Spooled, s.trail),
		MCP:        rpc.NewMCP(s.answerer, s.edge, peer.NewRetriever(deps.Retriever), deps.Retriever, telemetry.Version),
		OpenAI:     rpc.NewOpenAI(s.answerer, s.edge, deps.LLM, deps.Clock),
		Login:      rpc.NewLogin(login.Deps{Providers: s.providers, Logins: s.logins, Lifetime: cfg.Auth.Login.Lifetime, Clock: deps.Clock}, s.edge),
		Peers:      rpc.Peers{Retriever: deps.Retriever, Tools: deps.Tools, LLM: deps.LLM, Eval: deps.Eval},
	}
	return s, nil
}

func takeBackup(deps Deps) rpc.TakeBackup {
	return func(ctx context.Context, to io.Writer, progress func(backup.Part)) (backup.Header, backup.Manifest, error) {
		return backup.Take(ctx, deps.Bus, to, backup.Options{Version: telemetry.Version, Progress: progress, Clock: deps.Clock})
	}
}

// turnFor is how long a request id is its turn's: a turn's budget, and time to write it.
func turnFor(cfg Config) time.Duration { return cfg.Turn.Budget.Turn + 10*time.Second }

// Reload answers turns that begin from now on with cfg. Turns under way end as they began.
func (s *Service) Reload(_ context.Context, cfg config.Loaded[Config]) error {
	planner, err := plan.New(cfg.Value.Plan)
	if err != nil {
		return fmt.Errorf("read intents: %w", err)
	}
	s.store.Bound(cfg.Value.Turn.Budget.Save, turnFor(cfg.Value))
	s.answerer.Use(cfg.Value.Turn, planner, cfg.Revision)
	s.keeper.Use(cfg.Value.Sessions)
	s.answerer.Limit(cfg.Value.Limits)
	s.edge.Limit(cfg.Value.Limits)
	return nil
}

// Revision returns the revision that turns carry.
func (s *Service) Revision() string { return s.answerer.Revision() }

// admission makes what decides who may do what.
func (s *Service) admission(ctx context.Context, cfg Config, deps Deps) error {
	keys, err := deps.Bus.KV(ctx, bus.Keys)
	if err != nil {
		return err
	}
	workspaces, err := deps.Bus.KV(ctx, bus.Workspaces)
	if err != nil {
		return err
	}
	members, err := deps.Bus.KV(ctx, bus.Members)
	if err != nil {
		return err
	}
	s.members = access.NewMembers(members, deps.Clock, deps.Telemetry.Log)
	logins, err := deps.Bus.KV(ctx, bus.Logins)
	if err != nil {
		return err
	}
	if s.providers, err = oidc.New(cfg.Auth.Issuers(), oidc.Options{
		Redirect: login.Redirect(cfg.Auth.Login.PublicURL), Clock: deps.Clock, Log: deps.Telemetry.Log,
	}); err != nil {
		return err
	}
	s.keys = access.NewKeyring(keys, deps.Clock, deps.Telemetry.Log)
	s.logins = access.NewLogins(logins, deps.Clock, deps.Telemetry.Log)
	s.workspaces = access.NewWorkspaces(workspaces, deps.Clock, deps.Telemetry.Log)
	var verifier access.Verifier
	if deps.Verifier != nil { // not a nil *Verifier in an interface
		verifier = deps.Verifier
	}
	guard, err := access.NewGuard(cfg.Auth, access.Known{
		Verifier: verifier, Tokens: s.providers, Keys: s.keys, Logins: s.logins, Workspaces: s.workspaces, Members: s.members, Clock: deps.Clock,
	})
	if err != nil {
		return err
	}
	s.guard = guard
	s.edge = rpc.NewEdge(guard, s.trail, cfg.Limits, cfg.Web, login.NewCookies(cfg.Auth.Login.PublicURL))
	return nil
}

func (s *Service) audit(ctx context.Context, id string, e audit.Event) error {
	payload, err := record.Audit(e).Encode()
	if err != nil {
		return err
	}
	return s.store.Publish(ctx, "audit", e.Workspace, id, payload)
}

// expired tells who holds copies that a session is deleted because it is older than is kept.
func (s *Service) expired(ctx context.Context, workspace, session string) error {
	return s.trail.Write(ctx, audit.Event{Workspace: workspace, Actor: "retention", Action: "session.delete", Target: session, Allowed: true})
}

// newID returns an id that sorts by time.
func newID() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

// ConfigureMux makes the mux an edge's: callers are people and programs outside, with API keys instead of tokens.
func (s *Service) ConfigureMux(o *librpc.MuxOptions) { s.edge.Configure(o) }

// Register adds dialog's handlers and those it passes through.
func (s *Service) Register(mux *librpc.Mux) { s.handlers.Register(mux) }

// drainSilence is how long the loop that drains the spool may take for one round.
const drainSilence = 45 * time.Second

// Run keeps keys and workspaces up to date and moves spooled turns to the stream until ctx ends, then waits for turns that
// are being saved.
func (s *Service) Run(ctx context.Context) error {
	pulse := s.live.NewPulse("spool", drainSilence)
	defer pulse.Stop()
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.keys.Watch(groupCtx) })
	group.Go(func() error { return s.logins.Watch(groupCtx) })
	group.Go(func() error { return s.providers.Run(groupCtx) })
	group.Go(func() error { return s.workspaces.Watch(groupCtx) })
	group.Go(func() error { return s.members.Watch(groupCtx) })
	group.Go(func() error { return s.trail.Run(groupCtx) })
	group.Go(func() error { return s.keeper.Run(groupCtx) })
	group.Go(func() error { return s.remover.Run(groupCtx) })
	group.Go(func() error { return s.store.Drain(groupCtx, pulse.Beat) })
	err := group.Wait()
	// The server has drained before ctx ended; what is left are the last writes of turns whose callers it cut off.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerer.SaveFor()+5*time.Second)
	defer cancel()
	if drainErr := s.answerer.Drain(end); drainErr != nil {
		err = errors.Join(err, fmt.Errorf("wait for running turns: %w", drainErr))
	}
	return err
}

// Saturated says whether nearly as many turns run as may.
func (s *Service) Saturated() (full bool, why string) {
	running, limit, _ := s.answerer.Load()
	return s.load.Full(running, limit), fmt.Sprintf("%d turns run, turn.max_running allows %d", running, limit)
}

// Ready returns the rows of the readiness report.
func (s *Service) Ready(context.Context) []health.Component {
	running, limit, _ := s.answerer.Load()
	rows := []health.Component{{Name: "turns", Ready: running < limit, Detail: fmt.Sprintf("%d of %d running", running, limit)}}
	spool := health.Component{Name: "spool", Ready: true}
	if n := s.store.Spooled(); n > 0 {
		spool.Ready, spool.Detail = false, fmt.Sprintf("%d turns wait for NATS", n)
	}
	rows = append(rows, spool)
	if s.configured {
		keys := health.Component{Name: "api keys"}
		keys.Ready, keys.Detail = s.keys.Healthy()
		members := health.Component{Name: "members"}
		members.Ready, members.Detail = s.members.Healthy()
		rows = append(rows, keys, members)
	}
	for _, p := range s.providers.States() {
		rows = append(rows, health.Component{Name: "identity provider " + p.Name, Ready: p.Ready, Detail: p.Problem})
	}
	return rows
}
