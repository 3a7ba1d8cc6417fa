package process

import (
	"context"
	"time"

	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/lifecycle"
	"github.com/ragmesh/ragmesh/libs/rpc"
)

// Saturator is a Service that can have so much to do that new work should go to another replica.
type Saturator interface {
	Service
	// Saturated says whether that is so, and why.
	Saturated() (full bool, why string)
}

// Saturated says whether a server, or the service behind it, has so much to do that new work should go elsewhere, and why.
func Saturated(server *rpc.Server, s Service) (full bool, why string) {
	if server.Saturated() {
		return true, "nearly as many calls are in flight as rpc.max_in_flight allows"
	}
	if s, ok := s.(Saturator); ok {
		return s.Saturated()
	}
	return false, ""
}

// maxSilence is how long a service may take to say how it is. It leaves time for a probe within the minute in which a process
// that is wedged has to show.
const maxSilence = 40 * time.Second

// Watchdog asks a service how it is, again and again, which goes through the locks that its work goes through. As soon as
// it doesn't answer, for a lock that is held for ever or a loop that holds it, its pulse is missed and the process counts as
// wedged. What the answer is doesn't matter: a service that is not well, but says so, is alive.
func Watchdog(service string, live *health.Liveness, ready health.Checker) lifecycle.Component {
	return lifecycle.Component{
		Name: service + "'s watchdog",
		Run: func(ctx context.Context) error {
			watch(ctx, live.NewPulse(service, maxSilence), maxSilence/6, ready)
			return nil
		},
	}
}

func watch(ctx context.Context, pulse *health.Pulse, every time.Duration, ready health.Checker) {
	defer pulse.Stop()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	asked := make(chan struct{}, 1) // the question under way
	for {
		select {
		case asked <- struct{}{}:
			go func() { // hangs with the service; at most one does
				ready(ctx)
				pulse.Beat()
				<-asked
			}()
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
