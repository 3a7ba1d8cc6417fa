package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// images that are made and loaded; all charts together need them all.
var images = []string{"dialog", "retriever", "tools", "llm-gateway", "eval", "ragmesh"}

// run is one try of everything.
type run struct {
	root, scripts, load, tag, namespace string
	rate, longRate                      float64
	longTime                            time.Duration
	seed                                uint64
	make, keep                          bool
	weaviate, weaviateGRPC              string // addresses, for the step roles
	out                                 io.Writer

	began   time.Time
	chance  *rand.Rand
	environ []string
	// made are the objects outside the namespace that this run has created, to be removed at its end.
	made      []string
	installed bool // the umbrella is, with documents taken in
	apart     bool // the retriever's roles are
	results   []*result
	now       *result
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.out, "%5.0f s  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// prepare finds or starts the cluster, makes and loads the images, and makes the namespace.
func (r *run) prepare(ctx context.Context) error {
	r.environ = os.Environ()
	if r.scripts == "" {
		r.scripts = filepath.Join(filepath.Dir(r.root), "shared", "cluster") // ../shared/cluster, seen from the repository
		if _, err := os.Stat(filepath.Join(r.scripts, "up.sh")); err != nil {
			r.scripts = "none"
		}
	}
	if r.scripts != "none" {
		var err error
		if r.scripts, err = filepath.Abs(r.scripts); err != nil {
			return err
		}
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	for _, name := range []string{"kubectl", "helm"} {
		if _, err := r.find(name); err != nil {
			return err
		}
	}
	version, err := r.kubectl(ctx, nil, "version")
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	r.say("%s", strings.ReplaceAll(strings.TrimSpace(string(version)), "\n", ", "))
	if _, err := r.kubectl(ctx, nil, "get", "namespace", r.namespace); err == nil {
		namespace := r.namespace
		r.namespace = "" // not ours to remove
		return fmt.Errorf("namespace %s is there already; remove it, or choose another with -namespace", namespace)
	}
	if r.make {
		if err := r.loadImages(ctx); err != nil {
			return err
		}
	}
	return r.makeNamespace(ctx)
}

// start starts the cluster of the scripts, or finds it up.
func (r *run) start(ctx context.Context) error {
	r.say("cluster of %s", r.scripts)
	cmd := exec.CommandContext(ctx, filepath.Join(r.scripts, "up.sh")) //nolint:gosec // the caller's own script
	cmd.Stderr = r.out
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("start the cluster: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	cache := os.Getenv("RAGMESH_CLUSTER_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		cache = filepath.Join(base, "ragmesh-cluster")
	}
	path := filepath.Join(cache, "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	r.environ = append(r.environ, "KUBECONFIG="+lines[len(lines)-1], "PATH="+path)
	return os.Setenv("PATH", path) // exec looks programs up with its own
}

func (r *run) find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is needed: %w", name, err)
	}
	return path, nil
}

func (r *run) loadImages(ctx context.Context) error {
	began := time.Now()
	cmd := exec.CommandContext(ctx, filepath.Join(r.root, "deploy", "images", "build")) //nolint:gosec // the repository's own script
	// This module is run without go.work; the images are built with it.
	cmd.Env = slices.Concat(r.environ, []string{"IMAGE_TAG=" + r.tag, "GOWORK="})
	cmd.Stderr = r.out
	if out, err := cmd.Output(); err != nil {
		return fmt.Errorf("make images: %w: %s", err, out)
	}
	made := time.Since(began)
	command := strings.Fields(r.load)
	if r.scripts != "none" {
		command = []string{filepath.Join(r.scripts, "load-image.sh")}
	}
	if len(command) > 0 {
		for _, image := range images {
			args := append(slices.Clone(command[1:]), filepath.Join(r.root, "build", "images", image+".tar"))
			if _, err := r.command(ctx, nil, command[0], args...); err != nil {
				return fmt.Errorf("load image: %w", err)
			}
		}
	}
	r.say("images made in %.0f s, loaded in %.0f s", made.Seconds(), (time.Since(began) - made).Seconds())
	return nil
}

// makeNamespace makes the namespace, in which the strictest of Kubernetes' pod security standards holds.
func (r *run) makeNamespace(ctx context.Context) error {
	if _, err := r.kubectl(ctx, nil, "create", "namespace", r.namespace); err != nil {
		return err
	}
	_, err := r.kubectl(ctx, nil, "label", "namespace", r.namespace, "pod-security.kubernetes.io/enforce=restricted")
	return err
}

// clear empties the namespace by making it anew.
func (r *run) clear(ctx context.Context) error {
	r.installed = false
	if _, err := r.kubectl(ctx, nil, "delete", "namespace", r.namespace, "--timeout=3m"); err != nil {
		return err
	}
	return r.makeNamespace(ctx)
}

// cleanUp removes what the run has made, also when it was interrupted.
func (r *run) cleanUp() error {
	if r.keep || len(r.environ) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var errs []error
	if r.namespace != "" {
		_, err := r.kubectl(ctx, nil, "delete", "namespace", r.namespace, "--ignore-not-found", "--timeout=4m")
		errs = append(errs, err)
	}
	for _, object := range slices.Backward(r.made) {
		_, err := r.kubectl(ctx, nil, "delete", object, "--ignore-not-found", "--timeout=1m")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// describe shows what helps to understand a failure, before it is cleaned up.
func (r *run) describe() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods", "-o", "wide"},
		{"get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"},
	} {
		out, err := r.kubectl(ctx, nil, append([]string{"-n", r.namespace}, args...)...)
		if err == nil {
			lines := strings.SplitAfter(string(out), "\n")
			fmt.Fprint(r.out, strings.Join(lines[max(0, len(lines)-30):], ""))
		}
	}
}

func (r *run) kubectl(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	return r.command(ctx, stdin, "kubectl", args...)
}

// in is kubectl in the run's namespace.
func (r *run) in(ctx context.Context, args ...string) ([]byte, error) {
	return r.kubectl(ctx, nil, append([]string{"-n", r.namespace}, args...)...)
}

func (r *run) helm(ctx context.Context, args ...string) ([]byte, error) {
	return r.command(ctx, nil, "helm", append([]string{"-n", r.namespace}, args...)...)
}

// command runs a program and returns what it prints; what it says on standard error is part of the error.
func (r *run) command(ctx context.Context, stdin io.Reader, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // running programs is what this is for
	cmd.Env, cmd.Stdin, cmd.Dir = r.environ, stdin, r.root
	cmd.WaitDelay = 5 * time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		said := strings.TrimSpace(errs.String())
		return out, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, said[max(0, len(said)-2000):])
	}
	return out, nil
}

// wait sleeps unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
