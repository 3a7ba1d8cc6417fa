package turn

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Library knows which documents there are.
type Library interface {
	// Readable returns those of some documents that are there and that whoever ctx is for may read.
	Readable(ctx context.Context, workspace string, documents []string) ([]string, error)
}

// maxEarlier bounds the documents that a turn owes to its history. The latest stay.
const maxEarlier = 256

// documentID matches the ids of documents in what a stage has put out.
var documentID = regexp.MustCompile(`"document":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"`)

// Documents returns the documents that something in the turn may come from: those of its sources, those that were found and left
// out, and those of the conversation before it.
func (t Turn) Documents() []string {
	ids := slices.Clone(t.Earlier)
	for _, s := range t.Sources {
		if s.Passage != nil {
			ids = append(ids, s.Passage.DocumentID)
		}
	}
	for _, c := range t.Citations {
		ids = append(ids, c.DocumentID)
	}
	for _, s := range t.Stages {
		for _, m := range documentID.FindAllStringSubmatch(s.Output, -1) {
			ids = append(ids, m[1])
		}
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" })
}

// Veiled returns the turn without what comes from documents: its question and how it went stay.
func (t Turn) Veiled() Turn {
	t.Withheld = true
	t.Standalone, t.Answer = "", ""
	t.Sources, t.Citations, t.Earlier = nil, nil, nil
	t.Evidence.Missing = nil
	t.Stages = slices.Clone(t.Stages)
	for i := range t.Stages {
		t.Stages[i].Input, t.Stages[i].Output, t.Stages[i].Error = "", "", ""
	}
	t.Plan.Calls = slices.Clone(t.Plan.Calls)
	for i := range t.Plan.Calls {
		t.Plan.Calls[i].Arguments = ""
	}
	if t.Generation != nil {
		g := *t.Generation
		g.SourceIDs = nil
		t.Generation = &g
	}
	return t
}

// Withheld says which of some turns of a workspace come from documents that whoever ctx is for may not read, or that are gone.
func Withheld(ctx context.Context, in Library, workspace string, turns []Turn) ([]bool, error) {
	var all []string
	of := make([][]string, len(turns))
	for i, t := range turns {
		of[i] = t.Documents()
		all = append(all, of[i]...)
	}
	out := make([]bool, len(turns))
	if len(all) == 0 {
		return out, nil
	}
	slices.Sort(all)
	readable, err := in.Readable(ctx, workspace, slices.Compact(all))
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(readable))
	for _, id := range readable {
		there[id] = true
	}
	for i, ids := range of {
		out[i] = slices.ContainsFunc(ids, func(id string) bool { return !there[id] })
	}
	return out, nil
}

// hearFor is how long reading turns waits to hear which documents may be read.
const hearFor = 2 * time.Second

// Shown returns turns as whoever ctx is for may see them. While it can't be told what they may read, they see nothing that comes
// from documents, and why.
func Shown(ctx context.Context, in Library, workspace string, turns []Turn) []Turn {
	ctx, cancel := context.WithTimeout(ctx, hearFor)
	defer cancel()
	withheld, err := Withheld(ctx, in, workspace, turns)
	out := slices.Clone(turns)
	for i, t := range out {
		switch {
		case err != nil && len(t.Documents()) > 0:
			out[i] = t.Veiled()
			out[i].Degradations = append(slices.Clip(t.Degradations), Degradation{
				Stage: retriever, Reason: reasonOf(err), Message: "Whether the turn's documents may be read can't be told just now; its texts are left out until then.",
			})
		case err == nil && withheld[i]:
			out[i] = t.Veiled()
		}
	}
	return out
}

// remembered returns the turns of a history that the asker may still read, and notes what the rest of the turn will owe to them.
// What they may not is not given to anything that makes an answer.
func (r *run) remembered(ctx context.Context, history []Turn) []Turn {
	withheld, err := within(ctx, &r.a.calls, r.terms.cfg.Budget.Plan, func(ctx context.Context) ([]bool, error) {
		return Withheld(ctx, r.a.retriever, r.q.Workspace, history)
	})
	var kept []Turn
	for i, t := range history {
		if err != nil && len(t.Documents()) > 0 || err == nil && withheld[i] {
			continue
		}
		kept = append(kept, t)
		r.turn.Earlier = append(r.turn.Earlier, t.Documents()...)
	}
	switch {
	case len(kept) == len(history):
	case err != nil:
		r.degrade(Degradation{Stage: "session", Reason: "history_unchecked", Message: "Whether the documents of earlier turns may still be read can't be told just now; the question was answered without them."})
	default:
		r.degrade(Degradation{Stage: "session", Reason: "history_withheld", Message: "Earlier turns come from documents that may not be read any more; the question was answered without them."})
	}
	r.turn.Earlier = unique(r.turn.Earlier)
	return kept
}

// unique keeps the last of what is there several times, and the last maxEarlier of all.
func unique(ids []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, id := range slices.Backward(ids) {
		if !seen[id] && len(out) < maxEarlier {
			seen[id] = true
			out = append(out, id)
		}
	}
	slices.Reverse(out)
	return out
}

// again returns the turn that a request led to before, as its asker may see it now.
func (r *run) again(ctx context.Context, earlier Turn) (*Turn, error) {
	ctx, cancel := context.WithTimeout(ctx, hearFor)
	defer cancel()
	withheld, err := Withheld(ctx, r.a.retriever, r.q.Workspace, []Turn{earlier})
	switch {
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "whether the documents of this request's answer may still be read can't be told just now; send it again shortly").WithRetryAfter(2 * time.Second)
	case withheld[0]:
		earlier = earlier.Veiled()
	}
	return &earlier, nil
}
