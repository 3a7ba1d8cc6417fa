module github.com/ragmesh/ragmesh/services/dialog

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	github.com/google/go-cmp v0.7.0
	github.com/oklog/ulid/v2 v2.1.2
	github.com/prometheus/client_golang v1.25.0
	github.com/ragmesh/ragmesh/libs v0.0.0
	github.com/ragmesh/ragmesh/proto v0.0.0
	github.com/rs/zerolog v1.35.1
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/trace v1.47.0
	golang.org/x/sync v0.24.0
	golang.org/x/text v0.43.0
	google.golang.org/protobuf v1.36.12
)

replace (
	github.com/ragmesh/ragmesh/libs => ../../libs
	github.com/ragmesh/ragmesh/proto => ../../proto
)
