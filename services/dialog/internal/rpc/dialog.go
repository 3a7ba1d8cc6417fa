package rpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/store"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Dialog serves DialogService.
type Dialog struct {
	answerer asker
	library  turn.Library
	store    *store.Store
	trail    *audit.Trail
	now      func() time.Time
}

var _ dialogv1connect.DialogServiceHandler = (*Dialog)(nil)

// NewDialog returns the handler.
func NewDialog(answerer *turn.Answerer, library turn.Library, s *store.Store, trail *audit.Trail, now func() time.Time) *Dialog {
	return &Dialog{answerer: asker{answerer}, library: library, store: s, trail: trail, now: now}
}

// Chat implements the contract.
func (d *Dialog) Chat(ctx context.Context, m *dialogv1.ChatRequest, out *connect.ServerStream[dialogv1.ChatResponse]) error {
	return d.answerer.Ask(ctx, turn.Question{
		Workspace: m.GetWorkspace(), Session: m.GetSessionId(), RequestID: m.GetRequestId(), User: user(ctx), Replaces: m.GetReplacesTurnId(), Text: m.GetQuestion(),
		PromptID: m.GetPromptId(), Strategy: m.GetStrategy(), Model: m.GetModel(),
		Filter: turn.Filter{DocumentIDs: m.GetFilter().GetDocumentIds(), SourcePrefixes: m.GetFilter().GetSourcePrefixes(), Languages: m.GetFilter().GetLanguages()},
	}, func(e turn.Event) error { return out.Send(event(e)) })
}

func user(ctx context.Context) string {
	p, _ := identity.FromContext(ctx)
	return p.Subject
}

// reader is the caller as one who looks at what was said: they see their own, administrators of the workspace everybody's. So do
// services, which are asked for somebody's trace or replay, and let in by the policy for that.
func reader(ctx context.Context) store.Reader {
	p, _ := identity.FromContext(ctx)
	return store.Reader{User: p.Subject, All: p.Role >= identity.Admin || access.FromContext(ctx).Service != ""}
}

// owner is the caller as one who goes on with what they began.
func owner(ctx context.Context) store.Reader { return store.Reader{User: user(ctx)} }

// shown returns turns as the caller may see them. Every turn that is read back comes past here.
func (d *Dialog) shown(ctx context.Context, workspace string, turns []turn.Turn) []turn.Turn {
	return turn.Shown(ctx, d.library, workspace, turns)
}

// event returns the contract's form of e.
func event(e turn.Event) *dialogv1.ChatResponse {
	out := &dialogv1.ChatResponse{Seq: e.Seq}
	switch {
	case e.Started != nil:
		out.Event = &dialogv1.ChatResponse_Started{Started: &dialogv1.ChatStarted{TurnId: e.Started.Turn, SessionId: e.Started.Session, TraceId: e.Started.TraceID}}
	case e.Stage != nil:
		s := &dialogv1.StageEvent{Name: e.Stage.Name, Status: e.Stage.Status, Offset: durationpb.New(e.Stage.Offset)}
		if e.Stage.Status != turn.StatusStarted {
			s.Duration = durationpb.New(e.Stage.Duration)
		}
		out.Event = &dialogv1.ChatResponse_Stage{Stage: s}
	case e.Plan != nil:
		out.Event = &dialogv1.ChatResponse_Plan{Plan: record.Plan(*e.Plan)}
	case e.Source != nil:
		out.Event = &dialogv1.ChatResponse_Source{Source: record.Source(*e.Source)}
	case e.Delta != "":
		out.Event = &dialogv1.ChatResponse_Delta{Delta: &llmv1.Delta{Text: e.Delta}}
	case e.Citation != nil:
		out.Event = &dialogv1.ChatResponse_Citation{Citation: record.Citation(*e.Citation)}
	case e.Restarted != nil:
		out.Event = &dialogv1.ChatResponse_Restarted{Restarted: &dialogv1.ChatRestarted{Reason: e.Restarted.Reason}}
	case e.Completed != nil:
		out.Event = &dialogv1.ChatResponse_Completed{Completed: &dialogv1.ChatCompleted{Turn: record.Turn(e.Completed.Turn), Stored: dialogv1.Stored(e.Completed.Stored)}}
	case e.Failed != nil:
		failed := &dialogv1.ChatFailed{Turn: record.Turn(e.Failed.Turn), Stored: dialogv1.Stored(e.Failed.Stored)}
		if f := e.Failed.Turn.Failure; f != nil {
			failed.Reason, failed.Message = f.Reason, f.Message
		}
		out.Event = &dialogv1.ChatResponse_Failed{Failed: failed}
	default:
		out.Event = &dialogv1.ChatResponse_Heartbeat{Heartbeat: &dialogv1.Heartbeat{}}
	}
	return out
}

// GetTurn implements the contract.
func (d *Dialog) GetTurn(ctx context.Context, m *dialogv1.GetTurnRequest) (*dialogv1.GetTurnResponse, error) {
	t, err := d.store.Turn(ctx, reader(ctx), m.GetWorkspace(), m.GetTurnId())
	if err != nil {
		return nil, err
	}
	return &dialogv1.GetTurnResponse{Turn: record.Turn(d.shown(ctx, m.GetWorkspace(), []turn.Turn{t})[0])}, nil
}

// maxPageBytes keeps a page of turns within what clients take as one message.
const maxPageBytes = 8 << 20

// ListTurns implements the contract.
func (d *Dialog) ListTurns(ctx context.Context, m *dialogv1.ListTurnsRequest) (*dialogv1.ListTurnsResponse, error) {
	var after string
	if err := page(m.GetPageToken(), &after); err != nil {
		return nil, err
	}
	size := min(pageSize(m.GetPageSize(), 50), maxPageBytes/turn.MaxRecord)
	conversation, err := d.store.Open(ctx, reader(ctx), m.GetWorkspace(), m.GetSessionId(), m.GetIncludeReplaced())
	if err != nil {
		return nil, err
	}
	turns, more, err := conversation.After(ctx, after, size)
	if err != nil {
		return nil, err
	}
	turns = d.shown(ctx, m.GetWorkspace(), turns)
	out := &dialogv1.ListTurnsResponse{}
	for _, t := range turns {
		out.Turns = append(out.Turns, record.Turn(t))
	}
	if more && len(turns) > 0 {
		out.NextPageToken = token(turns[len(turns)-1].ID)
	}
	return out, nil
}

// StopTurn implements the contract.
func (d *Dialog) StopTurn(ctx context.Context, m *dialogv1.StopTurnRequest) (*dialogv1.StopTurnResponse, error) {
	found, err := d.answerer.Stop(ctx, m.GetWorkspace(), m.GetTurnId(), user(ctx))
	if !found { // it has ended, or never was
		if _, stored := d.store.Turn(ctx, owner(ctx), m.GetWorkspace(), m.GetTurnId()); err == nil || stored == nil {
			err = stored
		}
	}
	if err != nil {
		return nil, err
	}
	return &dialogv1.StopTurnResponse{}, nil
}

func pageSize(asked uint32, otherwise int) int {
	if asked == 0 {
		return otherwise
	}
	return int(asked)
}

// token writes where a page ended, page reads it.
func token(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "" // strings and times can't fail
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func page(token string, v any) error {
	if token == "" {
		return nil
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fault.Wrap(err, fault.Invalid, fault.InvalidRequest, "the page token is not one of ours; leave it empty for the first page").
			WithField("page_token", "must be the next_page_token of the page before")
	}
	return nil
}
