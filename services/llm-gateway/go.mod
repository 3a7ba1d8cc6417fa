module github.com/ragmesh/ragmesh/services/llm-gateway

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/ragmesh/ragmesh/libs v0.0.0
	github.com/tmc/langchaingo v0.1.14
)

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // indirect
	github.com/dlclark/regexp2 v1.10.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/kljensen/snowball v0.10.0 // indirect
	github.com/pkoukk/tiktoken-go v0.1.6 // indirect
	github.com/ragmesh/ragmesh/proto v0.0.0 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/ragmesh/ragmesh/libs => ../../libs
	github.com/ragmesh/ragmesh/proto => ../../proto
)
