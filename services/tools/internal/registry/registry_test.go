package registry

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// kept remembers what a registry told its dependencies.
type kept struct {
	mu      sync.Mutex
	records []Record
	calls   []string
	causes  []error
}

func (k *kept) Record(_ context.Context, r Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r.At = time.Time{}
	k.records = append(k.records, r)
}

func (k *kept) Called(tool, outcome string, _ time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, tool+" "+outcome)
}

func (k *kept) report(_ context.Context, _ string, cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.causes = append(k.causes, cause)
}

func (k *kept) deps() Deps {
	return Deps{Auditor: k, Meter: k, Tracer: noop.NewTracerProvider().Tracer(""), Report: k.report, Clock: time.Now, Slots: NewSlots(2)}
}

func schema() map[string]any {
	return map[string]any{
		"type":                 "object",
		"required":             []any{"city"},
		"additionalProperties": false,
		"properties": map[string]any{
			"city": map[string]any{"type": "string", "minLength": 2},
			"days": map[string]any{"type": "integer", "minimum": 1, "maximum": 7, "default": 3},
		},
	}
}

func tool(name string, run RunnerFunc) Tool {
	return Tool{Name: name, InputSchema: schema(), Kind: Builtin, Timeout: time.Second, Runner: run}
}

func echo(_ context.Context, args map[string]any) (Output, error) {
	return Output{Text: "sunny in " + args["city"].(string), Data: args}, nil
}

func open(t *testing.T, k *kept, tools ...Tool) *Registry {
	t.Helper()
	names := make([]string, len(tools))
	for i, tool := range tools {
		names[i] = tool.Name
	}
	r, err := New(tools, names, k.deps())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return r
}

func call(tool string, args map[string]any) Call {
	return Call{Workspace: "w", Actor: "ann", Tool: tool, Arguments: args}
}

func TestCallFillsDefaultsAndAudits(t *testing.T) {
	t.Parallel()
	k := &kept{}
	r := open(t, k, tool("weather", echo))
	got, err := r.Call(t.Context(), call("weather", map[string]any{"city": "Oslo"}))
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	want := map[string]any{"city": "Oslo", "days": 3.0}
	if diff := cmp.Diff(want, got.Arguments); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if got.Output.Text != "sunny in Oslo" || got.Failure != nil || got.Truncated {
		t.Errorf("Call = %+v, want the tool's text, whole and without failure", got)
	}
	if diff := cmp.Diff([]Record{{Workspace: "w", Actor: "ann", Tool: "weather", Allowed: true}}, k.records); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"weather ok"}, k.calls); diff != "" {
		t.Errorf("meter (-want +got):\n%s", diff)
	}
}

func TestCallRefuses(t *testing.T) {
	t.Parallel()
	risky := tool("transfer", echo)
	risky.SideEffects = true
	tests := []struct {
		name   string
		call   Call
		kind   fault.Kind
		reason fault.Reason
		fields []fault.Field
	}{
		{"a tool that does not exist", call("nope", nil), fault.NotFound, fault.ToolNotFound, nil},
		{"a missing argument", call("weather", nil), fault.Invalid, fault.ToolArgumentsInvalid,
			[]fault.Field{{Path: "arguments.city", Description: "is required"}}},
		{"a wrong type", call("weather", map[string]any{"city": 7.0}), fault.Invalid, fault.ToolArgumentsInvalid,
			[]fault.Field{{Path: "arguments.city", Description: "got number, want string"}}},
		{"a number out of bounds", call("weather", map[string]any{"city": "Oslo", "days": 9.0}), fault.Invalid,
			fault.ToolArgumentsInvalid, []fault.Field{{Path: "arguments.days", Description: "maximum: got 9, want 7"}}},
		{"an unknown argument", call("weather", map[string]any{"city": "Oslo", "x": true}), fault.Invalid,
			fault.ToolArgumentsInvalid, []fault.Field{{Path: "arguments.x", Description: "is not an argument of this tool"}}},
		{"side effects without approval", call("transfer", map[string]any{"city": "Oslo"}), fault.Precondition, fault.ApprovalRequired, nil},
		{"an approval nobody can verify", Call{Tool: "transfer", Arguments: map[string]any{"city": "Oslo"}, Approval: "yes"},
			fault.Unimplemented, fault.ReasonUnimplemented, nil},
		{"huge arguments", call("weather", map[string]any{"city": strings.Repeat("x", 70<<10)}), fault.Invalid, fault.ToolArgumentsInvalid, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := &kept{}
			r := open(t, k, tool("weather", echo), risky)
			_, err := r.Call(t.Context(), tt.call)
			got := fault.As(err)
			if got == nil || got.Kind != tt.kind || got.Reason != tt.reason {
				t.Fatalf("Call error = %v, want kind %v and reason %v", err, tt.kind, tt.reason)
			}
			if diff := cmp.Diff(tt.fields, got.Fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if len(k.records) != 1 || k.records[0].Allowed || k.records[0].Reason != fault.ReasonName(tt.reason) {
				t.Errorf("audit = %+v, want one denial for %v", k.records, tt.reason)
			}
		})
	}
}

func TestCallFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		run     RunnerFunc
		kind    fault.Kind
		reason  fault.Reason
		message string
	}{
		{"an error nobody classified gives nothing away", func(context.Context, map[string]any) (Output, error) {
			return Output{}, errors.New("password=hunter2")
		}, fault.Internal, fault.ToolFailed, "weather failed"},
		{"a classified error is shown", func(context.Context, map[string]any) (Output, error) {
			return Output{}, fault.New(fault.Unavailable, fault.ToolFailed, "the weather service answered 503")
		}, fault.Unavailable, fault.ToolFailed, "the weather service answered 503"},
		{"a panic is contained", func(context.Context, map[string]any) (Output, error) {
			panic("boom")
		}, fault.Internal, fault.ToolFailed, "weather failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := &kept{}
			r := open(t, k, tool("weather", tt.run))
			got, err := r.Call(t.Context(), call("weather", map[string]any{"city": "Oslo"}))
			if err != nil {
				t.Fatalf("Call: %v, want a result that says so", err)
			}
			f := got.Failure
			if f == nil || f.Kind != tt.kind || f.Reason != tt.reason || f.Message != tt.message {
				t.Errorf("failure = %+v, want %v %v %q", f, tt.kind, tt.reason, tt.message)
			}
			if len(k.causes) != 1 {
				t.Errorf("reported %d causes, want 1", len(k.causes))
			}
			if len(r.deps.Slots) != 0 {
				t.Errorf("%d slots are still taken", len(r.deps.Slots))
			}
		})
	}
}

func TestCallTimesOutAndBoundsWhatItLeavesBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := func(context.Context, map[string]any) (Output, error) {
			<-release
			return Output{}, nil
		}
		r := open(t, &kept{}, tool("weather", deaf))
		args := map[string]any{"city": "Oslo"}
		for range 2 {
			got, err := r.Call(t.Context(), call("weather", args))
			if err != nil || got.Failure == nil || got.Failure.Reason != fault.ToolTimeout {
				t.Fatalf("Call = %+v, %v, want a timeout", got, err)
			}
			if got.Duration != time.Second {
				t.Errorf("it took %s, want the tool's timeout of 1s", got.Duration)
			}
		}
		_, err := r.Call(t.Context(), call("weather", args))
		if fault.ReasonOf(err) != fault.Overloaded || fault.As(err).RetryAfter == 0 {
			t.Errorf("with every slot held by a stuck call: %v, want overloaded and when to come back", err)
		}
		if !r.deps.Slots.Full() {
			t.Error("Full() = false with every slot taken")
		}
		close(release)
		synctest.Wait()
		if r.deps.Slots.Full() {
			t.Error("Full() = true after the stuck calls ended")
		}
	})
}

func TestCallBoundsResults(t *testing.T) {
	t.Parallel()
	r := open(t, &kept{}, tool("weather", func(context.Context, map[string]any) (Output, error) {
		return Output{Text: "\xff" + strings.Repeat("晴", 10_000), Data: map[string]any{"big": strings.Repeat("x", 20_000)}}, nil
	}))
	got, err := r.Call(t.Context(), call("weather", map[string]any{"city": "Oslo"}))
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	if len(got.Output.Text) > MaxResultBytes || !utf8.ValidString(got.Output.Text) || !got.Truncated || got.Output.Data != nil {
		t.Errorf("text of %d bytes, valid %v, truncated %v, data %v", len(got.Output.Text), utf8.ValidString(got.Output.Text),
			got.Truncated, got.Output.Data != nil)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	with := func(s map[string]any) Tool {
		tl := tool("a", echo)
		tl.InputSchema = s
		return tl
	}
	tests := []struct {
		name    string
		tools   []Tool
		enabled string
		want    string
	}{
		{"a plugin nobody declared", []Tool{tool("a", echo)}, "b", `no tool "b"; declared are: a`},
		{"a name twice", []Tool{tool("a", echo), tool("a", echo)}, "a", "the name is taken"},
		{"a schema that is no object", []Tool{with(map[string]any{"type": "string"})}, "a", `"type: object"`},
		{"a schema that is wrong", []Tool{with(map[string]any{"type": "object", "required": 3})}, "a", "input_schema: compile"},
		{"a schema that reads a file", []Tool{with(map[string]any{"type": "object", "$ref": "file:///etc/passwd"})}, "a", "stand alone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tt.tools, []string{tt.enabled}, (&kept{}).deps())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
}
