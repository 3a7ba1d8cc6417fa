package access

import (
	"net"
	"net/netip"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// maxGuessers bounds how many addresses and keys are remembered; those that failed longest ago are forgotten first.
const maxGuessers = 16_384

// guesses limits failures to show who one is, by client address and by key. Whoever has used theirs up is refused without
// being looked at: nothing is asked of stores and providers. What can be told good from memory never comes here, so that
// nobody is locked out by others who guess from the same address, or guess at their key.
type guesses struct {
	burst int
	every rate.Limit
	now   func() time.Time
	known *lru.Cache[string, *rate.Limiter]
}

func newGuesses(f Failures, now func() time.Time) *guesses {
	known, err := lru.New[string, *rate.Limiter](maxGuessers)
	if err != nil {
		panic("access: make guesses: " + err.Error()) // the size is not positive
	}
	return &guesses{burst: f.Burst, every: rate.Limit(float64(f.PerMinute) / 60), now: now, known: known}
}

// try counts an attempt that memory does not know to be good, under all of names, or refuses it. Attempts count as failed
// until forgive is called.
func (g *guesses) try(names ...string) (forgive func(), err error) {
	now := g.now()
	var taken []*rate.Reservation
	forgive = func() {
		for _, r := range taken {
			r.CancelAt(now)
		}
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		r := g.limiter(name).ReserveN(now, 1)
		if wait := r.DelayFrom(now); wait > 0 {
			r.CancelAt(now)
			forgive()
			return nil, fault.New(fault.Exhausted, fault.RateLimited, "too many bad keys or tokens came from here; try again in %s, with a good one", wait.Round(time.Second)).
				WithRetryAfter(wait)
		}
		taken = append(taken, r)
	}
	return forgive, nil
}

func (g *guesses) limiter(name string) *rate.Limiter {
	if l, ok := g.known.Get(name); ok {
		return l
	}
	made := rate.NewLimiter(g.every, g.burst)
	if l, there, _ := g.known.PeekOrAdd(name, made); there {
		return l
	}
	return made
}

// Address returns what stands for a client when it is limited and audited: its address, or for IPv6 the network of 64 bits
// that one client has. Proxies that are trusted say in forwarded (the values of X-Forwarded-For) whom they speak for; the last
// that none of them is, is the client. It is empty where there is no network.
func (g *Guard) Address(remote string, forwarded []string) string {
	ip, ok := parseAddress(remote)
	if !ok {
		return ""
	}
	if g.trusts(ip) {
		hops := strings.Split(strings.Join(forwarded, ","), ",")
		for i := len(hops) - 1; i >= 0 && i >= len(hops)-maxHops; i-- {
			hop, ok := parseAddress(strings.TrimSpace(hops[i]))
			if !ok {
				break // what is before it can't be believed either
			}
			if ip = hop; !g.trusts(hop) {
				break
			}
		}
	}
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}

// maxHops bounds how many proxies in a row are looked through.
const maxHops = 16

func (g *Guard) trusts(ip netip.Addr) bool {
	for _, n := range g.proxies {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// parseAddress reads an address with or without port.
func parseAddress(s string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return ip.Unmap().WithZone(""), err == nil
}
