//go:build unix

package process_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/process"
)

// helperEnv makes the test binary a program: what it is set to are the arguments, one a line.
const helperEnv = "RAGMESH_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(helperEnv); ok {
		os.Args = append(os.Args[:1], strings.Split(args, "\n")...)
		p, _ := program()
		os.Exit(process.Main(p))
	}
	os.Exit(m.Run())
}

// child starts the program in a process of its own.
func child(t *testing.T, args ...string) (*exec.Cmd, *output, <-chan error) {
	t.Helper()
	out := newOutput()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+strings.Join(args, "\n"))
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	return cmd, out, exited
}

func TestSignals(t *testing.T) {
	t.Parallel()
	url := nats(t, "127.0.0.1:0")
	for name, sig := range map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, out, exited := child(t, "--data", data(t), "--nats-url", url)
			out.line(t, "serving")
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := <-exited; err != nil {
				t.Errorf("it ended with %v:\n%s", err, out)
			}
		})
	}
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	cmd, out, exited := child(t, "--data", data(t), "--nats-url", nats(t, "127.0.0.1:0"), "--set", "shutdown.delay=1m")
	out.line(t, "serving")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	out.line(t, "stopping")
	again := time.NewTicker(100 * time.Millisecond) // those that come right after the first one do not count
	defer again.Stop()
	timeout := time.After(time.Minute)
	for {
		select {
		case err := <-exited:
			if err == nil || !strings.Contains(err.Error(), "signal") {
				t.Errorf("it ended with %v:\n%s", err, out)
			}
			return
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGTERM) // not SIGINT, which ends nobody that a shell started in its background
		case <-timeout:
			t.Fatalf("it does not end:\n%s", out)
		}
	}
}

func TestASignalThatComesTwiceIsOneWish(t *testing.T) {
	t.Parallel()
	url := nats(t, "127.0.0.1:0")
	for end := time.Now().Add(time.Minute); ; {
		cmd, out, exited := child(t, "--data", data(t), "--nats-url", url)
		out.line(t, "serving")
		began := time.Now()
		for range 2 {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
		took := time.Since(began)
		err := <-exited
		if err == nil {
			return
		}
		if took < 100*time.Millisecond || time.Now().After(end) { // else a busy machine made two wishes of it
			t.Fatalf("it ended with %v, %s between the signals:\n%s", err, took, out)
		}
	}
}
