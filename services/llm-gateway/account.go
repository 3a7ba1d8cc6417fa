package llmgateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/answer"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/usage"
)

// Account is what workspaces and keys may use.
type Account struct {
	Shadow     bool                 `yaml:"shadow" doc:"Limits and budgets refuse nothing; a metric counts what they would."`
	Workspace  Allowance            `yaml:"workspace" doc:"What each workspace may use that is not in workspaces."`
	Workspaces map[string]Allowance `yaml:"workspaces" doc:"What workspaces may use, by name; each stands for all of workspace."`
	Key        Allowance            `yaml:"key" doc:"What each API key, person or service may use in a workspace that is not in keys."`
	Keys       map[string]Allowance `yaml:"keys" doc:"What API keys, persons and services may use in a workspace, by name, as ragmesh usage shows it; each stands for all of key."`
}

// Allowance is a set of limits and budgets.
type Allowance struct {
	Requests int     `yaml:"requests_per_minute" doc:"Requests in a minute, over all processes. Count; 0 for no limit."`
	Tokens   int     `yaml:"tokens_per_minute" doc:"Tokens in a minute, over all processes: of prompts as estimated and of answers as long as they may get, until it is known what was used. Count; 0 for no limit."`
	Day      float64 `yaml:"day" doc:"Budget of a day, in UTC, in the currency of the prices; 0 for none."`
	Month    float64 `yaml:"month" doc:"Budget of a month, in UTC, in the same currency; 0 for none."`
}

// Cache is how answers are kept for whoever asks the same again.
type Cache struct {
	Age   time.Duration `yaml:"age" doc:"How old an answer may be. Duration, 1s to 24h."`
	Bytes config.Bytes  `yaml:"bytes" doc:"Largest answer that is kept. Bytes, 1KiB to 512KiB."`
}

func (c Config) validateAccount(check checker) {
	c.Account.Workspace.validate(check, "account.workspace")
	c.Account.Key.validate(check, "account.key")
	for name, a := range c.Account.Workspaces {
		a.validate(check, "account.workspaces."+name)
	}
	for name, a := range c.Account.Keys {
		a.validate(check, "account.keys."+name)
	}
	check(c.Cache.Age >= time.Second && c.Cache.Age <= 24*time.Hour, "cache.age", "must be 1s to 24h, not %v", c.Cache.Age)
	check(c.Cache.Bytes >= 1<<10 && c.Cache.Bytes <= 512<<10, "cache.bytes", "must be 1KiB to 512KiB, not %v", c.Cache.Bytes)
	for name, m := range c.Models {
		_, err := cache.ParseMode(m.Cache)
		check(err == nil, "models."+name+".cache", "%v", err)
	}
}

// mostMoney bounds budgets, so that their millionths can be counted.
const mostMoney = 1e12

func (a Allowance) validate(check checker, key string) {
	check(a.Requests >= 0, key+".requests_per_minute", "must not be below 0")
	check(a.Tokens >= 0, key+".tokens_per_minute", "must not be below 0")
	check(a.Day >= 0 && a.Day <= mostMoney, key+".day", "must be 0 to %g", mostMoney)
	check(a.Month >= 0 && a.Month <= mostMoney, key+".month", "must be 0 to %g", mostMoney)
}

func (a Allowance) of() account.Allowance {
	return account.Allowance{Requests: a.Requests, Tokens: a.Tokens, Day: uint64(a.Day * 1e6), Month: uint64(a.Month * 1e6)}
}

// accounts is what a Book goes by.
func (c Config) accounts() account.Config {
	all := func(of map[string]Allowance) map[string]account.Allowance {
		out := make(map[string]account.Allowance, len(of))
		for name, a := range of {
			out[name] = a.of()
		}
		return out
	}
	out := account.Config{
		Shadow: c.Account.Shadow, Workspace: c.Account.Workspace.of(), Key: c.Account.Key.of(),
		Workspaces: all(c.Account.Workspaces), Keys: all(c.Account.Keys), Prices: map[account.Place]route.Price{},
	}
	for name, m := range c.Models {
		out.Prices[account.Place{Route: name, Provider: extractive.Name, Model: extractive.Name}] = route.Price{} // known to be nothing
		for _, t := range m.Targets {
			if p := route.Price(t.Price); p != (route.Price{}) {
				out.Prices[account.Place{Route: name, Provider: t.Provider, Model: t.Model}] = p
			}
		}
	}
	for name, e := range c.Embeddings {
		if e.Price > 0 {
			out.Prices[account.Place{Route: name, Provider: e.Provider, Model: e.Model}] = route.Price{Prompt: e.Price}
		}
	}
	for name, r := range c.Rerankers {
		if r.Price > 0 {
			out.Prices[account.Place{Route: name, Provider: r.Provider, Model: r.Model}] = route.Price{Prompt: r.Price}
		}
	}
	return out
}

// caching says how the routes' answers are kept. A route's revision covers its own configuration and that of its providers.
func (c Config) caching() (map[string]answer.Caching, error) {
	out := make(map[string]answer.Caching, len(c.Models))
	for name, m := range c.Models {
		mode, err := cache.ParseMode(m.Cache)
		if err != nil {
			return nil, err
		}
		m.Cache = ""
		what := struct {
			Model     Model      `yaml:"model"`
			Providers []Provider `yaml:"providers"`
		}{Model: m}
		for _, t := range m.Targets {
			what.Providers = append(what.Providers, c.Providers[t.Provider])
		}
		text, err := config.Effective(what)
		if err != nil {
			return nil, fmt.Errorf("hash model %s: %w", name, err)
		}
		sum := sha256.Sum256(text)
		out[name] = answer.Caching{Mode: mode, Revision: hex.EncodeToString(sum[:])}
	}
	return out, nil
}

func (c Config) kept() cache.Options {
	return cache.Options{Age: c.Cache.Age, Bytes: int(c.Cache.Bytes)}
}

// open opens the ledger, and what stands on it.
func (s *Service) open(cfg Config) (err error) {
	if s.deps.DataDir == "" {
		return errors.New("open ledger: no data folder")
	}
	if s.ledger, err = ledger.Open(ledger.Options{Dir: filepath.Join(s.deps.DataDir, "ledger"), Clock: s.deps.Clock, Log: s.deps.Telemetry.Log}); err != nil {
		return err
	}
	if err := s.meter.Accounts(s.ledger); err != nil {
		return errors.Join(err, s.ledger.CloseFile())
	}
	s.book = account.New(cfg.accounts(), account.Deps{Ledger: s.ledger, Meter: s.meter, Clock: s.deps.Clock})
	s.cache = cache.New(cfg.kept(), cache.Deps{Store: cache.NewStream(s.deps.Bus), Meter: s.meter, Clock: s.deps.Clock})
	s.carrier = usage.New(usage.Deps{Ledger: s.ledger, Bus: s.deps.Bus, Clock: s.deps.Clock, Log: s.deps.Telemetry.Log})
	return nil
}

// forget removes what a deleted workspace left here: its cached answers, and the names in what it used.
func (s *Service) forget(ctx context.Context, workspace string) error {
	return errors.Join(s.cache.Forget(ctx, workspace), s.carrier.Forget(ctx, workspace))
}

// readyUsage says what is not known or kept as it should be. That is no reason to send requests elsewhere.
func (s *Service) readyUsage() health.Component {
	row := health.Component{Name: "usage", Ready: true}
	known := s.ledger.KnownAt()
	switch {
	case s.ledger.Failures() > 0:
		row.Ready, row.Detail = false, "the journal in the data folder takes no entries; what is used now is lost if this process dies"
	case known.IsZero():
		row.Ready, row.Detail = false, "what others have used is not known yet; budgets go by what was used here"
	case s.deps.Clock().Sub(known) > 15*time.Second:
		row.Ready = false
		row.Detail = fmt.Sprintf("what others have used is known until %s; budgets go by that, and what is used here waits in the data folder", known.UTC().Format(time.RFC3339))
	}
	return row
}
