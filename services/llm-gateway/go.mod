module github.com/ragmesh/ragmesh/services/llm-gateway

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/ragmesh/ragmesh/libs v0.0.0
)

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // indirect
	github.com/kljensen/snowball v0.10.0 // indirect
	github.com/ragmesh/ragmesh/proto v0.0.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/ragmesh/ragmesh/libs => ../../libs
	github.com/ragmesh/ragmesh/proto => ../../proto
)
