package access

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
)

func TestLogins(t *testing.T) {
	t.Parallel()
	store := newTable()
	now := clock()
	logins := NewLogins(store, func() time.Time { return now }, zerolog.Nop())
	logins.seen = now
	ctx := t.Context()
	id, s, err := logins.Create(ctx, Person{Issuer: "corp", Name: "alice"}, time.Hour)
	if err != nil || !s.Expires.Equal(now.Add(time.Hour)) {
		t.Fatalf("%+v %v", s, err)
	}
	for key, e := range store.entries {
		if strings.Contains(key, id) || strings.Contains(string(e.Value), id) {
			t.Error("who reads the store can log in with what is there")
		}
	}
	other := NewLogins(store, func() time.Time { return now }, zerolog.Nop()) // another replica that has not heard of it
	for name, l := range map[string]*Logins{"maker": logins, "other replica": other} {
		if s, err := l.Check(ctx, id, true); err != nil || s.Person.Name != "alice" {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
	for name, bad := range map[string]string{"empty": "", "its key": loginKey(id), "cut": id[1:], "another": strings.Repeat("A", len(id)), "wildcard": ">"} {
		if _, err := logins.Check(ctx, bad, true); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	store.away = true
	if _, err := logins.Check(ctx, id, false); err != nil {
		t.Errorf("store away: %v", err)
	}
	now = now.Add(11 * time.Minute)
	if _, err := logins.Check(ctx, id, true); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("store away for 11 minutes: %v", err)
	}
	if _, _, err := logins.Create(ctx, Person{}, time.Hour); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("log in while the store is away: %v", err)
	}
	store.away = false
	now = now.Add(time.Hour)
	if _, err := logins.Check(ctx, id, true); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("expired: %v", err)
	}
	if _, s, err := logins.Create(ctx, Person{}, 365*24*time.Hour); err != nil || s.Expires.After(now.Add(MaxLogin)) {
		t.Errorf("a login for a year: %+v %v", s, err)
	}
}

// feed is a table whose watch shows what a test sends.
type feed struct {
	*table
	news chan bus.Entry
	done chan struct{}
}

func (f feed) Watch(ctx context.Context, _ string, fn func(bus.Entry)) error {
	for {
		select {
		case e := <-f.news:
			fn(e)
			f.done <- struct{}{}
		case <-ctx.Done():
			return nil
		}
	}
}

func TestLogoutIsNoticedElsewhere(t *testing.T) {
	t.Parallel()
	store := feed{newTable(), make(chan bus.Entry), make(chan struct{})}
	here, there := NewLogins(store, clock, zerolog.Nop()), NewLogins(store, clock, zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- there.Watch(ctx) }()
	store.news <- bus.Entry{} // all has been shown
	<-store.done
	id, _, err := here.Create(ctx, Person{Name: "alice"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Check(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	if err := here.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Check(ctx, id, true); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("logged out here: %v", err)
	}
	store.news <- bus.Entry{Key: loginKey(id), Deleted: true}
	<-store.done
	if _, err := there.Check(ctx, id, true); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("logged out there: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestBrowsersAndOtherSites(t *testing.T) {
	t.Parallel()
	logins := NewLogins(newTable(), clock, zerolog.Nop())
	cfg := Defaults()
	cfg.OIDC = []Issuer{{Name: "corp", URL: "https://login.example", ClientID: "x"}}
	cfg.Login.PublicURL = "https://ragmesh.example"
	g, err := NewGuard(cfg, Known{Logins: logins, Workspaces: NewWorkspaces(newTable(), clock, zerolog.Nop()), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := logins.Create(t.Context(), Person{Issuer: "corp", Name: "alice"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		call Call
		ok   bool
	}{
		"our page":                              {Call{FetchSite: "same-origin", Origin: "https://ragmesh.example"}, true},
		"the address bar":                       {Call{FetchSite: "none"}, true},
		"another site":                          {Call{FetchSite: "cross-site", Origin: "https://evil.example"}, false},
		"another site that reads only":          {Call{FetchSite: "cross-site"}, false},
		"a neighbour":                           {Call{FetchSite: "same-site", Origin: "https://wiki.example"}, false},
		"what browsers don't say":               {Call{FetchSite: "whatever"}, false},
		"an older browser, our page":            {Call{Origin: "https://ragmesh.example", Host: "10.0.0.1"}, true},
		"an older browser, by the host":         {Call{Origin: "http://10.0.0.1:8080", Host: "10.0.0.1:8080"}, true},
		"an older browser, another site":        {Call{Origin: "https://evil.example", Host: "ragmesh.example"}, false},
		"an older browser, a sandbox":           {Call{Origin: "null", Host: "ragmesh.example"}, false},
		"an older browser, a longer name":       {Call{Origin: "https://ragmesh.example.evil.example", Host: "ragmesh.example"}, false},
		"no browser":                            {Call{Host: "ragmesh.example"}, true},
		"a bad token beside a login, our page":  {Call{FetchSite: "same-origin", Authorization: []string{"Bearer x"}}, false},
		"another scheme beside it, our page":    {Call{FetchSite: "same-origin", Authorization: []string{"Basic x"}}, false},
		"two tokens beside a login, our page":   {Call{FetchSite: "same-origin", Authorization: []string{"Bearer x", "Bearer x"}}, false},
		"an empty header beside it, our page":   {Call{FetchSite: "same-origin", Authorization: []string{""}}, false},
		"a login that is none, from our page":   {Call{FetchSite: "same-origin", Login: strings.Repeat("A", 43)}, false},
		"a login that is none, another site":    {Call{FetchSite: "cross-site", Login: strings.Repeat("A", 43)}, false},
		"nothing at all":                        {Call{FetchSite: "same-origin", Login: "-"}, false},
		"the key of the store instead of an id": {Call{FetchSite: "same-origin", Login: loginKey(id)}, false},
	} {
		call := test.call
		if call.Login == "" {
			call.Login = id
		}
		who, err := g.Authenticate(t.Context(), call)
		if (err == nil) != test.ok {
			t.Errorf("%s: %+v %v", what, who, err)
		}
		if err == nil && (who.Subject != "user:alice" || who.Person == nil) {
			t.Errorf("%s: %+v", what, who)
		}
		if test.call.FetchSite == "cross-site" && fault.ReasonOf(err) != fault.CrossSite {
			t.Errorf("%s: %v", what, err)
		}
	}
}
