module github.com/ragmesh/ragmesh/libs

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/kljensen/snowball v0.10.0
	github.com/ragmesh/ragmesh/proto v0.0.0
	golang.org/x/text v0.43.0
)

replace github.com/ragmesh/ragmesh/proto => ../proto
