package rpc

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/libs/fault"
)

const (
	// domain is whose reasons these are, in google.rpc.ErrorInfo.
	domain = "ragmesh"
	// maxDetails bounds an error's details. They travel in a header, where proxies break at 12 to 16 KiB, base64-encoded.
	maxDetails = 4 << 10
	// maxMessage bounds a message; percent-encoded Chinese is up to nine times as long as it has characters.
	maxMessage = 512
	// maxFields and maxField bound what is said about a request's fields.
	maxFields = 16
	maxField  = 256
)

// codes is the table between kinds and codes; a code stands for one kind only. The reason is the one assumed when a peer
// gives none.
var codes = [...]struct {
	code   connect.Code
	reason fault.Reason
}{
	fault.Internal:        {connect.CodeInternal, fault.ReasonInternal},
	fault.Invalid:         {connect.CodeInvalidArgument, fault.InvalidRequest},
	fault.Unauthenticated: {connect.CodeUnauthenticated, fault.ReasonUnauthenticated},
	fault.Denied:          {connect.CodePermissionDenied, fault.RoleTooLow},
	fault.NotFound:        {connect.CodeNotFound, fault.Unspecified},
	fault.Exists:          {connect.CodeAlreadyExists, fault.ReasonConflict},
	fault.Conflict:        {connect.CodeAborted, fault.ReasonConflict},
	fault.Precondition:    {connect.CodeFailedPrecondition, fault.Unspecified},
	fault.Exhausted:       {connect.CodeResourceExhausted, fault.Overloaded},
	fault.Unavailable:     {connect.CodeUnavailable, fault.ServiceUnavailable},
	fault.Timeout:         {connect.CodeDeadlineExceeded, fault.DeadlineExceeded},
	fault.Canceled:        {connect.CodeCanceled, fault.ReasonCanceled},
	fault.Unimplemented:   {connect.CodeUnimplemented, fault.ReasonUnimplemented},
}

func codeOf(k fault.Kind) connect.Code {
	if int(k) < len(codes) {
		return codes[k].code
	}
	return connect.CodeInternal
}

// kindOf also takes the codes we don't send: what a proxy or a newer peer may answer.
func kindOf(c connect.Code) fault.Kind {
	for k, entry := range codes {
		if entry.code == c {
			return fault.Kind(k)
		}
	}
	if c == connect.CodeOutOfRange {
		return fault.Invalid
	}
	return fault.Internal // unknown, data_loss
}

// public is an error as the other side may see it: its text is the message alone. The chain leads to the whole error, for
// the log.
type public struct {
	message string
	whole   error
}

func (p *public) Error() string { return p.message }
func (p *public) Unwrap() error { return p.whole }

// ToConnect returns err as it goes over the wire: the kind's code, the message, and google.rpc details (ErrorInfo,
// BadRequest, RetryInfo, Help) of at most 4 KiB. Never the cause. Nil stays nil.
func ToConnect(err error) *connect.Error { return toConnect(err, "") }

func toConnect(err error, traceID string) *connect.Error {
	if err == nil {
		return nil
	}
	f := asFault(err)
	out := connect.NewError(codeOf(f.Kind), &public{message: clip(f.Message, maxMessage), whole: err})
	left := maxDetails
	add := func(m proto.Message) bool {
		detail, err := connect.NewErrorDetail(m)
		// The type URL and framing of each take some bytes beside its content.
		if size := proto.Size(m) + 80; err == nil && size <= left {
			left -= size
			out.AddDetail(detail)
			return true
		}
		return false
	}
	info := &errdetails.ErrorInfo{Reason: fault.ReasonName(f.Reason), Domain: domain}
	if traceID != "" {
		info.Metadata = map[string]string{"trace_id": traceID}
	}
	add(info)
	if f.RetryAfter > 0 {
		add(&errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	if f.Help != "" {
		add(&errdetails.Help{Links: []*errdetails.Help_Link{{Url: clip(f.Help, maxMessage)}}})
	}
	// As many fields as fit: the first are enough to go on with.
	for fields := badRequest(f.Fields); len(fields) > 0; fields = fields[:len(fields)-1] {
		if add(&errdetails.BadRequest{FieldViolations: fields}) {
			break
		}
	}
	return out
}

func badRequest(fields []fault.Field) []*errdetails.BadRequest_FieldViolation {
	fields = fields[:min(len(fields), maxFields)]
	out := make([]*errdetails.BadRequest_FieldViolation, len(fields))
	for i, f := range fields {
		out[i] = &errdetails.BadRequest_FieldViolation{Field: clip(f.Path, maxField), Description: clip(f.Description, maxField)}
	}
	return out
}

// asFault is [fault.As] for errors that may also come from Connect or from validation.
func asFault(err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if v, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		return invalid(v)
	}
	if c, ok := errors.AsType[*connect.Error](err); ok {
		return fromConnect(c)
	}
	return fault.As(err)
}

func invalid(v *protovalidate.ValidationError) *fault.Error {
	f := fault.Wrap(v, fault.Invalid, fault.InvalidRequest, "the request is not valid; see the fields")
	for _, violation := range v.Violations {
		description := violation.Proto.GetMessage()
		if description == "" {
			description = violation.Proto.GetRuleId()
		}
		path := protovalidate.FieldPathString(violation.Proto.GetField())
		if path == "" {
			path = "(request)"
		}
		f = f.WithField(path, description)
	}
	if len(f.Fields) == 1 {
		f.Message = "the request is not valid: " + f.Fields[0].Path + ": " + f.Fields[0].Description
	}
	return f
}

// FromConnect returns a call's error as a *fault.Error, the inverse of [ToConnect]: callers decide by kind and reason and
// never see a Connect error. The received error is its cause. Nil and io.EOF, a stream's end, stay what they are.
func FromConnect(err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	c, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return fault.As(err)
	}
	f := fromConnect(c)
	if brokenOff(c) {
		f.Kind, f.Reason, f.Message = fault.Unavailable, codes[fault.Unavailable].reason, generic(fault.Unavailable)
	}
	return f
}

// brokenOff says whether a call ended without its end: the connection was lost, or the service stopped, in the middle of an
// answer. Connect reports it as internal and has no type for it.
func brokenOff(c *connect.Error) bool {
	return !connect.IsWireError(c) && c.Code() == connect.CodeInternal &&
		(strings.HasPrefix(c.Message(), "protocol error:") || strings.Contains(c.Message(), "stream error:")) // the latter is a proxy's
}

func fromConnect(c *connect.Error) *fault.Error {
	kind := kindOf(c.Code())
	entry := codes[kind]
	message := generic(kind)
	// What Connect itself says about a request it can't read is meant for the caller. Other texts without our details come
	// from transports and proxies, and name addresses and the like.
	if !connect.IsWireError(c) && (kind == fault.Invalid || kind == fault.Exhausted) {
		message = c.Message()
		if kind == fault.Exhausted {
			entry.reason = fault.RequestTooLarge
		}
	}
	f := fault.Wrap(c, kind, entry.reason, "%s", message)
	for _, detail := range c.Details() {
		value, err := detail.Value()
		if err != nil {
			continue // of a type this build doesn't know, or damaged: the code still stands
		}
		switch d := value.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != domain {
				continue
			}
			f.Message = clip(c.Message(), maxMessage)
			if reason := fault.ParseReason(d.GetReason()); reason != fault.Unspecified {
				f.Reason = reason
			}
		case *errdetails.RetryInfo:
			f.RetryAfter = max(d.GetRetryDelay().AsDuration(), 0)
		case *errdetails.Help:
			if links := d.GetLinks(); len(links) > 0 {
				f.Help = clip(links[0].GetUrl(), maxMessage)
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations()[:min(len(d.GetFieldViolations()), maxFields)] {
				f.Fields = append(f.Fields, fault.Field{Path: clip(v.GetField(), maxField), Description: clip(v.GetDescription(), maxField)})
			}
		}
	}
	return f
}

func generic(k fault.Kind) string {
	switch k {
	case fault.Unavailable:
		return "a service does not answer; try again shortly"
	case fault.Timeout:
		return "the request took longer than its deadline; repeat it, or allow it more time"
	case fault.Canceled:
		return "the request was canceled"
	case fault.Unimplemented:
		return "this is not there yet"
	case fault.Exhausted:
		return "too much at once; try again later"
	case fault.Unauthenticated:
		return "credentials are needed, and these are not good"
	case fault.Internal:
		return "something went wrong on our side; the log has more under the trace id"
	default:
		return "the request was refused: " + k.String()
	}
}

// retryAfter returns when err's sender wants to be asked again; zero when it doesn't say.
func retryAfter(err error) time.Duration { return asFault(err).RetryAfter }

// clip shortens s to at most n bytes without cutting a character, and drops what isn't UTF-8: protobuf refuses that.
func clip(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s)) // each bad byte becomes U+FFFD
}
