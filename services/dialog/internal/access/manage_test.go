package access

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

func TestRotate(t *testing.T) {
	t.Parallel()
	now := clock()
	ring := NewKeyring(newTable(), func() time.Time { return now }, zerolog.Nop())
	ring.seen = now
	ctx := t.Context()
	old, before, err := ring.Create(ctx, Key{
		Name: "ci", Role: identity.Editor, Workspaces: []string{"a"}, Scopes: []string{"ask"}, CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(9 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	made, after, replaced, err := ring.Rotate(ctx, old.ID, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID == old.ID || made.Name != "ci" || made.Role != identity.Editor || !slices.Equal(made.Workspaces, old.Workspaces) || !slices.Equal(made.Scopes, old.Scopes) || !made.ExpiresAt.Equal(now.Add(10*time.Hour)) {
		t.Errorf("successor %+v", made)
	}
	if replaced.ReplacedBy != made.ID || !replaced.ExpiresAt.Equal(now.Add(2*time.Hour)) {
		t.Errorf("replaced %+v", replaced)
	}
	good := func(secret string) bool {
		_, err := ring.Check(ctx, secret)
		return err == nil
	}
	if !good(before) || !good(after) {
		t.Error("both are good during the overlap")
	}
	now = now.Add(2 * time.Hour)
	ring.seen = now
	if good(before) || !good(after) {
		t.Error("the new one alone is good after the overlap")
	}
	if _, _, _, err := ring.Rotate(ctx, old.ID, time.Hour); fault.KindOf(err) != fault.Conflict {
		t.Errorf("rotated twice: %v", err)
	}
	// An overlap does not make a key live longer, and none ends it at once.
	short, secret, err := ring.Create(ctx, Key{Name: "x", CreatedAt: now, ExpiresAt: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, replaced, err := ring.Rotate(ctx, short.ID, time.Hour); err != nil || !replaced.ExpiresAt.Equal(now.Add(time.Minute)) {
		t.Errorf("%+v %v", replaced, err)
	}
	if !good(secret) {
		t.Error("it went on no longer")
	}
	forever, secret, err := ring.Create(ctx, Key{Name: "x", CreatedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	made, _, _, err = ring.Rotate(ctx, forever.ID, 0)
	if err != nil || good(secret) || !made.ExpiresAt.IsZero() {
		t.Errorf("without overlap: %+v %v", made, err)
	}
	if _, err := ring.Revoke(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := ring.Rotate(ctx, made.ID, time.Hour); fault.KindOf(err) != fault.Precondition {
		t.Errorf("rotate a revoked one: %v", err)
	}
	if _, _, _, err := ring.Rotate(ctx, "nope", time.Hour); fault.ReasonOf(err) != fault.KeyNotFound {
		t.Errorf("rotate nothing: %v", err)
	}
}

func TestRotateAtOnceMakesOneSuccessor(t *testing.T) {
	t.Parallel()
	store := newTable()
	maker := NewKeyring(store, clock, zerolog.Nop())
	old, _, err := maker.Create(t.Context(), Key{Name: "x", Role: identity.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var made []string
	var all sync.WaitGroup
	for range 8 {
		ring := NewKeyring(store, clock, zerolog.Nop()) // each is a replica
		all.Go(func() {
			next, _, _, err := ring.Rotate(t.Context(), old.ID, time.Hour)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, next.ID)
			} else if fault.KindOf(err) != fault.Conflict {
				t.Errorf("rotate: %v", err)
			}
		})
	}
	all.Wait()
	list, err := maker.List(t.Context())
	if len(made) != 1 || err != nil || len(list) != 2 {
		t.Errorf("%d successors, %d keys, %v", len(made), len(list), err)
	}
	if key, err := maker.Get(t.Context(), old.ID); err != nil || key.ReplacedBy != made[0] {
		t.Errorf("%+v %v", key, err)
	}
}

func TestRevokeWhere(t *testing.T) {
	t.Parallel()
	ring := NewKeyring(newTable(), clock, zerolog.Nop())
	for _, account := range []string{"bot", "bot", "other", ""} {
		if _, _, err := ring.Create(t.Context(), Key{Name: "x", ServiceAccount: account}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} {
		gone, err := ring.RevokeWhere(t.Context(), func(k Key) bool { return k.ServiceAccount == "bot" })
		if err != nil || len(gone) != want {
			t.Errorf("%d revoked, want %d: %v", len(gone), want, err)
		}
	}
}

func TestNobodyHandsOutMoreThanTheyHave(t *testing.T) {
	t.Parallel()
	g := &Guard{workspaces: &Workspaces{known: map[string]Workspace{"a": {}, "b": {}}, table: newTable(), now: clock}}
	roles := func(r map[string]identity.Role) Grant { return Grant{Subject: "user:x", Roles: r} }
	for what, test := range map[string]struct {
		who Grant
		key Key
		ok  bool
	}{
		"owner, everything":                     {Grant{Role: identity.Admin, Owner: true}, Key{Role: identity.Admin}, true},
		"administrator of all, everything":      {Grant{Role: identity.Admin}, Key{Role: identity.Admin}, true},
		"by group, everything":                  {roles(map[string]identity.Role{"*": identity.Admin}), Key{Role: identity.Admin}, true},
		"editor of all, a viewer":               {Grant{Role: identity.Editor}, Key{Role: identity.Viewer, Workspaces: []string{"a"}}, false},
		"administrator of a, in a":              {Grant{Role: identity.Admin, Workspaces: []string{"a"}}, Key{Role: identity.Admin, Workspaces: []string{"a"}}, true},
		"administrator of a, in all":            {Grant{Role: identity.Admin, Workspaces: []string{"a"}}, Key{Role: identity.Viewer}, false},
		"administrator of a, in a and b":        {Grant{Role: identity.Admin, Workspaces: []string{"a"}}, Key{Role: identity.Viewer, Workspaces: []string{"a", "b"}}, false},
		"administrator of a, viewer of b, in b": {roles(map[string]identity.Role{"a": identity.Admin, "b": identity.Viewer}), Key{Role: identity.Viewer, Workspaces: []string{"b"}}, false},
		"a service account's key of a":          {roles(map[string]identity.Role{"a": identity.Admin}), Key{ServiceAccount: "bot", Workspaces: []string{"a"}}, true},
		"one scope of several":                  {Grant{Role: identity.Admin, Scopes: []string{"manage", "read"}}, Key{Role: identity.Admin, Scopes: []string{"read"}}, true},
		"a scope of nobody's":                   {Grant{Role: identity.Admin, Scopes: []string{"manage", "read"}}, Key{Role: identity.Admin, Scopes: []string{"read", "write"}}, false},
		"all scopes":                            {Grant{Role: identity.Admin, Scopes: []string{"manage", "read"}}, Key{Role: identity.Admin}, false},
	} {
		if err := g.MayManage(t.Context(), test.who, test.key); (err == nil) != test.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	const create = "/ragmesh.dialog.v1.KeyService/CreateKey"
	for what, test := range map[string]struct {
		who Grant
		ok  bool
	}{
		"administrator of one":   {roles(map[string]identity.Role{"a": identity.Admin}), true},
		"editor of all":          {Grant{Role: identity.Editor}, false},
		"nobody":                 {Grant{}, false},
		"with the scope":         {Grant{Role: identity.Admin, Scopes: []string{"manage"}}, true},
		"without the scope":      {Grant{Role: identity.Admin, Scopes: []string{"ask", "read", "write", "eval"}}, false},
		"of a workspace no more": {Grant{Role: identity.Admin, Workspaces: []string{"gone"}}, false},
	} {
		if _, err := g.Authorize(t.Context(), test.who, create, ""); (err == nil) != test.ok || err != nil && fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	g := &Guard{workspaces: &Workspaces{known: map[string]Workspace{}, table: newTable(), now: clock}}
	for procedure := range procedures() {
		r, _ := ruleOf(procedure)
		if r.reach == closed {
			continue
		}
		for _, scope := range Scopes() {
			_, err := g.Authorize(t.Context(), Grant{Subject: "x", Role: identity.Admin, Owner: true, Scopes: []string{scope}}, procedure, DefaultWorkspace)
			if want := r.scope == always || r.scope == scope; (err == nil) != want {
				t.Errorf("%s with the scope %s: %v", procedure, scope, err)
			}
		}
	}
}
