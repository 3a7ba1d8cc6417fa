module github.com/ragmesh/ragmesh/services/dialog

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/ragmesh/ragmesh/libs v0.0.0
	github.com/ragmesh/ragmesh/proto v0.0.0
)

require golang.org/x/text v0.43.0 // indirect

replace (
	github.com/ragmesh/ragmesh/libs => ../../libs
	github.com/ragmesh/ragmesh/proto => ../../proto
)
