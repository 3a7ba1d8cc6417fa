package dialog_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
)

func (m *mesh) create(t *testing.T, workspace string) {
	t.Helper()
	if _, err := m.workspaces.CreateWorkspace(t.Context(), &dialogv1.CreateWorkspaceRequest{Workspace: workspace}); err != nil {
		t.Fatal(err)
	}
}

// account makes a service account with a role, and a key of it.
func (m *mesh) account(t *testing.T, workspace, name string, role dialogv1.AccessRole) string {
	t.Helper()
	if _, err := m.workspaces.SetMember(t.Context(), &dialogv1.SetMemberRequest{Workspace: workspace, Member: "service:" + name, Role: role}); err != nil {
		t.Fatal(err)
	}
	made, err := m.keys.CreateKey(t.Context(), &dialogv1.CreateKeyRequest{Name: name, Role: role, Workspaces: []string{workspace}, ServiceAccount: name})
	if err != nil {
		t.Fatal(err)
	}
	return made.GetSecret()
}

func TestMembersAndServiceAccounts(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	ctx := t.Context()
	m.as(t, bootstrap)
	m.create(t, "team")
	m.create(t, "other")
	crawler := m.account(t, "team", "crawler", dialogv1.AccessRole_ACCESS_ROLE_VIEWER)
	lead := m.account(t, "team", "lead", dialogv1.AccessRole_ACCESS_ROLE_ADMIN)

	m.as(t, crawler)
	if h := m.ask(t, &dialogv1.ChatRequest{Question: "hello"}); h.turn.GetWorkspace() != "team" || h.turn.GetUser() != "service:crawler" {
		t.Errorf("turn in %s by %s", h.turn.GetWorkspace(), h.turn.GetUser())
	}
	set := func(workspace, member string, role dialogv1.AccessRole) error {
		_, err := m.workspaces.SetMember(ctx, &dialogv1.SetMemberRequest{Workspace: workspace, Member: member, Role: role})
		return err
	}
	if err := set("team", "service:crawler", dialogv1.AccessRole_ACCESS_ROLE_ADMIN); fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("a viewer makes itself an administrator: %v", err)
	}

	m.as(t, lead)
	if err := set("team", "user:Ann@example.com", dialogv1.AccessRole_ACCESS_ROLE_EDITOR); err != nil {
		t.Errorf("an administrator of the workspace sets a member: %v", err)
	}
	if err := set("other", "user:ann", dialogv1.AccessRole_ACCESS_ROLE_EDITOR); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("of another workspace: %v", err)
	}
	for _, bad := range []string{"ann", "key:x", "user:", "user: ann", "user:a\nb", "group:" + strings.Repeat("x", 300)} {
		if err := set("team", bad, dialogv1.AccessRole_ACCESS_ROLE_EDITOR); fault.KindOf(err) != fault.Invalid {
			t.Errorf("member %q: %v", bad, err)
		}
	}
	list, err := m.workspaces.ListMembers(ctx, &dialogv1.ListMembersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, member := range list.GetMembers() {
		got = append(got, member.GetMember()+" "+member.GetRole().String()+" "+member.GetAddedBy())
	}
	want := []string{
		"service:crawler ACCESS_ROLE_VIEWER bootstrap", "service:lead ACCESS_ROLE_ADMIN bootstrap", "user:Ann@example.com ACCESS_ROLE_EDITOR service:lead",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if _, err := m.workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: "mine"}); fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("an administrator of one workspace makes another: %v", err)
	}
	if _, err := m.workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: "team"}); fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("an administrator of one workspace deletes it: %v", err)
	}
	if _, err := m.workspaces.RemoveMember(ctx, &dialogv1.RemoveMemberRequest{Member: "service:crawler"}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.workspaces.RemoveMember(ctx, &dialogv1.RemoveMemberRequest{Member: "service:crawler"}); fault.ReasonOf(err) != fault.MemberNotFound {
		t.Errorf("removed twice: %v", err)
	}

	m.as(t, crawler)
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("with the key of an account that is gone: %v", err)
	}
	audited := []string{"key.create", "key.revoke", "member.remove", "member.set", "workspace.create"}
	eventually(t, "the audit trail", func() bool {
		seen := m.audited(t)
		return !slices.ContainsFunc(audited, func(a string) bool { return !slices.Contains(seen, a) })
	})
}

func TestUpdateWorkspace(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	m.create(t, "team")
	for name, c := range map[string]struct {
		change *dialogv1.UpdateWorkspaceRequest
		name   string
		keep   time.Duration
		kind   fault.Kind
	}{
		"the default one":  {&dialogv1.UpdateWorkspaceRequest{DisplayName: proto.String("Main")}, "Main", 0, 0},
		"one that is not":  {&dialogv1.UpdateWorkspaceRequest{Workspace: "nope", DisplayName: proto.String("x")}, "", 0, fault.NotFound},
		"without a name":   {&dialogv1.UpdateWorkspaceRequest{Workspace: "team", DisplayName: proto.String("")}, "", 0, fault.Invalid},
		"for too short":    {&dialogv1.UpdateWorkspaceRequest{Workspace: "team", SessionRetention: durationpb.New(time.Minute)}, "", 0, fault.Invalid},
		"before its time":  {&dialogv1.UpdateWorkspaceRequest{Workspace: "team", SessionRetention: durationpb.New(-time.Hour)}, "", 0, fault.Invalid},
		"for two hours":    {&dialogv1.UpdateWorkspaceRequest{Workspace: "team", SessionRetention: durationpb.New(2 * time.Hour)}, "team", 2 * time.Hour, 0},
		"for longer, last": {&dialogv1.UpdateWorkspaceRequest{Workspace: "team", SessionRetention: durationpb.New(88000 * time.Hour)}, "", 0, fault.Invalid},
	} {
		got, err := m.workspaces.UpdateWorkspace(ctx, c.change)
		if (err == nil) != (c.kind == 0) || err != nil && fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ws := got.GetWorkspace(); ws.GetDisplayName() != c.name || ws.GetSessionRetention().AsDuration() != c.keep {
			t.Errorf("%s: %v", name, ws)
		}
	}
	if _, err := m.workspaces.UpdateWorkspace(ctx, &dialogv1.UpdateWorkspaceRequest{Workspace: "team", DisplayName: proto.String("The team")}); err != nil {
		t.Fatal(err)
	}
	list, err := m.workspaces.ListWorkspaces(ctx, &dialogv1.ListWorkspacesRequest{})
	if err != nil || len(list.GetWorkspaces()) != 2 || list.GetWorkspaces()[1].GetDisplayName() != "The team" || list.GetWorkspaces()[1].GetSessionRetention().AsDuration() != 2*time.Hour {
		t.Errorf("%v, %v", list, err)
	}
}

// subjects returns the subjects of a stream that name a workspace.
func (m *mesh) subjects(t *testing.T, stream, filter string) []string {
	t.Helper()
	subjects, err := m.bus.Subjects(t.Context(), stream, filter)
	if err != nil {
		t.Fatal(err)
	}
	return subjects
}

func TestDeleteWorkspace(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	ctx := t.Context()
	m.as(t, bootstrap)
	m.create(t, "team")
	account := m.account(t, "team", "crawler", dialogv1.AccessRole_ACCESS_ROLE_EDITOR)
	both, err := m.keys.CreateKey(ctx, &dialogv1.CreateKeyRequest{Name: "both", Role: dialogv1.AccessRole_ACCESS_ROLE_VIEWER, Workspaces: []string{"team", "default"}})
	if err != nil {
		t.Fatal(err)
	}
	m.as(t, account)
	h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "once"})
	if _, err := m.chat.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{TurnId: h.turn.GetTurnId(), Verdict: dialogv1.Verdict_VERDICT_UP, Comment: "fine"}); err != nil {
		t.Fatal(err)
	}
	// A turn that runs while the workspace goes.
	running := make(chan struct{})
	m.llm.mu.Lock()
	m.llm.generate = func(ctx context.Context, _ *llmv1.GenerateRequest, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
		close(running)
		return hang(ctx)
	}
	m.llm.mu.Unlock()
	ended := make(chan error, 1)
	asking := *m
	go func() {
		_, err := asking.try(ctx, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "twice"})
		ended <- err
	}()
	<-running

	m.as(t, bootstrap)
	if _, err := m.workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: "nope"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := m.workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: "team"}); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := m.chat.GetTurn(ctx, &dialogv1.GetTurnRequest{Workspace: "team", TurnId: h.turn.GetTurnId()}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("a turn of it: %v", err)
	}
	for stream, filter := range map[string]string{bus.Turns: bus.TurnSubject("team", "*", "*"), bus.Events: bus.FeedbackSubject("team", "*", "*", "*")} {
		if left := m.subjects(t, stream, filter); len(left) > 0 {
			t.Errorf("%s has %v", stream, left)
		}
	}
	for _, bucket := range []string{bus.Sessions, bus.Requests, bus.Members} {
		kv, err := m.bus.KV(ctx, bucket)
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := kv.Keys(ctx, "team.>"); err != nil || len(keys) > 0 {
			t.Errorf("%s has %v, %v", bucket, keys, err)
		}
	}
	if len(m.retriever.deleted) == 0 || m.retriever.deleted[0] != "team" {
		t.Errorf("the retriever was told to delete %v", m.retriever.deleted)
	}
	if len(m.llm.deleted) == 0 || m.llm.deleted[0] != "team" {
		t.Errorf("the gateway was told to forget %v", m.llm.deleted)
	}
	eventually(t, "the audit trail", func() bool { return slices.Contains(m.audited(t), "workspace.delete") })

	// Anew under the same id: it is empty, and nobody of before gets in.
	m.create(t, "team")
	if sessions, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{Workspace: "team", AllUsers: true}); err != nil || len(sessions.GetSessions()) > 0 {
		t.Errorf("sessions %v, %v", sessions, err)
	}
	m.as(t, account)
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a key of the old one: %v", err)
	}
	m.as(t, both.GetSecret())
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello", Workspace: "team"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("a key of the old one and another: %v", err)
	}
	if h := m.ask(t, &dialogv1.ChatRequest{Question: "hello"}); h.turn.GetWorkspace() != "default" {
		t.Errorf("turn in %s", h.turn.GetWorkspace())
	}

	// The default one is emptied, and stays; but not because somebody named none.
	m.as(t, bootstrap)
	if _, err := m.workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a workspace without a name: %v", err)
	}
	documents := retrieverv1connect.NewRetrieverServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
	before := len(m.retriever.deleted)
	if _, err := documents.DeleteWorkspace(ctx, &retrieverv1.DeleteWorkspaceRequest{}); err == nil || len(m.retriever.deleted) != before {
		t.Errorf("the documents of a workspace without a name: %v", err)
	}
	if _, err := m.workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: "default"}); err != nil {
		t.Fatal(err)
	}
	if sessions, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{AllUsers: true}); err != nil || len(sessions.GetSessions()) > 0 {
		t.Errorf("sessions of the default workspace: %v, %v", sessions, err)
	}
	m.as(t, both.GetSecret())
	m.ask(t, &dialogv1.ChatRequest{Question: "hello"})
}

// TestDeletionIsGoneOnWith: the retriever is away, and the process ends; the next one ends what was begun.
func TestDeletionIsGoneOnWith(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	m.create(t, "team")
	m.ask(t, &dialogv1.ChatRequest{Question: "hello", Workspace: "team"})
	m.retriever.mu.Lock()
	m.retriever.refuses = unavailable()
	m.retriever.mu.Unlock()
	if _, err := m.workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: "team"}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello", Workspace: "team"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("a question in it: %v", err)
	}
	if list, err := m.workspaces.ListWorkspaces(ctx, &dialogv1.ListWorkspacesRequest{}); err != nil || len(list.GetWorkspaces()) != 1 {
		t.Errorf("workspaces %v, %v", list, err)
	}
	if _, err := m.workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: "team"}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("made anew while something of it is there: %v", err)
	}
	m.retriever.mu.Lock()
	m.retriever.refuses = nil
	m.retriever.mu.Unlock()
	// Asked for again, it goes on where it was. So does whoever starts next, once nobody else is at it: see package removal.
	if _, err := m.workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: "team"}); err != nil {
		t.Fatal(err)
	}
	if left := m.subjects(t, bus.Turns, bus.TurnSubject("team", "*", "*")); len(left) > 0 {
		t.Errorf("turns %v", left)
	}
	m.create(t, "team")
}
