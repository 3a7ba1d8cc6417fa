package httptool

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// egress is where a tool may go: which hosts it may name, and which addresses these may have.
type egress struct {
	hosts    []string // "host", "host:port" or "*.domain", lower case
	networks []netip.Prefix
}

// errBlocked is an address or a host that is not on the list. It names neither: they may come from a redirect.
var errBlocked = errors.New("the address is not on the tool's egress list")

func parseEgress(entries []string, base *url.URL) (egress, error) {
	var e egress
	for _, entry := range entries {
		entry = strings.ToLower(strings.TrimSpace(entry))
		switch {
		case strings.Contains(entry, "/"):
			network, err := netip.ParsePrefix(entry)
			if err != nil {
				return egress{}, fmt.Errorf("%q is neither a host nor a network", entry)
			}
			e.networks = append(e.networks, network.Masked())
		case entry == "" || strings.Contains(strings.TrimPrefix(entry, "*."), "*"):
			return egress{}, fmt.Errorf("%q is neither a host nor a network; a star stands for subdomains, as in *.example.com", entry)
		default:
			e.hosts = append(e.hosts, strings.TrimSuffix(entry, "."))
			if a, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
				e.networks = append(e.networks, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	if len(e.hosts) == 0 {
		e.hosts = []string{strings.ToLower(base.Host)}
	}
	if !e.allows(base) {
		return egress{}, fmt.Errorf("the url's host %s is missing", base.Host)
	}
	return e, nil
}

// allows says whether u's host is on the list.
func (e egress) allows(u *url.URL) bool {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	for _, h := range e.hosts {
		domain, wild := strings.CutPrefix(h, "*.")
		switch {
		case wild && strings.HasSuffix(host, "."+domain):
			return true
		case wild:
		case strings.Trim(h, "[]") == host || h == net.JoinHostPort(host, port):
			return true
		}
	}
	return false
}

// control refuses a connection to an address that is neither public nor on the list. The dialer calls it after name
// resolution, for each address it tries, so that no DNS answer gets around it.
func (e egress) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return errBlocked
	}
	if a := at.Addr().WithZone("").Unmap(); public(a) || e.holds(a) {
		return nil
	}
	return errBlocked
}

func (e egress) holds(a netip.Addr) bool {
	for _, n := range e.networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// public says whether a is an address on the internet: not this machine, not its networks, not the addresses that clouds
// serve metadata and credentials on.
func public(a netip.Addr) bool {
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false // global unicast leaves out loopback, link-local (169.254.169.254), multicast, unspecified
	}
	for _, special := range []string{
		"0.0.0.0/8", "100.64.0.0/10" /* carriers; metadata of one cloud */, "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "100::/64",
		"64:ff9b:1::/48", "fec0::/10",
	} {
		if netip.MustParsePrefix(special).Contains(a) {
			return false
		}
	}
	return true
}
