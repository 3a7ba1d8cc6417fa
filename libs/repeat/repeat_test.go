package repeat_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/repeat"
)

// What is down for long is not asked six times as often.
func TestAllowance(t *testing.T) {
	t.Parallel()
	var a repeat.Allowance
	now := time.Now()
	repeats := 0
	for range 60 { // 60 s at 100 calls a second that all fail and want five repeats
		for range 100 {
			a.Call()
			for range 5 {
				if a.Take(now) {
					repeats++
				}
			}
		}
		now = now.Add(time.Second)
	}
	if least, most := 60*(20+10), 300+60*(20+10); repeats < least || repeats > most {
		t.Errorf("%d repeats of 6000 calls, want %d to %d", repeats, least, most)
	}
	if !a.Take(now.Add(time.Minute)) {
		t.Error("after a minute's rest nothing is allowed")
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	why := errors.New("nobody waits any more")
	ended, end := context.WithCancelCause(t.Context())
	end(why)
	for _, d := range []time.Duration{-1, 0, time.Hour} {
		if err := repeat.Pause(ended, d); !errors.Is(err, why) {
			t.Errorf("Pause(%v) = %v after the end, want %v", d, err, why)
		}
	}
	for _, d := range []time.Duration{-1, 0, time.Microsecond} {
		if err := repeat.Pause(t.Context(), d); err != nil {
			t.Errorf("Pause(%v) = %v", d, err)
		}
	}
}
