package ingest

import (
	"context"
	"slices"

	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// await asks for the state of what was uploaded, a window at a time and in turn, so that documents that take long hold up
// no news of the others.
func (in *Ingester) await(ctx context.Context, uploaded <-chan int, results []Result, end func(int)) error {
	var open []int
	more := true
	wait, last := firstPoll, in.now()
	for more || len(open) > 0 {
		if open, more = collect(ctx, uploaded, open, more); len(open) == 0 {
			last = in.now() // nothing to wait for yet
			continue
		}
		round := open[:min(len(open), window)]
		open = slices.Clone(open[len(round):])
		news := false
		states, err := in.states(ctx, round, results)
		if err != nil {
			return err
		}
		for _, i := range round {
			d, ok := states[results[i].Document.GetDocumentId()]
			switch {
			case !ok:
				results[i].Err = fault.New(fault.NotFound, fault.DocumentNotFound, "it was deleted while it was taken in")
			case !in.ended(d):
				results[i].Document = d
				open = append(open, i)
				continue
			default:
				results[i].Document = d
			}
			news = true
			end(i)
		}
		if news {
			wait, last = firstPoll, in.now()
			continue
		}
		if len(open) > 0 && in.now().Sub(last) > patience {
			return in.giveUp(open, results, end)
		}
		if err := in.sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, maxPoll)
	}
	return nil
}

// collect takes over what has been uploaded since; while there is nothing to ask for, it waits for the first.
func collect(ctx context.Context, uploaded <-chan int, open []int, more bool) ([]int, bool) {
	if more && len(open) == 0 {
		select {
		case i, ok := <-uploaded:
			if !ok {
				return open, false
			}
			open = append(open, i)
		case <-ctx.Done():
			return open, false
		}
	}
	for more {
		select {
		case i, ok := <-uploaded:
			if !ok {
				return open, false
			}
			open = append(open, i)
		default:
			return open, true
		}
	}
	return open, false
}

func (in *Ingester) giveUp(open []int, results []Result, end func(int)) error {
	for _, i := range open {
		results[i].Err = fault.New(fault.Timeout, fault.DeadlineExceeded,
			"still in the queue after %s without progress; the server goes on with it, see `ragmesh docs list`", patience)
		end(i)
	}
	return nil
}

// states asks how some documents are, by id. One that is not there any more is missing.
func (in *Ingester) states(ctx context.Context, round []int, results []Result) (map[string]*retrieverv1.Document, error) {
	ids := make([]string, len(round))
	for i, at := range round {
		ids[i] = results[at].Document.GetDocumentId()
	}
	slices.Sort(ids)
	ids = slices.Compact(ids) // one URI may be given twice
	var resp *retrieverv1.ListDocumentsResponse
	err := in.retry(ctx, func() (err error) {
		resp, err = in.retriever.ListDocuments(ctx, &retrieverv1.ListDocumentsRequest{Workspace: in.workspace, DocumentIds: ids, PageSize: uint32(len(ids))})
		return err
	})
	if err != nil {
		return nil, err
	}
	if resp.GetQueue() != nil {
		in.queue(resp.GetQueue())
	}
	out := make(map[string]*retrieverv1.Document, len(ids))
	for _, d := range resp.GetDocuments() {
		out[d.GetDocumentId()] = d
	}
	return out, nil
}
