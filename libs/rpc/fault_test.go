package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/fault"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
)

// wire is err as a client has it: code, message and details, and nothing of the chain.
func wire(tb testing.TB, err *connect.Error) *connect.Error {
	tb.Helper()
	out := connect.NewWireError(err.Code(), errors.New(err.Message()))
	for _, d := range err.Details() {
		out.AddDetail(d)
	}
	return out
}

func detailsSize(err *connect.Error) int {
	size := 0
	for _, d := range err.Details() {
		size += len(d.Bytes()) + len("type.googleapis.com/") + len(d.Type()) + 8
	}
	return size
}

func TestTableIsComplete(t *testing.T) {
	t.Parallel()
	seen := map[connect.Code]fault.Kind{}
	for _, k := range fault.Kinds() {
		code := codeOf(k)
		if code == 0 || code == connect.CodeUnknown {
			t.Errorf("%s has code %d", k, code)
		}
		if twin, ok := seen[code]; ok {
			t.Errorf("%s and %s share code %s", k, twin, code)
		}
		seen[code] = k
	}
	if len(codes) != len(fault.Kinds()) {
		t.Errorf("%d rows for %d kinds", len(codes), len(fault.Kinds()))
	}
	for code, want := range map[connect.Code]fault.Kind{
		connect.CodeUnknown: fault.Internal, connect.CodeDataLoss: fault.Internal, connect.CodeOutOfRange: fault.Invalid, 99: fault.Internal,
	} {
		if got := kindOf(code); got != want {
			t.Errorf("code %s is %s, want %s", code, got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		for number := range eventv1.Reason_name {
			reason := fault.Reason(number)
			if reason == fault.Unspecified { // never sent
				continue
			}
			want := fault.New(k, reason, "看这里: do that").WithRetryAfter(1500*time.Millisecond).WithHelp("https://example.org/help").
				WithField("filter.language", "one of en, zh").WithField("top_k", "1 to 100")
			sent := ToConnect(fmt.Errorf("search: %w", want))
			got := fault.As(FromConnect(wire(t, sent)))
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(fault.Error{})); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", k, fault.ReasonName(reason), diff)
			}
			// And on to the next service.
			again := fault.As(FromConnect(wire(t, ToConnect(got))))
			if diff := cmp.Diff(want, again, cmpopts.IgnoreUnexported(fault.Error{})); diff != "" {
				t.Errorf("%s %s over two hops (-want +got):\n%s", k, fault.ReasonName(reason), diff)
			}
		}
	}
}

func TestNothingInternalOnTheWire(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.1.2.3:4222: password hunter2")
	for name, err := range map[string]error{
		"bare":              secret,
		"wrapped":           fmt.Errorf("load session: %w", secret),
		"fault with cause":  fault.Wrap(secret, fault.Unavailable, fault.StoreUnavailable, "the store does not answer"),
		"fault wrapped":     fmt.Errorf("10.1.2.3: %w", fault.New(fault.NotFound, fault.TurnNotFound, "no such turn")),
		"connect, internal": connect.NewError(connect.CodeInternal, secret),
		"connect, unknown":  connect.NewError(connect.CodeUnknown, secret),
		"a peer's":          connect.NewWireError(connect.CodeUnavailable, secret),
		"deadline":          fmt.Errorf("10.1.2.3: %w", context.DeadlineExceeded),
		"canceled":          fmt.Errorf("10.1.2.3: %w", context.Canceled),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := ToConnect(err)
			text := sent.Error()
			for _, d := range sent.Details() {
				text += string(d.Bytes())
			}
			if strings.Contains(text, "10.1.2.3") || strings.Contains(text, "hunter2") {
				t.Errorf("sends %q", text)
			}
			if sent.Code() == connect.CodeUnknown {
				t.Error("code unknown")
			}
			if !errors.Is(sent, err) {
				t.Error("the log does not get the cause")
			}
		})
	}
	if ToConnect(nil) != nil || FromConnect(nil) != nil {
		t.Error("nil is not nil")
	}
}

func TestContextErrors(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]connect.Code{
		context.Canceled:         connect.CodeCanceled,
		context.DeadlineExceeded: connect.CodeDeadlineExceeded,
	} {
		if got := ToConnect(fmt.Errorf("wait: %w", err)).Code(); got != want {
			t.Errorf("%v goes as %s", err, got)
		}
	}
}

func TestDetailsAreBounded(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("长", 10_000)
	f := fault.New(fault.Invalid, fault.InvalidRequest, "%s", huge).WithHelp(huge).WithRetryAfter(time.Second)
	for range 100 {
		f = f.WithField(huge, huge)
	}
	sent := ToConnect(f)
	if n := detailsSize(sent); n > maxDetails {
		t.Errorf("details have %d bytes", n)
	}
	if n := len(sent.Message()); n > maxMessage || !utf8.ValidString(sent.Message()) {
		t.Errorf("message has %d bytes", n)
	}
	got := fault.As(FromConnect(wire(t, sent)))
	if got.Reason != fault.InvalidRequest || got.RetryAfter != time.Second || len(got.Fields) == 0 {
		t.Errorf("lost too much: %s, %s, %d fields", got.Reason, got.RetryAfter, len(got.Fields))
	}
	if sent := ToConnect(fault.New(fault.Invalid, fault.InvalidRequest, "a\xffb").WithField("x\xff", "y\xff")); !utf8.ValidString(sent.Message()) || len(sent.Details()) != 2 {
		t.Errorf("bad bytes: %q with %d details", sent.Message(), len(sent.Details()))
	}
}

func TestPeersThatAreNotOurs(t *testing.T) {
	t.Parallel()
	detail := func(m proto.Message) *connect.ErrorDetail {
		d, err := connect.NewErrorDetail(m)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	foreign := connect.NewWireError(connect.CodeUnavailable, errors.New("upstream connect error at 10.0.0.7"))
	foreign.AddDetail(detail(&errdetails.ErrorInfo{Domain: "linkerd.io", Reason: "FAIL_FAST"}))
	newer := connect.NewWireError(connect.CodeNotFound, errors.New("no such thing"))
	newer.AddDetail(detail(&errdetails.ErrorInfo{Domain: domain, Reason: "SOMETHING_NEW"}))
	for name, test := range map[string]struct {
		err     error
		kind    fault.Kind
		reason  fault.Reason
		message string
	}{
		"a proxy":           {foreign, fault.Unavailable, fault.ServiceUnavailable, generic(fault.Unavailable)},
		"a newer ragmesh":   {newer, fault.NotFound, fault.Unspecified, "no such thing"},
		"transport":         {connect.NewError(connect.CodeUnavailable, errors.New("dial tcp 10.0.0.7: refused")), fault.Unavailable, fault.ServiceUnavailable, generic(fault.Unavailable)},
		"unreadable":        {connect.NewError(connect.CodeInvalidArgument, errors.New("unmarshal message: bad")), fault.Invalid, fault.InvalidRequest, "unmarshal message: bad"},
		"too large to send": {connect.NewError(connect.CodeResourceExhausted, errors.New("message size 3 is larger than configured max 2")), fault.Exhausted, fault.RequestTooLarge, "message size 3 is larger than configured max 2"},
		"no connect error":  {errors.New("x"), fault.Internal, fault.ReasonInternal, generic(fault.Internal)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fault.As(FromConnect(test.err))
			if f.Kind != test.kind || f.Reason != test.reason || f.Message != test.message {
				t.Errorf("got %s %s %q", f.Kind, fault.ReasonName(f.Reason), f.Message)
			}
		})
	}
}

// Details come from the other side. Whatever they hold, reading them ends with a bounded fault.
func FuzzFromConnect(f *testing.F) {
	for _, m := range []proto.Message{
		&errdetails.ErrorInfo{Domain: domain, Reason: "TURN_NOT_FOUND"},
		&errdetails.RetryInfo{},
		&errdetails.Help{Links: []*errdetails.Help_Link{{Url: "https://example.org"}}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "a", Description: "b"}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(connect.CodeNotFound), "no such turn", data)
	}
	kinds := []proto.Message{&errdetails.ErrorInfo{}, &errdetails.RetryInfo{}, &errdetails.Help{}, &errdetails.BadRequest{}}
	f.Fuzz(func(t *testing.T, code uint32, message string, data []byte) {
		in := connect.NewWireError(connect.Code(code), errors.New(message))
		for _, kind := range kinds {
			m := proto.Clone(kind)
			if proto.Unmarshal(data, m) != nil {
				continue
			}
			if d, err := connect.NewErrorDetail(m); err == nil {
				in.AddDetail(d)
			}
		}
		got := fault.As(FromConnect(in))
		if !slices.Contains(fault.Kinds(), got.Kind) || len(got.Message) > 2*maxMessage || len(got.Fields) > maxFields || got.RetryAfter < 0 {
			t.Errorf("got %s, message %d, fields %d, retry %s", got.Kind, len(got.Message), len(got.Fields), got.RetryAfter)
		}
		sent := ToConnect(got)
		if detailsSize(sent) > maxDetails {
			t.Errorf("details of %d bytes go on", detailsSize(sent))
		}
		again := fault.As(FromConnect(wire(t, sent)))
		if again.Kind != got.Kind || again.Reason != got.Reason && got.Reason != fault.Unspecified {
			t.Errorf("%s %s became %s %s", got.Kind, got.Reason, again.Kind, again.Reason)
		}
	})
}
