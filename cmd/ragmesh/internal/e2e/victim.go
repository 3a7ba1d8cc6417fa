package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
)

// Victim is a `ragmesh up` that a test ends as a crash does. Others on the same folder may follow.
type Victim struct {
	System
	process *process
}

// StartVictim runs `ragmesh up` on a folder, without waiting until it is ready. One that still runs when the test ends is
// killed.
func StartVictim(tb testing.TB, data string, args ...string) *Victim {
	tb.Helper()
	ports := freePorts(tb, 2)
	binary := filepath.Join(Binaries(tb), "ragmesh")
	p := &process{tb: tb, name: "ragmesh", log: &spawn.Tail{Max: maxLog}, begun: time.Now(), ended: make(chan struct{})}
	args = append([]string{"up", "--data", data, "--addr", ports[0], "--admin-addr", ports[1]}, args...)
	p.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), binary, args...) //nolint:gosec // our own binary
	p.cmd.Dir = tb.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start ragmesh: %v", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	v := &Victim{System: System{Server: "http://" + ports[0], Admin: "http://" + ports[1], Binary: binary, Data: data}, process: p}
	tb.Cleanup(v.end)
	return v
}

// Await waits until it is ready and returns how long that took since its start.
func (v *Victim) Await() time.Duration {
	v.process.tb.Helper()
	v.Startup = v.process.await(v.Admin + "/health/ready")
	return v.Startup
}

// Pause stops the process where it is: it neither runs nor ends.
func (v *Victim) Pause() {
	v.process.tb.Helper()
	if err := v.process.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		v.process.tb.Errorf("stop ragmesh: %v", err)
	}
}

// Kill ends the process with SIGKILL: nothing of it runs any more, and nothing is written. It must not have ended before.
func (v *Victim) Kill() {
	v.process.tb.Helper()
	select {
	case <-v.process.ended:
		v.process.tb.Errorf("ragmesh ended by itself: %v\n%s", v.process.err, v.Log())
	default:
		v.end()
	}
}

func (v *Victim) end() {
	_ = v.process.cmd.Process.Signal(syscall.SIGKILL) // it may have ended just now
	<-v.process.ended
}

// Stop ends it with SIGTERM and checks that it ends well.
func (v *Victim) Stop() { v.process.stop() }

// Log is the last part of what it has written to its output.
func (v *Victim) Log() string { return v.process.log.String() }
