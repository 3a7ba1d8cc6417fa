// Package registry holds the enabled tools and runs them: it checks arguments against their schemas, asks for approval of
// side effects, bounds time, size and concurrency, contains panics, and has every call audited. It knows neither RPC nor
// how a tool does its work.
package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// MaxResultBytes bounds a result's text, and its data as JSON. The contract fixes it.
const MaxResultBytes = 16 << 10

// Kind says how a tool runs.
type Kind string

// The kinds.
const (
	Builtin Kind = "builtin"
	HTTP    Kind = "http"
)

// Runner does a tool's work. It must honour ctx. An error that is a *fault.Error is shown to the caller; of any other error
// only that the tool failed.
type Runner interface {
	Run(ctx context.Context, arguments map[string]any) (Output, error)
}

// RunnerFunc is a function that is a Runner.
type RunnerFunc func(ctx context.Context, arguments map[string]any) (Output, error)

// Run calls f.
func (f RunnerFunc) Run(ctx context.Context, arguments map[string]any) (Output, error) {
	return f(ctx, arguments)
}

// Output is what a tool returns.
type Output struct {
	// Text is the result as an answer cites it.
	Text string
	// Data is the result as JSON values (map[string]any, []any, string, float64, bool, nil); nil when there is none.
	Data any
}

// Tool is one declared tool.
type Tool struct {
	// Name is unique among the enabled tools.
	Name string
	// Description says what it does, by language.
	Description map[string]string
	// InputSchema is the JSON Schema (draft 2020-12) of its arguments, of type object.
	InputSchema map[string]any
	// SideEffects says that a call changes something outside and needs approval.
	SideEffects bool
	// Kind says how it runs.
	Kind Kind
	// Timeout is the longest a call may take.
	Timeout time.Duration
	// Runner does the work.
	Runner Runner
}

// Record is what the audit keeps of a call.
type Record struct {
	Workspace, Actor, Tool string
	Allowed                bool
	// Reason is why it was not allowed or how it failed; empty when it succeeded.
	Reason string
	At     time.Time
}

// Auditor keeps records. It must not block.
type Auditor interface {
	Record(ctx context.Context, r Record)
}

// Meter counts calls. Outcome is "ok" or a reason.
type Meter interface {
	Called(tool, outcome string, took time.Duration)
}

// Deps is what a Registry works with. All fields are required.
type Deps struct {
	Auditor Auditor
	Meter   Meter
	Tracer  trace.Tracer
	// Report gets what must not be shown to callers: the causes of failures.
	Report func(ctx context.Context, tool string, cause error)
	Clock  func() time.Time
	Slots  Slots
}

// Slots bounds calls that run at the same time, over all the Registries that share it.
type Slots chan struct{}

// NewSlots returns n slots, at least one.
func NewSlots(n int) Slots { return make(Slots, max(1, n)) }

// Full says whether every slot is taken.
func (s Slots) Full() bool { return len(s) == cap(s) }

// Registry runs tools. Safe for concurrent use.
type Registry struct {
	tools map[string]entry
	names []string
	deps  Deps
}

type entry struct {
	Tool
	schema arguments
}

// New checks the declared tools and keeps the enabled ones, each of which must be declared.
func New(declared []Tool, enabled []string, deps Deps) (*Registry, error) {
	byName := make(map[string]Tool, len(declared))
	for _, t := range declared {
		if _, ok := byName[t.Name]; ok {
			return nil, fmt.Errorf("declare tool %q: the name is taken", t.Name)
		}
		byName[t.Name] = t
	}
	r := &Registry{tools: make(map[string]entry), deps: deps}
	for _, name := range enabled {
		t, ok := byName[name]
		if !ok {
			declaredNames := slices.Sorted(maps.Keys(byName))
			return nil, fmt.Errorf("enabled_plugins: there is no tool %q; declared are: %s", name, strings.Join(declaredNames, ", "))
		}
		schema, err := compile(t.InputSchema)
		if err != nil {
			return nil, fmt.Errorf("tool %q: input_schema: %w", name, err)
		}
		r.tools[name] = entry{Tool: t, schema: schema}
	}
	r.names = slices.Sorted(maps.Keys(r.tools))
	return r, nil
}

// Tools returns the enabled tools, ordered by name. Callers must not change them.
func (r *Registry) Tools() []Tool {
	tools := make([]Tool, len(r.names))
	for i, name := range r.names {
		tools[i] = r.tools[name].Tool
	}
	return tools
}

// Call asks for one call.
type Call struct {
	// Workspace and Actor are on whose behalf it runs.
	Workspace, Actor string
	// Tool names it.
	Tool string
	// Arguments are checked against the tool's schema.
	Arguments map[string]any
	// Approval is the proof that a person agreed to side effects.
	Approval string
}

// Result is how a call ended. A tool that failed is a Result with Failure.
type Result struct {
	// Arguments are the call's, after the schema's defaults.
	Arguments map[string]any
	Output    Output
	// Truncated says that the output was cut to its bound.
	Truncated bool
	Failure   *fault.Error
	Duration  time.Duration
}

// Call runs one tool. Its error is for calls that were not made: no such tool, wrong arguments, no approval, no free slot.
func (r *Registry) Call(ctx context.Context, c Call) (Result, error) {
	tool, args, err := r.admit(c)
	if err != nil {
		r.audit(ctx, c, err)
		return Result{}, err
	}
	select {
	case r.deps.Slots <- struct{}{}:
	default:
		err := fault.New(fault.Exhausted, fault.Overloaded, "%d tool calls are running already; try again shortly", cap(r.deps.Slots)).
			WithRetryAfter(time.Second)
		r.audit(ctx, c, err)
		return Result{}, err
	}
	ctx, span := r.deps.Tracer.Start(ctx, "execute_tool "+tool.Name, trace.WithAttributes(
		attribute.String("gen_ai.operation.name", "execute_tool"),
		attribute.String("gen_ai.tool.name", tool.Name),
		attribute.String("gen_ai.tool.type", string(tool.Kind)),
	))
	defer span.End()
	started := r.deps.Clock()
	out, err := r.run(ctx, tool, args)
	result := Result{Arguments: args, Duration: r.deps.Clock().Sub(started)}
	if err != nil {
		result.Failure = r.failure(ctx, tool, err)
		span.SetStatus(codes.Error, result.Failure.Message)
		span.SetAttributes(attribute.String("error.type", fault.ReasonName(result.Failure.Reason)))
	} else {
		result.Output, result.Truncated = bound(out)
	}
	r.finish(ctx, c, result)
	return result, nil
}

// admit finds the tool and checks that it may run with these arguments.
func (r *Registry) admit(c Call) (Tool, map[string]any, error) {
	e, ok := r.tools[c.Tool]
	if !ok {
		return Tool{}, nil, fault.New(fault.NotFound, fault.ToolNotFound, "there is no enabled tool %q; ListTools names those there are",
			Shorten(c.Tool, 64))
	}
	args, err := e.schema.check(c.Arguments)
	if err != nil {
		return Tool{}, nil, err
	}
	if e.SideEffects {
		if c.Approval == "" {
			return Tool{}, nil, fault.New(fault.Precondition, fault.ApprovalRequired,
				"%s changes something outside and needs a person's approval", c.Tool)
		}
		return Tool{}, nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented,
			"approvals can't be verified yet, so tools with side effects are refused")
	}
	return e.Tool, args, nil
}

type ended struct {
	out Output
	err error
}

// run runs the tool in a goroutine of its own, which gives its slot back when it ends. A tool that does not honour its
// context is left behind at its timeout; it keeps its slot, so that such goroutines are bounded too.
func (r *Registry) run(ctx context.Context, tool Tool, args map[string]any) (Output, error) {
	ctx, cancel := context.WithTimeout(ctx, tool.Timeout)
	defer cancel()
	done := make(chan ended, 1)
	go func() {
		e := attempt(ctx, tool, args)
		<-r.deps.Slots // before the result is there: whoever has it may call again
		done <- e
	}()
	select {
	case e := <-done:
		return e.out, e.err
	case <-ctx.Done():
		select {
		case e := <-done: // both at once: the result counts
			return e.out, e.err
		default:
			return Output{}, ctx.Err()
		}
	}
}

// attempt runs the tool here. A panic is an error of the tool.
func attempt(ctx context.Context, tool Tool, args map[string]any) (e ended) {
	defer func() {
		if p := recover(); p != nil {
			e = ended{err: fmt.Errorf("run tool %s: panic: %v", tool.Name, p)}
		}
	}()
	out, err := tool.Runner.Run(ctx, args)
	return ended{out: out, err: err}
}

// failure turns a tool's error into what may be shown of it.
func (r *Registry) failure(ctx context.Context, tool Tool, err error) *fault.Error {
	r.deps.Report(ctx, tool.Name, err)
	shown := fault.As(err)
	switch shown.Kind {
	case fault.Timeout:
		return fault.Wrap(err, fault.Timeout, fault.ToolTimeout, "%s did not answer within %s", tool.Name, tool.Timeout)
	case fault.Canceled:
		return fault.Wrap(err, fault.Canceled, fault.ReasonCanceled, "the call was canceled")
	case fault.Internal:
		return fault.Wrap(err, fault.Internal, fault.ToolFailed, "%s failed", tool.Name)
	default:
		return shown
	}
}

func (r *Registry) finish(ctx context.Context, c Call, result Result) {
	outcome := "ok"
	rec := Record{Workspace: c.Workspace, Actor: c.Actor, Tool: c.Tool, Allowed: true, At: r.deps.Clock()}
	if result.Failure != nil {
		outcome = fault.ReasonName(result.Failure.Reason)
		rec.Reason = outcome
	}
	r.deps.Meter.Called(c.Tool, outcome, result.Duration)
	r.deps.Auditor.Record(ctx, rec)
}

// audit records a call that was not made. The tool's name is the caller's, so it is shortened, and is no metric label.
func (r *Registry) audit(ctx context.Context, c Call, err error) {
	reason := fault.ReasonName(fault.ReasonOf(err))
	label := c.Tool
	if _, ok := r.tools[c.Tool]; !ok {
		label = "unknown"
	}
	r.deps.Meter.Called(label, reason, 0)
	r.deps.Auditor.Record(ctx, Record{
		Workspace: c.Workspace, Actor: c.Actor, Tool: Shorten(c.Tool, 64), Reason: reason, At: r.deps.Clock(),
	})
}
