package gatebench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// target is what a row is about.
type target struct {
	name    string
	program *spawn.Program // nil for the mock, which is in this process
	ask     asker
}

// targets are those that a kind of work is done with.
func (b *bench) targets(ctx context.Context, work string) []target {
	model := fast
	if work == Paced {
		model = paced
	}
	over := func(base, key string) asker { return overHTTP(b.client, base, key, model, b.prompt) }
	all := []target{{name: Direct, ask: over(b.upstream, "")}}
	for _, f := range []Floor{Proxy, Recode} {
		all = append(all, target{string(f), b.floors[f], over(b.addresses[f], "")})
	}
	all = append(all, target{Ours, b.gateway.program, over(b.gateway.url, key)})
	if work == Plain {
		return all
	}
	relay := llmv1connect.NewLLMServiceClient(b.gateway.conn.HTTP, b.addresses[Relay], b.gateway.conn.Options...)
	as := func(ask asker) asker {
		return func(_ context.Context, stream bool) reply { return ask(b.gateway.as(ctx), stream) }
	}
	return append(all,
		target{string(Relay), b.floors[Relay], as(overConnect(relay, model, b.prompt))},
		target{OursOver, b.gateway.program, as(overConnect(b.gateway.rpc, model, b.prompt))})
}

// cpu is what a target has spent so far.
func (t target) cpu(ctx context.Context) (time.Duration, error) {
	if t.program == nil {
		return spawn.CPU()
	}
	u, err := t.program.Usage(ctx)
	return u.CPU, err
}

// rest is how long a target goes on with what it was given: spans are sent in batches, the ledger is written.
const rest = 600 * time.Millisecond

// rows measures every kind of work at every concurrency, all targets in turns.
func (b *bench) rows(ctx context.Context) error {
	for _, c := range b.Concurrency { // in this order, because memory of more at once stays for a while
		for _, work := range b.Works {
			b.Say("measuring %s, %d at once", work, c)
			targets := b.targets(ctx, work)
			rows := make([]*Row, len(targets))
			for i, t := range targets {
				rows[i] = &Row{Work: work, Concurrency: c, Target: t.name}
				_ = load(ctx, c, time.Minute, 2*c, func(ctx context.Context) reply { return t.ask(ctx, work != Plain) }) // warm up
			}
			for n := range b.Rounds {
				for i := range targets {
					at := (i + n) % len(targets) // nobody comes always after the same
					if err := b.round(ctx, targets[at], rows[at]); err != nil {
						return err
					}
				}
			}
			for _, row := range rows {
				row.sum()
			}
			b.report.Rows = append(b.report.Rows, rows...)
		}
	}
	return nil
}

// round loads one target.
func (b *bench) round(ctx context.Context, t target, row *Row) error {
	before, err := t.cpu(ctx)
	if err != nil {
		return err
	}
	watching, done := context.WithCancel(ctx)
	var group sync.WaitGroup
	if t.program != nil {
		group.Go(func() { // ends with done
			for watching.Err() == nil {
				if rss, err := t.program.RSS(); err == nil {
					row.RSS = max(row.RSS, rss)
				}
				_ = repeat.Pause(watching, 100*time.Millisecond)
			}
		})
	}
	p := load(ctx, row.Concurrency, b.Duration, 0, func(ctx context.Context) reply { return t.ask(ctx, row.Work != Plain) })
	if t.program != nil {
		_ = repeat.Pause(ctx, rest)
	}
	after, err := t.cpu(ctx)
	done()
	group.Wait()
	row.rounds = append(row.rounds, round{p, after - before})
	return err
}

// profile loads the gateway once more while a profile is taken.
func (b *bench) profile(ctx context.Context) error {
	if b.Profile == "" {
		return nil
	}
	const profiled = 8 * time.Second
	work := b.Works[len(b.Works)-1]
	b.Say("taking a profile of the gateway: %s, 32 at once", work)
	taken := make(chan error, 1)
	go func() { taken <- b.gateway.program.Profile(ctx, b.Profile, profiled) }()
	ask := overHTTP(b.client, b.gateway.url, key, fast, b.prompt)
	p := load(ctx, 32, profiled+time.Second, 0, func(ctx context.Context) reply { return ask(ctx, work != Plain) })
	b.Say("the profile holds about %.0f requests", float64(len(p.replies))*profiled.Seconds()/p.wall.Seconds())
	return <-taken
}

// disconnects has callers leave in the middle of streams.
func (b *bench) disconnects(ctx context.Context) error {
	if b.Requests == 0 {
		return nil
	}
	const times = 20
	b.Say("leaving %d streams", times)
	out := &Disconnects{Count: times}
	for range times {
		took, tokens, err := b.leave(ctx)
		if err != nil {
			return err
		}
		out.Longest, out.Tokens = max(out.Longest, float64(took.Nanoseconds())/1e6), max(out.Tokens, tokens)
	}
	b.report.Disconnects = out
	return nil
}

// leave begins a stream, leaves it, and waits until the mock has noticed.
func (b *bench) leave(ctx context.Context) (time.Duration, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	asking, leave := context.WithCancel(ctx)
	defer leave()
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"go on and on"}],"stream":true}`, slow)
	req, err := http.NewRequestWithContext(asking, http.MethodPost, b.gateway.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for range 20 {
		if _, err := lines.ReadString('\n'); err != nil {
			return 0, 0, fmt.Errorf("begin a stream: %w", err)
		}
	}
	made, begin := b.mock.Counts().Tokens, time.Now()
	leave()
	for b.mock.Counts().Active > 0 {
		if ctx.Err() != nil {
			return 0, 0, errors.New("the mock still works for somebody who has left")
		}
		time.Sleep(100 * time.Microsecond)
	}
	return time.Since(begin), b.mock.Counts().Tokens - made, nil
}

// endure makes many requests of one process, whole ones and streams.
func (b *bench) endure(ctx context.Context) error {
	if b.Requests == 0 {
		return nil
	}
	const parts = 20
	b.Say("making %d requests, 32 at once", b.Requests)
	out := &Endurance{}
	before, err := b.gateway.program.Usage(ctx)
	if err != nil {
		return err
	}
	out.GoroutinesBefore = before.Goroutines
	ask := overHTTP(b.client, b.gateway.url, key, fast, b.prompt)
	for i := range parts {
		p := load(ctx, 32, 10*time.Minute, b.Requests/parts, func(ctx context.Context) reply { return ask(ctx, i%2 == 0) })
		out.Requests += len(p.replies)
		out.Errors += failed(p.replies)
		rss, err := b.gateway.program.RSS()
		if err != nil {
			return err
		}
		out.RSS = append(out.RSS, rss)
	}
	b.client.CloseIdleConnections()
	_ = repeat.Pause(ctx, 2*rest)
	after, err := b.gateway.program.Usage(ctx)
	out.GoroutinesAfter = after.Goroutines
	b.report.Endurance = out
	return err
}

func failed(all []reply) int {
	return len(all) - len(slices.DeleteFunc(slices.Clone(all), func(r reply) bool { return r.err != nil }))
}
