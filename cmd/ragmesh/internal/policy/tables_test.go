package policy

// bans is the dependency direction: proto <- libs <- services/x <- cmd/ragmesh. Folders and import paths are relative
// to the root.
var bans = []struct{ from, to, why string }{
	{"proto", "libs", "the contract is what everything else depends on"},
	{"proto", "services", "the contract is what everything else depends on"},
	{"proto", "cmd", "the contract is what everything else depends on"},
	{"libs", "services", "libs is what services share; it can't know them"},
	{"libs", "cmd", "libs is what services share; it can't know them"},
	{"services", "cmd", "a service has to run without the all-in-one"},
}

// serviceBan is why services/x never imports services/y.
const serviceBan = "services meet over their RPC contracts only; otherwise none can be deployed or replaced alone"

// compositions are the packages of cmd/ragmesh that know the services, and what they do with them.
var compositions = map[string]string{
	"cmd/ragmesh/internal/settings": "loads their configurations",
	"cmd/ragmesh/internal/wire":     "builds them to run in one process",
}

// technology is something from outside that few packages may know.
type technology struct {
	name    string
	imports []string // import path prefixes
	why     string
	// homes are the folders that may import it, and what they do with it. A * stands for one path element. Everything
	// else that is not a test may not.
	homes map[string]string
}

var technologies = []technology{
	{
		name:    "Connect",
		imports: []string{"connectrpc.com/", "google.golang.org/grpc"},
		why:     "handlers and clients translate, so that the domain can be read and tested without a transport",
		homes: map[string]string{
			"cmd/ragmesh/internal/client":          "the command line's side of the edge",
			"cmd/ragmesh/internal/gatebench":       "the barest relay over Connect, which the gateway is measured by",
			"libs/rpc":                             "the server and client kit",
			"services/*/internal/rpc":              "the handlers",
			"services/dialog/internal/peer":        "the edge's clients of the other services",
			"services/retriever/internal/weaviate": "Weaviate's own protocol",
		},
	},
	{
		name:    "generated types",
		imports: []string{prefix + "proto/gen/"},
		why:     "the wire format and the domain change for different reasons",
		homes: map[string]string{
			"libs/backup":                         "messages as they lie in an archive",
			"libs/fault":                          "the reasons of errors are part of the contract",
			"cmd/ragmesh/**":                      "the command line speaks the public contract",
			"proto/**":                            "the contract itself",
			"services/*":                          "the root registers its handlers",
			"services/*/internal/rpc":             "the handlers",
			"services/dialog/internal/peer":       "the edge's clients of the other services",
			"services/retriever/internal/durable": "jobs and events as they go to the bus",
			"services/retriever/internal/gateway": "the client of llm-gateway's Embed and Rerank",
			"services/retriever/internal/message": "a document's form in answers and events",
			"services/tools/internal/audit":       "calls as they go to the bus",
			"services/dialog/internal/record":     "turns as they go to the bus",
			"services/llm-gateway/internal/tally": "what of limits is taken, as processes tell each other over the bus",
			"services/llm-gateway/internal/usage": "what models were used for, as it goes to the bus",
			"services/eval/internal/consume":      "turns, spans and feedback as they come from the bus",
		},
	},
	{
		name:    "NATS",
		imports: []string{"github.com/nats-io/"},
		why:     "everything that is durable goes through libs/bus, which alone decides on acknowledgement and fsync",
		homes:   map[string]string{"libs/bus": "the bus", "libs/bus/natsserver": "the server"},
	},
	{
		name:    "the NATS server",
		imports: []string{prefix + "libs/bus/natsserver"},
		why:     "services are clients of NATS; a server's code and its vulnerabilities have no place in their binaries",
		homes: map[string]string{
			"cmd/ragmesh/internal/archive": "fills the folder of one that does not run",
			"cmd/ragmesh/internal/cli":     "ragmesh nats",
			"cmd/ragmesh/internal/wire":    "the all-in-one",
		},
	},
	{
		name:    "langchaingo",
		imports: []string{"github.com/tmc/langchaingo", "github.com/aws/"},
		why:     "its streaming hides failures, which its adapter turns back into errors",
		homes:   map[string]string{"services/llm-gateway/internal/bedrock": "Amazon Bedrock, signed and framed as only its own library does it"},
	},
	{
		name:    "Weaviate",
		imports: []string{"github.com/weaviate/"},
		why:     "retrieval must mean the same on every store",
		homes: map[string]string{
			"services/retriever/internal/weaviate": "the store in a Weaviate server",
		},
	},
	{
		name:    "containers",
		imports: []string{"github.com/testcontainers/"},
		why:     "tests start them; no binary of ours brings Docker's client along",
	},
}

// names are package and folder names that say nothing about what is inside.
var names = []string{
	"base", "common", "core", "helper", "helpers", "lib", "manager", "misc", "models", "shared", "types", "util", "utils",
}

// mainLines is how long a service's main package may be: parse, build, run, exit code.
const mainLines = 60
