package access

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

func crowd(issuers ...Issuer) people { return people{Config{OIDC: issuers}.Issuers()} }

func TestPerson(t *testing.T) {
	t.Parallel()
	one := []Issuer{{Name: "corp", ClientID: "x"}}
	two := []Issuer{{Name: "corp", ClientID: "x", EmailDomains: []string{"corp.example"}}, {Name: "partner", ClientID: "x", Prefix: "partner/"}}
	mail := []Issuer{{Name: "corp", ClientID: "x", Claims: Claims{Username: "email"}}}
	name := []Issuer{{Name: "corp", ClientID: "x", Claims: Claims{Username: "preferred_username"}}}
	upn := []Issuer{{Name: "corp", ClientID: "x", EmailDomains: []string{"corp.example"}, Claims: Claims{Username: "preferred_username"}}}
	nested := []Issuer{{Name: "corp", ClientID: "x", Claims: Claims{Groups: "realm_access.roles"}}}
	dotted := []Issuer{{Name: "corp", ClientID: "x", Claims: Claims{Groups: "https://x.example/groups"}}}
	type claims = map[string]any
	for what, test := range map[string]struct {
		issuers []Issuer
		from    int
		claims  claims
		want    Person // without the issuer; empty when refused
	}{
		"nothing but a subject":       {one, 0, claims{"sub": "42"}, Person{Name: "42"}},
		"everything":                  {one, 0, claims{"sub": "42", "name": "Alice", "email": "Alice@Example.com", "email_verified": true, "groups": []any{"a", "b", "a"}}, Person{Name: "42", Display: "Alice", Email: "alice@example.com", Groups: []string{"a", "b"}}},
		"one group":                   {one, 0, claims{"sub": "42", "groups": "a"}, Person{Name: "42", Groups: []string{"a"}}},
		"groups that are none":        {one, 0, claims{"sub": "42", "groups": []any{1, "", "a\n", " b", "c d"}}, Person{Name: "42", Groups: []string{"c d"}}},
		"groups deep inside":          {nested, 0, claims{"sub": "42", "realm_access": claims{"roles": []any{"a"}}}, Person{Name: "42", Groups: []string{"a"}}},
		"groups under a URL":          {dotted, 0, claims{"sub": "42", "https://x.example/groups": []any{"a"}}, Person{Name: "42", Groups: []string{"a"}}},
		"e-mail not verified":         {one, 0, claims{"sub": "42", "email": "a@example.com"}, Person{Name: "42"}},
		"e-mail said to be no":        {one, 0, claims{"sub": "42", "email": "a@example.com", "email_verified": false}, Person{Name: "42"}},
		"e-mail verified in words":    {one, 0, claims{"sub": "42", "email": "a@example.com", "email_verified": "true"}, Person{Name: "42", Email: "a@example.com"}},
		"two addresses in one":        {one, 0, claims{"sub": "42", "email": "a@b@example.com", "email_verified": true}, Person{Name: "42"}},
		"e-mail as the name":          {mail, 0, claims{"sub": "42", "email": "A@example.com", "email_verified": true}, Person{Name: "a@example.com", Email: "a@example.com"}},
		"e-mail as the name, unsure":  {mail, 0, claims{"sub": "42", "email": "a@example.com"}, Person{}},
		"e-mail of an own domain":     {two, 0, claims{"sub": "42", "email": "a@corp.example", "email_verified": true}, Person{Name: "42", Email: "a@corp.example"}},
		"e-mail of another's domain":  {two, 0, claims{"sub": "42", "email": "a@partner.example", "email_verified": true}, Person{Name: "42"}},
		"e-mail of a sub-domain":      {two, 0, claims{"sub": "42", "email": "a@x.corp.example", "email_verified": true}, Person{Name: "42"}},
		"e-mail nobody vouches for":   {two, 1, claims{"sub": "42", "email": "a@corp.example", "email_verified": true}, Person{Name: "partner/42"}},
		"prefixed":                    {two, 1, claims{"sub": "42", "groups": []any{"a"}}, Person{Name: "partner/42", Groups: []string{"partner/a"}}},
		"claims another's name":       {two, 0, claims{"sub": "partner/42"}, Person{}},
		"claims another's group":      {two, 0, claims{"sub": "42", "groups": []any{"partner/admins", "a"}}, Person{Name: "42", Groups: []string{"a"}}},
		"claims another's address":    {name, 0, claims{"sub": "42", "preferred_username": "boss@example.com", "email": "me@example.com", "email_verified": true}, Person{}},
		"an own address as name":      {name, 0, claims{"sub": "42", "preferred_username": "Me@example.com", "email": "me@example.com", "email_verified": true}, Person{Name: "me@example.com", Email: "me@example.com", Display: "Me@example.com"}},
		"a name like an address":      {upn, 0, claims{"sub": "42", "preferred_username": "me@corp.example"}, Person{Name: "me@corp.example", Display: "me@corp.example"}},
		"one of a stranger's domain":  {upn, 0, claims{"sub": "42", "preferred_username": "me@evil.example"}, Person{}},
		"no name":                     {name, 0, claims{"sub": "42"}, Person{}},
		"a name of two lines":         {name, 0, claims{"preferred_username": "a\nb"}, Person{}},
		"a name that is not shown":    {name, 0, claims{"preferred_username": "a\u202eb"}, Person{}},
		"a name that is not there":    {name, 0, claims{"preferred_username": "\u200b"}, Person{}},
		"a name that is too long":     {name, 0, claims{"preferred_username": strings.Repeat("a", 201)}, Person{}},
		"a name that is a number":     {name, 0, claims{"preferred_username": 42.0}, Person{}},
		"a Chinese name":              {name, 0, claims{"preferred_username": "王小明"}, Person{Name: "王小明", Display: "王小明"}},
		"a name with a broken letter": {name, 0, claims{"preferred_username": "a\xff"}, Person{}},
	} {
		all := crowd(test.issuers...)
		got, err := all.person(all.issuers[test.from], test.claims)
		if test.want.Name == "" {
			if fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("%s: %+v %v", what, got, err)
			}
			continue
		}
		test.want.Issuer = test.issuers[test.from].Name
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
}

func TestManyGroupsAreBounded(t *testing.T) {
	t.Parallel()
	all := crowd(Issuer{Name: "corp", ClientID: "x"})
	groups := make([]any, 1000)
	for i := range groups {
		groups[i] = strings.Repeat("g", 20) + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	who, err := all.person(all.issuers[0], map[string]any{"sub": "42", "groups": groups})
	if err != nil || len(who.Groups) == 0 || len(who.Groups) > maxGroups || len(strings.Join(who.Groups, "")) > maxNames {
		t.Errorf("%d groups, %v", len(who.Groups), err)
	}
}

func TestRolesOfGroups(t *testing.T) {
	t.Parallel()
	all := crowd(
		Issuer{Name: "corp", ClientID: "x", Roles: []RoleMapping{
			{Group: "*", Workspace: "handbook", Role: "viewer"}, {Group: "bank", Workspace: "bank", Role: "editor"},
			{Group: "heads", Workspace: "bank", Role: "viewer"}, {Group: "ops", Workspace: "*", Role: "admin"},
		}},
		Issuer{Name: "partner", ClientID: "x", Prefix: "partner/", Roles: []RoleMapping{{Group: "ops", Workspace: "shared", Role: "viewer"}}},
	)
	for what, test := range map[string]struct {
		who  Person
		want map[string]identity.Role
	}{
		"everybody":             {Person{Issuer: "corp", Name: "a"}, map[string]identity.Role{"handbook": identity.Viewer}},
		"two groups, the best":  {Person{Issuer: "corp", Name: "a", Groups: []string{"heads", "bank"}}, map[string]identity.Role{"handbook": identity.Viewer, "bank": identity.Editor}},
		"everywhere":            {Person{Issuer: "corp", Name: "a", Groups: []string{"ops"}}, map[string]identity.Role{"handbook": identity.Viewer, "*": identity.Admin}},
		"another's equal group": {Person{Issuer: "partner", Name: "partner/a", Groups: []string{"partner/ops"}}, map[string]identity.Role{"shared": identity.Viewer}},
		"a group of the other":  {Person{Issuer: "partner", Name: "partner/a", Groups: []string{"ops"}}, map[string]identity.Role{}},
	} {
		g, err := all.grant(test.who)
		if diff := cmp.Diff(test.want, g.Roles); diff != "" || err != nil || g.Role != 0 || g.Owner {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	g, err := all.grant(Person{Issuer: "corp", Name: "a", Email: "a@example.com", Groups: []string{"ops"}})
	if err != nil || g.Subject != "user:a" || !cmp.Equal(g.Names, []string{"user:a@example.com", "group:ops"}) || g.everywhere() != identity.Admin || g.role("any") != identity.Admin {
		t.Errorf("%+v %v", g, err)
	}
	if _, err := all.grant(Person{Issuer: "gone", Name: "a"}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("of a provider that was removed: %v", err)
	}
}

func TestConfigOfProviders(t *testing.T) {
	t.Parallel()
	good := Issuer{Name: "corp", URL: "https://login.example.com", ClientID: "x"}
	with := func(change func(*Issuer)) Issuer {
		i := good
		change(&i)
		return i
	}
	for what, test := range map[string]struct {
		issuer Issuer
		says   string // empty when good
	}{
		"good":              {good, ""},
		"on this machine":   {with(func(i *Issuer) { i.URL = "http://localhost:5556/dex" }), ""},
		"without TLS":       {with(func(i *Issuer) { i.URL = "http://login.example.com" }), "issuer"},
		"with a query":      {with(func(i *Issuer) { i.URL = "https://login.example.com?x=1" }), "issuer"},
		"with a password":   {with(func(i *Issuer) { i.URL = "https://a:b@login.example.com" }), "issuer"},
		"a service's name":  {with(func(i *Issuer) { i.URL = "eval" }), "issuer"},
		"no name":           {with(func(i *Issuer) { i.Name = "" }), "name"},
		"name with spaces":  {with(func(i *Issuer) { i.Name = "my corp" }), "name"},
		"for whomever":      {with(func(i *Issuer) { i.ClientID = "" }), "audiences"},
		"prefix":            {with(func(i *Issuer) { i.Prefix = "partner/" }), ""},
		"prefix without /":  {with(func(i *Issuer) { i.Prefix = "partner" }), "prefix"},
		"only a /":          {with(func(i *Issuer) { i.Prefix = "/" }), "prefix"},
		"symmetric":         {with(func(i *Issuer) { i.Algorithms = []string{"HS256"} }), "algorithms[0]"},
		"none":              {with(func(i *Issuer) { i.Algorithms = []string{"RS256", "none"} }), "algorithms[1]"},
		"all domains":       {with(func(i *Issuer) { i.EmailDomains = []string{"*"} }), "email_domains[0]"},
		"clock too far off": {with(func(i *Issuer) { i.ClockSkew = 6 * 60e9 }), "clock_skew"},
		"role":              {with(func(i *Issuer) { i.Roles = []RoleMapping{{Group: "a", Workspace: "*", Role: "admin"}} }), ""},
		"role unknown":      {with(func(i *Issuer) { i.Roles = []RoleMapping{{Group: "a", Workspace: "*", Role: "root"}} }), "roles[0].role"},
		"role nowhere":      {with(func(i *Issuer) { i.Roles = []RoleMapping{{Group: "a", Role: "admin"}} }), "roles[0].workspace"},
		"role of nobody":    {with(func(i *Issuer) { i.Roles = []RoleMapping{{Workspace: "a", Role: "admin"}} }), "roles[0].group"},
	} {
		err := test.issuer.Validate()
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, test := range map[string]struct {
		others []Issuer
		ok     bool
	}{
		"two with prefix":       {[]Issuer{with(func(i *Issuer) { i.Name, i.URL, i.Prefix = "b", "https://b.example", "b/" })}, true},
		"two without":           {[]Issuer{with(func(i *Issuer) { i.Name, i.URL = "b", "https://b.example" })}, false},
		"the same name":         {[]Issuer{with(func(i *Issuer) { i.URL, i.Prefix = "https://b.example", "b/" })}, false},
		"the same provider":     {[]Issuer{with(func(i *Issuer) { i.Name, i.Prefix = "b", "b/" })}, false},
		"one for the bootstrap": {nil, true},
	} {
		c := Defaults()
		c.OIDC = append([]Issuer{good}, test.others...)
		if err := c.Validate(); (err == nil) != test.ok {
			t.Errorf("%s: %v", what, err)
		}
		if !c.Configured() {
			t.Errorf("%s: nobody has to show who they are", what)
		}
	}
	for url, ok := range map[string]bool{
		"https://ragmesh.example.com": true, "http://localhost:8080": true, "http://ragmesh.example.com": false, "https://ragmesh.example.com/": false, "ragmesh.example.com": false, "https://x?y": false,
	} {
		l := Defaults().Login
		l.PublicURL = url
		if err := l.Validate(); (err == nil) != ok {
			t.Errorf("public address %s: %v", url, err)
		}
	}
}
