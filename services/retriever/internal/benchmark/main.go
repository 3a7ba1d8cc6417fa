// Command benchmark measures retrieval as `make bench-retrieval` prints it: quality on the public sets beside the figures
// recorded for other engines, and rate, latency, disk and memory of a hundred thousand passages, on every store there is.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate"
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate/server"
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
	// open opens an empty one in a folder that is empty.
	open func(ctx context.Context, dir string) (*opened, error)
}

// opened is a store while it is measured.
type opened struct {
	store.Store
	close func() error
	usage func() (server.Usage, error) // of this process and what runs for the store
}

// engines returns the stores there are.
func engines(out io.Writer) []engine {
	all := []engine{{"embedded", openEmbedded}}
	if os.Getenv("WEAVIATE_URL") == "" && !server.Built() {
		fmt.Fprintf(out, "Weaviate is left out: %v\n\n", server.ErrNone)
		return all
	}
	return append(all, engine{"Weaviate " + server.Version, openWeaviate})
}

func openEmbedded(_ context.Context, dir string) (*opened, error) {
	s, err := index.Open(index.Config{Dir: dir, MaxOpen: 4})
	if err != nil {
		return nil, err
	}
	return &opened{s, s.Close, func() (server.Usage, error) {
		size, err := server.Size(dir)
		return server.Usage{Processor: processor(), Resident: resident(), Disk: size}, err
	}}, nil
}

// openWeaviate opens the server that WEAVIATE_URL names, of which no more than times can be told, or one started for it.
func openWeaviate(ctx context.Context, _ string) (*opened, error) {
	c := weaviate.Config{
		URL: os.Getenv("WEAVIATE_URL"), GRPCURL: os.Getenv("WEAVIATE_GRPC_URL"), APIKey: os.Getenv("WEAVIATE_API_KEY"),
		Collection: "Bench" + rand.Text(), Replicas: 1, Timeout: time.Minute, Observer: nobody{},
	}
	stop, usage := func() {}, func() (u server.Usage, err error) { return u, nil }
	if c.URL == "" {
		at, err := server.Start(ctx)
		if err != nil {
			return nil, err
		}
		c.URL, c.GRPCURL, c.APIKey = at.URL, at.GRPCURL, server.Key
		stop, usage = at.Stop, at.Usage
	}
	s, err := weaviate.New(c)
	if err == nil {
		err = s.Connect(ctx)
	}
	if err != nil {
		stop()
		return nil, err
	}
	return &opened{
		s, func() error { err := s.Close(); stop(); return err },
		func() (server.Usage, error) {
			u, err := usage()
			u.Processor += processor()
			return u, err
		},
	}, nil
}

// nobody is told of requests.
type nobody struct{}

func (nobody) Asked(string, time.Duration, error) {}

func (nobody) Warn(context.Context, string, error) {}

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
	all := engines(out)
	if !o.noQuality {
		if err := o.quality(ctx, all); err != nil {
			return err
		}
	}
	if o.sizes == "" {
		return nil
	}
	return o.scale(ctx, all)
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

// table writes aligned lines.
func table(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 2, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	fmt.Fprintln(w)
	return w.Flush()
}
