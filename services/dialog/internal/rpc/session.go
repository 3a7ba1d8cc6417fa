package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/store"
	"github.com/ragmesh/ragmesh/services/dialog/internal/title"
)

// ListSessions implements the contract.
func (d *Dialog) ListSessions(ctx context.Context, m *dialogv1.ListSessionsRequest) (*dialogv1.ListSessionsResponse, error) {
	var after store.Mark
	if err := page(m.GetPageToken(), &after); err != nil {
		return nil, err
	}
	who := reader(ctx)
	switch {
	case !m.GetAllUsers():
		who.All = false
	case !who.All:
		return nil, fault.New(fault.Denied, fault.RoleTooLow, "everybody's sessions are for administrators of the workspace; leave all_users out for your own")
	}
	sessions, more, err := d.store.Sessions(ctx, who, m.GetWorkspace(), after, pageSize(m.GetPageSize(), 50))
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
	name := title.Given(m.GetTitle())
	if name == "" {
		return nil, fault.New(fault.Invalid, fault.InvalidRequest, "the title is empty; give it a name").WithField("title", "must hold more than white space")
	}
	s, err := d.store.Rename(ctx, owner(ctx), m.GetWorkspace(), m.GetSessionId(), name)
	if err != nil {
		return nil, err
	}
	return &dialogv1.RenameSessionResponse{Session: session(s)}, nil
}

// DeleteSession implements the contract.
func (d *Dialog) DeleteSession(ctx context.Context, m *dialogv1.DeleteSessionRequest) (*dialogv1.DeleteSessionResponse, error) {
	removed, err := d.store.Delete(ctx, reader(ctx), m.GetWorkspace(), m.GetSessionId(), func(ctx context.Context) error {
		return d.trail.Write(ctx, audit.Event{Workspace: m.GetWorkspace(), Actor: user(ctx), Action: "session.delete", Target: m.GetSessionId(), Allowed: true})
	})
	if err != nil {
		return nil, err
	}
	return &dialogv1.DeleteSessionResponse{RemovedTurns: uint32(min(removed, 1<<31))}, nil
}

// SendFeedback implements the contract.
func (d *Dialog) SendFeedback(ctx context.Context, m *dialogv1.SendFeedbackRequest) (*dialogv1.SendFeedbackResponse, error) {
	t, err := d.store.Turn(ctx, reader(ctx), m.GetWorkspace(), m.GetTurnId())
	if err != nil {
		return nil, err
	}
	tags, err := reasons(m.GetTags())
	if err != nil {
		return nil, err
	}
	f := record.Feedback{
		Workspace: m.GetWorkspace(), Turn: t.ID, User: user(ctx), Up: m.GetVerdict() == dialogv1.Verdict_VERDICT_UP, Comment: m.GetComment(), Tags: tags, At: d.now(),
	}
	payload, err := f.Encode()
	if err != nil {
		return nil, err
	}
	if err := d.store.SaveFeedback(ctx, t, f.User, payload); err != nil {
		return nil, err
	}
	return &dialogv1.SendFeedbackResponse{}, nil
}

// maxReason is how long a tag may be, in characters.
const maxReason = 32

// isReason tells whether a tag is a word: a letter first, then letters, digits, - and _. docs/sessions.md suggests some.
func isReason(tag string) bool {
	for i, r := range tag {
		letter := unicode.In(r, unicode.Ll, unicode.Lo)
		if !letter && (i == 0 || !unicode.In(r, unicode.N) && r != '_' && r != '-') {
			return false
		}
	}
	return tag != "" && utf8.RuneCountInString(tag) <= maxReason
}

// reasons returns tags in one spelling, each once.
func reasons(tags []string) ([]string, error) {
	var out []string
	for i, tag := range tags {
		tag = strings.ToLower(strings.TrimSpace(tag))
		if !isReason(tag) {
			return nil, fault.New(fault.Invalid, fault.InvalidRequest, "a reason is one word, such as wrong, outdated, incomplete, irrelevant, unclear or sources").
				WithField(fmt.Sprintf("tags[%d]", i), "must be 1 to 32 letters, digits, - and _, a letter first")
		}
		if !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out, nil
}
