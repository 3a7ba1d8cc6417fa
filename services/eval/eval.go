// Package eval is the service that watches quality. It consumes every turn and span from the streams into an embedded SQL
// store and shows a turn with every stage's input, output and timing. Batch tests, comparison, replay and coverage are not
// there yet and say so.
package eval

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/health"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	"github.com/ragmesh/ragmesh/services/eval/internal/consume"
	"github.com/ragmesh/ragmesh/services/eval/internal/retain"
	"github.com/ragmesh/ragmesh/services/eval/internal/rpc"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
	"github.com/ragmesh/ragmesh/services/eval/internal/trace"
)

// Deps is what eval needs from the process around it.
type Deps struct {
	Telemetry *telemetry.Telemetry
	Bus       *bus.Bus
	Live      *health.Liveness
	// DataDir is eval's own folder; it exists and is nobody else's.
	DataDir string
	Clock   func() time.Time
}

// Service is eval. The process around it calls Register, then Run.
type Service struct {
	store    *store.Store
	handler  *rpc.Handler
	consumer *consume.Consumer
	keeper   *retain.Keeper
}

// New opens the store and makes the service. It consumes nothing yet.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	st, aside, err := store.Open(ctx, deps.DataDir)
	if err != nil {
		return nil, err
	}
	if aside != nil {
		deps.Telemetry.Log.Warn().Err(aside).Msg("the trace store was damaged; it is set aside and filled anew from the streams")
	}
	s := &Service{store: st, handler: rpc.New(trace.New(st, consume.NewHead(deps.Bus), cfg.Trace.Wait, deps.Clock))}
	s.consumer, err = consume.New(deps.Bus, st, deps.Clock, deps.Live, deps.Telemetry)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	s.keeper, err = retain.New(st, cfg.Retention.limits(), cfg.Retention.Every, deps.Clock, deps.Live, deps.Telemetry)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return s, nil
}

// Register adds eval's handlers.
func (s *Service) Register(mux *librpc.Mux) {
	mux.Handle(evalv1connect.NewEvalServiceHandler(s.handler, mux.HandlerOptions()...))
}

// Run consumes and prunes until ctx ends, then closes the store.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.consumer.Run(ctx) })
	group.Go(func() error { return s.keeper.Run(ctx) })
	return errors.Join(group.Wait(), s.store.Close())
}

// Ready returns the rows of the readiness report.
func (s *Service) Ready(ctx context.Context) []health.Component {
	row := health.Component{Name: "store", Ready: true, Hard: true}
	if err := s.store.Ping(ctx); err != nil {
		row.Ready, row.Detail = false, "the trace store does not answer"
	}
	return []health.Component{row}
}
