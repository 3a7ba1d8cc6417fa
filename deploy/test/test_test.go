package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSplitFindsObjects(t *testing.T) {
	t.Parallel()
	got := split("x", []byte("# values: nothing\na: 1\n---\n# Source: y\napiVersion: apps/v1\nkind: Deployment\nspec: {kind: no}\n--- # next\nkind: \"Secret\"\napiVersion: 'v1'\n---\n"))
	var kinds []string
	for _, m := range got {
		kinds = append(kinds, m.kind)
	}
	if want := []string{"apps/v1 Deployment", "v1 Secret"}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("got %q, want %q", kinds, want)
	}
}

func TestOnlyAWholeAnswerCounts(t *testing.T) {
	t.Parallel()
	answer := func(outcome, degradations, citations string) string {
		return `{"seq":"1","started":{}}` + "\n" + `{"seq":"2","completed":{"turn":{"outcome":"` + outcome + `","answer":"12 euros [1]","degradations":[` + degradations +
			`],"citations":[` + citations + `]}}}` + "\n"
	}
	const supported = `{"quote":"costs 12 euros.","support":"SUPPORT_SUPPORTED"}`
	tests := map[string]struct {
		events string
		good   bool
	}{
		"whole":            {answer("OUTCOME_ANSWERED", "", supported), true},
		"abstained":        {answer("OUTCOME_ABSTAINED", "", supported), false},
		"degraded":         {answer("OUTCOME_ANSWERED", `{"stage":"tools"}`, supported), false},
		"without citation": {answer("OUTCOME_ANSWERED", "", ""), false},
		"of something else": {
			answer("OUTCOME_ANSWERED", "", `{"quote":"48 euros","support":"SUPPORT_SUPPORTED"}`), false,
		},
		"unsupported": {answer("OUTCOME_ANSWERED", "", `{"quote":"costs 12 euros.","support":"SUPPORT_UNSUPPORTED"}`), false},
		"cut off":     {`{"seq":"1","started":{}}`, false},
		"nothing":     {"", false},
	}
	for name, tt := range tests {
		if err := checkAnswer([]byte(tt.events), "12 euros"); (err == nil) != tt.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStepsAreChosenByName(t *testing.T) {
	t.Parallel()
	all, err := choose("")
	if err != nil || len(all) != len(steps())-len(byRequest) {
		t.Errorf("%d steps, %v", len(all), err)
	}
	some, err := choose("kill,long")
	if err != nil || len(some) != 2 || some[0].name != "kill" || some[1].name != "long" {
		t.Errorf("%v, %v", some, err)
	}
	if _, err := choose("kil"); err == nil || !strings.Contains(err.Error(), "manifests, separate") {
		t.Errorf("got %v, want the steps that there are", err)
	}
}

func TestDegradedTurnsAreCountedByTime(t *testing.T) {
	t.Parallel()
	r := report{Seconds: []second{{At: 4, Degraded: 1}, {At: 5, Degraded: 2}, {At: 19, Degraded: 4}, {At: 20, Degraded: 8}}}
	if got := r.degradedBetween(5*time.Second, 20*time.Second); got != 6 {
		t.Errorf("got %d, want 6", got)
	}
}
