// Command benchmark measures retrieval as `make bench-retrieval` prints it: quality on the public sets beside the figures
// recorded for other engines, and rate, latency, disk and memory of a hundred thousand passages, on every store there is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-retrieval:", err)
		os.Exit(1)
	}
}

// engine is a store to measure.
type engine struct {
	name string
	open func(dir string) (store.Store, func() error, error)
}

// engines returns the stores there are.
func engines() []engine {
	return []engine{{"embedded", func(dir string) (store.Store, func() error, error) {
		s, err := index.Open(index.Config{Dir: dir, MaxOpen: 4})
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	}}}
}

type options struct {
	datasets, embeddings, model, paraphrases string
	sizes, profiles                          string
	noQuality, noVectors                     bool
	out                                      io.Writer
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o := options{out: out}
	flags := flag.NewFlagSet("bench-retrieval", flag.ContinueOnError)
	flags.StringVar(&o.datasets, "datasets", os.Getenv("RAGMESH_DATASETS"), "folder that holds squad-v1.1-dev, cmrc2018-dev and docs-k8s")
	flags.StringVar(&o.embeddings, "embeddings", os.Getenv("RAGMESH_EMBEDDINGS_URL"), "OpenAI-compatible address before /embeddings, e.g. http://127.0.0.1:8099/v1; none measures keywords only")
	flags.StringVar(&o.model, "model", "all-MiniLM-L6-v2", "embedding model there")
	flags.StringVar(&o.paraphrases, "paraphrases", "services/retriever/internal/search/testdata/paraphrases.jsonl", "paraphrased questions of squad-v1.1-dev")
	flags.StringVar(&o.sizes, "sizes", "10000,100000", "passages to index; empty for none")
	flags.StringVar(&o.profiles, "profiles", "", "folder to write processor profiles of indexing and search to")
	flags.BoolVar(&o.noQuality, "no-quality", false, "leave out the quality on the sets")
	flags.BoolVar(&o.noVectors, "no-vectors", false, "leave out the times of vectors")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.datasets == "" {
		o.datasets = above("shared/datasets")
	}
	var errs []error
	for _, e := range engines() {
		errs = append(errs, o.measure(ctx, e))
	}
	return errors.Join(errs...)
}

// above looks for a folder beside the working folder and above it.
func above(name string) string {
	at, err := os.Getwd()
	for ; err == nil && at != filepath.Dir(at); at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, name)); err == nil && info.IsDir() {
			return filepath.Join(at, name)
		}
	}
	return ""
}

func (o options) measure(ctx context.Context, e engine) error {
	if !o.noQuality {
		if err := o.quality(ctx, e); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if o.sizes == "" {
		return nil
	}
	if err := o.scale(ctx, e); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

// table writes aligned lines.
func table(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 2, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	fmt.Fprintln(w)
	return w.Flush()
}
