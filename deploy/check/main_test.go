package check_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/code"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// built is where the command line is built, once for all tests that ask it something.
var built struct {
	sync.Once
	dir     string
	program code.Program
	err     error
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ragmesh-check")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built.dir = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// ragmesh returns the command line of this checkout.
func ragmesh(t *testing.T) code.Program {
	t.Helper()
	root := render.Root(t)
	built.Do(func() {
		// It outlives the test that is the first to want it.
		built.program, built.err = code.Build(context.WithoutCancel(t.Context()), root, built.dir)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.program
}
