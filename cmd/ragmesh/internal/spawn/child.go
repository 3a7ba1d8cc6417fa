package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is one program of a system.
type child struct {
	name   string
	admin  string // address of its admin port; empty when it has none
	cmd    *exec.Cmd
	stdout io.ReadCloser
	log    *Tail
	ended  chan struct{} // closed when it has ended, err set
	err    error
}

func start(binary string, o Options, args []string) (*child, error) {
	c := &child{name: filepath.Base(binary), log: &Tail{Max: maxLog}, ended: make(chan struct{})}
	// Not bound to a context: a program is asked to end, and killed only when it does not.
	c.cmd = exec.Command(binary, args...) //nolint:gosec,noctx // our own binary, ended by stop
	c.cmd.Env = environ(o.Environ)
	c.cmd.Stderr = c.log
	// Read through a pipe of our own, which Wait does not close under a reader's hands.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	c.cmd.Stdout, c.stdout = write, read
	err = c.cmd.Start()
	_ = write.Close() // the program has its own copy
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.name, err), read.Close())
	}
	go func() { // ends with the program
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// stop asks the program to end, and kills it when it does not.
func (c *child) stop() error {
	defer c.stdout.Close()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.ended
		return fmt.Errorf("%s had not ended after %s and was killed", c.name, stopTimeout)
	}
	if c.err != nil {
		return fmt.Errorf("%s ended with %w: %s", c.name, c.err, c.log)
	}
	return nil
}

// run runs the ragmesh command to its end.
func run(ctx context.Context, o Options, args ...string) error {
	cmd := exec.CommandContext(ctx, o.Binary, args...) //nolint:gosec // our own binary
	cmd.Env = environ(o.Environ)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ragmesh %v: %w: %s", args, err, out)
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s says %s", url, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// maxLog is how much of a program's log is kept to explain a failure.
const maxLog = 8 << 10
