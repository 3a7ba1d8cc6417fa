package gatebench

import (
	"context"
	"fmt"
	"time"

	"github.com/ragmesh/ragmesh/libs/repeat"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

// books is what the ledger has: tokens that a provider reported, and requests whose end nobody saw.
type books struct{ settled, unsettled uint64 }

// books asks the gateway for the ledger.
func (g *gateway) books(ctx context.Context) (books, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	u, err := g.rpc.GetUsage(g.as(ctx), &llmv1.GetUsageRequest{Workspace: "default", By: []llmv1.UsageDimension{llmv1.UsageDimension_USAGE_DIMENSION_MODEL}})
	if err != nil {
		return books{}, fmt.Errorf("ask for the ledger: %w", err)
	}
	var b books
	for _, row := range u.GetRows() {
		b.unsettled += row.GetUnsettled()
		if row.GetUnsettled() == 0 { // the estimates of those are no provider's
			b.settled += row.GetPromptTokens() + row.GetCompletionTokens()
		}
	}
	return b, nil
}

// settle compares the ledger with what the mock served: many requests, between which the process is killed, as a power cut
// would, the moment the last answer is there. At the end it is killed once more with requests under way.
func (b *bench) settle(ctx context.Context) error {
	if b.Requests == 0 {
		return nil
	}
	b.Say("making %d requests for the ledger, with %d kills between", b.Requests, b.Kills)
	before, err := b.gateway.books(ctx)
	if err != nil {
		return err
	}
	bill := func() uint64 { c := b.mock.Counts(); return c.PromptTokens + c.CompletionTokens }
	billed := bill()
	out := &Ledger{Kills: b.Kills}
	ask := overHTTP(b.client, b.gateway.url, key, fast, b.prompt)
	parts := b.Kills + 1
	for i := range parts {
		p := load(ctx, 32, 10*time.Minute, b.Requests/parts, func(ctx context.Context) reply { return ask(ctx, i%2 == 0) })
		if n := failed(p.replies); n > 0 {
			return fmt.Errorf("%d of %d requests for the ledger failed", n, len(p.replies))
		}
		if out.Requests += len(p.replies); i == parts-1 {
			break
		}
		if err := b.again(ctx); err != nil {
			return err
		}
	}
	after, err := b.gateway.books(ctx)
	if err != nil {
		return err
	}
	out.Served, out.Settled, out.Unsettled = bill()-billed, after.settled-before.settled, after.unsettled-before.unsettled
	b.report.Ledger = out
	if b.Kills == 0 {
		return nil
	}
	return b.cutOff(ctx, out, after.unsettled)
}

// again kills the gateway and starts it where it was.
func (b *bench) again(ctx context.Context) error {
	if err := b.gateway.program.Kill(); err != nil {
		return err
	}
	b.client.CloseIdleConnections()
	return b.gateway.start(ctx)
}

// cutOff kills the gateway with requests under way, all of which have been handed to the mock.
func (b *bench) cutOff(ctx context.Context, out *Ledger, unsettled uint64) error {
	const workers = 32
	done := make(chan phase, 1)
	ask := overHTTP(b.client, b.gateway.url, key, slow, b.prompt)
	go func() {
		done <- load(ctx, workers, time.Minute, workers, func(ctx context.Context) reply { return ask(ctx, true) })
	}()
	for end := time.Now().Add(20 * time.Second); b.mock.Counts().Active < workers && time.Now().Before(end); {
		_ = repeat.Pause(ctx, time.Millisecond)
	}
	err := b.again(ctx)
	p := <-done
	if err != nil {
		return err
	}
	after, err := b.gateway.books(ctx)
	out.CutOff, out.CutOffUnsettled = failed(p.replies), after.unsettled-unsettled
	return err
}
