package store

import (
	"context"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// A session's turns are in the order of their ids. A turn that takes another's place takes that one and all after it, up to
// itself, out of the conversation. Nothing is changed for that: which turns are left follows from the turns, newest first. Going
// back from a turn that was replaced itself leads to what it took the place of, so a conversation can be branched anywhere.

// walkPage bounds how many turns are held at once.
const walkPage = 50

// line is the ids of a session's turns, the oldest first, and those that wait in the spool.
type line struct {
	ids     []string
	waiting map[string]turn.Turn
}

func (s *Store) line(ctx context.Context, workspace, session string) (line, error) {
	l, err := s.streamed(ctx, workspace, session)
	if err != nil {
		return line{}, err
	}
	for _, payload := range s.spool.of(workspace, session) {
		if t, err := s.codec.Decode(payload); err == nil {
			l.ids = append(l.ids, t.ID)
			l.waiting[t.ID] = t
		}
	}
	slices.Sort(l.ids)
	l.ids = slices.Compact(l.ids)
	return l, nil
}

// streamed is the line without those that wait.
func (s *Store) streamed(ctx context.Context, workspace, session string) (line, error) {
	subjects, err := s.bus.Subjects(ctx, bus.Turns, bus.TurnSubject(workspace, session, "*"))
	if err != nil {
		return line{}, err
	}
	l := line{ids: subjects, waiting: map[string]turn.Turn{}}
	for i, subject := range subjects {
		l.ids[i] = subject[strings.LastIndexByte(subject, '.')+1:]
	}
	slices.Sort(l.ids)
	return l, nil
}

// read returns the turns with the given ids, in their order. What can't be read is left out: one bad record must not hide a
// session.
func (s *Store) read(ctx context.Context, workspace, session string, l line, ids []string) ([]turn.Turn, error) {
	var subjects []string
	for _, id := range ids {
		if _, ok := l.waiting[id]; !ok {
			subjects = append(subjects, bus.TurnSubject(workspace, session, id))
		}
	}
	messages, err := s.bus.LastOf(ctx, bus.Turns, subjects)
	if err != nil {
		return nil, err
	}
	turns := s.decode(messages)
	for _, id := range ids {
		if t, ok := l.waiting[id]; ok {
			turns = append(turns, t)
		}
	}
	slices.SortFunc(turns, func(a, b turn.Turn) int { return strings.Compare(a.ID, b.ID) })
	return turns, nil
}

// walk calls visit with the turns of a conversation, newest first, until it returns false. With at, the conversation is as it was
// when the turn at was asked, and found says whether that is one of the session's.
func (s *Store) walk(ctx context.Context, workspace, session, at string, page int, visit func(turn.Turn) bool) (found bool, err error) {
	l, err := s.line(ctx, workspace, session)
	if err != nil {
		return false, err
	}
	ids := l.ids
	if at != "" {
		i, ok := slices.BinarySearch(ids, at)
		if !ok {
			return false, nil
		}
		ids = ids[:i+1]
	}
	return true, s.back(ctx, workspace, session, l, ids, at, page, visit)
}

// back walks over ids. cut is the turn that is out of the conversation, with all after it.
func (s *Store) back(ctx context.Context, workspace, session string, l line, ids []string, cut string, page int, visit func(turn.Turn) bool) error {
	for len(ids) > 0 {
		from := max(0, len(ids)-page)
		turns, err := s.read(ctx, workspace, session, l, ids[from:])
		if err != nil {
			return err
		}
		ids = ids[:from]
		for _, t := range slices.Backward(turns) {
			if cut == "" || t.ID < cut {
				if !visit(t) {
					return nil
				}
			} else if t.ID != cut {
				continue
			}
			if t.Replaces != "" && t.Replaces < t.ID {
				cut = t.Replaces
			}
		}
		if cut != "" { // what it took out need not be read
			n, _ := slices.BinarySearch(ids, cut)
			ids = ids[:min(n+1, len(ids))]
		}
	}
	return nil
}

// History implements [turn.Store].
func (s *Store) History(ctx context.Context, workspace, session, at string, n int) (turn.Past, error) {
	var past turn.Past
	page := n
	if at != "" {
		page = n + 1 // the turn itself is read too
	}
	found, err := s.walk(ctx, workspace, session, at, page, func(t turn.Turn) bool {
		past.Known, past.User = true, t.User
		past.Turns = append(past.Turns, t)
		return len(past.Turns) < n
	})
	if err != nil {
		return turn.Past{}, err
	}
	past.Found = found
	slices.Reverse(past.Turns)
	if past.Known {
		return past, nil
	}
	e, err := s.view(ctx, workspace, session)
	if fault.KindOf(err) == fault.NotFound && at != "" && found { // replacing the first, before the session's view is there
		e, err = s.viewOf(ctx, workspace, session)
	}
	if fault.KindOf(err) == fault.NotFound {
		return past, nil
	}
	past.Known, past.User = err == nil, e.User
	return past, err
}

// decode drops what can't be read.
func (s *Store) decode(messages []bus.Message) []turn.Turn {
	turns := make([]turn.Turn, 0, len(messages))
	for _, m := range messages {
		t, err := s.codec.Decode(m.Data)
		if err != nil {
			s.log.Error().Err(err).Str("subject", m.Subject).Msg("turn can't be read")
			continue
		}
		turns = append(turns, t)
	}
	return turns
}

// Turn returns a finished turn of a workspace that r sees. Others don't exist for them.
func (s *Store) Turn(ctx context.Context, r Reader, workspace, id string) (turn.Turn, error) {
	t, err := s.turn(ctx, workspace, id)
	if err == nil && !r.sees(t.User) {
		return turn.Turn{}, noTurn(id)
	}
	return t, err
}

func (s *Store) turn(ctx context.Context, workspace, id string) (turn.Turn, error) {
	if payload, ok := s.spool.turn(workspace, id); ok {
		if t, err := s.codec.Decode(payload); err == nil {
			return t, nil
		}
	}
	messages, err := s.bus.LastN(ctx, bus.Turns, bus.TurnSubject(workspace, "*", id), 1, 0)
	if err != nil {
		return turn.Turn{}, err
	}
	if turns := s.decode(messages); len(turns) == 1 {
		return turns[0], nil
	}
	return turn.Turn{}, noTurn(id)
}

func noTurn(id string) error {
	return fault.New(fault.NotFound, fault.TurnNotFound, "there is no turn %s in this workspace; a turn can be read once it has ended", id)
}

// Conversation is the turns of a session, as they are when it is opened.
type Conversation struct {
	Session Session
	store   *Store
	line    line
	ids     []string
}

// Open returns a session that r sees and the turns of its conversation, with replaced also those that later ones took the place
// of.
func (s *Store) Open(ctx context.Context, r Reader, workspace, session string, replaced bool) (*Conversation, error) {
	e, err := s.Session(ctx, r, workspace, session)
	if err != nil {
		return nil, err
	}
	c := &Conversation{Session: e, store: s}
	if c.line, err = s.line(ctx, workspace, session); err != nil {
		return nil, err
	}
	c.ids = c.line.ids
	if replaced || e.All == e.Turns && int(e.All) == len(c.ids) { // all of them, none was replaced
		return c, nil
	}
	c.ids = nil
	if err := s.back(ctx, workspace, session, c.line, c.line.ids, "", walkPage, func(t turn.Turn) bool {
		c.ids = append(c.ids, t.ID)
		return true
	}); err != nil {
		return nil, err
	}
	slices.Reverse(c.ids)
	return c, nil
}

// Len says how many turns there are.
func (c *Conversation) Len() int { return len(c.ids) }

// Page returns up to n turns from the i-th on, oldest first. Fewer come when some can't be read, or were deleted meanwhile.
func (c *Conversation) Page(ctx context.Context, i, n int) ([]turn.Turn, error) {
	return c.store.read(ctx, c.Session.Workspace, c.Session.ID, c.line, c.ids[i:min(i+n, len(c.ids))])
}

// After returns up to n turns that came after the one named, oldest first, and whether there are more; after "" means from the
// start.
func (c *Conversation) After(ctx context.Context, after string, n int) (turns []turn.Turn, more bool, err error) {
	from, exact := slices.BinarySearch(c.ids, after)
	if exact {
		from++
	}
	turns, err = c.Page(ctx, from, n)
	return turns, from+n < len(c.ids), err
}
