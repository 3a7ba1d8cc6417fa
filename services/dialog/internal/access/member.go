package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// maxMembers bounds the members of a workspace. Whole teams are members as groups.
const maxMembers = 10_000

// ServicePrefix begins the names of service accounts.
const ServicePrefix = "service:"

// Member is a person, a group or a service account with a role in a workspace.
type Member struct {
	Name    string        `json:"member"`
	Role    identity.Role `json:"role"`
	AddedAt time.Time     `json:"added_at"`
	AddedBy string        `json:"added_by,omitempty"`
}

// Members knows who is a member of which workspace, from memory that a watch keeps up to date. It is safe for concurrent use.
type Members struct {
	table Table
	now   func() time.Time
	log   zerolog.Logger

	mu      sync.RWMutex
	entries map[string]membership               // by key
	roles   map[string]map[string]identity.Role // by folded name, then workspace
	counts  map[string]int                      // by workspace
	seen    time.Time                           // when the store last answered

	read     chan struct{} // closed when all members have been read once
	readOnce sync.Once
}

// membership is an entry of the bucket. One that is gone stays as a marker, so that older news does not bring it back.
type membership struct {
	Member
	revision uint64
	gone     bool
}

// NewMembers returns the members of a table. Watch keeps them up to date.
func NewMembers(table Table, now func() time.Time, log zerolog.Logger) *Members {
	return &Members{
		table: table, now: now, log: log,
		entries: map[string]membership{}, roles: map[string]map[string]identity.Role{}, counts: map[string]int{}, read: make(chan struct{}),
	}
}

// firstRead is how long somebody waits for the members to be read at the start.
const firstRead = 2 * time.Second

// await waits, at the start, until the members have been read.
func (m *Members) await() {
	select {
	case <-m.read:
		return
	default:
	}
	timer := time.NewTimer(firstRead)
	defer timer.Stop()
	select {
	case <-m.read:
	case <-timer.C:
	}
}

// memberKey is where a member is: names hold what keys may not.
func memberKey(workspace, name string) string {
	sum := sha256.Sum256([]byte(identity.Fold(name)))
	return workspace + "." + hex.EncodeToString(sum[:16])
}

// Watch keeps the members up to date until ctx ends.
func (m *Members) Watch(ctx context.Context) error {
	return follow(ctx, m.table, m.heard, func(e bus.Entry) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.seen = m.now()
		if e.Key != "" {
			m.take(e)
			return
		}
		m.readOnce.Do(func() { close(m.read) }) // this marks the end of what there was
	})
}

// heard notes that the store is there although nothing changed.
func (m *Members) heard() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = m.now()
}

// take puts an entry into memory, unless a newer one is there; m.mu is held.
func (m *Members) take(e bus.Entry) {
	next := membership{revision: e.Revision, gone: e.Deleted}
	if !e.Deleted {
		if err := json.Unmarshal(e.Value, &next.Member); err != nil {
			m.log.Error().Err(err).Str("key", e.Key).Msg("member can't be read")
			next.gone = true
		}
	}
	m.put(e.Key, next)
}

func (m *Members) put(key string, next membership) {
	before, known := m.entries[key]
	if known && (before.revision > next.revision || before.revision == next.revision && !next.gone) {
		return
	}
	workspace, _, _ := strings.Cut(key, ".")
	if known && !before.gone {
		name := identity.Fold(before.Name)
		if delete(m.roles[name], workspace); len(m.roles[name]) == 0 {
			delete(m.roles, name)
		}
		if m.counts[workspace]--; m.counts[workspace] == 0 {
			delete(m.counts, workspace)
		}
	}
	m.entries[key] = next
	if next.gone {
		m.entries[key] = membership{revision: next.revision, gone: true}
		return
	}
	name := identity.Fold(next.Name)
	if m.roles[name] == nil {
		m.roles[name] = map[string]identity.Role{}
	}
	m.roles[name][workspace] = next.Role
	m.counts[workspace]++
}

// known refuses to answer from a memory that is too old: somebody may have been removed since.
func (m *Members) known() error {
	if m.seen.IsZero() || m.now().Sub(m.seen) > maxAge {
		return fault.New(fault.Unavailable, fault.StoreUnavailable, "the workspace's members can't be looked up just now; try again shortly").WithRetryAfter(2 * time.Second)
	}
	return nil
}

// Role returns the highest role that somebody has in a workspace under any of their names; none when they are not a member.
func (m *Members) Role(workspace string, names []string) (identity.Role, error) {
	m.await()
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.known(); err != nil {
		return 0, err
	}
	var role identity.Role
	for _, name := range names {
		role = max(role, m.roles[identity.Fold(name)][workspace])
	}
	return role, nil
}

// Of returns the workspaces that somebody is a member of under any of their names, in order.
func (m *Members) Of(names []string) ([]string, error) {
	m.await()
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.known(); err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		for workspace := range m.roles[identity.Fold(name)] {
			out = append(out, workspace)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// List returns a workspace's members, ordered by name.
func (m *Members) List(ctx context.Context, workspace string) ([]Member, error) {
	entries, err := m.table.List(ctx, workspace+".*")
	if err != nil {
		return nil, err
	}
	members := make([]Member, 0, len(entries))
	for _, e := range entries {
		var member Member
		if err := json.Unmarshal(e.Value, &member); err != nil {
			m.log.Error().Err(err).Str("key", e.Key).Msg("member can't be read")
			continue
		}
		members = append(members, member)
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members, nil
}

// Get returns a member of a workspace.
func (m *Members) Get(ctx context.Context, workspace, name string) (Member, error) {
	member, _, err := m.get(ctx, memberKey(workspace, name), name)
	return member, err
}

func (m *Members) get(ctx context.Context, key, name string) (Member, uint64, error) {
	e, err := m.table.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return Member{}, 0, fault.New(fault.NotFound, fault.MemberNotFound, "%s is not a member of this workspace", clipped(name))
	}
	if err != nil {
		return Member{}, 0, err
	}
	var member Member
	if err := json.Unmarshal(e.Value, &member); err != nil {
		return Member{}, 0, fmt.Errorf("read member %s: %w", key, err)
	}
	return member, e.Revision, nil
}

// clipped is a caller's string as messages may repeat it.
func clipped(s string) string {
	const limit = 64
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.ToValidUTF8(s, "")
}

// Set gives a member their role, in place of the one they had. It says whether that changed anything.
func (m *Members) Set(ctx context.Context, workspace, name string, role identity.Role, by string) (Member, bool, error) {
	m.mu.RLock()
	full := m.counts[workspace] >= maxMembers
	m.mu.RUnlock()
	key := memberKey(workspace, name)
	for range 5 {
		member, revision, err := m.get(ctx, key, name)
		missing := fault.KindOf(err) == fault.NotFound && err != nil
		switch {
		case missing && full:
			return Member{}, false, fault.New(fault.Exhausted, fault.Overloaded, "the workspace has %d members, as many as can be; make groups members instead of people", maxMembers)
		case err != nil && !missing:
			return Member{}, false, err
		case !missing && member.Role == role:
			return member, false, nil
		case missing:
			member = Member{Name: name}
		}
		member.Role, member.AddedAt, member.AddedBy = role, m.now().UTC(), by
		value, err := json.Marshal(member)
		if err != nil {
			return Member{}, false, fmt.Errorf("set member: %w", err)
		}
		if missing {
			revision, err = m.table.Create(ctx, key, value)
		} else {
			revision, err = m.table.Update(ctx, key, value, revision)
		}
		if errors.Is(err, bus.ErrExists) || errors.Is(err, bus.ErrConflict) {
			continue
		}
		if err != nil {
			return Member{}, false, err
		}
		m.mu.Lock()
		m.put(key, membership{Member: member, revision: revision})
		m.mu.Unlock()
		return member, true, nil
	}
	return Member{}, false, fault.New(fault.Conflict, fault.ReasonConflict, "the member is being changed by others; try again")
}

// Remove takes a member's role away.
func (m *Members) Remove(ctx context.Context, workspace, name string) (Member, error) {
	key := memberKey(workspace, name)
	member, revision, err := m.get(ctx, key, name)
	if err != nil {
		return Member{}, err
	}
	return member, m.drop(ctx, key, revision)
}

func (m *Members) drop(ctx context.Context, key string, revision uint64) error {
	if err := m.table.Delete(ctx, key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, membership{revision: revision, gone: true})
	return nil
}

// Clear removes all members of a workspace.
func (m *Members) Clear(ctx context.Context, workspace string) error {
	entries, err := m.table.List(ctx, workspace+".*")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := m.drop(ctx, e.Key, e.Revision); err != nil {
			return err
		}
	}
	return nil
}
