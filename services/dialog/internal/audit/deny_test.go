package audit

import (
	"context"
	"fmt"
	"testing"
)

func TestDenialsThatAreAlikeAreCounted(t *testing.T) {
	t.Parallel()
	now := clock()
	d := newDenials()
	guess := Event{Address: "192.0.2.1", Action: "Chat", Reason: "UNAUTHENTICATED"}
	if !d.first(guess, now) {
		t.Fatal("the first is not written")
	}
	for _, action := range []string{"Chat", "Search", "made up"} { // whoever is nobody may call anything
		guess.Action = action
		if d.first(guess, now) {
			t.Errorf("%s is written too", action)
		}
	}
	for what, e := range map[string]Event{
		"from elsewhere":             {Address: "192.0.2.2", Action: "Chat", Reason: "UNAUTHENTICATED"},
		"for another reason":         {Address: "192.0.2.1", Action: "Chat", Reason: "RATE_LIMITED"},
		"of somebody":                {Actor: "key:a", Address: "192.0.2.1", Action: "Chat", Reason: "ROLE_TOO_LOW"},
		"of somebody, another":       {Actor: "key:a", Address: "192.0.2.1", Action: "Search", Reason: "ROLE_TOO_LOW"},
		"of somebody, somewhere":     {Actor: "key:a", Workspace: "w", Address: "192.0.2.1", Action: "Chat", Reason: "ROLE_TOO_LOW"},
		"of somebody else elsewhere": {Actor: "key:b", Address: "192.0.2.9", Action: "Chat", Reason: "ROLE_TOO_LOW"},
	} {
		if !d.first(e, now) {
			t.Errorf("%s: not written", what)
		}
	}
	if over := d.over(now); len(over) != 0 {
		t.Errorf("too early: %v", over)
	}
	now = now.Add(denyEvery)
	over := d.over(now)
	if len(over) != 1 || over[0].Count != 3 || over[0].Address != "192.0.2.1" || over[0].Action != "made up" {
		t.Errorf("%+v", over)
	}
	if !d.first(guess, now) {
		t.Error("later, it is not written again")
	}
}

func TestDenialsAreBounded(t *testing.T) {
	t.Parallel()
	now := clock()
	d := newDenials()
	written := 0
	for i := range 10 * maxDenials {
		if d.first(Event{Address: fmt.Sprint(i), Reason: "UNAUTHENTICATED"}, now) {
			written++
		}
	}
	if written > maxDenials+1 || len(d.under) > maxDenials+1 {
		t.Errorf("%d written, %d counted", written, len(d.under))
	}
	over := d.over(now.Add(denyEvery))
	if len(over) != 1 || over[0].Count != uint32(9*maxDenials-1) || over[0].Address != "" {
		t.Errorf("%+v", over)
	}
}

func TestWhatWasCountedIsWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	var got []Event
	trail := newTrail(t, func(_ context.Context, _ string, e Event) error {
		got = append(got, e)
		return nil
	})
	for range 5 {
		trail.Deny(Event{Address: "192.0.2.1", Action: "Chat", Reason: "UNAUTHENTICATED"})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trail.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Count != 0 || got[1].Count != 4 || got[1].Workspace != "-" {
		t.Errorf("%+v", got)
	}
}
