package account

// Taken is what was taken of the limits of a key, or without one of a workspace: requests, and tokens less those given back.
type Taken struct {
	Who
	Requests, Tokens int64
}

// tell remembers what was taken for the next [Book.Taken]. The caller holds mu.
func (b *Book) tell(s *state, sc *scope, requests int64, tokens float64) {
	if sc.allow.Requests == 0 {
		requests = 0
	}
	if sc.allow.Tokens == 0 {
		tokens = 0
	}
	if requests == 0 && tokens == 0 {
		return
	}
	if s.untold == (Taken{}) {
		s.untold.Who = sc.who
		b.untold = append(b.untold, sc.who)
	}
	s.untold.Requests += requests
	s.untold.Tokens += int64(tokens)
}

// Taken returns what this process has taken of limits a minute since the last call.
func (b *Book) Taken() []Taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Taken, 0, len(b.untold))
	for _, w := range b.untold {
		s, ok := b.accounts[w]
		if !ok {
			continue
		}
		if s.untold.Requests != 0 || s.untold.Tokens != 0 {
			out = append(out, s.untold)
		}
		s.untold = Taken{}
	}
	b.untold = b.untold[:0]
	return out
}

// Others takes what another process has taken off the same limits here.
func (b *Book) Others(taken []Taken) {
	cfg, now := b.cfg.Load(), b.deps.Clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range taken {
		if allow := cfg.allowance(t.Who); allow.Requests > 0 || allow.Tokens > 0 {
			s := b.state(t.Who)
			s.requests.others(float64(t.Requests), allow.Requests, now)
			s.tokens.others(float64(t.Tokens), allow.Tokens, now)
		}
	}
}
