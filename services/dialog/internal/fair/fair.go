// Package fair shares what is scarce among callers, so that one workspace's burst is that workspace's own affair. Its
// configuration bounds the line in which turns wait for their places. [Questions] and [Calls] bound what a caller does how often
// and how much of it at the same time. The package knows neither turns nor transports; all it gives up on is said as a fault.
package fair

import (
	"errors"
	"fmt"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/line"
)

// Config says what callers may take. All of it is for one process: replicas don't know of each other.
type Config struct {
	User      Share          `yaml:"user" doc:"What one key or user may take."`
	Workspace Share          `yaml:"workspace" doc:"What all of a workspace's users may take together."`
	Weights   map[string]int `yaml:"weights" doc:"Workspaces that get more places than others while there are too few: how many for each one of theirs, 1 to 100. 1 for who is not named."`
	Waiting   Waiting        `yaml:"waiting"`
	Calls     CallLimits     `yaml:"calls"`
	Request   config.Bytes   `yaml:"request_size" doc:"Largest request, of any kind and as it is sent. Bytes, 64KiB to 64MiB."`
}

// Share bounds the questions of one party.
type Share struct {
	Rate    int `yaml:"questions_per_minute" doc:"Questions in a minute, of one key or user (limits.user) or of a whole workspace (limits.workspace), above which they are refused with RATE_LIMITED. Count, 1 to 1000000; 0 for no bound."`
	Burst   int `yaml:"burst" doc:"Questions that may come at once before the rate counts. Count, 1 to 1000000; 0 for a tenth of the rate."`
	Running int `yaml:"max_running" doc:"Turns of theirs that run at once in this process; more wait. Count, 1 to 100000; 0 for no bound but that on all turns."`
}

// Waiting bounds the line of turns that wait for a place.
type Waiting struct {
	All       int           `yaml:"max" doc:"Turns that wait at once in this process, when as many run as may; more are refused with OVERLOADED. Count, 0 to 100000."`
	Workspace int           `yaml:"max_per_workspace" doc:"How many of them one workspace may have; more are refused with RATE_LIMITED. Count, 1 to 100000; 0 for no bound but that on all."`
	Patience  time.Duration `yaml:"timeout" doc:"How long a turn waits at most until it is refused. Duration, 10ms to 5m."`
}

// CallLimits bounds everything else a caller does here.
type CallLimits struct {
	Rate    int `yaml:"per_second" doc:"Calls other than questions that one key or user may make in a second; more are refused with RATE_LIMITED. Count, 1 to 1000000; 0 for no bound."`
	Burst   int `yaml:"burst" doc:"Calls that may come at once before the rate counts. Count, 1 to 1000000; 0 for the rate."`
	Running int `yaml:"max_running" doc:"Calls other than questions that one key or user may have under way in this process, streams included; more are refused with RATE_LIMITED. Count, 1 to 100000."`
}

// Defaults are bounds that one person at a keyboard doesn't meet.
func Defaults() Config {
	return Config{
		Waiting: Waiting{All: 256, Workspace: 128, Patience: 10 * time.Second},
		Calls:   CallLimits{Running: 128},
		Request: 4 << 20,
	}
}

const most = 1_000_000

// Validate says what is out of bounds.
func (c Config) Validate() error {
	var wrong []error
	count := func(name string, n, least, most int) {
		if n < least || n > most {
			wrong = append(wrong, config.Invalid(name, "must be %d to %d, not %d", least, most, n))
		}
	}
	for name, s := range map[string]Share{"user": c.User, "workspace": c.Workspace} {
		count(name+".questions_per_minute", s.Rate, 0, most)
		count(name+".burst", s.Burst, 0, most)
		count(name+".max_running", s.Running, 0, 100_000)
	}
	for workspace, weight := range c.Weights {
		count(fmt.Sprintf("weights.%s", workspace), weight, 1, 100)
	}
	count("waiting.max", c.Waiting.All, 0, 100_000)
	count("waiting.max_per_workspace", c.Waiting.Workspace, 0, 100_000)
	if p := c.Waiting.Patience; p < 10*time.Millisecond || p > 5*time.Minute {
		wrong = append(wrong, config.Invalid("waiting.timeout", "must be 10ms to 5m, not %s", p))
	}
	count("calls.per_second", c.Calls.Rate, 0, most)
	count("calls.burst", c.Calls.Burst, 0, most)
	count("calls.max_running", c.Calls.Running, 1, 100_000)
	if c.Request < 64<<10 || c.Request > 64<<20 {
		wrong = append(wrong, config.Invalid("request_size", "must be 64KiB to 64MiB, not %s", c.Request))
	}
	return errors.Join(wrong...)
}

// Bounds are those of the line of turns, for a number of places.
func (c Config) Bounds(places int) line.Bounds {
	return line.Bounds{
		Places: places, OfUser: c.User.Running, OfWorkspace: c.Workspace.Running, Weights: c.Weights,
		Waiting: c.Waiting.All, WaitingOfWorkspace: c.Waiting.Workspace, Patience: c.Waiting.Patience, What: "questions",
	}
}
