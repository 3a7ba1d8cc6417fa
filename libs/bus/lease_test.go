package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

func TestOneHoldsALease(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	held, release, err := b.Lease(t.Context(), "x.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, other, err := b.Lease(t.Context(), "x.2"); err != nil {
		t.Errorf("another name: %v", err)
	} else {
		other()
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := b.Lease(short, "x.1"); err == nil {
		t.Error("two hold it")
	}
	release()
	if held.Err() == nil {
		t.Error("it is held after it was given back")
	}
	_, release, err = b.Lease(t.Context(), "x.1")
	if err != nil {
		t.Fatal(err)
	}
	release()
}
