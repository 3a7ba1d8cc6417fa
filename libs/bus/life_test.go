package bus_test

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

func TestLives(t *testing.T) {
	t.Parallel()
	server := bustest.NewServer(t, "")
	connect := func() *bus.Bus {
		b, err := bus.Connect(t.Context(), bus.Options{Name: "dialog", InProcess: server, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	a, b := connect(), connect()
	defer b.Close()
	if err := a.Announce("one"); err != nil {
		t.Fatal(err)
	}
	becomes := func(what string, want bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			lives, err := b.Lives(t.Context(), "one")
			if err == nil && lives == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %t %v", what, lives, err)
			}
		}
	}
	becomes("while it is there", true)
	if lives, err := b.Lives(t.Context(), "two"); err != nil || lives {
		t.Errorf("somebody else: %t %v", lives, err)
	}
	a.Close()
	becomes("after its end", false)
}
