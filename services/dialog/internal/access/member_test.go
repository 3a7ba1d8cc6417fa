package access

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// house is a guard with workspaces and members.
type house struct {
	*testing.T
	guard      *Guard
	workspaces *Workspaces
	members    *Members
}

func newHouse(t *testing.T, workspaces ...string) *house {
	t.Helper()
	h := &house{T: t, workspaces: NewWorkspaces(newTable(), clock, zerolog.Nop()), members: newMembers(t)}
	h.guard = &Guard{workspaces: h.workspaces, members: h.members}
	for _, id := range workspaces {
		if _, _, err := h.workspaces.Create(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// newMembers returns members that have been read.
func newMembers(t *testing.T) *Members {
	t.Helper()
	store := newTable()
	m := NewMembers(store, clock, zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-store.shown
	return m
}

func (h *house) set(workspace, name string, role identity.Role) {
	h.Helper()
	if _, _, err := h.members.Set(h.Context(), workspace, name, role, "test"); err != nil {
		h.Fatal(err)
	}
}

// role returns what somebody may do in a workspace, by asking for what each role is needed for.
func (h *house) role(who Grant, workspace string) string {
	h.Helper()
	p, err := h.guard.Authorize(h.Context(), who, chat, workspace)
	switch fault.KindOf(err) {
	case fault.NotFound:
		return "not found"
	case fault.Denied:
		return "denied"
	}
	if err != nil {
		return fault.KindOf(err).String()
	}
	if p.Workspace != workspace || p.Subject != who.Subject {
		h.Errorf("made for %+v", p)
	}
	for procedure, least := range map[string]identity.Role{
		"/ragmesh.retriever.v1.RetrieverService/DeleteDocument": identity.Editor,
		"/ragmesh.dialog.v1.WorkspaceService/SetMember":         identity.Admin,
	} {
		if _, err := h.guard.Authorize(h.Context(), who, procedure, workspace); (err == nil) != (p.Role >= least) {
			h.Errorf("%s as %s: %v", procedure, p.Role, err)
		}
	}
	return p.Role.String()
}

func TestMembersRoles(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "team", "other")
	h.set("team", "user:alice", identity.Viewer)
	h.set("team", "group:leads", identity.Editor)
	h.set("team", "user:Bob@Example.com", identity.Admin)
	h.set("team", "service:crawler", identity.Editor)
	h.set("other", "user:alice", identity.Admin)

	alice := Grant{Subject: "user:alice"}
	for name, c := range map[string]struct {
		who       Grant
		workspace string
		want      string
	}{
		"by subject":                  {alice, "team", "viewer"},
		"in each workspace":           {alice, "other", "admin"},
		"not in one":                  {alice, "default", "not found"},
		"nor in one that is not":      {alice, "nowhere", "not found"},
		"by group, the highest":       {Grant{Subject: "user:alice", Names: []string{"group:leads"}}, "team", "editor"},
		"by address in any case":      {Grant{Subject: "user:b7", Names: []string{"user:bob@example.com"}}, "team", "admin"},
		"a service account":           {Grant{Subject: "service:crawler", Workspaces: []string{"team"}}, "team", "editor"},
		"its key's workspace only":    {Grant{Subject: "user:alice", Workspaces: []string{"team"}}, "other", "not found"},
		"a key of its own":            {Grant{Subject: "key:k", Role: identity.Viewer}, "other", "viewer"},
		"a group of a provider":       {Grant{Subject: "user:carol", Roles: map[string]identity.Role{"team": identity.Editor}}, "team", "editor"},
		"whose role is not elsewhere": {Grant{Subject: "user:carol", Roles: map[string]identity.Role{"team": identity.Editor}}, "other", "not found"},
		"everywhere":                  {Grant{Subject: "user:carol", Roles: map[string]identity.Role{AllWorkspaces: identity.Viewer}}, "other", "viewer"},
		"but nowhere else":            {Grant{Subject: "user:carol", Roles: map[string]identity.Role{AllWorkspaces: identity.Viewer}}, "nowhere", "not found"},
		"a name is not another's":     {Grant{Subject: "key:x", Names: []string{"alice", "group:user:alice"}}, "team", "not found"},
		"a service that calls":        {Grant{Service: identity.Eval, Subject: "user:alice", Role: identity.Viewer, Workspaces: []string{"other"}}, "other", "viewer"},
		"nobody":                      {Grant{}, "team", "not found"},
	} {
		if got := h.role(c.who, c.workspace); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if _, err := h.guard.Authorize(t.Context(), Grant{Subject: "user:alice"}, "/ragmesh.dialog.v1.WorkspaceService/CreateWorkspace", ""); fault.KindOf(err) != fault.Denied {
		t.Errorf("a workspace's administrator makes workspaces: %v", err)
	}
}

func TestMembershipEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "team")
	ctx := t.Context()
	h.set("team", "user:alice", identity.Editor)
	alice := Grant{Subject: "user:alice"}
	stale := bus.Entry{Key: memberKey("team", "user:alice"), Value: []byte(`{"member":"user:alice","role":2}`), Revision: 1}
	if m, changed, err := h.members.Set(ctx, "team", "user:alice", identity.Editor, "again"); changed || err != nil || m.AddedBy != "test" {
		t.Errorf("set to what it is: %+v %t %v", m, changed, err)
	}
	h.set("team", "user:alice", identity.Viewer)
	if _, err := h.members.Remove(ctx, "team", "user:alice"); err != nil {
		t.Fatal(err)
	}
	h.members.mu.Lock()
	h.members.take(stale) // news of before, which the watch brings late
	h.members.mu.Unlock()
	if got := h.role(alice, "team"); got != "not found" {
		t.Errorf("after the removal: %s", got)
	}
	if _, err := h.members.Remove(ctx, "team", "user:alice"); fault.ReasonOf(err) != fault.MemberNotFound {
		t.Errorf("removed twice: %v", err)
	}
	h.set("team", "user:alice", identity.Admin)
	if got := h.role(alice, "team"); got != "admin" {
		t.Errorf("a member again: %s", got)
	}
	if err := h.members.Clear(ctx, "team"); err != nil {
		t.Fatal(err)
	}
	if list, err := h.members.List(ctx, "team"); len(list) != 0 || err != nil || h.role(alice, "team") != "not found" {
		t.Errorf("after all were removed: %v %v", list, err)
	}
}

// TestMembersOfOldDoNotCount: while nobody can say who was removed, members stay out, and who has a role of their own goes on.
func TestMembersOfOldDoNotCount(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "team")
	h.set("team", "user:alice", identity.Admin)
	h.members.now = func() time.Time { return clock().Add(maxAge + time.Second) }
	if got := h.role(Grant{Subject: "user:alice"}, "team"); got != fault.Unavailable.String() {
		t.Errorf("a member: %s", got)
	}
	if got := h.role(Grant{Subject: "user:alice", Role: identity.Viewer}, "team"); got != "viewer" {
		t.Errorf("a role of their own: %s", got)
	}
	if got := h.role(Grant{Subject: "bootstrap", Role: identity.Admin}, "team"); got != "admin" {
		t.Errorf("bootstrap: %s", got)
	}
}

func TestWorkspacesThatCallersReach(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "a", "b", "c")
	h.set("b", "user:alice", identity.Viewer)
	h.set("c", "group:team", identity.Viewer)
	h.set("gone", "group:team", identity.Viewer) // its workspace is not there any more
	for name, c := range map[string]struct {
		who  Grant
		want []string
		home string
	}{
		"all":              {Grant{Role: identity.Viewer}, []string{"a", "b", "c", "default"}, "default"},
		"one":              {Grant{Subject: "user:alice"}, []string{"b"}, "b"},
		"several":          {Grant{Subject: "user:alice", Names: []string{"group:team"}}, []string{"b", "c"}, "b"},
		"those of a key":   {Grant{Role: identity.Editor, Workspaces: []string{"a", "c"}}, []string{"a", "c"}, "a"},
		"those of a group": {Grant{Roles: map[string]identity.Role{"a": identity.Viewer, "gone": identity.Admin}}, []string{"a"}, "a"},
		"none":             {Grant{Subject: "user:bob"}, nil, "default"},
		"one that is not":  {Grant{Subject: "user:bob", Workspaces: []string{"gone"}}, nil, "gone"},
	} {
		list, err := h.guard.Workspaces(t.Context(), c.who)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, ws := range list {
			got = append(got, ws.ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if home := h.guard.Home(t.Context(), c.who); home != c.home {
			t.Errorf("%s: home is %s, want %s", name, home, c.home)
		}
		p, err := h.guard.Authorize(t.Context(), c.who, "/ragmesh.dialog.v1.WorkspaceService/ListWorkspaces", "")
		if (err == nil) != (len(c.want) > 0) || err == nil && p.Workspace != c.home {
			t.Errorf("%s lists workspaces: %+v %v", name, p, err)
		}
	}
}

func TestCondemnedWorkspace(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "team")
	ctx := t.Context()
	h.set("team", "user:alice", identity.Admin)
	alice := Grant{Subject: "user:alice"}
	inside, err := h.workspaces.Enter(ctx, "team")
	if err != nil {
		t.Fatal(err)
	}
	if !h.workspaces.Keeps("team", clock()) {
		t.Error("a turn is not kept")
	}
	if _, err := h.workspaces.Condemn(ctx, "team", "user:root"); err != nil {
		t.Fatal(err)
	}
	if fault.KindOf(context.Cause(inside)) != fault.NotFound {
		t.Errorf("a call inside goes on: %v", context.Cause(inside))
	}
	if got := h.role(alice, "team"); got != "not found" {
		t.Errorf("for a member: %s", got)
	}
	if got := h.role(Grant{Subject: "bootstrap", Role: identity.Admin}, "team"); got != "not found" {
		t.Errorf("for bootstrap: %s", got)
	}
	if _, err := h.workspaces.Enter(ctx, "team"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("entered: %v", err)
	}
	if h.workspaces.Keeps("team", clock()) {
		t.Error("a turn is kept")
	}
	if _, _, err := h.workspaces.Create(ctx, "team", ""); fault.KindOf(err) != fault.Conflict {
		t.Errorf("made again meanwhile: %v", err)
	}
	if list, err := h.workspaces.Condemned(ctx); err != nil || len(list) != 1 || list[0].ID != "team" {
		t.Errorf("condemned: %+v %v", list, err)
	}
	if err := h.workspaces.Bury(ctx, "team"); err != nil {
		t.Fatal(err)
	}
	h.workspaces.now = func() time.Time { return clock().Add(time.Hour) }
	if _, made, err := h.workspaces.Create(ctx, "team", ""); !made || err != nil {
		t.Errorf("made anew: %t %v", made, err)
	}
	if h.workspaces.Keeps("team", clock()) || !h.workspaces.Keeps("team", clock().Add(time.Hour)) {
		t.Error("what began in the old workspace is kept in the new one, or what begins in the new one is not")
	}

	if _, err := h.workspaces.Condemn(ctx, DefaultWorkspace, "user:root"); err != nil {
		t.Fatal(err)
	}
	if err := h.workspaces.Check(ctx, DefaultWorkspace); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the default workspace while it is emptied: %v", err)
	}
	if err := h.workspaces.Bury(ctx, DefaultWorkspace); err != nil {
		t.Fatal(err)
	}
	if err := h.workspaces.Check(ctx, DefaultWorkspace); err != nil || h.workspaces.Keeps(DefaultWorkspace, clock()) {
		t.Errorf("the default workspace afterwards: %v", err)
	}
}
