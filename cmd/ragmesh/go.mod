module github.com/ragmesh/ragmesh/cmd/ragmesh

go 1.26.0

require (
	github.com/ragmesh/ragmesh/libs v0.0.0
	github.com/ragmesh/ragmesh/proto v0.0.0
	github.com/ragmesh/ragmesh/services/dialog v0.0.0
	github.com/ragmesh/ragmesh/services/eval v0.0.0
	github.com/ragmesh/ragmesh/services/llm-gateway v0.0.0
	github.com/ragmesh/ragmesh/services/retriever v0.0.0
	github.com/ragmesh/ragmesh/services/tools v0.0.0
	golang.org/x/mod v0.41.0
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
