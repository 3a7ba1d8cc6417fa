package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
)

func TestAs(t *testing.T) {
	t.Parallel()
	own := fault.New(fault.NotFound, fault.SessionNotFound, "no session %q", "s1")
	tests := map[string]struct {
		err    error
		kind   fault.Kind
		reason fault.Reason
		text   string
	}{
		"own error":             {own, fault.NotFound, fault.SessionNotFound, `no session "s1"`},
		"own error in a chain":  {fmt.Errorf("load session: %w", own), fault.NotFound, fault.SessionNotFound, `no session "s1"`},
		"own error in a join":   {errors.Join(io.EOF, own), fault.NotFound, fault.SessionNotFound, `no session "s1"`},
		"canceled":              {fmt.Errorf("call: %w", context.Canceled), fault.Canceled, fault.ReasonCanceled, "the request was canceled"},
		"deadline":              {context.DeadlineExceeded, fault.Timeout, fault.DeadlineExceeded, "the request took longer than its deadline; repeat it, or allow it more time"},
		"anything else":         {errors.New("dial 10.0.0.1: refused"), fault.Internal, fault.ReasonInternal, "something went wrong on our side; the log has more under the trace id"},
		"own kind beats cause":  {fault.Wrap(context.Canceled, fault.Unavailable, fault.StoreUnavailable, "no store"), fault.Unavailable, fault.StoreUnavailable, "no store"},
		"a zero error is ours":  {&fault.Error{}, fault.Internal, fault.Unspecified, ""},
		"kind out of the table": {&fault.Error{Kind: 200}, 200, fault.Unspecified, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fault.As(test.err)
			if got.Kind != test.kind || got.Reason != test.reason || got.Message != test.text {
				t.Errorf("got %v %v %q", got.Kind, got.Reason, got.Message)
			}
			if fault.KindOf(test.err) != test.kind || fault.ReasonOf(test.err) != test.reason {
				t.Errorf("KindOf, ReasonOf = %v, %v", fault.KindOf(test.err), fault.ReasonOf(test.err))
			}
			if !errors.Is(got, test.err) && !errors.Is(test.err, got) {
				t.Error("the original is lost")
			}
		})
	}
}

func TestNilIsNoFault(t *testing.T) {
	t.Parallel()
	if fault.As(nil) != nil || fault.ReasonOf(nil) != fault.Unspecified {
		t.Error("nil became a fault")
	}
}

func TestCauseIsLoggedAndNotShown(t *testing.T) {
	t.Parallel()
	err := fault.Wrap(io.ErrUnexpectedEOF, fault.Unavailable, fault.StoreUnavailable, "the store does not answer")
	if want := "the store does not answer: unexpected EOF"; err.Error() != want {
		t.Errorf("Error() = %q, want %q", err.Error(), want)
	}
	if err.Message != "the store does not answer" {
		t.Errorf("Message = %q", err.Message)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause cannot be found")
	}
}

func TestWithLeavesTheOriginalAlone(t *testing.T) {
	t.Parallel()
	base := fault.New(fault.Invalid, fault.InvalidRequest, "the request is wrong").WithField("a", "too long")
	one := base.WithField("b", "missing").WithRetryAfter(time.Second).WithHelp("https://example.org")
	two := base.WithField("c", "missing")
	want := []fault.Field{{Path: "a", Description: "too long"}, {Path: "b", Description: "missing"}}
	if diff := cmp.Diff(want, one.Fields); diff != "" {
		t.Errorf("one (-want +got):\n%s", diff)
	}
	if len(base.Fields) != 1 || two.Fields[1].Path != "c" || base.RetryAfter != 0 || base.Help != "" {
		t.Errorf("copies share state: %+v %+v", base, two)
	}
}

func TestEveryKindHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range fault.Kinds() {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d is called %q", k, k)
		}
		seen[k.String()] = true
	}
	if got := fault.Kind(250).String(); got != "internal" {
		t.Errorf("an unknown kind is %q", got)
	}
}

func TestReasonNamesRoundTrip(t *testing.T) {
	t.Parallel()
	for n := range eventv1.Reason_name {
		r := fault.Reason(n)
		if got := fault.ParseReason(fault.ReasonName(r)); got != r {
			t.Errorf("%v became %v", r, got)
		}
	}
	if got := fault.ParseReason("FROM_THE_FUTURE"); got != fault.Unspecified {
		t.Errorf("an unknown name is %v", got)
	}
}

// TestEveryReasonHasAConstant fails when the contract gets a reason that reason.go does not name.
func TestEveryReasonHasAConstant(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range eventv1.Reason_name {
		if !regexp.MustCompile(`= eventv1\.Reason_` + name + `\b`).Match(source) {
			t.Errorf("reason.go does not name %s", name)
		}
	}
}
