package policy

import (
	"fmt"
	"strings"
	"testing"
)

// rule is one thing that holds for the whole workspace.
type rule struct {
	name  string
	check func(*workspace) []violation
	// breaks are files which, laid over the sample workspace, break this rule and no other.
	breaks map[string]string
	// where is what the violation must name then.
	where string
}

// violation names what breaks a rule and why there is such a rule.
type violation struct {
	where string // a file, a folder or a module
	what  string
	why   string
}

func (v violation) String() string {
	return fmt.Sprintf("%s: %s\n\tbecause %s", v.where, v.what, v.why)
}

func rules() []rule {
	var all []rule
	for _, group := range [][]rule{directionRules(), technologyRules(), moduleRules(), packageRules(), graphRules()} {
		all = append(all, group...)
	}
	return all
}

// TestWorkspace applies every rule to the repository.
func TestWorkspace(t *testing.T) {
	t.Parallel()
	ws := open(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, v := range r.check(ws) {
				t.Error(v)
			}
		})
	}
}

// TestRulesCanFail breaks every rule in turn, in a small workspace that otherwise satisfies all of them.
func TestRulesCanFail(t *testing.T) {
	t.Parallel()
	for _, broken := range rules() {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			if len(broken.breaks) == 0 {
				t.Fatal("the rule does not say what breaks it")
			}
			ws := sample(t, broken.breaks)
			for _, r := range rules() {
				got := r.check(ws)
				switch {
				case r.name != broken.name && len(got) > 0:
					t.Errorf("breaking %q also breaks %q: %v", broken.name, r.name, got)
				case r.name == broken.name && len(got) != 1:
					t.Errorf("%d violations, want exactly one: %v", len(got), got)
				case r.name == broken.name && (!strings.Contains(got[0].where, broken.where) || got[0].why == ""):
					t.Errorf("violation %v does not name %s or gives no reason", got[0], broken.where)
				}
			}
		})
	}
}
