module github.com/ragmesh/ragmesh/cmd/ragmesh

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	github.com/google/go-cmp v0.7.0
	github.com/mattn/go-runewidth v0.0.31
	github.com/peterh/liner v1.2.3
	github.com/prometheus/client_golang v1.25.0
	github.com/ragmesh/ragmesh/libs v0.0.0
	github.com/ragmesh/ragmesh/proto v0.0.0
	github.com/ragmesh/ragmesh/services/dialog v0.0.0
	github.com/ragmesh/ragmesh/services/eval v0.0.0
	github.com/ragmesh/ragmesh/services/llm-gateway v0.0.0
	github.com/ragmesh/ragmesh/services/retriever v0.0.0
	github.com/ragmesh/ragmesh/services/tools v0.0.0
	github.com/rs/zerolog v1.35.1
	github.com/schollz/progressbar/v3 v3.19.1
	github.com/spf13/cobra v1.10.2
	golang.org/x/mod v0.41.0
	golang.org/x/sync v0.24.0
	golang.org/x/term v0.47.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc
	google.golang.org/protobuf v1.36.12
)

replace (
	github.com/ragmesh/ragmesh/libs => ../../libs
	github.com/ragmesh/ragmesh/proto => ../../proto
	github.com/ragmesh/ragmesh/services/dialog => ../../services/dialog
	github.com/ragmesh/ragmesh/services/eval => ../../services/eval
	github.com/ragmesh/ragmesh/services/llm-gateway => ../../services/llm-gateway
	github.com/ragmesh/ragmesh/services/retriever => ../../services/retriever
	github.com/ragmesh/ragmesh/services/tools => ../../services/tools
)
