// Command test tries ragmesh on a real Kubernetes cluster, through kubectl and helm as a platform engineer would: every manifest against
// the API server, the charts one by one and all at once, questions through the Service, upgrades, evictions and kills under load,
// dependencies that go away. It prints a table of figures, writes them as JSON, and leaves nothing behind.
//
//	make test-cluster                              # all steps but long
//	make test-cluster ARGS="-steps evict,kill"     # these; ragmesh is installed when they need it
//	make test-cluster ARGS="-steps long"           # ten minutes at 3,000 turns a minute
//	make test-cluster ARGS="-steps roles -weaviate http://10.0.0.7:8080 -weaviate-grpc http://10.0.0.7:50051"
//
// The cluster is the one whose scripts are in ../shared/cluster beside the repository (-cluster DIR for another place), which must run as
// root, and elsewhere that of the current kubeconfig; -load then says how an image archive gets there, such as
// "kind load image-archive". The load comes from a pod in the cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// step is one thing to try. Steps that need ragmesh install it when it is not there.
type step struct {
	name, what string
	limit      time.Duration
	do         func(*run, context.Context) error
}

func steps() []step {
	return []step{
		{"manifests", "the API server takes every manifest, strictly", 5 * time.Minute, (*run).manifests},
		{"separate", "five charts in any order, tested, asked, removed", 6 * time.Minute, (*run).separate},
		{"umbrella", "everything by one command, tested, asked", 6 * time.Minute, (*run).umbrella},
		{"upgrade", "new pods of all replicated services under load", 8 * time.Minute, (*run).upgrade},
		{"evict", "pods of replicated services evicted under load", 8 * time.Minute, (*run).evict},
		{"kill", "pods of replicated services killed under load", 8 * time.Minute, (*run).kill},
		{"single", "pods of services with one replica killed under load", 12 * time.Minute, (*run).single},
		{"dependencies", "each dependency away for a while under load", 15 * time.Minute, (*run).dependencies},
		{"roles", "a retriever over Weaviate whose roles are apart, pods of both killed under load", 15 * time.Minute, (*run).roles},
		{"long", "ten minutes at 3,000 turns a minute, pods killed throughout", 20 * time.Minute, (*run).long},
	}
}

// byRequest are steps that run only when they are named.
var byRequest = []string{"roles", "long"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := try(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "test:", err)
		os.Exit(1)
	}
}

func try(ctx context.Context, args []string) error {
	r := &run{out: os.Stdout, began: time.Now()}
	var chosen, report string
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.StringVar(&r.root, "root", "../..", "the repository")
	flags.StringVar(&r.scripts, "cluster", "", "folder with up.sh and load-image.sh; empty for ../shared/cluster beside the repository where it is, none for the current kubeconfig")
	flags.StringVar(&r.load, "load", "", "command that takes an image archive into another cluster; empty when its nodes have the images")
	flags.BoolVar(&r.make, "make", true, "make the images and take them into the cluster first; false when that has been done")
	flags.StringVar(&r.tag, "tag", "test", "tag of the images that are made and installed")
	flags.StringVar(&r.namespace, "namespace", "ragmesh-test", "namespace to work in; it must not be there, and is removed afterwards")
	flags.StringVar(&chosen, "steps", "", "steps to run, separated by commas; empty for all but "+strings.Join(byRequest, ", "))
	flags.Float64Var(&r.rate, "rate", 10, "questions a second while something is done to the pods")
	flags.Float64Var(&r.longRate, "long-rate", 50, "questions a second in the step long")
	flags.DurationVar(&r.longTime, "long-time", 10*time.Minute, "duration of the step long")
	flags.Uint64Var(&r.seed, "seed", uint64(time.Now().UnixNano()), "seed of what is chosen by chance")
	flags.StringVar(&r.weaviate, "weaviate", "", "address of a Weaviate for the step roles as pods reach it, http://HOST:PORT; it must let everyone in")
	flags.StringVar(&r.weaviateGRPC, "weaviate-grpc", "", "the same for gRPC")
	flags.BoolVar(&r.keep, "keep", false, "leave the namespace as it is at the end")
	flags.StringVar(&report, "report", "build/test-cluster.json", "file for the figures, relative to the repository")
	if err := flags.Parse(args); err != nil {
		return err
	}
	todo, err := choose(chosen)
	if err != nil {
		return err
	}
	if r.root, err = filepath.Abs(r.root); err != nil {
		return err
	}
	r.chance = rand.New(rand.NewPCG(r.seed, 0)) //nolint:gosec // no secret
	r.say("seed %d", r.seed)
	if err := r.prepare(ctx); err != nil {
		return errors.Join(err, r.cleanUp())
	}
	for _, s := range todo {
		r.do(ctx, s)
		if ctx.Err() != nil {
			break
		}
	}
	err = errors.Join(ctx.Err(), r.cleanUp(), r.write(filepath.Join(r.root, report)))
	if n := r.print(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d steps failed", n, len(r.results)))
	}
	return err
}

func choose(names string) ([]step, error) {
	all := steps()
	if names == "" {
		return slices.DeleteFunc(all, func(s step) bool { return slices.Contains(byRequest, s.name) }), nil
	}
	var chosen []step
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(s step) bool { return s.name == name })
		if i < 0 {
			var known []string
			for _, s := range all {
				known = append(known, s.name)
			}
			return nil, fmt.Errorf("no step is called %q; there are: %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// do runs a step and keeps what came of it.
func (r *run) do(ctx context.Context, s step) {
	r.say("=== %s: %s", s.name, s.what)
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	began := time.Now()
	r.now = &result{Step: s.name, What: s.what}
	err := s.do(r, ctx)
	r.now.Took = time.Since(began).Seconds()
	if err != nil {
		r.now.Error = err.Error()
		r.say("--- %s failed: %v", s.name, err)
		r.describe()
	}
	r.results = append(r.results, r.now)
}
