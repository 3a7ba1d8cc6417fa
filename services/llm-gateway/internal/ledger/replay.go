package ledger

// replay applies what a segment holds and returns how many of its bytes were whole, and whether its first part was: without it,
// the segment was not finished when the process ended, and the one before it counts.
func (l *Ledger) replay(data []byte) (good int64, begun bool) {
	rest := data
	for len(rest) > 0 {
		payload, next, err := readRecord(rest)
		if err != nil || l.apply(payload, &begun) != nil {
			break
		}
		rest = next
	}
	return int64(len(data) - len(rest)), begun
}

// apply takes one record in.
func (l *Ledger) apply(payload []byte, begun *bool) error {
	f := &fields{b: payload[1:]}
	switch payload[0] {
	case kindSegment:
		l.next = f.number()
	case kindBegun:
		*begun = true
	case kindIntent:
		id := f.number()
		in := intent{life: f.number(), most: Most{Prompt: f.number(), Completion: f.number(), Cost: f.number()}}
		in.payer.Workspace, in.payer.Key, in.route = f.text(), f.text(), f.text()
		if f.err == nil {
			l.open[id], l.next = in, max(l.next, id)
		}
	case kindTry:
		id, day, flags := f.number(), f.day(), f.number()
		t := Try{
			Answered: flags&flagAnswered != 0, Unpriced: flags&flagUnpriced != 0, Estimated: flags&flagEstimated != 0,
			Prompt: f.number(), CachedPrompt: f.number(), Completion: f.number(), Cost: f.number(),
		}
		t.Route, t.Provider, t.Model = f.text(), f.text(), f.text()
		in, ok := l.open[id]
		if f.err != nil || !ok {
			break
		}
		if t.Answered {
			delete(l.open, id)
		}
		l.add(in.payer, in.life, day, t.Target, t.numbers())
	case kindEnd:
		delete(l.open, f.number())
	case kindCached:
		day, life := f.day(), f.number()
		p := Payer{Workspace: f.text(), Key: f.text()}
		if route := f.text(); f.err == nil {
			l.add(p, life, day, Target{Route: route}, Numbers{Requests: 1, Cached: 1})
		}
	case kindLife:
		life := f.number()
		if workspace := f.text(); f.err == nil && life > l.lives[workspace] {
			l.close(workspace, life)
			l.totals.close(workspace, life)
		}
	case kindRow:
		day, life := f.day(), f.number()
		p := Payer{Workspace: f.text(), Key: f.text()}
		t := Target{Route: f.text(), Provider: f.text(), Model: f.text()}
		n := Numbers{
			Requests: f.number(), Cached: f.number(), Failed: f.number(), Unsettled: f.number(), Prompt: f.number(), CachedPrompt: f.number(),
			Completion: f.number(), Cost: f.number(), UnsettledCost: f.number(), Unpriced: f.number(), Estimated: f.number(),
		}
		if f.err == nil {
			l.add(p, life, day, t, n)
		}
	default:
		return errRecord
	}
	return f.err
}

// settle counts intents without an end: their process died while a provider may have been at them.
func (l *Ledger) settle() (unsettled int) {
	day := DayOf(l.clock())
	for id, in := range l.open {
		delete(l.open, id)
		l.add(in.payer, in.life, day, Target{Route: in.route}, Numbers{
			Unsettled: 1, Prompt: in.most.Prompt, Completion: in.most.Completion, Cost: in.most.Cost, UnsettledCost: in.most.Cost, Estimated: 1,
		})
		unsettled++
	}
	return unsettled
}
