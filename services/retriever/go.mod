module github.com/ragmesh/ragmesh/services/retriever

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	github.com/blevesearch/bleve/v2 v2.6.1
	github.com/blevesearch/bleve_index_api v1.4.1
	github.com/google/go-cmp v0.7.0
	github.com/google/uuid v1.6.0
	github.com/ragmesh/ragmesh/libs v0.0.0
	github.com/ragmesh/ragmesh/proto v0.0.0
	github.com/rs/zerolog v1.35.1
	github.com/prometheus/client_golang v1.25.0
	github.com/yuin/goldmark v1.8.7
	go.yaml.in/yaml/v3 v3.0.6
	golang.org/x/sync v0.24.0
	google.golang.org/protobuf v1.36.12
)

replace (
	github.com/ragmesh/ragmesh/libs => ../../libs
	github.com/ragmesh/ragmesh/proto => ../../proto
)
