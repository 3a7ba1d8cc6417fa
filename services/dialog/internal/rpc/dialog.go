package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/store"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Dialog serves DialogService.
type Dialog struct {
	answerer asker
	store    *store.Store
	trail    *audit.Trail
	now      func() time.Time
}

var _ dialogv1connect.DialogServiceHandler = (*Dialog)(nil)

// NewDialog returns the handler.
func NewDialog(answerer *turn.Answerer, s *store.Store, trail *audit.Trail, now func() time.Time) *Dialog {
	return &Dialog{answerer: asker{answerer}, store: s, trail: trail, now: now}
}

// Chat implements the contract.
func (d *Dialog) Chat(ctx context.Context, m *dialogv1.ChatRequest, out *connect.ServerStream[dialogv1.ChatResponse]) error {
	return d.answerer.Ask(ctx, turn.Question{
		Workspace: m.GetWorkspace(), Session: m.GetSessionId(), RequestID: m.GetRequestId(), User: user(ctx), Text: m.GetQuestion(),
		PromptID: m.GetPromptId(), Strategy: m.GetStrategy(), Model: m.GetModel(),
		Filter: turn.Filter{DocumentIDs: m.GetFilter().GetDocumentIds(), SourcePrefixes: m.GetFilter().GetSourcePrefixes(), Languages: m.GetFilter().GetLanguages()},
	}, func(e turn.Event) error { return out.Send(event(e)) })
}

func user(ctx context.Context) string {
	p, _ := identity.FromContext(ctx)
	return p.Subject
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
	t, err := d.store.Turn(ctx, m.GetWorkspace(), m.GetTurnId())
	if err != nil {
		return nil, err
	}
	return &dialogv1.GetTurnResponse{Turn: record.Turn(t)}, nil
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
	turns, more, err := d.store.Turns(ctx, m.GetWorkspace(), m.GetSessionId(), after, size)
	if err != nil {
		return nil, err
	}
	out := &dialogv1.ListTurnsResponse{}
	for _, t := range turns {
		out.Turns = append(out.Turns, record.Turn(t))
	}
	if more {
		out.NextPageToken = token(turns[len(turns)-1].ID)
	}
	return out, nil
}

// ListSessions implements the contract.
func (d *Dialog) ListSessions(ctx context.Context, m *dialogv1.ListSessionsRequest) (*dialogv1.ListSessionsResponse, error) {
	var after store.Mark
	if err := page(m.GetPageToken(), &after); err != nil {
		return nil, err
	}
	sessions, more, err := d.store.Sessions(ctx, m.GetWorkspace(), after, pageSize(m.GetPageSize(), 50))
	if err != nil {
		return nil, err
	}
	out := &dialogv1.ListSessionsResponse{}
	for _, s := range sessions {
		out.Sessions = append(out.Sessions, session(s))
	}
	if more {
		last := sessions[len(sessions)-1]
		out.NextPageToken = token(store.Mark{Updated: last.UpdatedAt, ID: last.ID})
	}
	return out, nil
}

func session(s store.Session) *dialogv1.Session {
	return &dialogv1.Session{
		SessionId: s.ID, Workspace: s.Workspace, Title: s.Title, User: s.User,
		CreatedAt: timestamppb.New(s.CreatedAt), UpdatedAt: timestamppb.New(s.UpdatedAt), TurnCount: s.Turns,
	}
}

// RenameSession implements the contract.
func (d *Dialog) RenameSession(ctx context.Context, m *dialogv1.RenameSessionRequest) (*dialogv1.RenameSessionResponse, error) {
	s, err := d.store.Rename(ctx, m.GetWorkspace(), m.GetSessionId(), store.Title(m.GetTitle()))
	if err != nil {
		return nil, err
	}
	return &dialogv1.RenameSessionResponse{Session: session(s)}, nil
}

// DeleteSession implements the contract.
func (d *Dialog) DeleteSession(ctx context.Context, m *dialogv1.DeleteSessionRequest) (*dialogv1.DeleteSessionResponse, error) {
	removed, err := d.store.Delete(ctx, m.GetWorkspace(), m.GetSessionId(), func(ctx context.Context) error {
		return d.trail.Write(ctx, audit.Event{Workspace: m.GetWorkspace(), Actor: user(ctx), Action: "session.delete", Target: m.GetSessionId(), Allowed: true})
	})
	if err != nil {
		return nil, err
	}
	return &dialogv1.DeleteSessionResponse{RemovedTurns: uint32(min(removed, 1<<31))}, nil
}

// SendFeedback implements the contract.
func (d *Dialog) SendFeedback(ctx context.Context, m *dialogv1.SendFeedbackRequest) (*dialogv1.SendFeedbackResponse, error) {
	if _, err := d.store.Turn(ctx, m.GetWorkspace(), m.GetTurnId()); err != nil {
		return nil, err
	}
	f := record.Feedback{
		Workspace: m.GetWorkspace(), Turn: m.GetTurnId(), User: user(ctx), Up: m.GetVerdict() == dialogv1.Verdict_VERDICT_UP,
		Comment: m.GetComment(), Tags: m.GetTags(), At: d.now(),
	}
	payload, err := f.Encode()
	if err != nil {
		return nil, err
	}
	// The same judgement sent again counts once.
	id := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%t\x00%s\x00%q", f.Workspace, f.Turn, f.User, f.Up, f.Comment, f.Tags))
	if err := d.store.Publish(ctx, "feedback", f.Workspace, hex.EncodeToString(id[:]), payload); err != nil {
		return nil, err
	}
	return &dialogv1.SendFeedbackResponse{}, nil
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

// ExportSession implements the contract.
func (d *Dialog) ExportSession(context.Context, *dialogv1.ExportSessionRequest, *connect.ServerStream[dialogv1.ExportSessionResponse]) error {
	return fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "sessions can't be exported yet")
}

// StopTurn implements the contract.
func (d *Dialog) StopTurn(context.Context, *dialogv1.StopTurnRequest) (*dialogv1.StopTurnResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "turns can't be stopped by name yet; end the call")
}
