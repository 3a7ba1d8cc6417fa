package retain_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/services/dialog/internal/retain"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// store has one session per workspace, and notes when sessions have to be older than.
type store struct {
	asked   map[string]time.Time
	expired []string
	err     error
}

func (s *store) Quiet(_ context.Context, workspace string, before time.Time, _ int) ([]retain.Session, error) {
	s.asked[workspace] = before
	return []retain.Session{{Workspace: workspace, ID: "s"}}, s.err
}

func (s *store) Expire(_ context.Context, e retain.Session, _ time.Time) (bool, error) {
	s.expired = append(s.expired, e.Workspace)
	return true, s.err
}

func keeper(t *testing.T, s *store, cfg retain.Config) *retain.Keeper {
	t.Helper()
	k, err := retain.New(cfg, retain.Deps{Store: s, Now: func() time.Time { return noon }, Every: time.Millisecond, Log: zerolog.Nop(), Workspaces: func() map[string]time.Duration {
		return map[string]time.Duration{"default": 0, "bank": 24 * time.Hour}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  retain.Config
		want map[string]time.Time
	}{
		"the workspace's own alone":     {retain.Config{}, map[string]time.Time{"bank": noon.Add(-24 * time.Hour)}},
		"everybody's where it has none": {retain.Config{Retention: 48 * time.Hour}, map[string]time.Time{"bank": noon.Add(-24 * time.Hour), "default": noon.Add(-48 * time.Hour)}},
	} {
		s := &store{asked: map[string]time.Time{}}
		if err := keeper(t, s, c.cfg).Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, s.asked); diff != "" || len(s.expired) != len(c.want) {
			t.Errorf("%s: expired %v, (-want +got):\n%s", name, s.expired, diff)
		}
	}
}

func TestRunGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	rounds := 0
	s := &store{asked: map[string]time.Time{}, err: errors.New("away")}
	k, err := retain.New(retain.Config{}, retain.Deps{Store: s, Now: time.Now, Every: time.Millisecond, Log: zerolog.Nop(), Workspaces: func() map[string]time.Duration {
		if rounds++; rounds == 3 {
			cancel()
		}
		return map[string]time.Duration{"bank": time.Hour}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Run(ctx); err != nil || rounds < 3 {
		t.Errorf("%v after %d rounds", err, rounds)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for d, good := range map[time.Duration]bool{0: true, time.Hour: true, 87600 * time.Hour: true, time.Minute: false, -1: false, 87601 * time.Hour: false} {
		if err := (retain.Config{Retention: d}).Validate(); (err == nil) != good {
			t.Errorf("%s: %v", d, err)
		}
	}
}
