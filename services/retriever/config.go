package retriever

import (
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
)

// Config is what retriever.yaml holds. Strategies are files of their own, retrieval/*.yaml or .json.
type Config struct {
	process.Config `yaml:",inline" doc:"-"`

	Role   string `yaml:"role" oneof:"all,serve,ingest" doc:"What this process does: serve answers calls, accepts uploads and works on none; ingest takes in what was accepted and answers no calls; all does both. With the embedded store there is one process, which does all."`
	Upload Upload `yaml:"upload"`
	Ingest Ingest `yaml:"ingest"`
	Store  string `yaml:"store" oneof:"embedded,weaviate" doc:"Where passages and vectors are kept: embedded (files of this process) or weaviate. What is in another store is not seen; after a change, documents are taken from their originals again."`
	Index  Index  `yaml:"index"`
	Parse  Parse  `yaml:"parse"`
	Search Search `yaml:"search"`

	Weaviate Weaviate `yaml:"weaviate"`

	Embedding Embedding `yaml:"embedding"`
	Peers     Peers     `yaml:"peers" revision:"-"`
}

// Embedding says which model makes the documents' vectors. Another one makes them anew.
type Embedding struct {
	Model   string `yaml:"model"   doc:"Embedding model of llm-gateway, from its embeddings. Empty for none: then search is by keywords only. Another model, or another revision of it, is never compared with vectors that are there: they are made again, and hybrid strategies search by keywords until there are some."`
	Texts   int    `yaml:"texts"   doc:"Passages in one call to llm-gateway. Count, 1 to 256."`
	Workers int    `yaml:"workers" doc:"Calls to llm-gateway at once, for passages. Count, 1 to 64."`
}

// Peers says where the other services are. In the all-in-one they are in the same process.
type Peers struct {
	LLM string `yaml:"llm_gateway" doc:"Address of llm-gateway, http://host:port."`
}

// Upload bounds what is taken in.
type Upload struct {
	MaxBytes config.Bytes  `yaml:"max_bytes" doc:"Largest document taken in. Bytes, 1KiB to 1GiB."`
	TTL      time.Duration `yaml:"ttl"       doc:"How long an upload may take until it is dropped. Duration, 1m to 20h."`
}

// Ingest bounds the work on documents.
type Ingest struct {
	Workers        int           `yaml:"workers"   doc:"Documents worked on at once. Small ones wait for the disk together, so more than there are processors is right. Count, 1 to 256."`
	PerWorkspace   int           `yaml:"workers_per_workspace" doc:"Of them, those that one workspace may take: the others are for what another one sends meanwhile, however much this one has waiting. Count, 1 to 256."`
	MaxQueued      int           `yaml:"max_queued" doc:"Documents of a workspace that may wait to be taken in. More are refused (RESOURCE_EXHAUSTED, QUEUE_FULL) until some are done; ragmesh ingest waits for that. Count, 1 to 150000; 0 for no bound."`
	MaxQueuedBytes config.Bytes  `yaml:"max_queued_bytes" doc:"Bytes of a workspace's documents that may wait. Bytes, 1MiB to 1TiB; 0 for no bound."`
	Memory         config.Bytes  `yaml:"memory"    doc:"Originals held in memory at once; a larger one waits for all others. Bytes, 1MiB to 64GiB."`
	MaxStage       time.Duration `yaml:"max_stage" doc:"A document longer than this in one stage makes the process report itself wedged. Duration, 1m to 24h."`
}

// Index bounds the embedded index.
type Index struct {
	MaxOpen int `yaml:"max_open" doc:"Workspaces whose index is open at once. Count, 1 to 10000."`
}

// Weaviate says where the server is when the store is weaviate.
type Weaviate struct {
	URL        string        `yaml:"url"        doc:"Address of REST, http://host:port or https://host."`
	GRPCURL    string        `yaml:"grpc_url"   doc:"Address of gRPC, http://host:port or https://host."`
	APIKey     config.Secret `yaml:"api_key"    doc:"API key; none for a server that lets everyone in."`
	CAFile     string        `yaml:"ca_file"    doc:"Certificates, in PEM, that the server's may be signed with. Empty for the machine's."`
	Collection string        `yaml:"collection" doc:"Collection that passages are in; the names of those with vectors begin with it. A capital letter, then letters and digits."`
	Replicas   int           `yaml:"replicas"   doc:"Copies of every workspace, when the collection is made; not more than there are servers. Count, 1 to 9."`
	Timeout    time.Duration `yaml:"timeout"    doc:"Longest time one request may take. Duration, 100ms to 5m."`
}

// Parse bounds the reading of documents. What is no short text is read in child processes.
type Parse struct {
	Processes   int           `yaml:"processes"    doc:"Child processes that read documents at once. Each may take parse.memory. Count, 1 to 64."`
	Timeout     time.Duration `yaml:"timeout"      doc:"How long reading one document may take until it has failed. Duration, 1s to 2h."`
	Memory      config.Bytes  `yaml:"memory"       doc:"Memory that a child process may take; a document that needs more has failed. Bytes, 256MiB to 16GiB."`
	Idle        time.Duration `yaml:"idle"         doc:"How long a child process without work is kept. Duration, 0s to 1h."`
	MaxPages    int           `yaml:"max_pages"    doc:"Pages or slides that a document may have. Count, 1 to 100000."`
	MaxRows     int           `yaml:"max_rows"     doc:"Rows that all tables of a document may have together. Count, 1 to 50000000."`
	MaxText     config.Bytes  `yaml:"max_text"     doc:"Text that may be found in a document. Bytes, 1MiB to 1GiB."`
	MaxExpanded config.Bytes  `yaml:"max_expanded" doc:"What everything compressed in a document may expand to. Bytes, 1MiB to 16GiB."`
	MaxFiles    int           `yaml:"max_files"    doc:"Files that an archive may hold, those of archives in it included. Count, 1 to 1000000."`
	OCR         OCR           `yaml:"ocr"`
}

// OCR is an external command that gives PDF files text that have none.
type OCR struct {
	Command []string      `yaml:"command" doc:"Program and arguments, no shell: it gets the PDF on its standard input and writes a PDF with a text layer, or text with form feeds between pages, to its standard output; empty for none. Example: [ocrmypdf, --quiet, -l, eng+chi_sim, -, -]."`
	Timeout time.Duration `yaml:"timeout" doc:"How long OCR of one document may take. Duration, 1s to 2h."`
}

// Search chooses how passages are found.
type Search struct {
	Strategy string `yaml:"strategy" live:"true" doc:"Strategy of requests that name none: keyword, hybrid, vector or reranked (hybrid, ranked once more by a rerank model), which are built in, or a file of retrieval/ without its ending. Empty for hybrid where there is an embedding model, else keyword."`
}

// The stores there are.
const (
	storeEmbedded = "embedded"
	storeWeaviate = "weaviate"
)

// The roles there are.
const (
	roleAll    = "all"
	roleServe  = "serve"
	roleIngest = "ingest"
)

// port is the retriever's on a laptop.
const port = 8081

// Defaults returns the configuration without any file.
func Defaults() Config {
	limits := parse.DefaultLimits()
	return Config{
		Config: process.Defaults(port),
		Role:   roleAll,
		Upload: Upload{MaxBytes: 100 << 20, TTL: 12 * time.Hour},
		Ingest: Ingest{Workers: 64, PerWorkspace: 48, MaxQueued: 50_000, MaxQueuedBytes: 16 << 30, Memory: 256 << 20, MaxStage: 10 * time.Minute},
		Store:  storeEmbedded,
		Parse: Parse{
			Processes: 2, Timeout: 5 * time.Minute, Memory: 768 << 20, Idle: 30 * time.Second,
			MaxPages: limits.Pages, MaxRows: limits.Rows, MaxText: config.Bytes(limits.Text), MaxExpanded: config.Bytes(limits.Expanded), MaxFiles: limits.Files,
			OCR: OCR{Timeout: 10 * time.Minute},
		},
		Index: Index{MaxOpen: 64},
		Weaviate: Weaviate{
			URL: "http://127.0.0.1:8090", GRPCURL: "http://127.0.0.1:50051", Collection: "RagmeshPassage", Replicas: 1, Timeout: 30 * time.Second,
		},

		Embedding: Embedding{Texts: 64, Workers: 2},
		Peers:     Peers{LLM: "http://127.0.0.1:8083"},
	}
}

// Reference writes the page of retriever.yaml and of strategies.
func Reference(w io.Writer) error {
	if err := config.Reference(w, "retriever", Defaults()); err != nil {
		return err
	}
	_, _ = io.WriteString(w, "\n")
	return config.ReferencePart(w, "retrieval/*.yaml, retrieval/*.json",
		"One strategy per file, of retriever; its name is the file's without the ending. `keyword`, `hybrid`, `vector` and `reranked` replace the built-in ones.", search.Defaults(), true)
}

// StrategySchema returns what a strategy's file may hold, as a JSON Schema.
func StrategySchema() map[string]any { return config.JSONSchema(search.Defaults()) }

// Validate says what in a configuration is not as it must be.
func (c Config) Validate() error {
	peer, err := url.Parse(c.Peers.LLM)
	switch {
	case err != nil || peer.Host == "" || peer.User != nil || peer.Scheme != "http" && peer.Scheme != "https":
		return config.Invalid("peers.llm_gateway", `must be http://host:port or https://host, not %q`, c.Peers.LLM)
	case c.Role != roleAll && c.Store != storeWeaviate:
		return config.Invalid("role", "must be all with the embedded store, whose files one process has to itself; %s needs store: weaviate", c.Role)
	case len(c.Embedding.Model) > 128:
		return config.Invalid("embedding.model", "must be the name of an embedding model of llm-gateway, of at most 128 bytes")
	case c.Embedding.Texts < 1 || c.Embedding.Texts > 256:
		return config.Invalid("embedding.texts", "must be between 1 and 256")
	case c.Embedding.Workers < 1 || c.Embedding.Workers > 64:
		return config.Invalid("embedding.workers", "must be between 1 and 64")
	case c.Upload.MaxBytes < 1<<10 || c.Upload.MaxBytes > 1<<30:
		return config.Invalid("upload.max_bytes", "must be between 1KiB and 1GiB")
	case c.Upload.TTL < time.Minute || c.Upload.TTL > 20*time.Hour:
		return config.Invalid("upload.ttl", "must be between 1m and 20h")
	case c.Ingest.Workers < 1 || c.Ingest.Workers > 256:
		return config.Invalid("ingest.workers", "must be between 1 and 256")
	case c.Ingest.PerWorkspace < 1 || c.Ingest.PerWorkspace > 256:
		return config.Invalid("ingest.workers_per_workspace", "must be between 1 and 256")
	case c.Ingest.MaxQueued < 0 || c.Ingest.MaxQueued > 150_000:
		return config.Invalid("ingest.max_queued", "must be between 1 and 150000, or 0 for no bound")
	case c.Ingest.MaxQueuedBytes < 0 || c.Ingest.MaxQueuedBytes > 0 && c.Ingest.MaxQueuedBytes < 1<<20 || c.Ingest.MaxQueuedBytes > 1<<40:
		return config.Invalid("ingest.max_queued_bytes", "must be between 1MiB and 1TiB, or 0 for no bound")
	case c.Ingest.Memory < 1<<20 || c.Ingest.Memory > 64<<30:
		return config.Invalid("ingest.memory", "must be between 1MiB and 64GiB")
	case c.Ingest.MaxStage < time.Minute || c.Ingest.MaxStage > 24*time.Hour:
		return config.Invalid("ingest.max_stage", "must be between 1m and 24h")
	case c.Index.MaxOpen < 1 || c.Index.MaxOpen > 10_000:
		return config.Invalid("index.max_open", "must be between 1 and 10000")
	}
	if c.Store == storeWeaviate {
		if err := c.Weaviate.validate(); err != nil {
			return err
		}
	}
	return c.Parse.validate()
}

func (w Weaviate) validate() error {
	for key, address := range map[string]string{"weaviate.url": w.URL, "weaviate.grpc_url": w.GRPCURL} {
		if at, err := url.Parse(address); err != nil || at.Host == "" || at.User != nil || at.Scheme != "http" && at.Scheme != "https" {
			return config.Invalid(key, `must be http://host:port or https://host, not %q`, address)
		}
	}
	switch {
	case !regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,63}$`).MatchString(w.Collection):
		return config.Invalid("weaviate.collection", "must be a capital letter and up to 63 letters and digits, not %q", w.Collection)
	case w.Replicas < 1 || w.Replicas > 9:
		return config.Invalid("weaviate.replicas", "must be between 1 and 9")
	case w.Timeout < 100*time.Millisecond || w.Timeout > 5*time.Minute:
		return config.Invalid("weaviate.timeout", "must be between 100ms and 5m")
	}
	return nil
}

func (p Parse) validate() error {
	switch {
	case p.Processes < 1 || p.Processes > 64:
		return config.Invalid("parse.processes", "must be between 1 and 64")
	case p.Timeout < time.Second || p.Timeout > 2*time.Hour:
		return config.Invalid("parse.timeout", "must be between 1s and 2h")
	case p.Memory < 256<<20 || p.Memory > 16<<30:
		return config.Invalid("parse.memory", "must be between 256MiB and 16GiB")
	case p.Idle < 0 || p.Idle > time.Hour:
		return config.Invalid("parse.idle", "must be between 0s and 1h")
	case p.MaxPages < 1 || p.MaxPages > 100_000:
		return config.Invalid("parse.max_pages", "must be between 1 and 100000")
	case p.MaxRows < 1 || p.MaxRows > 50_000_000:
		return config.Invalid("parse.max_rows", "must be between 1 and 50000000")
	case p.MaxText < 1<<20 || p.MaxText > 1<<30:
		return config.Invalid("parse.max_text", "must be between 1MiB and 1GiB")
	case p.MaxExpanded < 1<<20 || p.MaxExpanded > 16<<30:
		return config.Invalid("parse.max_expanded", "must be between 1MiB and 16GiB")
	case p.MaxFiles < 1 || p.MaxFiles > 1_000_000:
		return config.Invalid("parse.max_files", "must be between 1 and 1000000")
	case p.OCR.Timeout < time.Second || p.OCR.Timeout > 2*time.Hour:
		return config.Invalid("parse.ocr.timeout", "must be between 1s and 2h")
	}
	return nil
}

// builtIn are the strategies that are there without any file.
func builtIn() map[string]search.Strategy {
	keyword := search.Defaults()
	hybrid, vector := keyword, keyword
	hybrid.Type, vector.Type = search.Hybrid, search.Vector
	reranked := hybrid
	reranked.Rerank = search.RerankModel
	return map[string]search.Strategy{"keyword": keyword, "hybrid": hybrid, "vector": vector, "reranked": reranked}
}

// strategy is the strategy of requests that name none.
func (c Config) strategy() string {
	switch {
	case c.Search.Strategy != "":
		return c.Search.Strategy
	case c.Embedding.Model != "":
		return "hybrid"
	default:
		return "keyword"
	}
}

// loadStrategies reads retrieval/, whose files stand over the strategies of the same names that are built in. The revision it
// returns covers the configuration and the strategies.
func loadStrategies(configDir, revision string) (map[string]search.Strategy, string, error) {
	strategies := builtIn()
	if configDir == "" {
		return strategies, revision, nil
	}
	files, err := config.LoadDir(filepath.Join(configDir, "retrieval"), search.Defaults(), ".yaml", ".json")
	if err != nil {
		return nil, "", err
	}
	for _, f := range files {
		strategies[f.Name] = f.Value
	}
	return strategies, config.RevisionWith(revision, files), nil
}
