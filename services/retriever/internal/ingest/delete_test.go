package ingest_test

import "testing"

// A deletion that a sweep, or a job that was told to stop, gets ahead of says all the same what was there.
func TestDeletionCountsWhatWasThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.upload("One walrus.")
	w.work()
	w.fail = func(s string) error {
		if s == "prune" {
			clear(w.index)
		}
		return nil
	}
	if n, err := w.ingester.Delete(t.Context(), anybody, "w", d.ID); n != 1 || err != nil {
		t.Errorf("%d chunks are said to be removed, %v", n, err)
	}
}
